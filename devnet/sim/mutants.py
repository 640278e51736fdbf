"""Would the simulator notice if a rule were wrong? A corpus of small mistakes; each has to be caught within a few seeds.

A simulator that is green proves little until it has been red. A mutant replaces one rule by a plausible slip, runs whole
histories, and is caught when any invariant breaks. What it replaces is put back afterwards.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import msgspec

from devnet.sim.chaos import chaos
from devnet.sim.deterrence import deterrence
from devnet.sim.disk import MemoryDisk
from devnet.sim.escrow import Entry, Escrow, Moved
from devnet.sim.idling import idling
from devnet.sim.simulate import simulate
from protocols import node as rules
from protocols import reputation
from protocols.channels import provider as channel_provider
from protocols.deals import checking, client, provider, states
from protocols.deals import inputs as ins
from protocols.deals.desk import Desk
from protocols.deals.eip712 import OnChainState, OutcomeCode
from protocols.disputes import duties, ending, payouts
from protocols.disputes import states as disputes
from protocols.disputes.inputs import Credit, Move
from protocols.effects import DurableEffect, PostTx
from protocols.handlers import deals, runs, search, seat_calls, vouchers
from protocols.handlers import disputes as parties
from protocols.state import Row
from protocols.units import Tokens, UnixSeconds
from protocols.verify import audits as audit_rules

__all__ = ["MUTANTS", "Mutant", "caught"]


AUDITS: Final = "audits"
"""In place of faults: a short form of `devnet.sim.deterrence`, with a panel."""
JUDGED: Final = 40
JUDGED_CHEATS_PPM: Final = 600_000
CHAOS: Final = "chaos, judged"
"""In place of faults: a short form of `devnet.sim.chaos`, with a panel, and every account looked at in the end."""
IN_CHAOS: Final = 60
CHANNELS: Final = "chaos, in channels"
"""The same, most of it in channels, and long enough for a pair to meet again after a deal that came to nothing."""
BESIDE_CHANNELS: Final = 12
IN_CHANNELS: Final = 300
IDLE: Final = {"idle, timeout": OutcomeCode.TIMEOUT, "idle, oom": OutcomeCode.OOM}
"""The same: `devnet.sim.idling`, by what those say who begin nothing."""


class Mutant(msgspec.Struct, frozen=True):
    """One slip: what it breaks, under which faults it shows, and how to make it."""

    name: str
    slip: str
    apply: Callable[[], AbstractContextManager[None]]
    faults: str = "heavy"
    nodes: int = 12


def caught(mutant: Mutant, seeds: Sequence[int], minutes: int = 3) -> tuple[int, str] | None:
    """The first seed whose history breaks an invariant, and which; None when no seed does."""
    with mutant.apply():
        for seed in seeds:
            found = _broken(mutant, seed, minutes)
            if found:
                return seed, found[0]
    return None


def _broken(mutant: Mutant, seed: int, minutes: int) -> tuple[str, ...]:
    if mutant.faults in IDLE:
        return idling(seed, IDLE[mutant.faults]).problems
    if mutant.faults == AUDITS:
        return deterrence(seed, JUDGED, JUDGED_CHEATS_PPM).problems
    if mutant.faults == CHAOS:
        return chaos(seed, IN_CHAOS).problems
    if mutant.faults == CHANNELS:
        return chaos(seed, BESIDE_CHANNELS, in_channels=IN_CHANNELS).problems
    return simulate(mutant.nodes, seed, minutes=minutes, faults=mutant.faults, runs_per_client=10).violations


# --- how a rule is replaced ------------------------------------------------------------------------------------------


@contextmanager
def _attribute(owner: Any, name: str, new: Any) -> Iterator[None]:
    old = owner.__dict__[name]
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, old)


@contextmanager
def _item(table: MutableMapping[str, Any], key: str, new: Any) -> Iterator[None]:
    old, table[key] = table[key], new
    try:
        yield
    finally:
        table[key] = old


@contextmanager
def _both(one: AbstractContextManager[None], other: AbstractContextManager[None]) -> Iterator[None]:
    with one, other:
        yield


@contextmanager
def _edges(table: MutableMapping[tuple[type, type], Any], *keys: tuple[type, type]) -> Iterator[None]:
    """These edges of a deal's table lead nowhere."""
    old = dict(table)
    for key in keys:
        table[key] = lambda state, event, ctx: (state, ())
    try:
        yield
    finally:
        table.clear()
        table.update(old)


def _forget(owner: Any, name: str, new: Any) -> Callable[[], AbstractContextManager[None]]:
    return lambda: _attribute(owner, name, new)


def _dead_end(table: Any, *keys: tuple[type, type]) -> Callable[[], AbstractContextManager[None]]:
    return lambda: _edges(table, *keys)


# --- slips -----------------------------------------------------------------------------------------------------------


def _same_index(state: Any, search: Any, asked: Any, quote: Any, env: Any) -> list[Any]:
    """The index is forced where the deal is made: a search that asks for a wrong one finds out by itself, and asks anew."""
    rfq = msgspec.structs.replace(asked.rfq, index=max(asked.rfq.index - 1, 0))
    return _PROPOSE(state, search, msgspec.structs.replace(asked, rfq=rfq), quote, env)


def _early(state: Any, ctx: Any) -> UnixSeconds | None:
    if isinstance(state, states.Committed):
        return UnixSeconds(state.commitment.at + 5)
    return _CLIENT_DEADLINE(state, ctx)


def _any_consent(self: Escrow, sender: Any, tx: PostTx, now: UnixSeconds, names: Any) -> Moved:
    entry = self._open(tx, tx.result_hash)
    return self._pay(entry, tx, tx.amount, "settled", OnChainState.SETTLED, now)


def _overwrite(self: Escrow, deal: Any, state: OnChainState, now: UnixSeconds) -> None:
    self.slots[deal.client, deal.run_nonce, deal.index] = Entry(deal, state, now)


def _any_claim(self: Escrow, tx: PostTx, result_hash: Any) -> Entry:
    """Also of a deal that is over."""
    entry = _OPEN(self, tx, result_hash)
    return msgspec.structs.replace(entry, state=OnChainState.COMMITTED) if tx.purpose == "settle" else entry


def _keep_collateral(
    self: Escrow, entry: Entry, tx: PostTx, paid: Tokens, to: str, state: OnChainState, now: UnixSeconds
) -> Moved:
    moved = _PAY(self, entry, tx, paid, to, state, now)
    self.stake[entry.deal.provider] -= entry.deal.collateral
    return moved


def _expire_any_time(self: Escrow, tx: PostTx, now: UnixSeconds) -> Moved:
    return _EXPIRE(self, tx, UnixSeconds(now + 10_000))


def _unsynced(self: MemoryDisk, rows: Sequence[Row], fresh: Sequence[DurableEffect], gone: Sequence[str]) -> None:
    """Only every second commit reaches the disk before a crash."""
    self.__dict__.setdefault("late", []).append((rows, fresh, gone))


def _torn(self: MemoryDisk) -> None:
    late = self.__dict__.pop("late", [])
    for rows, fresh, gone in late[:-2]:
        _COMMIT(self, rows, fresh, gone)


@contextmanager
def _lost_fsync() -> Iterator[None]:
    with _attribute(MemoryDisk, "commit", _unsynced), _attribute(MemoryDisk, "crash", _torn):
        yield


def _mild(row: disputes.Row, case: disputes.Case, paid: int, *, had_majority: bool) -> payouts.Payout:
    milder = disputes.Row.VOID if row is disputes.Row.CONVICTED else row
    return payouts.payout(milder, case, paid, had_majority=had_majority)


def _unpaid(case: disputes.Case, funder: int, provider: int, burned: int) -> Iterator[Move]:
    return (move for move in _CREDITS(case, funder, provider, burned) if not isinstance(move, Credit))


def _all_lose(panel: disputes.Round, standing: int, fee: Tokens, *, any_majority: bool) -> Iterator[Move]:
    return _SEATS(panel, 0, fee, any_majority=any_majority)


def _no_damages(row: disputes.Row, case: disputes.Case, paid: int, *, had_majority: bool) -> payouts.Payout:
    milder = disputes.Row.UNSERVED if row is disputes.Row.ACQUITTED else row
    return payouts.payout(milder, case, paid, had_majority=had_majority)


def _nothing_due(*_: Any) -> None:
    return None


_CREDITS: Final = ending._credits
_SEATS: Final = ending._seats
_PROPOSE: Final = search._propose
_CLIENT_DEADLINE: Final = client.deadline
_OPEN: Final = Escrow._open
_PAY: Final = Escrow._pay
_EXPIRE: Final = Escrow._expire
_COMMIT: Final = MemoryDisk.commit
_ON_COMMITMENT: Final = (
    states.Committed, states.Running, states.Resulted, states.Delivered, states.Accepted, states.Rejected,
)  # fmt: skip

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "claim-never",
        "a provider does not claim when its client is silent",
        _dead_end(provider.TABLE, (states.Resulted, ins.TimePassed), (states.Delivered, ins.TimePassed)),
    ),
    Mutant(
        "finalize-never",
        "nobody ends a claim whose window has passed",
        lambda: _both(
            _edges(provider.TABLE, (states.Claimed, ins.TimePassed)),
            _edges(client.TABLE, (states.Claimed, ins.TimePassed)),
        ),
    ),
    Mutant(
        "expire-never",
        "a client does not take back the price of a dead deal",
        _dead_end(client.TABLE, (states.Committed, ins.TimePassed)),
    ),
    Mutant("expire-early", "a client expires long before it may, and only once", _forget(client, "deadline", _early)),
    Mutant(
        "escrow-expire-early",
        "the escrow lets a deal expire at any time",
        lambda: _both(_attribute(Escrow, "_expire", _expire_any_time), _attribute(client, "deadline", _early)),
    ),
    Mutant("commit-twice", "the escrow consumes a run index again", _forget(Escrow, "_consume", _overwrite)),
    Mutant(
        "settle-unsigned", "the escrow settles without looking at the consent", _forget(Escrow, "_settle", _any_consent)
    ),
    Mutant("settle-twice", "the escrow settles what is settled", _forget(Escrow, "_open", _any_claim)),
    Mutant(
        "collateral-kept", "the escrow keeps the collateral of a paid deal", _forget(Escrow, "_pay", _keep_collateral)
    ),
    Mutant(
        "budget-ignored",
        "a run forgets what it has spent",
        lambda: _both(
            _attribute(runs, "outstanding", lambda state, run: Tokens(0)),
            _attribute(runs, "waits_for_money", lambda state, run: False),
        ),
        "splits",
    ),
    Mutant(
        "abandoned-is-free",
        "a budget forgets deals that the provider may still commit",
        _forget(runs, "_may_come_back", lambda state, deal: False),
        "splits",
    ),
    Mutant("index-reused", "a retry signs the index of the deal it replaces", _forget(search, "_propose", _same_index)),
    Mutant(
        "hold-never-freed",
        "holds do not lapse",
        lambda: _both(_attribute(Desk, "expire", lambda self, now: None), _item(rules._TIMERS, "hold", lambda *_: [])),
    ),
    Mutant("two-holds", "a client may hold more than one slot", _forget(Desk, "hold_of", lambda self, client: None)),
    Mutant("slots-uncounted", "signed deals take no slot", _forget(deals, "busy_slots", lambda state: 0)),
    Mutant(
        "no-audit",
        "no result is ever re-executed",
        _forget(audit_rules, "drawn", lambda value, deal_id, audit_ppm: False),
        "mild",
        60,
    ),
    Mutant(
        "reorg-unseen-by-provider",
        "a provider does not notice that its transaction was taken back",
        _dead_end(
            provider.TABLE, *((s, ins.ChainRetracted) for s in (*_ON_COMMITMENT, states.Claimed, states.Settled))
        ),
    ),
    Mutant(
        "commitment-unseen-after-leaving",
        "a client does not believe a commitment that comes after it gave up",
        _dead_end(client.TABLE, (states.Abandoned, ins.ChainMoved)),
    ),
    Mutant(
        "sign-off-lost",
        "a provider drops the client's sign-off and does not claim either",
        _dead_end(
            provider.TABLE,
            (states.Resulted, ins.SignedOff),
            (states.Delivered, ins.SignedOff),
            (states.Resulted, ins.TimePassed),
            (states.Delivered, ins.TimePassed),
        ),
    ),
    Mutant(
        "dispute-never",
        "a client does not dispute what is confirmed",
        _forget(checking, "open_dispute", lambda *args, **options: ()),
        AUDITS,
    ),
    Mutant("all-the-same", "every re-execution is found to match", _forget(checking, "_same", lambda *_: True), AUDITS),
    Mutant(
        "conviction-is-free",
        "a panel that convicts gives the collateral back",
        _forget(ending, "payout", _mild),
        AUDITS,
    ),
    Mutant(
        "seat-idle",
        "a seat does nothing in the panel that it was called to",
        _forget(duties, "_seat_call", lambda *_: None),
        AUDITS,
    ),
    Mutant(
        "secret-withheld",
        "an accused provider makes none of its calls",
        _forget(parties, "provider_duties", lambda *_: ()),
        CHAOS,
    ),
    Mutant(
        "poke-never",
        "nobody ends a phase of a dispute whose time is over",
        lambda: _both(_attribute(parties, "poke_due", _nothing_due), _attribute(seat_calls, "poke_due", _nothing_due)),
        CHAOS,
    ),
    Mutant("bond-kept", "who has funded a dispute gets nothing back", _forget(ending, "_credits", _unpaid), AUDITS),
    Mutant("majority-loses", "seats of the majority lose their lock", _forget(ending, "_seats", _all_lose), CHAOS),
    Mutant(
        "acquitted-for-nothing",
        "who was accused falsely gets no damages",
        _forget(ending, "payout", _no_damages),
        CHAOS,
    ),
    Mutant(
        "vouchers-kept",
        "a provider does not fetch what it was signed when a channel is about to close",
        _forget(channel_provider, "_redeem", lambda book: ()),
        CHAOS,
    ),
    Mutant(
        "bitten-twice",
        "a client goes back to who keeps what was paid for",
        lambda: _both(
            _attribute(vouchers, "barred", lambda state, env: frozenset()),
            _attribute(vouchers, "_lost", lambda deal: False),
        ),
        CHANNELS,
    ),
    Mutant(
        "idle-unheard",
        "a job whose time was up says nothing about who was to run it",
        _forget(reputation, "_said", lambda deal: None),
        "idle, timeout",
    ),
    Mutant(
        "idle-witness",
        "who says that memory ran out bears out another who says so",
        _forget(checking, "NEVER_GROUNDS", frozenset()),
        "idle, oom",
    ),
    Mutant("lost-fsync", "the last two transactions before a crash are not on disk", _lost_fsync),
)

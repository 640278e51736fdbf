"""Which logs does a call of the panel leave, byte by byte? Read from the dispute before and after it.

The pure machine has no logs: it moves states. The contract logs every phase it passes through, also those that a call
enters and leaves again. ``tests/sim/test_panel_parity.py`` compares the two on whole disputes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from protocols.contracts import artifact
from protocols.contracts.panel import EVENTS
from protocols.disputes import inputs as ins
from protocols.disputes import states as st
from protocols.disputes.draw import first_seed, unfilled
from protocols.disputes.params import MAX_REPLACEMENTS, TOLERANCE, PanelBounds, appeal_deposit, lock_of
from protocols.disputes.record import PROVIDER_POSITION
from protocols.disputes.seats import Seat
from protocols.disputes.states import PHASE, Finding, Outcome, Phase, Row, Stage
from protocols.disputes.verdict import judge
from protocols.hashing import keccak256
from protocols.units import UnixSeconds

__all__ = ["DISPUTE_LOGS", "Call", "Log", "escrow_log", "opened", "panel_log", "told"]

_WORD: Final = 32
_ENDED: Final = (st.Settled, st.Slashed, st.Voided)


class Log(msgspec.Struct, frozen=True):
    """One log. ``by``: ``panel``, ``scores`` or ``escrow``."""

    by: str
    name: str
    topics: tuple[bytes, ...]
    data: bytes


class Call(msgspec.Struct, frozen=True):
    """One call about a dispute, and what it changed. ``seats``: all of the dispute's class, before and after."""

    before: st.Live
    input: ins.DisputeInput
    after: st.DisputeState
    seats: Sequence[Seat]
    seats_after: Sequence[Seat]
    score: int
    """Of the provider at this level, after it."""
    now: UnixSeconds
    bounds: PanelBounds


# --- encoding --------------------------------------------------------------------------------------------------------

Members = tuple[tuple[str, str, bool], ...]
_OF_PANEL: Final[dict[str, tuple[bytes, Members]]] = {
    name: (topic, members) for topic, (name, members) in EVENTS.items()
}


DISPUTE_LOGS: Final = frozenset(name for name, (_, members) in _OF_PANEL.items() if members[0][0] == "dealId")
"""The panel's logs about one dispute."""


def _of_escrow() -> dict[str, tuple[bytes, Members]]:
    found = {}
    for entry in artifact("MeshEscrow").abi:
        if entry["type"] == "event":
            members = tuple((one["name"], one["type"], one["indexed"]) for one in entry["inputs"])
            text = f"{entry['name']}({','.join(kind for _, kind, _ in members)})"
            found[entry["name"]] = (bytes(keccak256(text.encode())), members)
    return found


_ESCROW: Final = _of_escrow()


def _word(value: Any) -> bytes:
    """Addresses on the right, numbers and truth values in full width."""
    return bytes(value).rjust(_WORD, b"\0") if isinstance(value, bytes) else int(value).to_bytes(_WORD)


def _encoded(by: str, name: str, layout: tuple[bytes, Members], values: tuple[Any, ...]) -> Log:
    topic, members = layout
    words = [(_word(value), indexed) for value, (_, _, indexed) in zip(values, members, strict=True)]
    topics = (topic, *(word for word, indexed in words if indexed))
    return Log(by, name, topics, b"".join(word for word, indexed in words if not indexed))


def panel_log(name: str, *values: Any) -> Log:
    """A log of the panel, values in the order of its declaration."""
    return _encoded("scores" if name == "ScoreChanged" else "panel", name, _OF_PANEL[name], values)


def escrow_log(name: str, *values: Any) -> Log:
    """A log of the escrow."""
    return _encoded("escrow", name, _ESCROW[name], values)


# --- what a call tells -----------------------------------------------------------------------------------------------


def opened(state: st.Disputed) -> Iterator[Log]:
    """A dispute has begun."""
    case, lock = state.case, state.case.lock
    yield panel_log(
        "DisputeOpened",
        lock.deal_id,
        lock.client,
        lock.provider,
        case.result_hash,
        case.reason,
        case.funder,
        case.fee,
        case.pool,
    )
    yield panel_log("PhaseChanged", lock.deal_id, Phase.DISPUTED, state.until)


def told(call: Call) -> Iterator[Log]:
    """The logs of the panel and of its scores, in their order. What the escrow says of the end comes after them."""
    before, after, deal_id = call.before, call.after, call.before.case.lock.deal_id
    yield from _own(call)
    late = _late(call)
    yield from _lost(call, late)
    if _draws(call):
        yield from _called(call)
        yield panel_log("PhaseChanged", deal_id, Phase.DRAWN, call.now + call.bounds.accept)
    found = _found(call)
    if found is not None:
        # A second deposit begins the second panel in the same call.
        number = int(isinstance(before, st.Appealed)) or _round(before)
        yield panel_log("Found", deal_id, number, found.outcome, found.clique, found.firsts)
    if isinstance(after, _ENDED):
        yield from _ended(call, after, late)
    elif type(after) is not type(before) and not isinstance(after, st.Drawn):
        yield panel_log("PhaseChanged", deal_id, PHASE[type(after)], after.until)


def _rounds(state: st.DisputeState) -> tuple[st.Round, ...]:
    return () if isinstance(state, (st.Disputed, *_ENDED)) else state.rounds


def _round(state: st.DisputeState) -> int:
    return max(len(_rounds(state)) - 1, 0)


def _own(call: Call) -> Iterator[Log]:
    """What every call of its kind tells."""
    case, number = call.before.case, _round(call.before)
    deal_id = case.lock.deal_id
    match call.input:
        case ins.SecretShown(secret=secret):
            seed = first_seed(case.client_secret, secret, deal_id)
            yield panel_log("SecretRevealed", deal_id, secret, seed)
        case ins.Accepted(position=position):
            yield panel_log("SeatAccepted", deal_id, number, position)
        case ins.Committed(position=position, commitment=commitment):
            yield panel_log("SeatCommitted", deal_id, number, position, commitment)
        case ins.InputsMissing(position=position):
            yield panel_log("InputUnavailable", deal_id, number, position)
        case ins.Opened(salt=salt, root=root, commit=commit):
            yield panel_log("ResultOpened", deal_id, salt, root, commit.outcome)
        case ins.Revealed(position=position, fingerprint=fingerprint, salt=salt, served=served):
            yield panel_log("SeatRevealed", deal_id, number, position, fingerprint, salt, served)
        case ins.Matched(position=position, mask=mask):
            yield panel_log("Published", deal_id, number, position, mask)
        case ins.ProviderMatched(mask=mask):
            yield panel_log("Published", deal_id, number, PROVIDER_POSITION, mask)
        case ins.Deposited(side=side, account=account):
            yield panel_log("AppealDeposited", deal_id, side, account, appeal_deposit(case.fee))
        case ins.Delivered():
            yield panel_log("DeliveryShown", deal_id)
        case ins.Poked() | ins.Equivocated():
            return


def _late(call: Call) -> tuple[int, ...]:
    """Seats that lose their lock because a poke found them late, by number, in the order of their places."""
    missed = Stage.ACCEPTED if isinstance(call.before, st.Committing) else Stage.COMMITTED
    if not isinstance(call.before, (st.Committing, st.Revealing)) or not isinstance(call.input, ins.Poked):
        return ()
    return tuple(turn.seat for turn in call.before.rounds[-1].turns if turn.stage is missed)


def _lost(call: Call, numbers: Sequence[int]) -> Iterator[Log]:
    """A lock is burned, and the seat leaves its class, unless it was leaving."""
    case = call.before.case
    for number in numbers:
        yield panel_log("LockLost", case.seat_class, number, lock_of(case.lock.price))
        if not call.seats[number].out_at:
            yield panel_log("SeatLeaving", case.seat_class, number, call.now + call.bounds.resign)


def _draws(call: Call) -> bool:
    """Whether seats are looked for in this call."""
    before = call.before
    match before, call.input:
        case st.Disputed(), ins.SecretShown():
            return True
        case st.Appealed(), ins.Deposited():
            return True
        case ((st.Drawn() | st.Committing()), ins.Poked()):
            panel, pool = before.rounds[-1], before.case.pool
            more = panel.waves < MAX_REPLACEMENTS and panel.cursor < pool
            return more or (isinstance(before, st.Drawn) and unfilled(panel, pool))
        case _:
            return False


def _called(call: Call) -> Iterator[Log]:
    after = call.after
    if not isinstance(after, st.Drawn):
        return
    before = _rounds(call.before)
    known = len(before[-1].called) if len(before) == len(after.rounds) else 0
    panel, deal_id = after.rounds[-1], after.case.lock.deal_id
    at = {turn.seat: position for position, turn in enumerate(panel.turns) if turn.stage is Stage.CALLED}
    for seat in panel.called[known:]:
        operator = call.seats[seat].operator
        yield panel_log("SeatCalled", deal_id, operator, len(after.rounds) - 1, at[seat], seat)


def _found(call: Call) -> Finding | None:
    """What this call has found; an ended dispute does not remember it."""
    before, after = call.before, call.after
    if isinstance(after, st.Verdict) and not isinstance(before, st.Verdict):
        return after.finding
    if not isinstance(after, _ENDED) or isinstance(call.input, ins.Equivocated):
        return None
    match before, call.input:
        case st.Matching(), _:
            return judge(_published(before, call.input), before.rounds[0] if len(before.rounds) == 2 else None)
        case st.Revealing(), _:
            return Finding(Outcome.NO_OUTPUTS if after.row is Row.FORFEIT else Outcome.SPLIT)
        case ((st.Drawn() | st.Committing()), _):
            return Finding(Outcome.NO_INPUTS if after.row is Row.UNSERVED else Outcome.SPLIT)
        case st.Appealed(), ins.Deposited():
            return Finding(Outcome.SPLIT)
        case _:
            return None


def _published(before: st.Matching, last: ins.DisputeInput) -> st.Round:
    """The panel with the mask that came last."""
    panel = before.rounds[-1]
    if isinstance(last, ins.ProviderMatched):
        return msgspec.structs.replace(panel, provider_matched=True, provider_mask=last.mask)
    if isinstance(last, ins.Matched):
        turns = list(panel.turns)
        turns[last.position] = msgspec.structs.replace(turns[last.position], stage=Stage.MATCHED, mask=last.mask)
        return msgspec.structs.replace(panel, turns=tuple(turns))
    return panel


def _ended(call: Call, after: st.Ended, late: Sequence[int]) -> Iterator[Log]:
    case = after.case
    if case.level in TOLERANCE and after.row in (Row.LOST, Row.CONVICTED):
        yield panel_log("ScoreChanged", case.lock.provider_owner, case.level, call.score)
    sat = [turn.seat for panel in _rounds(call.before) for turn in panel.turns if turn.stage is not Stage.VACANT]
    poorer = (seat for seat in sat if call.seats_after[seat].bond < call.seats[seat].bond and seat not in late)
    yield from _lost(call, tuple(dict.fromkeys(poorer)))
    yield panel_log("DisputeEnded", case.lock.deal_id, after.row, PHASE[type(after)])

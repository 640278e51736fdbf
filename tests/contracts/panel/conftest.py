"""How do the panel's tests reach a chain? The escrow's world with a real panel in it, mediators, and books beside them.

Every call goes to the contract and to ``protocols.disputes.panel.Panel``, and must have the same result in both: the same
refusal, or the same phase, seats, accounts and money. So each test of a rule tests it twice.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from eth_abi.abi import decode, encode

from protocols.contracts import artifact, calls, panel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import (
    Deal,
    DeliveryReceipt,
    Domain,
    Enforcement,
    Level,
    OnChainState,
    OutcomeCode,
    ResultCommit,
    digest,
)
from protocols.disputes import inputs as ins
from protocols.disputes import states as st
from protocols.disputes.draw import commitment_of
from protocols.disputes.machine import deadline
from protocols.disputes.panel import Panel
from protocols.disputes.params import DEVNET_PANEL, PanelBounds
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, Seconds, Tokens, UnixSeconds

if TYPE_CHECKING:
    from tests.contracts.conftest import Key, World

BOUNDS: Final = msgspec.structs.replace(DEVNET_PANEL, seat_bond=Tokens(10_000))
BOUNDS_ABI: Final = "(uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint128)"
PRICE, COLLATERAL, FEE = 1_000, 30_000, 1_501
SEATS: Final = 14
CLASS: Final = 1
FULL_COMPARISON: Final = 8
"""Every so many calls all seats, accounts and disputes are compared; else the money, and the dispute that was called."""
EXEC: Final = 60
_OUTPUT: Final = re.compile(r"output: 0x([0-9a-f]*)")


def abi_type(entry: dict[str, Any]) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    return f"({','.join(abi_type(member) for member in entry['components'])}){entry['type'].removeprefix('tuple')}"


def signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(abi_type(member) for member in entry['inputs'])})"


ABI: Final = [entry for name in ("MediatorPanel", "PanelScores", "MeshEscrow") for entry in artifact(name).abi]
ERRORS: Final = {keccak256(signature(e).encode())[:4]: e["name"] for e in ABI if e["type"] == "error"}
VIEWS: Final = {
    e["name"]: e for e in artifact("PanelScores").abi + artifact("MediatorPanel").abi if e["type"] == "function"
}


def code_of(error: str) -> str:
    """``wrong_phase`` for ``WrongPhase``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error).lower()


class Refused(Exception):
    """A call was refused by contract and model alike, with this code."""


class PanelWorld:
    """An escrow with its panel, client, provider, and ``SEATS`` mediators with a seat each; and the model."""

    def __init__(self, world: "World", *, bounds: PanelBounds = BOUNDS, seats: int = SEATS) -> None:
        self.world, self.bounds, self._calls = world, bounds, 0
        self.client, self.provider, self.stranger = world.client, world.provider, world.stranger
        self._deploy()
        self.model = Panel(bounds, self.domain)
        kind = type(world.client)
        self.mediators = [kind(f"mediator {number}") for number in range(seats)]
        for key in (self.client, self.provider, self.stranger, *self.mediators):
            world.evm.set_balance(key.hex, 10**30)
            world.call(world.minter, "mint", key.hex, 10**9, to=world.token)
            world.call(key, "approve", "0x" + self.escrow.hex(), 2**256 - 1, to=world.token)
            world.call(key, "deposit", 10**8)
            self.fund(key, 10**6)
        world.call(self.provider, "stake", 10**7)
        for key in self.mediators:
            self.join(key)
        self.world.warp(bounds.seat_age + 1)
        self.deals: dict[bytes, tuple[Deal, Lock]] = {}
        self._supply = self._tokens_outside()

    def _deploy(self) -> None:
        world = self.world
        nonce = world.evm.basic(world.minter.hex).nonce
        expected = keccak256(b"\xd6\x94" + world.minter.address + bytes([nonce + 1]))[12:]
        assert 0 < nonce + 1 < 0x80
        self.escrow = world.escrow = world.deploy_escrow(panel=Address(expected))
        numbers = tuple(int(item) for item in msgspec.structs.astuple(self.bounds))
        kinds = ["address", "address", "bool", BOUNDS_ABI]
        arguments = encode(kinds, ["0x" + self.escrow.hex(), "0x" + world.token.hex(), True, numbers])
        self.panel = world.deploy_code(artifact("MediatorPanel").bytecode + arguments)
        assert self.panel == expected
        self.domain = world.domain = Domain(world.domain.chain_id, self.escrow)
        self.scores = Address(bytes.fromhex(self.view("SCORES")[2:]))

    # --- both at once ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> UnixSeconds:
        return self.world.now

    def both(self, on_chain: Callable[[], object], in_model: Callable[[], object]) -> None:
        """The call in both worlds: the same refusal, or success and the same books. Raises Refused(code)."""
        refused = self._refusal(in_model)
        said = self._revert(on_chain)
        assert said == refused, f"the contract says {said}, the model {refused}"
        self._calls += 1
        if self._calls % FULL_COMPARISON == 0:
            self.compare()
        else:
            self._compare_money()
        if refused:
            raise Refused(refused)

    def refused(self, code: str, act: Callable[[], object]) -> None:
        """``act`` must be refused by both, with this code."""
        with pytest.raises(Refused) as caught:
            act()
        assert str(caught.value) == code

    def _refusal(self, act: Callable[[], object]) -> str:
        try:
            act()
        except RemoteProtocolError as error:
            return error.code
        return ""

    def _revert(self, act: Callable[[], object]) -> str:
        try:
            act()
        except self.world.reverted as error:
            found = _OUTPUT.search(str(error))
            output = bytes.fromhex(found[1]) if found else b""
            return code_of(error.name or ERRORS.get(output[:4], f"no known error: {error}"))
        return ""

    def send(self, who: "Key", data: bytes, *, to: Address | None = None) -> None:
        self.world.send(who, data, to=to or self.panel)

    def view(self, name: str, *args: Any, to: Address | None = None) -> Any:
        entry = VIEWS[name]
        data = keccak256(signature(entry).encode())[:4] + encode([abi_type(one) for one in entry["inputs"]], args)
        output = self.world.send(self.stranger, data, to=to or self.panel)
        values = decode([abi_type(one) for one in entry["outputs"]], output)
        return values[0] if len(values) == 1 else values

    @property
    def events(self) -> list[panel.PanelEvent]:
        """What the panel has told in the last call that changed something."""
        found = (panel.event_of([bytes(t) for t in log.data[0]], bytes(log.data[1])) for log in self.world._logs)
        return [event for event in found if event is not None]

    # --- comparing ---------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Contract and model hold the same."""
        model = self.model
        for owner, amount in model.accounts.items():
            assert self.view("accountOf", "0x" + owner.hex()) == amount
        for seat_class, seats in model.classes.items():
            assert self.view("seatCount", seat_class) == len(seats)
            for number, seat in enumerate(seats):
                owner, joined, out_at, operator, bond, locked = self.view("seatOf", seat_class, number)
                assert (bytes.fromhex(owner[2:]), bytes.fromhex(operator[2:])) == (seat.owner, seat.operator)
                assert (joined, out_at, bond, locked) == (seat.joined_at, seat.out_at, seat.bond, seat.locked), number
        self._compare_money()
        for state in model.disputes.values():
            self.compare_dispute(state)
        for (owner, level), (score, failed_at) in model.scores.items():
            assert tuple(self.view("scoreOf", "0x" + owner.hex(), level, to=self.scores)) == (score, failed_at)

    def _compare_money(self) -> None:
        assert self.view("burnable") == self.model.burnable
        assert self.world.tokens(self.panel) == self.model.held()

    def compare_dispute(self, state: st.DisputeState) -> None:
        deal_id = state.case.lock.deal_id
        phase, until, number, fee, finding, row = self.view("statusOf", deal_id)
        assert st.Phase(phase) is st.PHASE[type(state)]
        assert fee == state.case.fee
        if isinstance(state, (st.Settled, st.Slashed, st.Voided)):
            assert st.Row(row) is state.row
            return
        assert until == deadline(state)
        if isinstance(state, st.Disputed):
            return
        if isinstance(state, (st.Verdict, st.Appealed)):
            assert finding == (state.finding.outcome, state.finding.clique, state.finding.firsts)
        assert number == len(state.rounds) - 1
        for at, round_ in enumerate(state.rounds):
            seed, salts, cursor, size, waves = self.view("panelOf", deal_id, at)
            assert (seed, salts, cursor, waves) == (round_.seed, round_.salts, round_.cursor, round_.waves)
            assert size == len(round_.turns)
            for position, turn in enumerate(round_.turns):
                seat, stage, served, mask, commitment = self.view("turnOf", deal_id, at, position)
                assert st.Stage(stage) is turn.stage
                if turn.stage is not st.Stage.VACANT:
                    assert (seat, served, mask, commitment) == (turn.seat, turn.served, turn.mask, turn.commitment)

    def _tokens_outside(self) -> int:
        return self.world.tokens(self.escrow) + self.world.tokens(self.panel)

    # --- accounts and seats ------------------------------------------------------------------------------------------

    def fund(self, key: "Key", amount: int) -> None:
        self.world.send(key, calls.fund_panel(Tokens(amount)))
        self.model.fund(self._owner(key), amount)

    def withdraw(self, key: "Key", amount: int) -> None:
        data = panel.withdraw(Tokens(amount))
        self.both(lambda: self.send(key, data), lambda: self.model.withdraw(self._owner(key), amount))

    def _owner(self, key: "Key") -> Address:
        return Address(self.world.read("ownerOf", key.hex))

    def join(self, key: "Key", seat_class: int = CLASS) -> None:
        data, owner = panel.join(seat_class), self._owner(key)
        self.both(lambda: self.send(key, data), lambda: self.model.join(owner, key.address, seat_class, self.now))

    def resign(self, key: "Key", seat: int, seat_class: int = CLASS) -> None:
        data = panel.resign(seat_class, seat)
        self.both(lambda: self.send(key, data), lambda: self.model.resign(key.address, seat_class, seat, self.now))

    def retire(self, seat: int, seat_class: int = CLASS) -> None:
        data = panel.retire(seat_class, seat)
        self.both(lambda: self.send(self.stranger, data), lambda: self.model.retire(seat_class, seat, self.now))

    # --- a deal and its dispute --------------------------------------------------------------------------------------

    def secret(self, deal: Deal, side: st.Side) -> Hash32:
        return keccak256(b"secret", bytes([side]), deal.run_nonce.to_bytes(8))

    def deal(self, **changes: Any) -> Deal:
        """A panel deal within the bounds."""
        terms: dict[str, Any] = {
            "price": Tokens(PRICE),
            "collateral": Tokens(COLLATERAL),
            "enforcement": Enforcement.PANEL,
            "level": Level.EXACT,
            "seat_fee": Tokens(FEE),
            "seat_class": CLASS,
            "seat_snapshot": len(self.model.classes.get(CLASS, [])) or 1,
            "exec_seconds": Seconds(EXEC),
        }
        deal = self.world.deal(**(terms | changes))
        hashes = {
            f"{side.name.lower()}_secret_hash": keccak256(self.secret(deal, side))
            for side in (st.Side.CLIENT, st.Side.PROVIDER)
        }
        return msgspec.structs.replace(deal, **hashes)

    def commit_deal(self, deal: Deal) -> Lock:
        lock = self.world.commit(deal)
        self.deals[lock.deal_id] = (deal, lock)
        return lock

    def result(self, lock: Lock, root: bytes = b"right", outcome: OutcomeCode = OutcomeCode.EXITED) -> ResultCommit:
        salted = keccak256(self.salt(lock), keccak256(root))
        return ResultCommit(
            deal_id=lock.deal_id,
            salted_root=salted,
            outcome=outcome,
            exit_code=-1 if outcome is OutcomeCode.TIMEOUT else 0,
            fuel=7,
            wall_ms=8,
            log_head=keccak256(b"log"),
        )

    def salt(self, lock: Lock) -> Hash32:
        return keccak256(b"salt", lock.deal_id)

    def claimed(self, outcome: OutcomeCode = OutcomeCode.EXITED, **changes: Any) -> Lock:
        """A committed deal whose result is claimed."""
        lock = self.commit_deal(self.deal(**changes))
        self.claim(lock, outcome)
        return lock

    def claim(self, lock: Lock, outcome: OutcomeCode = OutcomeCode.EXITED) -> None:
        self.world.send(self.provider, calls.claim(lock, self.result_hash(lock, outcome)))

    def result_hash(self, lock: Lock, outcome: OutcomeCode = OutcomeCode.EXITED) -> Hash32:
        return digest(self.domain, self.result(lock, outcome=outcome))

    def dispute(
        self,
        lock: Lock,
        reason: st.Reason = st.Reason.WRONG,
        *,
        sender: "Key | None" = None,
        outcome: OutcomeCode = OutcomeCode.EXITED,
        secret: Hash32 | None = None,
        escrow_refuses: str = "",
    ) -> None:
        """Dispute the claimed result. ``escrow_refuses``: the code of the refusal that the model cannot foresee."""
        deal, _ = self.deals[lock.deal_id]
        sender = sender or self.client
        secret = secret or self.secret(deal, st.Side.CLIENT)
        result_hash = self.result_hash(lock, outcome)
        data = panel.dispute(deal, lock, result_hash, secret, reason)
        if escrow_refuses:
            assert self._revert(lambda: self.send(sender, data)) == escrow_refuses
            return
        self.both(lambda: self.send(sender, data), lambda: self._open(deal, lock, result_hash, secret, reason, sender))

    def dispute_unclaimed(
        self,
        lock: Lock,
        *,
        signer: "Key | None" = None,
        reason: st.Reason = st.Reason.WRONG,
        escrow_refuses: str = "",
    ) -> None:
        """Dispute a result that was signed and not claimed."""
        deal, _ = self.deals[lock.deal_id]
        result, secret = self.result(lock), self.secret(deal, st.Side.CLIENT)
        signed = (signer or self.provider).sign(digest(self.domain, result))
        data = panel.dispute_unclaimed(deal, lock, result, signed, secret, reason)
        if escrow_refuses:
            assert self._revert(lambda: self.send(self.client, data)) == escrow_refuses
            return
        result_hash = digest(self.domain, result)
        self.both(
            lambda: self.send(self.client, data),
            lambda: self._open(deal, lock, result_hash, secret, reason, self.client),
        )

    def _open(
        self, deal: Deal, lock: Lock, result_hash: Hash32, secret: Hash32, reason: st.Reason, sender: "Key"
    ) -> None:
        funder = self._owner(sender)
        self.model.dispute(deal, lock, result_hash, secret=secret, reason=reason, funder=funder, now=self.now)

    def act(self, lock: Lock, who: "Key", data: bytes, input_: ins.DisputeInput) -> None:
        """One call about a dispute; what the escrow is told must be what the model says."""
        before = self._parties(lock)
        told: list[ins.Close | None] = []
        voided = self.world.state(lock) is not OnChainState.DISPUTED
        self.both(
            lambda: self.send(who, data),
            lambda: told.append(self.model.act(lock.deal_id, input_, self.now, voided=voided)),
        )
        self.compare_dispute(self.state(lock))
        close = told[0]
        if close is None:
            assert self._parties(lock) == before
            return
        paid = close.payout.to_provider - close.payout.to_provider // 100
        gains = (close.payout.to_client, paid, close.payout.to_stake)
        assert tuple(b - a for a, b in zip(before, self._parties(lock), strict=True)) == gains
        assert self.world.state(lock).name == close.end.name
        assert (
            close.payout.to_client
            + close.payout.to_provider
            + close.payout.to_stake
            + close.payout.to_panel
            + (close.payout.burned)
            == lock.price + lock.collateral
        )

    def _parties(self, lock: Lock) -> tuple[int, int, int]:
        client = self.world.read("accountOf", "0x" + lock.client_owner.hex())[0]
        free, stake = self.world.read("accountOf", "0x" + lock.provider_owner.hex())
        return int(client), int(free), int(stake)

    # --- steps of a dispute ------------------------------------------------------------------------------------------

    def state(self, lock: Lock) -> st.DisputeState:
        return self.model.disputes[lock.deal_id]

    def phase(self, lock: Lock) -> st.Phase:
        return st.PHASE[type(self.state(lock))]

    def panel_of(self, lock: Lock) -> st.Round:
        state = self.state(lock)
        assert not isinstance(state, (st.Disputed, st.Settled, st.Slashed, st.Voided))
        return state.rounds[-1]

    def operator(self, lock: Lock, position: int) -> "Key":
        seat = self.model.classes[CLASS][self.panel_of(lock).turns[position].seat]
        return next(key for key in (*self.mediators, self.stranger) if key.address == seat.operator)

    def show_secret(self, lock: Lock, secret: Hash32 | None = None) -> None:
        secret = secret or self.secret(self.deals[lock.deal_id][0], st.Side.PROVIDER)
        self.act(lock, self.provider, panel.show_secret(lock.deal_id, secret), ins.SecretShown(secret))

    def accept(self, lock: Lock, position: int, *, sender: "Key | None" = None) -> None:
        who = sender or self.operator(lock, position)
        self.act(lock, who, panel.accept(lock.deal_id, position), ins.Accepted(who.address, position))

    def fingerprint(self, lock: Lock, position: int) -> tuple[Hash32, Hash32]:
        """Fingerprint and salt of a seat; what they are the contract cannot know."""
        return keccak256(b"print", lock.deal_id, bytes([position])), keccak256(b"salt", lock.deal_id, bytes([position]))

    def commit(self, lock: Lock, position: int, *, sender: "Key | None" = None, copied_from: int | None = None) -> None:
        who = sender or self.operator(lock, position)
        state = self.state(lock)
        rounds = len(state.rounds) - 1 if isinstance(state, st.Committing) else 0
        author = position if copied_from is None else copied_from
        seat = self.panel_of(lock).turns[author].seat
        made = commitment_of(lock.deal_id, rounds, seat, *self.fingerprint(lock, author))
        self.act(lock, who, panel.commit(lock.deal_id, position, made), ins.Committed(who.address, position, made))

    def miss_inputs(self, lock: Lock, position: int) -> None:
        who = self.operator(lock, position)
        self.act(lock, who, panel.miss_inputs(lock.deal_id, position), ins.InputsMissing(who.address, position))

    def open(
        self,
        lock: Lock,
        *,
        sender: "Key | None" = None,
        outcome: OutcomeCode = OutcomeCode.EXITED,
        root: bytes = b"right",
    ) -> None:
        who, salt, result = sender or self.provider, self.salt(lock), self.result(lock, outcome=outcome)
        input_ = ins.Opened(who.address, salt, keccak256(root), result)
        self.act(lock, who, panel.open_(result, salt, keccak256(root)), input_)

    def reveal(
        self,
        lock: Lock,
        position: int,
        *,
        served: bool = True,
        salt: Hash32 | None = None,
        copied_from: int | None = None,
    ) -> None:
        who = self.operator(lock, position)
        mark, own = self.fingerprint(lock, position if copied_from is None else copied_from)
        salt = salt or own
        data = panel.reveal(lock.deal_id, position, mark, salt, served=served)
        self.act(lock, who, data, ins.Revealed(who.address, position, mark, salt, served))

    def publish(self, lock: Lock, position: int, mask: int) -> None:
        who = self.operator(lock, position)
        self.act(lock, who, panel.publish(lock.deal_id, position, mask), ins.Matched(who.address, position, mask))

    def publish_provider(self, lock: Lock, mask: int, *, sender: "Key | None" = None) -> None:
        who = sender or self.provider
        self.act(lock, who, panel.publish_provider(lock.deal_id, mask), ins.ProviderMatched(who.address, mask))

    def deposit(self, lock: Lock, side: st.Side, *, sender: "Key | None" = None) -> None:
        who = sender or (self.client if side is st.Side.CLIENT else self.provider)
        self.act(lock, who, panel.deposit(lock.deal_id, side), ins.Deposited(self._owner(who), side))

    def show_delivery(self, lock: Lock, *, outcome: OutcomeCode = OutcomeCode.EXITED) -> None:
        receipt = DeliveryReceipt(lock.deal_id, self.result_hash(lock, outcome))
        signed = self.world.signed(self.client, receipt)
        self.act(lock, self.stranger, panel.show_delivery(lock.deal_id, signed), ins.Delivered())

    def equivocate(self, lock: Lock) -> None:
        other = self.result(lock, root=b"other")
        signed = self.provider.sign(digest(self.domain, other))
        self.act(lock, self.stranger, panel.prove_equivocation(other, signed), ins.Equivocated())

    def credit(self, lock: Lock) -> None:
        """Show the scores a deal that may have been settled."""
        deal, _ = self.deals[lock.deal_id]
        state, since, _ = self.world.read("slotOf", "0x" + lock.client.hex(), lock.run_nonce, lock.index)
        self.both(
            lambda: self.send(self.stranger, panel.credit_settled(deal, lock), to=self.scores),
            lambda: self.model.credit(deal, lock, OnChainState(state), since),
        )

    def lock_words(self, lock: Lock) -> tuple[Any, ...]:
        """The Lock as an argument of a view."""
        words = lock.words()
        kinds = ["bytes32", "address", "bytes32", "address", "address", *["uint256"] * 4]
        return tuple(decode(kinds, words))

    def poke(self, lock: Lock) -> None:
        self.act(lock, self.stranger, panel.poke(lock.deal_id), ins.Poked())

    def burn(self) -> None:
        self.world.send(self.stranger, keccak256(b"burn()")[:4], to=self.panel)
        self.model.burnable = 0
        self.compare()

    def pass_deadline(self, lock: Lock) -> None:
        until = deadline(self.state(lock))
        assert until is not None
        self.world.warp_to(max(self.now, until + 1))

    # --- many steps at once ------------------------------------------------------------------------------------------

    def places(self, lock: Lock, stage: st.Stage) -> list[int]:
        return [at for at, turn in enumerate(self.panel_of(lock).turns) if turn.stage is stage]

    def disputed(
        self, reason: st.Reason = st.Reason.WRONG, *, outcome: OutcomeCode = OutcomeCode.EXITED, **changes: Any
    ) -> Lock:
        lock = self.claimed(outcome, **changes)
        self.dispute(lock, reason, outcome=outcome)
        return lock

    def committing(self, lock: Lock) -> None:
        """From DISPUTED or DRAWN: everybody accepts."""
        if self.phase(lock) is st.Phase.DISPUTED:
            self.show_secret(lock)
        for position in self.places(lock, st.Stage.CALLED):
            self.accept(lock, position)

    def revealing(self, lock: Lock, *, outcome: OutcomeCode = OutcomeCode.EXITED) -> None:
        """Everybody commits, the provider opens."""
        self.committing(lock)
        for position in self.places(lock, st.Stage.ACCEPTED):
            self.commit(lock, position)
        self.open(lock, outcome=outcome)

    def matching(self, lock: Lock, *, outcome: OutcomeCode = OutcomeCode.EXITED) -> None:
        self.revealing(lock, outcome=outcome)
        for position in self.places(lock, st.Stage.COMMITTED):
            self.reveal(lock, position)

    def judged(
        self, lock: Lock, agree: int, *, guilty: bool, firsts: int = 0, outcome: OutcomeCode = OutcomeCode.EXITED
    ) -> None:
        """The seats in the bits of ``agree`` match each other, and the provider unless it is ``guilty``."""
        self.matching(lock, outcome=outcome)
        provider = 0 if guilty else st.PROVIDER_BIT
        for position in self.places(lock, st.Stage.REVEALED):
            self.publish(lock, position, (agree | provider | firsts) if agree >> position & 1 else 0)
        self.publish_provider(lock, agree)


@pytest.fixture
def court(make_world: "Callable[..., World]") -> PanelWorld:
    """Fourteen seats in class 1; client and provider have money in the escrow and at the panel."""
    return PanelWorld(make_world())


@pytest.fixture(scope="session")
def make_court(make_world: "Callable[..., World]") -> Callable[..., PanelWorld]:
    """For tests that need other bounds, fewer seats, or many worlds."""
    return lambda **options: PanelWorld(make_world(), **options)

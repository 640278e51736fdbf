"""How does a panel's test carry a deal to its verdict? One method for each step, and some for many steps at once."""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from eth_abi.abi import decode

from protocols.contracts import calls, panel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import (
    Deal,
    DeliveryReceipt,
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
from protocols.hashing import keccak256
from protocols.units import Hash32, Seconds, Tokens
from tests.contracts.panel.twin import CLASS, PanelTwin

if TYPE_CHECKING:
    from tests.contracts.conftest import Key

__all__ = ["PanelWorld"]

PRICE, COLLATERAL, FEE = 1_000, 30_000, 1_501
EXEC: Final = 60


class PanelWorld(PanelTwin):
    """A panel on chain and in Python, and what parties, seats and strangers do to it."""

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

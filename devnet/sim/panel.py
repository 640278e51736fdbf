"""What does the simulated chain do with calls of the panel? The pure machine, behind the simulated escrow.

As ``MediatorPanel`` is behind ``MeshEscrow``: money comes by ``fundPanel``, a dispute opens only if the escrow lets it, and
ends in the escrow. ``protocols.disputes.panel`` keeps the books, ``panel_logs`` says what the contract would log.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from devnet.sim.escrow import Escrow, Moved, Reverted
from devnet.sim.panel_calls import AboutAccount, AboutDispute, Join, Resign, Retire, Shown, Withdraw, decoded
from devnet.sim.panel_logs import Call, Log, escrow_log, opened, panel_log, told
from protocols.contracts.lock import Lock
from protocols.deals import eip712
from protocols.deals.eip712 import Deal, OnChainState
from protocols.disputes import inputs as ins
from protocols.disputes import states as st
from protocols.disputes.panel import Panel
from protocols.disputes.params import PanelBounds, lock_of
from protocols.disputes.seats import eligible_seats
from protocols.effects import CallPanel, OpenDispute, ReadSeats
from protocols.errors import RemoteProtocolError
from protocols.units import Address, DealId, PeerId, Tokens, UnixSeconds

__all__ = ["PanelResult", "SimPanel"]

T = TypeVar("T")
JUDGED: Final = {OnChainState.SETTLED: "acquitted", OnChainState.SLASHED: "convicted", OnChainState.VOID: "void"}
"""How the end of a dispute is called, as the shipped follower calls it."""


class PanelResult(msgspec.Struct, frozen=True):
    """What one call came to: the logs in their order, and how it moved its deal, if it did."""

    deal_id: DealId | None
    logs: tuple[Log, ...]
    moved: Moved | None = None


class SimPanel:
    """The panel of one simulated escrow. Owners are operators here."""

    def __init__(self, address: Address, bounds: PanelBounds, escrow: Escrow) -> None:
        self.address = address
        self.books = Panel(bounds, escrow.domain)
        self.deals: dict[DealId, Deal] = {}
        """Disputed, now or before."""
        self.rows: dict[DealId, st.Row] = {}
        """How each dispute that is over has ended."""
        self._escrow = escrow

    def before(self, sender: Address, deal_id: DealId, deal: Deal | None = None) -> Callable[[], None]:
        """Remember everything that a call about this dispute could change; call the answer to put it back.

        In the reverse order of the calls. ``deal``: of a dispute that is about to open.
        """
        books = self.books
        was = self._escrow.remember(deal or self.deals.get(deal_id), sender)
        accounts, scores, burnable = dict(books.accounts), dict(books.scores), books.burnable
        classes = {number: list(seats) for number, seats in books.classes.items()}
        state, known, row = books.disputes.get(deal_id), self.deals.get(deal_id), self.rows.get(deal_id)

        def undo() -> None:
            self._escrow.undo(was)
            books.accounts, books.scores, books.burnable, books.classes = accounts, scores, burnable, classes
            _restore(books.disputes, deal_id, state)
            _restore(self.deals, deal_id, known)
            _restore(self.rows, deal_id, row)

        return undo

    def seats_for(self, asked: ReadSeats, now: UnixSeconds) -> tuple[int, int]:
        """(seats of the class, how many of them a dispute between these two could call now)."""
        seats = self.books.classes.get(asked.seat_class, [])
        client, provider = asked.client, asked.provider
        lock = Lock.asking(client, provider, client_owner=client, provider_owner=provider, price=asked.price)
        age = self.books.bounds.seat_age
        return len(seats), eligible_seats(seats, len(seats), lock, now, lock_of(asked.price), age)

    # --- calls -------------------------------------------------------------------------------------------------------

    def fund(self, owner: Address, amount: int) -> tuple[Log, ...]:
        """``fundPanel``: from the free balance to the account at the panel. Raises ``Reverted``."""
        self._escrow.take_free(owner, amount)
        self.books.fund(owner, amount)
        return escrow_log("PanelFunded", owner, amount), panel_log("Funded", owner, amount)

    def perform(
        self, sender: Address, call: CallPanel | OpenDispute, now: UnixSeconds, names: dict[PeerId, Address]
    ) -> PanelResult:
        """One call as a node makes it: what is missing at the panel is brought there first. Raises ``Reverted``."""
        needs = call.needs if isinstance(call, CallPanel) else call.bond
        undo = self.before(sender, call.deal_id, call.deal if isinstance(call, OpenDispute) else None)
        missing = needs - self.books.accounts.get(sender, Tokens(0))
        try:
            logs = self.fund(sender, missing) if missing > 0 else ()
            if isinstance(call, OpenDispute):
                found = self.open(sender, call, now, names)
            else:
                found = self.call(sender, call.data, now, names)
        except Reverted:
            undo()
            raise
        return msgspec.structs.replace(found, logs=(*logs, *found.logs))

    def open(self, sender: Address, call: OpenDispute, now: UnixSeconds, names: dict[PeerId, Address]) -> PanelResult:
        """``dispute``, or ``disputeUnclaimed`` where nothing is claimed. Raises ``Reverted``, and then nothing has changed."""
        deal, books = call.deal, self.books
        entry = self._escrow.entry(deal)
        if entry is None or entry.state is not OnChainState.CLAIMED:
            if call.result is None:
                raise Reverted("UnsignedResult")
            self._escrow.signed(deal.provider, call.result, call.signature, names)
        lock = Lock.of(self._escrow.domain, deal, client_owner=deal.client, provider_owner=deal.provider)
        reason = st.Reason.WITHHELD if call.withheld else st.Reason.WRONG
        undo = self.before(sender, lock.deal_id, deal)
        try:
            begun = books.dispute(
                deal, lock, call.result_hash, secret=call.secret, reason=reason, funder=sender, now=now
            )
        except RemoteProtocolError as error:
            if error.code == "insufficient_account":
                self._escrow.open_dispute(deal, call.result_hash, now)  # asked before the account
            undo()
            raise Reverted(_name(error)) from error
        try:
            was = self._escrow.open_dispute(deal, call.result_hash, now)
        except Reverted:
            undo()
            raise
        self.deals[lock.deal_id] = deal
        logs = (escrow_log("DealDisputed", lock.deal_id, call.result_hash, was), *opened(begun))
        return PanelResult(lock.deal_id, logs, Moved(deal, lock.deal_id, "disputed", Tokens(0), call.result_hash))

    def call(self, sender: Address, data: bytes, now: UnixSeconds, names: dict[PeerId, Address]) -> PanelResult:
        """Any other call, by its calldata. Raises ``Reverted``, and then nothing has changed."""
        asked = decoded(sender, data)
        if asked is None:
            raise Reverted("")
        try:
            if isinstance(asked, AboutDispute):
                return self._act(asked, now, names)
            return PanelResult(None, tuple(self._about_account(sender, asked, now)))
        except RemoteProtocolError as error:
            raise Reverted(_name(error)) from error

    # --- inside ------------------------------------------------------------------------------------------------------

    def _act(self, asked: AboutDispute, now: UnixSeconds, names: dict[PeerId, Address]) -> PanelResult:
        books, deal_id = self.books, asked.deal_id
        before = books.disputes.get(deal_id)
        if before is None or isinstance(before, (st.Settled, st.Slashed, st.Voided)):
            raise Reverted("WrongPhase")
        if asked.shown is not None:
            self._check(asked.shown, before.case, names)
        members = list(books.classes.get(before.case.seat_class, []))
        entry = self._escrow.entry(self.deals[deal_id])
        voided = entry is None or entry.state is not OnChainState.DISPUTED
        close = books.act(deal_id, asked.input, now, voided=voided)
        after = books.disputes[deal_id]
        case = after.case
        score, _ = books.scores.get((case.lock.provider_owner, case.level), (0, now))
        call = Call(
            before=before,
            input=asked.input,
            after=after,
            seats=members,
            seats_after=books.classes.get(case.seat_class, []),
            score=score,
            now=now,
            bounds=books.bounds,
        )
        logs = tuple(told(call))
        if isinstance(after, (st.Settled, st.Slashed, st.Voided)):
            self.rows[deal_id] = after.row
        if close is None:
            return PanelResult(deal_id, logs)
        moved, closed = self._close(deal_id, close, now)
        return PanelResult(deal_id, (*logs, closed), moved)

    def _close(self, deal_id: DealId, close: ins.Close, now: UnixSeconds) -> tuple[Moved, Log]:
        paid, end = close.payout, OnChainState[close.end.name]
        burned = self._escrow.close_dispute(self.deals[deal_id], end, paid, now)
        values = (deal_id, end, paid.to_client, paid.to_provider, paid.to_stake, paid.to_panel, burned)
        moved = Moved(
            self.deals[deal_id],
            deal_id,
            JUDGED[end],
            Tokens(paid.to_provider),
            refund=Tokens(paid.to_client),
            returned=Tokens(paid.to_stake),
        )
        return moved, escrow_log("DisputeClosed", *values)

    def _check(self, shown: Shown, case: st.Case, names: dict[PeerId, Address]) -> None:
        value = shown.value
        if isinstance(value, eip712.DeliveryReceipt):
            value = msgspec.structs.replace(value, result_hash=case.result_hash)
        who = case.lock.client if shown.by == "client" else case.lock.provider
        self._escrow.signed(who, value, shown.signature, names)
        if shown.by == "provider" and eip712.digest(self._escrow.domain, value) == case.result_hash:
            raise Reverted("NoEquivocation")

    def _about_account(self, sender: Address, asked: AboutAccount, now: UnixSeconds) -> Iterable[Log]:
        books = self.books
        match asked:
            case Join(seat_class=number):
                seat = books.join(sender, sender, number, now)
                yield panel_log("SeatJoined", number, seat, sender, sender)
            case Resign(seat_class=number, seat=seat):
                books.resign(sender, number, seat, now)
                yield panel_log("SeatLeaving", number, seat, books.seat(number, seat).out_at)
            case Retire(seat_class=number, seat=seat):
                bond = books.seat(number, seat).bond
                books.retire(number, seat, now)
                yield panel_log("SeatRetired", number, seat, bond)
            case Withdraw(amount=amount):
                books.withdraw(sender, amount)
                self._escrow.give_free(sender, amount)
                yield panel_log("Withdrawn", sender, amount)
                yield escrow_log("Deposited", sender, self.address, amount)


def _restore(table: dict[DealId, T], key: DealId, value: T | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _name(error: RemoteProtocolError) -> str:
    """``WrongPhase`` for ``wrong_phase``."""
    return "".join(part.capitalize() for part in error.code.split("_"))

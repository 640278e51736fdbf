"""What does the whole panel hold? Accounts, seats, disputes and scores: the books that ``MediatorPanel`` keeps on chain.

A node that follows the contract's logs keeps these books; the contract's tests compare the two after every call. Changed
in place by its methods alone; a refused call (RemoteProtocolError, code as in ``machine``) changes nothing.
"""

from typing import assert_never

from msgspec.structs import replace

from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, Domain, Enforcement, Level, OnChainState, deal_id
from protocols.disputes import inputs as ins
from protocols.disputes import machine, seats
from protocols.disputes import states as st
from protocols.disputes.params import TOLERANCE, PanelBounds, appeal_deposit, bond_of, fee_of, lock_of
from protocols.disputes.seats import Seat
from protocols.disputes.sittings import refuse
from protocols.disputes.tolerance import after_deal
from protocols.hashing import keccak256
from protocols.units import Address, DealId, Hash32, Tokens, UnixSeconds

__all__ = ["Panel"]


class Panel:
    """One panel of one escrow."""

    def __init__(self, bounds: PanelBounds, domain: Domain) -> None:
        self.bounds = bounds
        self.domain = domain
        self.accounts: dict[Address, Tokens] = {}
        self.classes: dict[int, list[Seat]] = {}
        self.disputes: dict[DealId, st.DisputeState] = {}
        self.scores: dict[tuple[Address, Level], tuple[int, UnixSeconds]] = {}
        """Per owner of a provider and level: the score, and when its last failure was."""
        self.credited: set[DealId] = set()
        self.burnable = 0

    # --- accounts and seats ------------------------------------------------------------------------------------------

    def fund(self, owner: Address, amount: int) -> None:
        """``onFunded``: money has come from the escrow."""
        self.accounts[owner] = Tokens(self.accounts.get(owner, Tokens(0)) + amount)

    def take(self, owner: Address, amount: int) -> None:
        """From an account, if it has as much: into a seat, a bond or a deposit."""
        has = self.accounts.get(owner, Tokens(0))
        if has < amount:
            raise refuse("insufficient_account", f"the account has {has}, {amount} are needed; use fundPanel")
        self.accounts[owner] = Tokens(has - amount)

    def withdraw(self, owner: Address, amount: int) -> None:
        """Back to the owner's free balance in the escrow, which refuses to take nothing."""
        if not amount:
            raise refuse("zero_amount", "nothing to withdraw")
        self.take(owner, amount)

    def join(self, owner: Address, operator: Address, seat_class: int, now: UnixSeconds) -> int:
        """Put up a bond for one more seat of a class; returns its number."""
        if seat_class == 0:
            raise refuse("no_class", "classes are numbered from 1")
        self.take(owner, self.bounds.seat_bond)
        members = self.classes.setdefault(seat_class, [])
        members.append(Seat(owner, operator, now, self.bounds.seat_bond))
        return len(members) - 1

    def seat(self, seat_class: int, number: int) -> Seat:
        """One seat. Refuses with ``no_seat`` when there is none of that number."""
        members = self.classes.get(seat_class, [])
        if number >= len(members):
            raise refuse("no_seat", f"class {seat_class} has {len(members)} seats")
        return members[number]

    def resign(self, sender: Address, seat_class: int, number: int, now: UnixSeconds) -> None:
        """Be called no more. What has begun goes on."""
        seat = self.seat(seat_class, number)
        if sender not in (seat.owner, seat.operator):
            raise refuse("not_your_seat", "only its owner or its operator can leave")
        if seat.out_at:
            raise refuse("already_leaving", f"it can be retired at {seat.out_at}")
        self.classes[seat_class][number] = replace(seat, out_at=UnixSeconds(now + self.bounds.resign))

    def retire(self, seat_class: int, number: int, now: UnixSeconds) -> None:
        """What is left of a seat that has left goes to its owner's account. Anyone may call."""
        seat = self.seat(seat_class, number)
        if not seat.out_at or not seat.bond:
            raise refuse("not_leaving", "the seat has not left, or is retired")
        if now < seat.out_at:
            raise refuse("too_early", f"possible from {seat.out_at}")
        if seat.locked:
            raise refuse("seat_busy", "it sits in a dispute that is not over")
        self.classes[seat_class][number] = replace(seat, bond=Tokens(0))
        self.fund(seat.owner, seat.bond)

    # --- disputes ----------------------------------------------------------------------------------------------------

    def dispute(
        self,
        deal: Deal,
        lock: Lock,
        result_hash: Hash32,
        *,
        secret: Hash32,
        reason: st.Reason,
        funder: Address,
        now: UnixSeconds,
    ) -> st.Disputed:
        """Open a dispute about a result that was claimed, or that the provider has signed. The escrow agrees."""
        if lock.deal_id in self.disputes:
            raise refuse("wrong_phase", "this deal has had its dispute")
        if deal_id(self.domain, deal) != lock.deal_id:
            raise refuse("wrong_deal", "the deal is not the one of the lock")
        if deal.enforcement is not Enforcement.PANEL:
            raise refuse("no_panel_deal", "the parties have not agreed on a panel")
        if keccak256(secret) != deal.client_secret_hash:
            raise refuse("wrong_secret", "that is not what the client has signed the hash of")
        fee = fee_of(deal.seat_fee, deal.price, deal.collateral)
        self.take(funder, bond_of(fee, deal.price))
        case = st.Case(
            lock=lock,
            result_hash=result_hash,
            reason=reason,
            funder=funder,
            fee=fee,
            level=deal.level,
            seat_class=deal.seat_class,
            pool=min(deal.seat_snapshot, len(self.classes.get(deal.seat_class, []))),
            exec_seconds=deal.exec_seconds,
            client_secret=secret,
            provider_secret_hash=deal.provider_secret_hash,
            opened_at=now,
        )
        opened = st.Disputed(case, UnixSeconds(now + self.bounds.secret))
        self.disputes[lock.deal_id] = opened
        return opened

    def act(
        self, deal: DealId, input_: ins.DisputeInput, now: UnixSeconds, *, voided: bool = False
    ) -> ins.Close | None:
        """One call about a dispute. Returns what the escrow is told, when the dispute ends by it."""
        state = self.disputes.get(deal)
        if state is None:
            raise refuse("wrong_phase", "there is no dispute about this deal")
        case = state.case
        key = (case.lock.provider_owner, case.level)
        members = self.classes.get(case.seat_class, [])
        score, _ = self.scores.get(key, (0, 0))
        ctx = ins.Ctx(now, self.bounds, self.domain, members, score, voided)
        step = machine.advance(state, input_, ctx)
        for move in step.moves:  # first, because it alone can be refused
            if isinstance(move, ins.Take):
                self.take(move.account, move.amount)
        for move in step.moves:
            self._apply(move, case, now)
        self.disputes[deal] = step.state
        return next((move for move in step.moves if isinstance(move, ins.Close)), None)

    def _apply(self, move: ins.Move, case: st.Case, now: UnixSeconds) -> None:
        members, needs = self.classes.get(case.seat_class, []), lock_of(case.lock.price)
        match move:
            case ins.LockSeat(seat=number):
                members[number] = seats.lock_seat(members[number], needs)
            case ins.UnlockSeat(seat=number):
                members[number] = seats.unlock_seat(members[number], needs)
            case ins.LoseLock(seat=number):
                out_at = UnixSeconds(now + self.bounds.resign)
                members[number] = seats.lose_lock(members[number], needs, out_at)
                self.burnable += needs
            case ins.PaySeat(seat=number, amount=amount):
                self.fund(members[number].owner, amount)
            case ins.Credit(account=account, amount=amount):
                self.fund(account, amount)
            case ins.Burn(amount=amount):
                self.burnable += amount
            case ins.Score(score=score):
                self.scores[case.lock.provider_owner, case.level] = (score, now)
            case ins.Take() | ins.Close():
                pass
            case _ as never:
                assert_never(never)

    def credit(self, deal: Deal, lock: Lock, state: OnChainState, since: UnixSeconds) -> None:
        """A deal at a tolerance level was settled after the provider's last failure: its score comes down. Once per deal."""
        if deal_id(self.domain, deal) != lock.deal_id:
            raise refuse("wrong_deal", "the deal is not the one of the lock")
        if deal.enforcement is not Enforcement.PANEL or deal.level not in TOLERANCE:
            raise refuse("no_panel_deal", "only panel deals at a tolerance level count")
        score, failed_at = self.scores.get((lock.provider_owner, deal.level), (0, UnixSeconds(0)))
        if state is not OnChainState.SETTLED or since <= failed_at or lock.deal_id in self.credited:
            raise refuse("no_credit", "not settled, settled before the last failure, or counted already")
        self.credited.add(lock.deal_id)
        self.scores[lock.provider_owner, deal.level] = (after_deal(score, deal.audit_ppm), failed_at)

    # --- what it holds -----------------------------------------------------------------------------------------------

    def held(self) -> int:
        """All tokens the contract must have: accounts, bonds of seats and disputes, deposits, what is to be burned."""
        bonds = sum(seat.bond for members in self.classes.values() for seat in members)
        return sum(self.accounts.values()) + bonds + sum(map(_stakes, self.disputes.values())) + self.burnable


def _stakes(state: st.DisputeState) -> int:
    if machine.deadline(state) is None:
        return 0
    case = state.case
    deposits = () if isinstance(state, (st.Disputed, st.Settled, st.Slashed, st.Voided)) else state.deposits
    return bond_of(case.fee, case.lock.price) + appeal_deposit(case.fee) * len(deposits)

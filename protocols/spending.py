"""Where did every token go? A pure account of this node's deals and channels, by run and in all; amounts in wei.

``change`` is what a line did to the owner's free balance and stake together, by the rules of the escrow: all lines of a node
add up to what it holds there now, less what its owner has put in and taken out. What is at the mediators' panel (bonds,
deposits, seats) is not among it: a dispute's deal shows what the escrow moved.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from protocols.channels.states import Closed, book_of
from protocols.deals.states import (
    Abandoned,
    Checking,
    DealState,
    DealTerms,
    Expired,
    Proposed,
    Ready,
    Settled,
    Signed,
    Slashed,
    Unsealing,
    Voided,
    phase_of,
)
from protocols.runs import Run
from protocols.state import CLIENT, Half, NodeState
from protocols.units import DealId, PeerId, RunId

__all__ = ["ChannelLine", "DealLine", "RunLine", "Spending", "Sums", "spending"]

_FEE_DIVISOR: Final = 100
"""1 % of what is settled or redeemed is burned: PROTOCOL.md 5, `MeshEscrow`."""
_UNCOMMITTED: Final = (Proposed, Signed, Ready)


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Money of any number of deals, wei. As a client: the first six; as a provider: the rest."""

    paid: int = 0
    """To providers, the fee in it."""
    fees: int = 0
    """Of what was paid, or earned: burned by the escrow."""
    refunded: int = 0
    """Was locked and came back: prices of deals that came to nothing, and what a cancellation left."""
    penalties_received: int = 0
    """From the collateral of providers that failed, and bounties."""
    locked: int = 0
    """In escrow now: prices and collateral of deals on chain, and what open channels still hold."""
    promised: int = 0
    """Signed and not on chain: it can still be locked, and is free until then."""
    earned: int = 0
    """For work, after the fee."""
    owed: int = 0
    """Of what was earned: in vouchers that are not redeemed yet."""
    penalties_paid: int = 0
    """Out of our own collateral."""

    @property
    def change(self) -> int:
        """What it did to free balance and stake together."""
        came = self.penalties_received + self.earned - self.owed
        return came - self.paid - self.locked - self.penalties_paid

    def plus(self, other: "Sums") -> "Sums":
        """Both."""
        fields = self.__struct_fields__
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in fields})


class DealLine(msgspec.Struct, frozen=True, kw_only=True):
    """One deal."""

    deal_id: DealId
    run_id: RunId
    role: str
    phase: str
    price: int
    sums: Sums


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run of this client with all its deals: attempts, re-executions, replicas."""

    run_id: RunId
    submitted: int
    status: str
    budget: int
    deals: tuple[DealLine, ...]
    sums: Sums


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One channel: what is not in the lines of the deals that it pays."""

    peer: PeerId
    role: str
    deposit: int
    paid: int
    redeemed: int
    sums: Sums


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. ``provided``: deals in which this node did the work."""

    runs: tuple[RunLine, ...]
    provided: tuple[DealLine, ...]
    channels: tuple[ChannelLine, ...]
    total: Sums


def spending(state: NodeState) -> Spending:
    """The whole account, runs oldest first."""
    lines = {deal_id: _line(state, deal_id, half) for deal_id, half in state.durable.deals.items()}
    ordered = sorted(state.durable.runs.values(), key=lambda run: (run.submitted, run.run_id))
    runs = tuple(_run_line(run, [lines[one] for one in run.deals if one in lines]) for run in ordered)
    provided = tuple(line for line in lines.values() if line.role != CLIENT)
    channels = tuple(_channel_lines(state))
    parts = [*(one.sums for one in runs), *(one.sums for one in provided), *(one.sums for one in channels)]
    return Spending(runs=runs, provided=provided, channels=channels, total=_sum(parts))


def _run_line(run: Run, deals: list[DealLine]) -> RunLine:
    return RunLine(
        run_id=run.run_id,
        submitted=run.submitted,
        status=type(run.status).__name__.lower(),
        budget=run.market.budget,
        deals=tuple(deals),
        sums=_sum(one.sums for one in deals),
    )


def _line(state: NodeState, deal_id: DealId, half: Half) -> DealLine:
    deal, terms = half.state, half.state.terms
    sums = _as_client(state, deal, terms) if half.role == CLIENT else _as_provider(deal, terms)
    return DealLine(
        deal_id=deal_id,
        run_id=terms.run_id,
        role=half.role,
        phase=phase_of(deal),
        price=terms.deal.price,
        sums=sums,
    )


def _as_client(state: NodeState, deal: DealState, terms: DealTerms) -> Sums:
    price, collateral = terms.deal.price, terms.deal.collateral
    match deal:
        case Settled(how="voucher" | "keyless" | "wrong", paid=paid):
            return Sums(paid=paid, fees=paid // _FEE_DIVISOR)
        case Unsealing() | Checking(seal=Unsealing()):  # its voucher is signed
            return Sums(paid=price, fees=price // _FEE_DIVISOR)
        case Settled(paid=paid):
            return Sums(paid=paid, fees=paid // _FEE_DIVISOR, refunded=price - paid)
        case Expired():
            return Sums(refunded=price, penalties_received=min(price, collateral) // 2)
        case Slashed(refund=refund) | Voided(refund=refund):
            back = min(refund, price)
            return Sums(paid=price - back, refunded=back, penalties_received=refund - back)
        case Abandoned():
            open_still = not deal.burned and state.chain_now <= terms.deal.commit_by
            return Sums(promised=price if open_still else 0)
        case _ if _on_chain(deal):
            return Sums(locked=price)
        case _:
            return Sums(promised=price)


def _as_provider(deal: DealState, terms: DealTerms) -> Sums:
    price, collateral = terms.deal.price, terms.deal.collateral
    match deal:
        case Settled(how="voucher", paid=paid):
            return Sums(earned=paid)  # its fee is taken when the channel is redeemed
        case Settled(paid=paid):
            return Sums(earned=paid - paid // _FEE_DIVISOR, fees=paid // _FEE_DIVISOR)
        case Expired():
            return Sums(penalties_paid=min(price, collateral))
        case Slashed(returned=returned) | Voided(returned=returned):
            return Sums(penalties_paid=max(collateral - returned, 0))
        case _ if _on_chain(deal):
            return Sums(locked=collateral)
        case _:
            return Sums()


def _on_chain(deal: DealState) -> bool:
    """Whether the escrow holds price and collateral. A channel's deals never are."""
    if isinstance(deal, (*_UNCOMMITTED, Abandoned)):
        return False
    commitment = getattr(deal, "commitment", None)
    return commitment is not None and commitment.block > 0 and not commitment.lost


def _channel_lines(state: NodeState) -> Iterable[ChannelLine]:
    for half in state.durable.channels.values():
        book = book_of(half.state)
        if book is None:
            continue
        over = isinstance(half.state, Closed)
        if half.role == CLIENT:
            sums = Sums(locked=0 if over else max(book.deposit - book.paid, 0))
        else:
            earlier = max(_by_voucher(state, book.peer) - book.paid, 0)
            fee = book.redeemed // _FEE_DIVISOR + earlier // _FEE_DIVISOR
            sums = Sums(earned=-fee, fees=fee, owed=max(book.paid - book.redeemed, 0))
        yield ChannelLine(
            peer=book.peer, role=half.role, deposit=book.deposit, paid=book.paid, redeemed=book.redeemed, sums=sums
        )


def _by_voucher(state: NodeState, client: PeerId) -> int:
    """What vouchers of a client were worth in all: earlier channels of the pair are redeemed and forgotten."""
    states = (half.state for half in state.durable.deals.values() if half.role != CLIENT)
    return sum(
        one.paid for one in states if isinstance(one, Settled) and one.how == "voucher" and one.terms.client == client
    )


def _sum(parts: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in parts:
        total = total.plus(one)
    return total

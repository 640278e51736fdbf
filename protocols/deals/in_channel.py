"""What is different about a deal that a channel pays? It is never on chain, so its states stand on no commitment.

Signed > Ready > Running > Resulted > Delivered > Settled: with its acceptance the client signs the voucher, so the two are
one step. Both halves share what is here; `channel_client` and `channel_provider` say who moves.
"""

from typing import Final

from protocols.deals.inputs import DealInput, Step, say
from protocols.deals.states import Abandoned, Commitment, DealTerms, Delivered, Resulted, Settled
from protocols.deals.terms import SettlementMode
from protocols.effects import CancelFetch, CancelJob, DropEffects, Effect, StopServing
from protocols.units import ZERO_HASH, UnixSeconds

__all__ = ["HOW", "Paid", "end", "in_channel", "leave", "settled", "work_began"]

HOW: Final = "voucher"
"""How such a deal ends: `Settled.how`."""


class Paid(DealInput, frozen=True):
    """A voucher for this deal is signed (client), or here (provider)."""


def in_channel(terms: DealTerms) -> bool:
    """Whether a channel pays this deal."""
    return terms.deal.settlement == SettlementMode.CHANNEL


def work_began(now: UnixSeconds) -> Commitment:
    """In the place of a commitment: from when on its times count. No transaction has this hash."""
    return Commitment(tx=ZERO_HASH, block=0, at=now)


def settled(state: Resulted | Delivered, checked: str) -> Settled:
    """Paid by a voucher; no transaction names it."""
    return Settled(
        terms=state.terms,
        tx=ZERO_HASH,
        paid=state.terms.deal.price,
        how=HOW,
        result=state.result,
        checked=checked,
        commitment=state.commitment,
    )


def leave(terms: DealTerms, code: str, detail: str, *effects: Effect, forget: bool) -> Step:
    """The end of a deal that is not paid."""
    note = say(terms, "deal.abandoned", code=code, detail=detail)
    return Abandoned(terms, code, detail, burned=True), (*end(terms, forget=forget), *effects, note)


def end(terms: DealTerms, *, forget: bool) -> tuple[Effect, ...]:
    """Nothing more is done for it. What is still to be said to the other party is said."""
    deal_id, name = terms.deal_id, terms.deal_id.hex()
    return (
        CancelFetch(deal_id=deal_id),
        CancelJob(deal_id=deal_id),
        StopServing(deal_id=deal_id, forget=forget),
        *(DropEffects(prefix=f"{kind}:{name}") for kind in ("run", "serve", "fetch")),
    )

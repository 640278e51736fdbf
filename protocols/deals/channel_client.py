"""How does a deal go that a channel pays, seen by its client?

A literal table like `protocols.deals.client`. The client pays for what it holds and has verified, and for nothing else:
a deal that it leaves costs nothing, and the provider has lost one price at most.
"""

from typing import Final

import msgspec

from protocols.deals import eip712, sealed_client
from protocols.deals.in_channel import Paid, end, leave, settled, work_began
from protocols.deals.inputs import (
    CancelWanted,
    Countersigned,
    Ctx,
    DealDeclined,
    DealInput,
    Fetched,
    FetchFailed,
    Handler,
    ResultArrived,
    Step,
    TimePassed,
    outcome_name,
    say,
    send,
)
from protocols.deals.reorganised import fetch_result
from protocols.deals.states import DealState, Delivered, Proposed, Resulted, Sealed, Signed, Unsealing
from protocols.effects import Effect
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.deal import Rejection
from protocols.units import UnixSeconds

__all__ = ["TABLE", "advance", "deadline"]


def _countersigned(state: Proposed, event: Countersigned, ctx: Ctx) -> Step:
    terms = msgspec.structs.replace(state.terms, provider_signature=event.signature)
    return Signed(terms), (say(terms, "deal.signed"),)


def _signed_late(state: Resulted | Sealed | Unsealing, event: Countersigned, ctx: Ctx) -> Step:
    """Evidence, not a move."""
    terms = msgspec.structs.replace(state.terms, provider_signature=event.signature)
    return msgspec.structs.replace(state, terms=terms), ()


def _declined(state: Proposed | Signed, event: DealDeclined, ctx: Ctx) -> Step:
    return leave(state.terms, event.code, event.detail, forget=False)


def _told(state: Proposed | Signed | Resulted | Sealed, code: str, detail: str, ctx: Ctx) -> Step:
    """Leave, and say so: the provider stops working for it."""
    terms = state.terms
    rejection = send(ctx, terms, terms.provider, Rejection(deal_id=terms.deal_id, code=code, detail=detail[:200]))
    return leave(terms, code, detail, rejection, forget=False)


def _late(state: Proposed | Signed, event: TimePassed, ctx: Ctx) -> Step:
    return _told(state, "not-delivered", "no result came in time", ctx)


def _cancel(state: Proposed | Signed, event: CancelWanted, ctx: Ctx) -> Step:
    return _told(state, "cancelled", "cancelled by its owner", ctx)


def _result(state: Proposed | Signed, event: ResultArrived, ctx: Ctx) -> Step:
    """A small job may be over before the provider's signature is here: the two travel side by side."""
    terms, notice = state.terms, event.message
    resulted = Resulted(terms, work_began(ctx.now), notice, ctx.now)
    note = say(
        terms, "deal.resulted", outcome=outcome_name(notice.commit.outcome), exit_code=str(notice.commit.exit_code)
    )
    return resulted, (fetch_result(resulted, notice), note)


def _held(state: Resulted, event: Fetched, ctx: Ctx) -> Step:
    """All bytes are here and verified: it is paid as soon as the channel holds enough."""
    terms = state.terms
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    receipt = eip712.DeliveryReceipt(deal_id=terms.deal_id, result_hash=result_hash)
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, receipt))
    message = DeliveredMessage(receipt=receipt, signature=signature)
    delivered = Delivered(terms, state.commitment, state.result, state.at, message)
    return delivered, (say(terms, "deal.delivered"),)


def _not_held(state: Resulted | Sealed, event: FetchFailed, ctx: Ctx) -> Step:
    """The provider committed to bytes it does not serve, or that are not what it said."""
    return _told(state, "result-unavailable", event.detail, ctx)


def _never_held(state: Resulted | Sealed, event: TimePassed, ctx: Ctx) -> Step:
    return _told(state, "result-unavailable", "the provider did not serve its result in time", ctx)


def _paid(state: Delivered, event: Paid, ctx: Ctx) -> Step:
    terms, paid = state.terms, str(state.terms.deal.price)
    effects: tuple[Effect, ...] = end(terms, forget=False)
    return settled(state, "bytes"), (
        *effects,
        say(terms, "deal.accepted", checked="bytes"),
        say(terms, "deal.settled", paid=paid, how="voucher"),
    )


TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Proposed, Countersigned): _countersigned,
    (Resulted, Fetched): _held,
    **{(state, Countersigned): _signed_late for state in (Resulted, Sealed, Unsealing)},
    **{(state, FetchFailed): _not_held for state in (Resulted, Sealed)},
    **{(state, TimePassed): _never_held for state in (Resulted, Sealed)},
    **sealed_client.TABLE,
    (Delivered, Paid): _paid,
    **{(state, ResultArrived): _result for state in (Proposed, Signed)},
    **{(state, DealDeclined): _declined for state in (Proposed, Signed)},
    **{(state, CancelWanted): _cancel for state in (Proposed, Signed)},
    **{(state, TimePassed): _late for state in (Proposed, Signed)},
}


def advance(state: DealState, event: DealInput, ctx: Ctx) -> Step:
    """The client's half of a deal that a channel pays."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: DealState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state."""
    deal = state.terms.deal
    match state:
        case Proposed():
            return UnixSeconds(deal.commit_by + 1)
        case Signed():
            return UnixSeconds(deal.commit_by + deal.exec_seconds + 1)
        case Resulted() | Sealed(held=False) | Unsealing(release=None):
            return UnixSeconds(state.at + deal.claim_seconds)
        case _:
            return None

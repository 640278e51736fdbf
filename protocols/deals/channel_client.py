"""How does a deal go that a channel pays, seen by its client?

A literal table like `protocols.deals.client`. The client pays for what it holds and has verified, and for nothing else:
a deal that it leaves costs nothing, and the provider has lost one price at most. A result that it has drawn for itself
(`in_channel.drawn`) is computed again first, by the machine of all checks (`protocols.deals.checking`).
"""

from typing import Final

import msgspec

from protocols.deals import checking, eip712, sealed_client
from protocols.deals.in_channel import Paid, drawn, end, leave, patience, settled, work_began
from protocols.deals.inputs import (
    AuditFinished,
    CancelWanted,
    CheckWanted,
    Compared,
    Countersigned,
    Ctx,
    DealDeclined,
    DealInput,
    Fetched,
    FetchFailed,
    Handler,
    Rerun,
    ResultArrived,
    Step,
    TimePassed,
    outcome_name,
    say,
    send,
)
from protocols.deals.reorganised import fetch_result
from protocols.deals.states import Checking, DealState, Delivered, Proposed, Resulted, Sealed, Signed, Unsealing
from protocols.effects import Effect
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.deal import Rejection
from protocols.units import UnixSeconds

__all__ = ["TABLE", "advance", "deadline"]


def _countersigned(state: Proposed, event: Countersigned, ctx: Ctx) -> Step:
    terms = msgspec.structs.replace(state.terms, provider_signature=event.signature)
    return Signed(terms), (say(terms, "deal.signed"),)


def _signed_late(state: Resulted | Sealed | Unsealing | Checking, event: Countersigned, ctx: Ctx) -> Step:
    """Evidence, not a move."""
    terms = msgspec.structs.replace(state.terms, provider_signature=event.signature)
    return msgspec.structs.replace(state, terms=terms), ()


def _declined(state: Proposed | Signed, event: DealDeclined, ctx: Ctx) -> Step:
    return leave(state.terms, event.code, event.detail, forget=False)


def _told(state: Proposed | Signed | Resulted | Delivered | Sealed, code: str, detail: str, ctx: Ctx) -> Step:
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
    """All bytes are here and verified: it is paid as soon as the channel holds enough, unless it is computed again first."""
    terms = state.terms
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    receipt = eip712.DeliveryReceipt(deal_id=terms.deal_id, result_hash=result_hash)
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, receipt))
    message = DeliveredMessage(receipt=receipt, signature=signature)
    told = (say(terms, "deal.delivered"),)
    if drawn(terms, state.result.commit.outcome, ctx):
        return Checking(terms, state.commitment, state.result, state.at, message, None), told
    return Delivered(terms, state.commitment, state.result, state.at, message), told


def _not_held(state: Resulted | Sealed, event: FetchFailed, ctx: Ctx) -> Step:
    """The provider committed to bytes it does not serve, or that are not what it said."""
    return _told(state, "result-unavailable", event.detail, ctx)


def _never_held(state: Resulted | Sealed, event: TimePassed, ctx: Ctx) -> Step:
    if isinstance(state, Sealed) and state.held:
        return _never_covered(state, event, ctx)
    return _told(state, "result-unavailable", "the provider did not serve its result in time", ctx)


def _never_covered(state: Delivered | Sealed, event: TimePassed, ctx: Ctx) -> Step:
    """The provider waits no longer for the voucher. It may close the channel whenever it likes, also one that owes it."""
    return _told(state, "not-covered", "the channel has not held enough for the price", ctx)


def _paid(state: Delivered, event: Paid, ctx: Ctx) -> Step:
    terms, paid = state.terms, str(state.terms.deal.price)
    effects: tuple[Effect, ...] = end(terms, forget=False)
    if not state.checked:
        effects = (*effects, say(terms, "deal.accepted", checked="bytes"))
    paid_for = settled(terms, state.commitment, state.result, state.checked or "bytes")
    return paid_for, (*effects, say(terms, "deal.settled", paid=paid, how="voucher"))


TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Proposed, Countersigned): _countersigned,
    (Resulted, Fetched): _held,
    **{(state, Countersigned): _signed_late for state in (Resulted, Sealed, Unsealing, Checking)},
    (Checking, CheckWanted): checking.begin_drawn,
    (Checking, AuditFinished): checking.ran_here,
    (Checking, Rerun): checking.ran_elsewhere,
    (Checking, Compared): checking.compared,
    (Checking, TimePassed): checking.time_up,
    **{(state, FetchFailed): _not_held for state in (Resulted, Sealed)},
    **{(state, TimePassed): _never_held for state in (Resulted, Sealed)},
    **sealed_client.TABLE,
    (Delivered, Paid): _paid,
    (Delivered, TimePassed): _never_covered,
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
        case Delivered() | Sealed(held=True):
            return UnixSeconds(state.at + patience(state.terms, ctx.env.params))
        case Checking():
            return UnixSeconds(state.at + patience(state.terms, ctx.env.params) - ctx.env.params.deadline_margin)
        case _:
            return None

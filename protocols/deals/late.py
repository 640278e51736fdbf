"""What becomes of a result that was paid for while its client was away?

Its provider claimed, the window passed, and the escrow paid. The provider keeps the result for `NetworkParams.keep_paid`; the
client that comes back asks for it, pulls and verifies it, and its run is done with what was paid, instead of buying the job
once more. Both halves' tables take their rows from here.
"""

from typing import Final

import msgspec

from protocols.deals import eip712
from protocols.deals.inputs import (
    Ctx,
    DealDeclined,
    DeliveryConfirmed,
    Fetched,
    FetchFailed,
    Handler,
    ResultArrived,
    ResultPulled,
    Step,
    TimePassed,
    outcome_name,
    say,
    send,
)
from protocols.deals.reorganised import claim_hash
from protocols.deals.states import Checking, Claimed, DealState, Delivered, Resulted, Settled
from protocols.deals.terms import Level
from protocols.effects import DropEffects, Effect, FetchBlobs, StopServing
from protocols.limits import NetworkParams
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.deal import ResultNotice, ResultPull
from protocols.messages.negotiation import DealRefusal, InputRoot
from protocols.units import ZERO_HASH, UnixSeconds

__all__ = ["CLIENT_ROWS", "PROVIDER_ROWS", "awaited", "kept", "until"]

GONE: Final = "gone"
"""A provider's word for a result that it no longer has."""


def until(state: Settled, params: NetworkParams) -> UnixSeconds:
    """How long such a result is kept, and awaited: counted from the end of its window."""
    deal = state.terms.deal
    if state.claim is not None:
        claimed = state.claim.at
    else:
        began = state.commitment.at if state.commitment else deal.commit_by
        claimed = UnixSeconds(began + deal.exec_seconds + deal.claim_seconds)
    return UnixSeconds(claimed + deal.window_seconds + params.keep_paid)


# --- the client --------------------------------------------------------------------------------------------------


def awaited(before: DealState, step: Step, ctx: Ctx) -> Step:
    """What a client does besides when the chain has paid: ``step`` is its deal's end."""
    final, effects = step
    if not isinstance(final, Settled) or final.how != "finalized":
        return step
    terms = final.terms
    match before:
        case Delivered():
            return msgspec.structs.replace(final, checked="bytes"), effects
        case Checking():
            drawn = before.audit is not None and bool(before.overtime)
            return msgspec.structs.replace(final, checked="unfinished" if drawn else "bytes"), effects
        case _ if terms.checks is not None or terms.deal.level is Level.REPLICATE:
            return step  # others decide without it
        case Resulted(result=notice):
            late = msgspec.structs.replace(final, result=None, late=notice)
            return late, (*effects, _fetch(late, notice), say(terms, "deal.awaited"))
        case _ if final.result is None:
            pull = send(ctx, terms, terms.provider, ResultPull(deal_id=terms.deal_id))
            return msgspec.structs.replace(final, late=None), (*effects, pull, say(terms, "deal.awaited"))
        case _:
            return step


def _fetch(state: Settled, notice: ResultNotice) -> Effect:
    """Under a name of its own: the pull that was under way has just been ended with all else of the deal."""
    terms = state.terms
    return FetchBlobs(
        key=f"fetch:{terms.deal_id.hex()}:late",
        deal_id=terms.deal_id,
        purpose="result",
        peer=terms.provider,
        roots=(InputRoot(root=notice.root, size=terms.room_for(notice.size)),),
    )


def _told(state: Settled, event: ResultArrived, ctx: Ctx) -> Step:
    """Only what was claimed is what was paid for."""
    terms, notice = state.terms, event.message
    if state.late is not None:
        return state, ()
    paid_for = claim_hash(state.claim, ctx) if state.claim else ZERO_HASH
    if paid_for not in (ZERO_HASH, eip712.digest(ctx.env.domain, notice.commit)):
        return state, (say(terms, "deal.another_result"),)
    outcome, code = outcome_name(notice.commit.outcome), str(notice.commit.exit_code)
    note = say(terms, "deal.resulted", outcome=outcome, exit_code=code)
    return msgspec.structs.replace(state, late=notice), (_fetch(state, notice), note)


def _held(state: Settled, event: Fetched, ctx: Ctx) -> Step:
    """Every byte is here and verified: the run has what was paid for, and the provider need keep it no longer."""
    terms, notice = state.terms, state.late
    if not isinstance(notice, ResultNotice):
        return state, ()
    receipt = eip712.DeliveryReceipt(deal_id=terms.deal_id, result_hash=eip712.digest(ctx.env.domain, notice.commit))
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, receipt))
    told = send(ctx, terms, terms.provider, DeliveredMessage(receipt=receipt, signature=signature))
    held = msgspec.structs.replace(state, result=notice, late=msgspec.UNSET, checked="bytes")
    return held, (told, say(terms, "deal.delivered"))


def _lost(state: Settled, why: str) -> Step:
    if state.late is msgspec.UNSET:
        return state, ()
    terms = state.terms
    drops = tuple(DropEffects(prefix=f"{kind}:{terms.deal_id.hex()}") for kind in ("send", "fetch"))
    return msgspec.structs.replace(state, late=msgspec.UNSET), (*drops, say(terms, "deal.result_lost", detail=why))


def _not_served(state: Settled, event: FetchFailed, ctx: Ctx) -> Step:
    return _lost(state, event.detail)


def _gone(state: Settled, event: DealDeclined, ctx: Ctx) -> Step:
    return _lost(state, event.detail) if event.code == GONE else (state, ())


def _too_late(state: Settled, event: TimePassed, ctx: Ctx) -> Step:
    return _lost(state, "its provider has not handed it over in the time in which it is kept")


CLIENT_ROWS: Final[dict[tuple[type, type], Handler]] = {
    (Settled, ResultArrived): _told,
    (Settled, Fetched): _held,
    (Settled, FetchFailed): _not_served,
    (Settled, DealDeclined): _gone,
    (Settled, TimePassed): _too_late,
}


# --- the provider ------------------------------------------------------------------------------------------------


def kept(step: Step) -> Step:
    """What a provider does when the chain has paid: ``step`` is its deal's end. A client that has signed nothing may never
    have had the bytes: they stay here, and stay served."""
    final, effects = step
    if not isinstance(final, Settled) or final.how != "finalized" or final.result is None or final.sign_off:
        return step
    serve = DropEffects(prefix=f"serve:{final.terms.deal_id.hex()}")
    still = tuple(one for one in effects if not isinstance(one, StopServing) and one != serve)
    return msgspec.structs.replace(final, kept=True), still


def _release(state: Settled, event: TimePassed | DeliveryConfirmed, ctx: Ctx) -> Step:
    """Its time is over, it has arrived, or there is no room for it any more."""
    if not state.kept:
        return state, ()
    deal_id = state.terms.deal_id
    ends = StopServing(deal_id=deal_id, forget=True), DropEffects(prefix=f"serve:{deal_id.hex()}")
    return msgspec.structs.replace(state, kept=msgspec.UNSET), ends


def _pulled(state: Settled | Claimed, event: ResultPulled, ctx: Ctx) -> Step:
    terms, result = state.terms, state.result
    if result is not None and (isinstance(state, Claimed) or state.kept):
        return state, (send(ctx, terms, terms.client, result),)
    detail = "the result is no longer here: it is kept for a while after the window, and while there is room"
    return state, (send(ctx, terms, terms.client, DealRefusal(deal_id=terms.deal_id, code=GONE, detail=detail)),)


def _pulled_early(state: Resulted, event: ResultPulled, ctx: Ctx) -> Step:
    """The client has seen the claim end before this side has seen it made: it hears once more what it was told."""
    if state.sealed is not msgspec.UNSET:
        return state, ()
    return state, (send(ctx, state.terms, state.terms.client, state.result),)


PROVIDER_ROWS: Final[dict[tuple[type, type], Handler]] = {
    (Resulted, ResultPulled): _pulled_early,
    (Claimed, ResultPulled): _pulled,
    (Settled, ResultPulled): _pulled,
    (Settled, DeliveryConfirmed): _release,
    (Settled, TimePassed): _release,
}

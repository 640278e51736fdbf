"""How does a deal go, seen by its provider?

A literal table from (state, input) to a handler. A pair that is not in it changes nothing: duplicates and stragglers are
normal between machines that crash and retry.
"""

from typing import Final

import msgspec

from protocols.deals import disputed, eip712, endings, late
from protocols.deals.inputs import (
    CancelProposed,
    ChainMoved,
    ChainRetracted,
    Ctx,
    DealInput,
    DeliveryConfirmed,
    Fetched,
    FetchFailed,
    Handler,
    JobFinished,
    ReceiptArrived,
    ResultDisowned,
    SignedOff,
    Step,
    TimePassed,
    TxRefused,
    over,
    post_tx,
    say,
    send,
    sold,
)
from protocols.deals.reorganised import (
    OnChain,
    claim_hash,
    claim_now,
    post_again,
    provider_retracted,
    recommitted,
    settle_now,
)
from protocols.deals.salting import salted_root
from protocols.deals.states import (
    Abandoned,
    Accepted,
    Checking,
    Claimed,
    Commitment,
    Committed,
    DealState,
    DealTerms,
    Delivered,
    Disputed,
    Expired,
    LocalResult,
    Ready,
    Rejected,
    Resulted,
    Running,
    Settled,
    Signed,
    Slashed,
    Voided,
)
from protocols.deals.waits import last_call, silence_over
from protocols.effects import CancelJob, DropEffects, FetchBlobs, RunJob, ServeBlobs, StopServing
from protocols.messages.deal import CancelConsent, ResultNotice
from protocols.messages.negotiation import DealAcceptance
from protocols.units import Hash32, Tokens, UnixSeconds

__all__ = ["OWN_FAULT", "TABLE", "advance", "deadline", "sign", "start"]

OWN_FAULT: Final = frozenset({eip712.OutcomeCode.INFRA_ERROR, eip712.OutcomeCode.CANCELLED})
"""Outcomes that are no result: nobody pays for them, so they are never committed to."""


def sign(terms: DealTerms, ctx: Ctx) -> Step:
    """Countersign a deal this node quoted, and pull its inputs."""
    signature = ctx.env.signer.sign(Hash32(terms.deal_id))
    terms = msgspec.structs.replace(terms, provider_signature=signature)
    fetch = FetchBlobs(
        key=f"fetch:{terms.deal_id.hex()}:inputs",
        deal_id=terms.deal_id,
        purpose="inputs",
        peer=terms.client,
        roots=terms.inputs,
    )
    accept = send(ctx, terms, terms.client, DealAcceptance(deal_id=terms.deal_id, signature=signature))
    return Signed(terms), (accept, fetch, say(terms, "deal.signed"))


def _inputs_held(state: Signed, _: Fetched, ctx: Ctx) -> Step:
    terms = state.terms
    if ctx.now >= terms.deal.commit_by:
        return _leave(terms, "too-late", "inputs arrived after commitBy")
    post = post_tx(terms, "commit", signature=terms.client_signature)
    return Ready(terms), (post, say(terms, "deal.ready"))


def _inputs_failed(state: Signed, failed: FetchFailed, ctx: Ctx) -> Step:
    return _leave(state.terms, "inputs-unavailable", failed.detail)


def _leave(terms: DealTerms, code: str, detail: str) -> Step:
    return Abandoned(terms, code, detail), (
        *over(terms, forget=True),
        say(terms, "deal.abandoned", code=code, detail=detail),
    )


def _not_committed(state: Signed | Ready, event: TimePassed, ctx: Ctx) -> Step:
    return _leave(state.terms, "not-committed", "commitBy passed before the deal was on chain")


def _commit_refused(state: Ready, event: TxRefused, ctx: Ctx) -> Step:
    if event.purpose != "commit":
        return state, ()
    return _leave(state.terms, "commit-refused", event.reason)


def _committed(state: Signed | Ready | Abandoned, moved: ChainMoved, ctx: Ctx) -> Step:
    commitment = Commitment(tx=moved.tx, block=moved.block, at=moved.at)
    return Committed(state.terms, commitment), (
        say(state.terms, "deal.committed", tx="0x" + moved.tx.hex(), block=str(moved.block)),
    )


def start(state: Committed, job: bytes) -> Step:
    """Run the job of a committed deal: the node calls this when a slot is free."""
    terms = state.terms
    key = f"run:{terms.deal_id.hex()}"
    run = RunJob(key=key, deal_id=terms.deal_id, run_id=terms.run_id, job=job, audit=False)
    return Running(state.terms, state.commitment), (run, say(state.terms, "deal.running"))


def _ended(state: Running, finished: JobFinished, ctx: Ctx) -> Step:
    terms, result = state.terms, finished.result
    if result.outcome in OWN_FAULT:
        return _offer_refund(state, result, ctx)
    salt = ctx.env.signer.derive("result-salt", terms.deal_id)
    commit = eip712.ResultCommit(
        deal_id=terms.deal_id,
        salted_root=salted_root(salt, result.root),
        outcome=eip712.OutcomeCode(result.outcome),
        exit_code=result.exit_code,
        fuel=result.fuel,
        wall_ms=result.wall_ms,
        log_head=result.log_head,
    )
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, commit))
    notice = ResultNotice(commit=commit, signature=signature, root=result.root, salt=salt, size=result.size)
    serve = ServeBlobs(
        key=f"serve:{terms.deal_id.hex()}", deal_id=terms.deal_id, peer=terms.client, roots=(result.root,)
    )
    outcome = eip712.OutcomeCode(result.outcome).name.lower()
    return Resulted(terms, state.commitment, notice, ctx.now), (
        serve,
        send(ctx, terms, terms.client, notice),
        say(terms, "deal.resulted", outcome=outcome, exit_code=str(result.exit_code)),
    )


def _offer_refund(state: Running, result: LocalResult, ctx: Ctx) -> Step:
    """Our own fault: hand the client a cancellation that pays us nothing, which spares us the penalty of an expiry."""
    terms = state.terms
    cancellation = eip712.Cancellation(deal_id=terms.deal_id, paid=Tokens(0))
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, cancellation))
    consent = CancelConsent(cancellation=cancellation, signature=signature)
    return Committed(terms, state.commitment, leaving=True), (
        send(ctx, terms, terms.client, consent),
        say(terms, "deal.infra_error", detail=result.detail),
    )


def _delivered(state: Resulted, event: DeliveryConfirmed, ctx: Ctx) -> Step:
    return Delivered(state.terms, state.commitment, state.result, state.at, event.message, claiming=state.claiming), (
        say(state.terms, "deal.delivered"),
    )


def _delivered_too(state: Checking, event: DeliveryConfirmed, ctx: Ctx) -> Step:
    """The two receipts came in the other order."""
    if state.receipt is not None:
        return state, ()
    return msgspec.structs.replace(state, receipt=event.message), (say(state.terms, "deal.delivered"),)


def _receipted(state: Resulted | Delivered, event: ReceiptArrived, ctx: Ctx) -> Step:
    """Evidence: the client has our commitment, and cannot choose its round anew."""
    if event.message.receipt.result_hash != eip712.digest(ctx.env.domain, state.result.commit):
        return state, ()
    delivery = state.receipt if isinstance(state, Delivered) else None
    new = Checking(
        state.terms, state.commitment, state.result, state.at, delivery, event.message, claiming=state.claiming
    )
    return new, (say(state.terms, "deal.receipt", round=str(event.message.receipt.beacon_round)),)


def _signed_off(state: Resulted | Delivered | Checking | Claimed, event: SignedOff, ctx: Ctx) -> Step:
    """The client accepts: settle, also when a claim is already on chain; then whichever ends first ends it."""
    terms, paid = state.terms, event.message.settlement.paid
    new: Accepted | Claimed
    if isinstance(state, Claimed):
        new = msgspec.structs.replace(state, sign_off=event.message)
    else:
        new = Accepted(terms, state.commitment, state.result, event.message, "")
    effects = (
        *settle_now(new, ctx),
        StopServing(deal_id=terms.deal_id, forget=True),
        say(terms, "deal.accepted", paid=str(paid)),
    )
    return new, effects


def _disowned(state: Resulted | Delivered | Checking, event: ResultDisowned, ctx: Ctx) -> Step:
    rejected = Rejected(
        state.terms,
        state.commitment,
        state.result,
        event.code,
        event.detail,
        receipt=None if isinstance(state, Resulted) else state.receipt,
        named=state.named if isinstance(state, Checking) else None,
    )
    return rejected, (
        claim_now(rejected, ctx),
        say(state.terms, "deal.rejected", code=event.code, detail=event.detail),
    )


def _overdue(state: Committed | Running | Rejected, event: TimePassed, ctx: Ctx) -> Step:
    """It is too late for a claim, and a client that is gone ends nothing: what is left of the collateral is worth having."""
    if state.commitment.lost:
        return _leave(state.terms, "not-committed", "the chain took the commitment back and commitBy has passed")
    return state, (post_tx(state.terms, "expire"), say(state.terms, "deal.overdue"))


def _silence(state: Resulted | Delivered | Checking | Accepted, event: TimePassed, ctx: Ctx) -> Step:
    """The client is silent, or its settlement does not get through: a claim saves price and collateral."""
    if state.commitment.lost:
        return _leave(state.terms, "not-committed", "the chain took the commitment back and commitBy has passed")
    if not state.claiming:
        claiming = msgspec.structs.replace(state, claiming=True)
        return claiming, (claim_now(claiming, ctx), say(state.terms, "deal.claiming"))
    if isinstance(state, Accepted):
        return state, settle_now(state, ctx, state.commitment.tx)
    return state, (post_tx(state.terms, "expire"), say(state.terms, "deal.overdue"))


def _claimed(state: Resulted | Delivered | Checking | Rejected | Accepted, moved: ChainMoved, ctx: Ctx) -> Step:
    sign_off = state.sign_off if isinstance(state, Accepted) else None
    claimed = Claimed(
        state.terms, state.commitment, state.result, moved.at, moved.tx, moved.result_hash, sign_off=sign_off
    )
    again = settle_now(claimed, ctx, moved.tx)
    return claimed, (*again, say(state.terms, "deal.claimed", tx="0x" + moved.tx.hex()))


def _window_over(state: Claimed, event: TimePassed, ctx: Ctx) -> Step:
    return state, (post_tx(state.terms, "finalize", result_hash=claim_hash(state, ctx)),)


def _cancel(state: Committed | Running, event: CancelProposed, ctx: Ctx) -> Step:
    """The client asks to cancel: agree when it pays at least the share of the execution time that has passed."""
    terms, paid = state.terms, event.message.cancellation.paid
    if isinstance(state, Committed) and state.leaving:
        return state, ()
    if paid < sold(terms, state.commitment, ctx.now) or paid > terms.deal.price:
        return state, (say(terms, "deal.cancel_refused", offered=str(paid)),)
    post = post_tx(terms, "cancel", amount=paid, signature=event.message.signature)
    return Committed(terms, state.commitment, leaving=True), (
        CancelJob(deal_id=terms.deal_id),
        DropEffects(prefix=f"run:{terms.deal_id.hex()}"),
        post,
        say(terms, "deal.cancelling", paid=str(paid)),
    )


def _cancel_refused(state: Committed, event: TxRefused, ctx: Ctx) -> Step:
    """The cancellation cannot be had, so the job runs after all: a result is worth its price, an expiry costs it."""
    if event.purpose != "cancel" or not state.leaving:
        return state, ()
    return Committed(state.terms, state.commitment), (say(state.terms, "deal.cancel_failed", reason=event.reason),)


def _moved(state: DealState, moved: ChainMoved, ctx: Ctx) -> Step:
    match moved.to:
        case "committed" if isinstance(state, Signed | Ready | Abandoned):
            return _committed(state, moved, ctx)
        case "committed" if isinstance(state, OnChain):
            new, effects = recommitted(state, moved, ctx)
            return new, (*(post_again(new, moved, ctx) if effects else ()), *effects)
        case "claimed" if isinstance(state, Resulted | Delivered | Checking | Rejected | Accepted):
            return _claimed(state, moved, ctx)
        case "settled" | "finalized" | "cancelled":
            return late.kept(endings.settled(state, moved, forget=True))
        case "expired":
            return endings.expired(state, moved, forget=True)
        case "disputed":
            return disputed.opened(state, moved)
        case end if end in disputed.ENDS:
            return disputed.judged(state, moved, over(state.terms, forget=True))
        case _:
            return state, ()


def _retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """The chain has taken something back."""
    if event.was in disputed.MOVES:
        return disputed.provider_retracted(state, event, ctx)
    return provider_retracted(state, event, ctx)


TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Signed, Fetched): _inputs_held,
    (Signed, FetchFailed): _inputs_failed,
    (Signed, TimePassed): _not_committed,
    (Ready, TimePassed): _not_committed,
    (Ready, TxRefused): _commit_refused,
    (Committed, TimePassed): _overdue,
    (Committed, TxRefused): _cancel_refused,
    (Running, TimePassed): _overdue,
    (Running, JobFinished): _ended,
    (Committed, CancelProposed): _cancel,
    (Running, CancelProposed): _cancel,
    (Resulted, DeliveryConfirmed): _delivered,
    (Checking, DeliveryConfirmed): _delivered_too,
    (Resulted, ReceiptArrived): _receipted,
    (Delivered, ReceiptArrived): _receipted,
    (Resulted, SignedOff): _signed_off,
    (Delivered, SignedOff): _signed_off,
    (Checking, SignedOff): _signed_off,
    (Claimed, SignedOff): _signed_off,
    (Resulted, ResultDisowned): _disowned,
    (Delivered, ResultDisowned): _disowned,
    (Checking, ResultDisowned): _disowned,
    (Resulted, TimePassed): _silence,
    (Delivered, TimePassed): _silence,
    (Checking, TimePassed): _silence,
    (Accepted, TimePassed): _silence,
    (Rejected, TimePassed): _overdue,
    (Claimed, TimePassed): _window_over,
    **{(s, ChainMoved): _moved for s in (Signed, Ready, Committed, Running, Resulted, Delivered, Checking)},
    **{(s, ChainMoved): _moved for s in (Accepted, Rejected, Claimed, Disputed, Abandoned)},
    (Disputed, TimePassed): lambda state, event, ctx: disputed.overdue(state),
    **{(s, ChainRetracted): _retracted for s in (Committed, Running, Resulted, Delivered, Checking, Accepted)},
    **{(s, ChainRetracted): _retracted for s in (Rejected, Claimed, Disputed, Settled, Slashed, Voided, Expired)},
    **late.PROVIDER_ROWS,
}


def advance(state: DealState, event: DealInput, ctx: Ctx) -> Step:
    """The provider's half of the deal table."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: DealState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state; None when only the others can move it."""
    deal, params = state.terms.deal, ctx.env.params
    if isinstance(state, OnChain) and state.commitment.lost:
        return UnixSeconds(deal.commit_by + 1)
    match state:
        case Signed() | Ready():
            return UnixSeconds(deal.commit_by + 1)
        case Resulted(claiming=False):
            return UnixSeconds(min(state.at + params.silence_before_claim, last_call(state, ctx)))
        case Delivered(claiming=False) | Checking(claiming=False):
            return silence_over(state, ctx)
        case Accepted(claiming=False):
            return last_call(state, ctx)
        case Committed() | Running() | Resulted() | Delivered() | Checking() | Accepted() | Rejected():
            return UnixSeconds(state.commitment.at + deal.exec_seconds + deal.claim_seconds + 1)
        case Claimed():
            return UnixSeconds(state.at + deal.window_seconds + 1)
        case Disputed():
            return disputed.void_at(state)
        case Settled(kept=True):
            return late.until(state, params)
        case _:
            return None

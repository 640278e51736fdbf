"""How does a deal go, seen by its provider?

A literal table from (state, input) to a handler. A pair that is not in it changes nothing: duplicates and stragglers are
normal between machines that crash and retry.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocols.deals import eip712
from protocols.deals.inputs import (
    CancelProposed,
    ChainMoved,
    ChainRetracted,
    Ctx,
    DealInput,
    DeliveryConfirmed,
    FetchFailed,
    Fetched,
    JobFinished,
    ResultDisowned,
    SignedOff,
    TimePassed,
    TxRefused,
    post_tx,
    say,
    send,
    sold,
)
from protocols.deals.states import (
    Abandoned,
    Accepted,
    Claimed,
    Commitment,
    Committed,
    DealState,
    DealTerms,
    Delivered,
    Expired,
    LocalResult,
    Ready,
    Rejected,
    Resulted,
    Running,
    Settled,
    Signed,
)
from protocols.effects import CancelFetch, CancelJob, DropEffects, Effect, FetchBlobs, RunJob, ServeBlobs, StopServing
from protocols.hashing import keccak256
from protocols.messages.deal import CancelConsent, ResultNotice
from protocols.messages.negotiation import DealAcceptance
from protocols.units import ZERO_HASH, Hash32, Tokens, UnixSeconds

__all__ = ["TABLE", "advance", "deadline", "sign", "start"]

Step = tuple[DealState, tuple[Effect, ...]]


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
    prefix = terms.deal_id.hex()
    return Abandoned(terms, code, detail), (
        CancelFetch(deal_id=terms.deal_id),
        DropEffects(prefix=f"fetch:{prefix}"),
        DropEffects(prefix=f"tx:{prefix}"),
        DropEffects(prefix=f"send:{prefix}"),
        say(terms, "deal.abandoned", code=code, detail=detail),
    )


def _before_commit_time(state: Signed | Ready, event: TimePassed, ctx: Ctx) -> Step:
    return _leave(state.terms, "not-committed", "commitBy passed before the deal was on chain")


def _commit_refused(state: Ready, event: TxRefused, ctx: Ctx) -> Step:
    return _leave(state.terms, "commit-refused", event.reason)


def _committed(state: Signed | Ready | Abandoned, moved: ChainMoved, ctx: Ctx) -> Step:
    commitment = Commitment(tx=moved.tx, block=moved.block, at=moved.at)
    return Committed(state.terms, commitment), (
        say(state.terms, "deal.committed", tx="0x" + moved.tx.hex(), block=str(moved.block)),
    )


def start(state: Committed, job: bytes) -> Step:
    """Run the job of a committed deal: the node calls this when a slot is free."""
    run = RunJob(key=f"run:{state.terms.deal_id.hex()}", deal_id=state.terms.deal_id, job=job, audit=False)
    return Running(state.terms, state.commitment), (run, say(state.terms, "deal.running"))


def _ended(state: Running, finished: JobFinished, ctx: Ctx) -> Step:
    terms, result = state.terms, finished.result
    if result.outcome == eip712.OutcomeCode.INFRA_ERROR:
        return _offer_refund(state, result, ctx)
    salt = ctx.env.signer.derive("result-salt", terms.deal_id)
    commit = eip712.ResultCommit(
        deal_id=terms.deal_id,
        salted_root=keccak256(salt, result.root),
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


def _signed_off(state: Resulted | Delivered | Claimed, event: SignedOff, ctx: Ctx) -> Step:
    terms = state.terms
    if state.result is None:
        return state, ()
    accepted = Accepted(terms, state.commitment, state.result, event.message, "")
    settlement = event.message.settlement
    claimed = eip712.digest(ctx.env.domain, state.result.commit) if isinstance(state, Claimed) else ZERO_HASH
    post = post_tx(terms, "settle", amount=settlement.paid, signature=event.message.signature, result_hash=claimed)
    return accepted, (
        post,
        StopServing(deal_id=terms.deal_id, forget=True),
        say(terms, "deal.accepted", paid=str(settlement.paid)),
    )


def _disowned(state: Resulted | Delivered, event: ResultDisowned, ctx: Ctx) -> Step:
    rejected = Rejected(state.terms, state.commitment, state.result, event.code, event.detail)
    return rejected, (
        claim_now(state.terms, state.result, ctx),
        say(state.terms, "deal.rejected", code=event.code, detail=event.detail),
    )


def claim_now(terms: DealTerms, result: ResultNotice, ctx: Ctx) -> Effect:
    """Post the claim: the client is silent, or refuses what we stand by."""
    return post_tx(terms, "claim", result_hash=eip712.digest(ctx.env.domain, result.commit))


def _silence(state: Resulted | Delivered, event: TimePassed, ctx: Ctx) -> Step:
    if state.claiming:
        return state, ()
    claiming = msgspec.structs.replace(state, claiming=True)
    return claiming, (claim_now(state.terms, state.result, ctx), say(state.terms, "deal.claiming"))


def _claimed(state: Resulted | Delivered | Rejected | Accepted, moved: ChainMoved, ctx: Ctx) -> Step:
    sign_off = state.sign_off if isinstance(state, Accepted) else None
    claimed = Claimed(state.terms, state.commitment, state.result, moved.at, moved.tx, sign_off=sign_off)
    return claimed, (say(state.terms, "deal.claimed", tx="0x" + moved.tx.hex()),)


def _window_over(state: Claimed, event: TimePassed, ctx: Ctx) -> Step:
    if state.result is None:
        return state, ()
    return state, (post_tx(state.terms, "finalize", result_hash=eip712.digest(ctx.env.domain, state.result.commit)),)


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


def _settled(state: DealState, moved: ChainMoved, ctx: Ctx) -> Step:
    terms = state.terms
    final = Settled(
        terms=terms,
        tx=moved.tx,
        paid=moved.paid,
        how=moved.to,
        result=getattr(state, "result", None),
        checked="",
        commitment=getattr(state, "commitment", None),
        sign_off=getattr(state, "sign_off", None),
    )
    return final, (*_end(terms), say(terms, f"deal.{moved.to}", tx="0x" + moved.tx.hex(), paid=str(moved.paid)))


def _expired(state: DealState, moved: ChainMoved, ctx: Ctx) -> Step:
    terms = state.terms
    return Expired(terms, moved.tx, getattr(state, "commitment", None)), (
        *_end(terms),
        say(terms, "deal.expired", tx="0x" + moved.tx.hex()),
    )


def _end(terms: DealTerms) -> tuple[Effect, ...]:
    prefix = terms.deal_id.hex()
    kinds = ("fetch", "run", "send", "tx", "serve")
    drops = tuple(DropEffects(prefix=f"{kind}:{prefix}") for kind in kinds)
    return (CancelJob(deal_id=terms.deal_id), StopServing(deal_id=terms.deal_id, forget=True), *drops)


def _moved(state: DealState, moved: ChainMoved, ctx: Ctx) -> Step:
    match moved.to:
        case "committed":
            return _committed(state, moved, ctx) if isinstance(state, Signed | Ready | Abandoned) else (state, ())
        case "claimed":
            if isinstance(state, Resulted | Delivered | Rejected | Accepted):
                return _claimed(state, moved, ctx)
            return state, ()
        case "settled" | "finalized" | "cancelled":
            return _settled(state, moved, ctx)
        case "expired":
            return _expired(state, moved, ctx)
        case _:
            return state, ()


def _commit_lost(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """A reorganisation took our transaction back: post it again, the work goes on."""
    terms = state.terms
    match event.was:
        case "committed":
            again = post_tx(terms, "commit", signature=terms.client_signature, attempt=event.tx)
        case "settled" if isinstance(state, Settled) and state.sign_off and state.result and state.commitment:
            off = state.sign_off
            again = post_tx(terms, "settle", amount=off.settlement.paid, signature=off.signature, attempt=event.tx)
            accepted = Accepted(terms, state.commitment, state.result, off, state.checked)
            return accepted, (again, say(terms, "deal.reorganised", was=event.was))
        case _:
            return state, ()
    return state, (again, say(terms, "deal.reorganised", was=event.was))


Handler = Callable[[Any, Any, Ctx], Step]

TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Signed, Fetched): _inputs_held,
    (Signed, FetchFailed): _inputs_failed,
    (Signed, TimePassed): _before_commit_time,
    (Ready, TimePassed): _before_commit_time,
    (Ready, TxRefused): _commit_refused,
    (Running, JobFinished): _ended,
    (Committed, CancelProposed): _cancel,
    (Running, CancelProposed): _cancel,
    (Resulted, DeliveryConfirmed): _delivered,
    (Resulted, SignedOff): _signed_off,
    (Delivered, SignedOff): _signed_off,
    (Claimed, SignedOff): _signed_off,
    (Resulted, ResultDisowned): _disowned,
    (Delivered, ResultDisowned): _disowned,
    (Resulted, TimePassed): _silence,
    (Delivered, TimePassed): _silence,
    (Claimed, TimePassed): _window_over,
    **{(s, ChainMoved): _moved for s in (Signed, Ready, Committed, Running, Resulted, Delivered)},
    **{(s, ChainMoved): _moved for s in (Accepted, Rejected, Claimed, Abandoned)},
    **{(s, ChainRetracted): _commit_lost for s in (Committed, Running, Resulted, Delivered, Accepted, Settled)},
}


def advance(state: DealState, event: DealInput, ctx: Ctx) -> Step:
    """The provider's half of the deal table."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: DealState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state; None when only the others can move it."""
    deal, params = state.terms.deal, ctx.env.params
    match state:
        case Signed() | Ready():
            return UnixSeconds(deal.commit_by + 1)
        case Resulted(claiming=False) | Delivered(claiming=False):
            last = state.commitment.at + deal.exec_seconds + deal.claim_seconds - params.deadline_margin
            return UnixSeconds(min(state.at + params.silence_before_claim, last))
        case Claimed():
            return UnixSeconds(state.at + deal.window_seconds + 1)
        case _:
            return None

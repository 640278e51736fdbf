"""How does a deal go, seen by its client?

A literal table from (state, input) to a handler, like the provider's. The client believes the chain about commitments and
payments, its own executor about results, and the provider about nothing.
"""

from typing import Final

import msgspec

from protocols.deals import eip712
from protocols.deals.inputs import (
    AuditFinished,
    CancelProposed,
    CancelWanted,
    ChainMoved,
    ChainRetracted,
    Countersigned,
    Ctx,
    DealDeclined,
    DealInput,
    FetchFailed,
    Fetched,
    ResultArrived,
    TimePassed,
    TxRefused,
    outcome_name,
    post_tx,
    say,
    send,
    sold,
)
from protocols.deals.provider import Handler, Step
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
    Proposed,
    Rejected,
    Resulted,
    Settled,
    Signed,
)
from protocols.effects import CancelFetch, CancelJob, DropEffects, Effect, FetchBlobs, RunJob, ServeBlobs, StopServing
from protocols.messages.deal import CancelConsent, Rejection, SignOff
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.negotiation import DealProposal, InputRoot
from protocols.units import Tokens, UnixSeconds

__all__ = ["TABLE", "UNVERIFIABLE", "advance", "deadline", "propose", "reexecute"]

UNVERIFIABLE: Final = frozenset(
    {eip712.OutcomeCode.TIMEOUT, eip712.OutcomeCode.OOM, eip712.OutcomeCode.DISK_LIMIT, eip712.OutcomeCode.CANCELLED}
)
"""Outcomes that depend on the machine: never audited, never grounds for refusal (PROTOCOL.md 6)."""


def propose(terms: DealTerms, ctx: Ctx) -> Step:
    """Send the signed deal, and let the provider pull what it needs."""
    serve = ServeBlobs(
        key=f"serve:{terms.deal_id.hex()}",
        deal_id=terms.deal_id,
        peer=terms.provider,
        roots=tuple(item.root for item in terms.inputs),
    )
    proposal = DealProposal(rfq_id=terms.rfq_id, deal=terms.deal, signature=terms.client_signature)
    price = str(terms.deal.price)
    return Proposed(terms), (
        serve,
        send(ctx, terms, terms.provider, proposal),
        say(terms, "deal.proposed", price=price),
    )


def _countersigned(state: Proposed, event: Countersigned, ctx: Ctx) -> Step:
    terms = msgspec.structs.replace(state.terms, provider_signature=event.signature)
    return Signed(terms), (say(terms, "deal.signed"),)


def _declined(state: Proposed | Signed, event: DealDeclined, ctx: Ctx) -> Step:
    return _leave(state.terms, event.code, event.detail)


def _leave(terms: DealTerms, code: str, detail: str) -> Step:
    return Abandoned(terms, code, detail), (*_end(terms), say(terms, "deal.abandoned", code=code, detail=detail))


def _not_committed(state: Proposed | Signed, event: TimePassed, ctx: Ctx) -> Step:
    return _leave(state.terms, "not-committed", "the provider did not commit before commitBy")


def _cancel_unsigned(state: Proposed | Signed, event: CancelWanted, ctx: Ctx) -> Step:
    """Nothing is on chain yet, but the provider holds our signature until commitBy: burn it there."""
    terms = state.terms
    return Abandoned(terms, "cancelled", "cancelled by its owner"), (
        post_tx(terms, "burn"),
        *(effect for effect in _end(terms) if not _is_tx_drop(effect)),
        say(terms, "deal.abandoned", code="cancelled", detail="cancelled by its owner"),
    )


def _is_tx_drop(effect: Effect) -> bool:
    return isinstance(effect, DropEffects) and effect.prefix.startswith("tx:")


def _committed(state: Proposed | Signed | Abandoned, moved: ChainMoved, ctx: Ctx) -> Step:
    terms = state.terms
    commitment = Commitment(tx=moved.tx, block=moved.block, at=moved.at)
    return Committed(terms, commitment), (
        say(terms, "deal.committed", tx="0x" + moved.tx.hex(), block=str(moved.block)),
    )


def _result(state: Committed, event: ResultArrived, ctx: Ctx) -> Step:
    terms, notice = state.terms, event.message
    fetch = FetchBlobs(
        key=f"fetch:{terms.deal_id.hex()}:result",
        deal_id=terms.deal_id,
        purpose="result",
        peer=terms.provider,
        roots=(InputRoot(root=notice.root, size=notice.size),),
    )
    resulted = Resulted(terms, state.commitment, notice, ctx.now)
    outcome = outcome_name(notice.commit.outcome)
    return resulted, (fetch, say(terms, "deal.resulted", outcome=outcome, exit_code=str(notice.commit.exit_code)))


def _held(state: Resulted, event: Fetched, ctx: Ctx) -> Step:
    terms = state.terms
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    receipt = eip712.DeliveryReceipt(deal_id=terms.deal_id, result_hash=result_hash)
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, receipt))
    message = DeliveredMessage(receipt=receipt, signature=signature)
    delivered = Delivered(terms, state.commitment, state.result, state.at, message)
    return delivered, (send(ctx, terms, terms.provider, message), say(terms, "deal.delivered"))


def reexecute(state: Delivered, job: bytes) -> Step:
    """Run the job here and compare: the node calls this when the draw says so."""
    terms = state.terms
    run = RunJob(key=f"run:{terms.deal_id.hex()}", deal_id=terms.deal_id, job=job, audit=True)
    return msgspec.structs.replace(state, audited=True), (run, say(terms, "deal.auditing"))


def accept(state: Delivered, checked: str, ctx: Ctx) -> Step:
    """Sign off: receipt and settlement of the whole price."""
    terms = state.terms
    sign = ctx.env.signer.sign
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    receipt = eip712.ResultReceipt(deal_id=terms.deal_id, result_hash=result_hash, beacon_round=0)
    settlement = eip712.Settlement(deal_id=terms.deal_id, paid=terms.deal.price)
    off = SignOff(
        receipt=receipt,
        receipt_signature=sign(eip712.digest(ctx.env.domain, receipt)),
        settlement=settlement,
        signature=sign(eip712.digest(ctx.env.domain, settlement)),
    )
    accepted = Accepted(terms, state.commitment, state.result, off, checked)
    return accepted, (send(ctx, terms, terms.provider, off), say(terms, "deal.accepted", checked=checked))


def _audited(state: Delivered, event: AuditFinished, ctx: Ctx) -> Step:
    mine, theirs = event.result, state.result
    if mine.outcome == eip712.OutcomeCode.INFRA_ERROR or mine.outcome in UNVERIFIABLE:
        return accept(state, "bytes", ctx)
    agrees = (
        mine.root == theirs.root
        and mine.outcome == theirs.commit.outcome
        and mine.exit_code == theirs.commit.exit_code
        and mine.fuel == theirs.commit.fuel
    )
    if agrees:
        return accept(state, "audited", ctx)
    detail = f"re-execution ended {outcome_name(mine.outcome)} with another result than the provider's"
    return _reject(state, "wrong-result", detail, ctx)


def _reject(state: Resulted | Delivered, code: str, detail: str, ctx: Ctx) -> Step:
    terms = state.terms
    rejection = Rejection(deal_id=terms.deal_id, code=code, detail=detail)
    return Rejected(terms, state.commitment, state.result, code, detail), (
        CancelFetch(deal_id=terms.deal_id),
        send(ctx, terms, terms.provider, rejection),
        say(terms, "deal.rejected", code=code, detail=detail),
    )


def _result_unavailable(state: Resulted, event: FetchFailed, ctx: Ctx) -> Step:
    """The provider committed to bytes it does not serve, or that are not what it said."""
    return _reject(state, "result-unavailable", event.detail, ctx)


def _overdue(state: Committed | Resulted | Delivered | Rejected, event: TimePassed, ctx: Ctx) -> Step:
    return state, (post_tx(state.terms, "expire"), say(state.terms, "deal.overdue"))


def _cancel_committed(state: Committed, event: CancelWanted, ctx: Ctx) -> Step:
    """Offer the provider what its time so far is worth; it may refuse."""
    terms = state.terms
    later = UnixSeconds(ctx.now + 2)
    paid = min(sold(terms, state.commitment, later), terms.deal.price)
    cancellation = eip712.Cancellation(deal_id=terms.deal_id, paid=Tokens(paid))
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, cancellation))
    consent = CancelConsent(cancellation=cancellation, signature=signature)
    return state, (send(ctx, terms, terms.provider, consent), say(terms, "deal.cancel_offered", paid=str(paid)))


def _refund(state: Committed, event: CancelProposed, ctx: Ctx) -> Step:
    """The provider gives up: take the price back when it asks for nothing."""
    terms, consent = state.terms, event.message
    if consent.cancellation.paid != 0:
        return state, (say(terms, "deal.cancel_refused", offered=str(consent.cancellation.paid)),)
    return state, (post_tx(terms, "cancel", signature=consent.signature), say(terms, "deal.refunding"))


def _moved(state: DealState, moved: ChainMoved, ctx: Ctx) -> Step:
    terms = state.terms
    match moved.to:
        case "committed":
            return _committed(state, moved, ctx) if isinstance(state, Proposed | Signed | Abandoned) else (state, ())
        case "claimed":
            return _claimed(state, moved)
        case "settled" | "finalized" | "cancelled":
            final = Settled(
                terms=terms,
                tx=moved.tx,
                paid=moved.paid,
                how=moved.to,
                result=getattr(state, "result", None),
                checked=getattr(state, "checked", ""),
                commitment=getattr(state, "commitment", None),
                sign_off=getattr(state, "sign_off", None),
            )
            tx = "0x" + moved.tx.hex()
            return final, (*_end(terms), say(terms, f"deal.{moved.to}", tx=tx, paid=str(moved.paid)))
        case "expired":
            expired = Expired(terms, moved.tx, getattr(state, "commitment", None))
            return expired, (*_end(terms), say(terms, "deal.expired", tx="0x" + moved.tx.hex()))
        case _:
            return state, ()


def _claimed(state: DealState, moved: ChainMoved) -> Step:
    """The provider claimed without us; the bytes, if they come, are still worth having."""
    if not isinstance(state, Committed | Resulted | Delivered | Accepted | Rejected):
        return state, ()
    claimed = Claimed(
        state.terms,
        state.commitment,
        getattr(state, "result", None),
        moved.at,
        moved.tx,
        rejected=state.detail if isinstance(state, Rejected) else "",
        sign_off=state.sign_off if isinstance(state, Accepted) else None,
    )
    return claimed, (say(state.terms, "deal.claimed", tx="0x" + moved.tx.hex()),)


def _end(terms: DealTerms) -> tuple[Effect, ...]:
    prefix = terms.deal_id.hex()
    drops = tuple(DropEffects(prefix=f"{kind}:{prefix}") for kind in ("run", "send", "tx", "serve", "fetch"))
    return (
        CancelFetch(deal_id=terms.deal_id),
        CancelJob(deal_id=terms.deal_id),
        StopServing(deal_id=terms.deal_id, forget=False),
        *drops,
    )


def _retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """What the chain took back, we take back; the provider posts it again."""
    terms = state.terms
    note = say(terms, "deal.reorganised", was=event.was)
    if event.was == "committed" and isinstance(state, Committed):
        return Signed(terms), (note,)
    if isinstance(state, Settled) and state.sign_off and state.result and state.commitment:
        return Accepted(terms, state.commitment, state.result, state.sign_off, state.checked), (note,)
    return state, (note,)


def _tx_refused(state: DealState, event: TxRefused, ctx: Ctx) -> Step:
    return state, (say(state.terms, "deal.tx_refused", purpose=event.purpose, reason=event.reason),)


_ON_CHAIN: Final = (Proposed, Signed, Committed, Resulted, Delivered, Accepted, Rejected, Claimed, Abandoned)

TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Proposed, Countersigned): _countersigned,
    (Proposed, DealDeclined): _declined,
    (Signed, DealDeclined): _declined,
    (Proposed, TimePassed): _not_committed,
    (Signed, TimePassed): _not_committed,
    (Proposed, CancelWanted): _cancel_unsigned,
    (Signed, CancelWanted): _cancel_unsigned,
    (Committed, ResultArrived): _result,
    (Committed, CancelWanted): _cancel_committed,
    (Committed, CancelProposed): _refund,
    (Committed, TimePassed): _overdue,
    (Resulted, Fetched): _held,
    (Resulted, FetchFailed): _result_unavailable,
    (Resulted, TimePassed): _overdue,
    (Delivered, AuditFinished): _audited,
    (Delivered, TimePassed): _overdue,
    (Rejected, TimePassed): _overdue,
    **{(s, ChainMoved): _moved for s in _ON_CHAIN},
    **{(s, ChainRetracted): _retracted for s in (Committed, Resulted, Delivered, Accepted, Settled)},
    **{(s, TxRefused): _tx_refused for s in (Committed, Resulted, Delivered, Rejected, Abandoned)},
}


def advance(state: DealState, event: DealInput, ctx: Ctx) -> Step:
    """The client's half of the deal table."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: DealState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state; None when only the others can move it."""
    deal = state.terms.deal
    match state:
        case Proposed() | Signed():
            return UnixSeconds(deal.commit_by + 1)
        case Committed() | Resulted() | Delivered() | Rejected():
            return UnixSeconds(state.commitment.at + deal.exec_seconds + deal.claim_seconds + 1)
        case _:
            return None

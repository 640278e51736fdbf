"""How does a deal go, seen by its client?

A literal table from (state, input) to a handler, like the provider's. The client believes the chain about commitments and
payments, its own executor about results, and the provider about nothing.
"""

from typing import Final

import msgspec

from protocols.deals import checking, disputed, eip712, endings, late, waits
from protocols.deals.checking import reject
from protocols.deals.inputs import (
    AuditFinished,
    CancelProposed,
    CancelWanted,
    ChainMoved,
    ChainRetracted,
    Compared,
    Countersigned,
    Ctx,
    DealDeclined,
    DealInput,
    Fetched,
    FetchFailed,
    Handler,
    ReplicasCompared,
    Rerun,
    ResultArrived,
    RoundKnown,
    Step,
    TimePassed,
    TxRefused,
    outcome_name,
    over,
    post_tx,
    say,
    send,
    sold,
)
from protocols.deals.reorganised import OnChain, claim_hash, client_retracted, fetch_result, recommitted
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
    Proposed,
    Rejected,
    Resulted,
    Settled,
    Signed,
    Slashed,
    Voided,
)
from protocols.effects import DropEffects, Effect, ServeBlobs
from protocols.messages.deal import CancelConsent
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.negotiation import DealProposal
from protocols.units import ZERO_HASH, Tokens, UnixSeconds

__all__ = ["TABLE", "advance", "burn", "deadline", "propose"]


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
    return Signed(terms, state.early, state.refund), (say(terms, "deal.signed"),)


def _early_result(state: Proposed | Signed, event: ResultArrived, ctx: Ctx) -> Step:
    """The provider follows its own commitment a block ahead of us, and a small job is over by then."""
    return msgspec.structs.replace(state, early=event.message), ()


def _early_refund(state: Proposed | Signed, event: CancelProposed, ctx: Ctx) -> Step:
    return msgspec.structs.replace(state, refund=event.message), ()


def _declined(state: Proposed | Signed, event: DealDeclined, ctx: Ctx) -> Step:
    return _leave(state.terms, event.code, event.detail)


def _leave(terms: DealTerms, code: str, detail: str) -> Step:
    return Abandoned(terms, code, detail), (
        *over(terms, forget=False),
        say(terms, "deal.abandoned", code=code, detail=detail),
    )


def _not_committed(state: Proposed | Signed, event: TimePassed, ctx: Ctx) -> Step:
    return _leave(state.terms, "not-committed", "the provider did not commit before commitBy")


def burn(terms: DealTerms) -> Effect:
    """Make sure on chain that a deal which was declined cannot be committed after all."""
    return post_tx(terms, "burn")


def _burned(state: Proposed | Signed | Abandoned, ctx: Ctx) -> Step:
    """Nobody can commit it any more."""
    if isinstance(state, Abandoned):
        return msgspec.structs.replace(state, burned=True), ()
    left, effects = _leave(state.terms, "cancelled", "cancelled by its owner")
    return msgspec.structs.replace(left, burned=True), effects


def _cancel_unsigned(state: Proposed | Signed, event: CancelWanted, ctx: Ctx) -> Step:
    """Nothing is on chain yet, but the provider holds our signature until commitBy: burn it there."""
    terms = state.terms
    return Abandoned(terms, "cancelled", "cancelled by its owner"), (
        burn(terms),
        *(effect for effect in over(terms, forget=False) if not _is_tx_drop(effect)),
        say(terms, "deal.abandoned", code="cancelled", detail="cancelled by its owner"),
    )


def _is_tx_drop(effect: Effect) -> bool:
    return isinstance(effect, DropEffects) and effect.prefix.startswith("tx:")


def _committed(state: Proposed | Signed | Abandoned, moved: ChainMoved, ctx: Ctx) -> Step:
    terms = state.terms
    committed = Committed(terms, Commitment(tx=moved.tx, block=moved.block, at=moved.at))
    note = say(terms, "deal.committed", tx="0x" + moved.tx.hex(), block=str(moved.block))
    if isinstance(state, Abandoned) and state.code == "cancelled":
        # The provider was faster than the burn: what its owner wanted still holds.
        _, offer = _cancel_committed(committed, CancelWanted(), ctx)
        return committed, (note, *offer)
    if isinstance(state, Proposed | Signed) and state.early is not None:
        new, effects = _result(committed, ResultArrived(state.early), ctx)
        return new, (note, *effects)
    if isinstance(state, Proposed | Signed) and state.refund is not None:
        new, effects = _refund(committed, CancelProposed(state.refund), ctx)
        return new, (note, *effects)
    return committed, (note,)


def _result(state: Committed, event: ResultArrived, ctx: Ctx) -> Step:
    terms, notice = state.terms, event.message
    resulted = Resulted(terms, state.commitment, notice, ctx.now)
    outcome = outcome_name(notice.commit.outcome)
    note = say(terms, "deal.resulted", outcome=outcome, exit_code=str(notice.commit.exit_code))
    return resulted, (fetch_result(resulted, notice), note)


def _late_result(state: Claimed, event: ResultArrived, ctx: Ctx) -> Step:
    """It was claimed while we were away: what is being paid for is worth having, if it is what was claimed, and checked
    while the window is open."""
    notice = event.message
    if state.result is not None:
        return _another_result(state, event, ctx)
    if claim_hash(state, ctx) != eip712.digest(ctx.env.domain, notice.commit):
        return state, disputed.two_results(msgspec.structs.replace(state, result=notice), None, state.result_hash, ctx)
    claim = msgspec.structs.replace(state, result=notice)
    resulted = Resulted(state.terms, state.commitment, notice, ctx.now, claim=claim)
    new = claim if state.rejected else resulted
    return new, (fetch_result(new, notice), say(state.terms, "deal.resulted"))


def _another_result(state: DealState, event: ResultArrived, ctx: Ctx) -> Step:
    """The same one again is a straggler; another one is fraud, and proves itself."""
    return state, disputed.two_results(state, event.message, ZERO_HASH, ctx)


def _held(state: Resulted, event: Fetched, ctx: Ctx) -> Step:
    terms = state.terms
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    receipt = eip712.DeliveryReceipt(deal_id=terms.deal_id, result_hash=result_hash)
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, receipt))
    message = DeliveredMessage(receipt=receipt, signature=signature)
    delivered = Delivered(terms, state.commitment, state.result, state.at, message, claim=state.claim)
    return delivered, (send(ctx, terms, terms.provider, message), say(terms, "deal.delivered"))


def _result_unavailable(state: Resulted, event: FetchFailed, ctx: Ctx) -> Step:
    """The provider committed to bytes it does not serve, or that are not what it said."""
    return reject(state, disputed.UNAVAILABLE, event.detail, ctx, withheld=True)


def _overdue(state: OnChain, event: TimePassed, ctx: Ctx) -> Step:
    """No claim in time, or no commitment any more: nobody's money stays locked."""
    if state.commitment.lost:
        return _leave(state.terms, "not-committed", "the chain took the commitment back and commitBy has passed")
    if isinstance(state, Resulted) and isinstance(state.claim, Claimed):
        return reject(state, disputed.UNAVAILABLE, "its bytes did not come in time", ctx, withheld=True)
    return state, (post_tx(state.terms, "expire"), say(state.terms, "deal.overdue"))


def _check_over(state: Checking, event: TimePassed, ctx: Ctx) -> Step:
    """The provider is about to claim: what is known by now decides, unless more can still be known."""
    unclaimed = bool(state.overtime) and not isinstance(state.claim, Claimed)
    return _overdue(state, event, ctx) if state.commitment.lost or unclaimed else checking.time_up(state, event, ctx)


def _window_over(state: Claimed, event: TimePassed, ctx: Ctx) -> Step:
    """The provider claimed and then went silent; anybody may end it, and we want our books closed. Under a panel nobody pays
    for what it has never seen."""
    if checking.unseen(state) and ctx.now <= state.at + state.terms.deal.window_seconds:
        return checking.never_seen(state, ctx)
    result_hash = claim_hash(state, ctx)
    if result_hash == ZERO_HASH:
        return state, ()
    return state, (post_tx(state.terms, "finalize", result_hash=result_hash),)


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
        case "committed" if isinstance(state, OnChain):
            return recommitted(state, moved, ctx)
        case "committed" if isinstance(state, Proposed | Signed | Abandoned):
            return _committed(state, moved, ctx)
        case "burned" if isinstance(state, Proposed | Signed | Abandoned):
            return _burned(state, ctx)
        case "claimed":
            new, effects = _claimed(state, moved)
            return new, (*effects, *disputed.two_results(state, None, moved.result_hash, ctx))
        case "disputed":
            return disputed.opened(state, moved)
        case end if end in disputed.ENDS:
            return disputed.judged(state, moved, over(terms, forget=False))
        case "settled" | "finalized" | "cancelled":
            return late.awaited(state, endings.settled(state, moved, forget=False), ctx)
        case "expired":
            return endings.expired(state, moved, forget=False)
        case _:
            return state, ()


def _claimed(state: DealState, moved: ChainMoved) -> Step:
    """The provider claimed without us; the bytes, if they come, are still worth having, and a check goes on."""
    if not isinstance(state, Committed | Resulted | Delivered | Checking | Accepted | Rejected):
        return state, ()
    claimed = Claimed(
        state.terms,
        state.commitment,
        getattr(state, "result", None),
        moved.at,
        moved.tx,
        moved.result_hash,
        rejected=state.detail if isinstance(state, Rejected) else "",
        withheld=(isinstance(state, Rejected) and state.code == disputed.UNAVAILABLE) or msgspec.UNSET,
        sign_off=state.sign_off if isinstance(state, Accepted) else None,
        checked=state.checked if isinstance(state, Accepted) else "",
    )
    note = say(state.terms, "deal.claimed", tx="0x" + moved.tx.hex())
    if isinstance(state, Resulted | Delivered | Checking):
        return msgspec.structs.replace(state, claim=claimed), (note,)
    return claimed, (note,)


def _tx_refused(state: DealState, event: TxRefused, ctx: Ctx) -> Step:
    return state, (say(state.terms, "deal.tx_refused", purpose=event.purpose, reason=event.reason),)


def _retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """The chain has taken something back."""
    if event.was in disputed.MOVES:
        return disputed.client_retracted(state, event, ctx)
    return client_retracted(state, event, ctx)


_ON_CHAIN: Final = (
    Proposed,
    Signed,
    Committed,
    Resulted,
    Delivered,
    Checking,
    Accepted,
    Rejected,
    Claimed,
    Abandoned,
    Disputed,
)

TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Proposed, Countersigned): _countersigned,
    (Proposed, ResultArrived): _early_result,
    (Signed, ResultArrived): _early_result,
    (Proposed, CancelProposed): _early_refund,
    (Signed, CancelProposed): _early_refund,
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
    (Checking, RoundKnown): checking.round_known,
    (Checking, AuditFinished): checking.ran_here,
    (Checking, Rerun): checking.ran_elsewhere,
    (Checking, Compared): checking.compared,
    (Checking, ReplicasCompared): checking.replicated,
    (Delivered, TimePassed): _overdue,
    (Checking, TimePassed): _check_over,
    (Accepted, TimePassed): _overdue,
    (Rejected, TimePassed): _overdue,
    (Claimed, ResultArrived): _late_result,
    **{(s, ResultArrived): _another_result for s in (Resulted, Delivered, Checking, Accepted, Rejected, Disputed)},
    (Claimed, TimePassed): _window_over,
    (Disputed, TimePassed): lambda state, event, ctx: disputed.overdue(state),
    **{(s, ChainMoved): _moved for s in _ON_CHAIN},
    **{(s, ChainRetracted): _retracted for s in (*_ON_CHAIN[2:], Settled, Slashed, Voided, Expired)},
    **{(s, TxRefused): _tx_refused for s in _ON_CHAIN[2:]},
    **late.CLIENT_ROWS,
}


def advance(state: DealState, event: DealInput, ctx: Ctx) -> Step:
    """The client's half of the deal table."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: DealState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state; None when only the others can move it."""
    deal, params = state.terms.deal, ctx.env.params
    if isinstance(state, OnChain) and state.commitment.lost:
        return UnixSeconds(deal.commit_by + 1)
    match state:
        case Proposed() | Signed():
            return UnixSeconds(deal.commit_by + 1)
        case Delivered() | Checking():
            return waits.check_by(state, ctx)
        case Resulted(claim=Claimed() as claim):
            return waits.bytes_by(claim)
        case Committed() | Resulted() | Rejected():
            return UnixSeconds(state.commitment.at + deal.exec_seconds + deal.claim_seconds + 1)
        case Accepted():
            # The provider holds our consent; it gets a window's time more to use it.
            claim_by = state.commitment.at + deal.exec_seconds + deal.claim_seconds
            return UnixSeconds(claim_by + deal.window_seconds + 1)
        case Claimed():
            return checking.unseen_by(state) or UnixSeconds(state.at + deal.window_seconds + params.deadline_margin + 1)
        case Disputed():
            return disputed.void_at(state)
        case Settled() if state.late is not msgspec.UNSET:
            return late.until(state, params)
        case _:
            return None

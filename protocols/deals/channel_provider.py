"""How does a deal go that a channel pays, seen by its provider?

A literal table like `protocols.deals.provider`. The job starts when the chain shows that the channel covers it, and the
deal before it is paid: `protocols.channels.provider` sees to both.
"""

from typing import Final

import msgspec

from protocols.deals import provider as committed
from protocols.deals.in_channel import Paid, end, leave, patience, settled, work_began
from protocols.deals.inputs import (
    Ctx,
    DealInput,
    Fetched,
    FetchFailed,
    Handler,
    JobFinished,
    KeyWanted,
    LeftBehind,
    ResultDisowned,
    Step,
    TimePassed,
    say,
    send,
)
from protocols.deals.sealing import key_of, release_of, seal_notice
from protocols.deals.states import (
    Abandoned,
    Commitment,
    Committed,
    DealState,
    DealTerms,
    Ready,
    Resulted,
    Running,
    SealedBytes,
    Settled,
    Signed,
)
from protocols.effects import Effect, ServeBlobs
from protocols.messages.negotiation import DealRefusal
from protocols.units import ZERO_HASH, UnixSeconds

__all__ = ["TABLE", "UNPAID", "advance", "deadline", "start"]

UNPAID: Final = frozenset({"rejected-unpaid", "not-paid"})
"""How a deal ends whose work is done and not paid: until its voucher comes there is no other in this channel."""


def _inputs_held(state: Signed, _: Fetched, ctx: Ctx) -> Step:
    if ctx.now >= state.terms.deal.commit_by:
        return _refuse(state.terms, "too-late", "inputs arrived after commitBy", ctx)
    return Ready(state.terms), (say(state.terms, "deal.ready"),)


def _refuse(terms: DealTerms, code: str, detail: str, ctx: Ctx) -> Step:
    """Our own failure: the client looks elsewhere at once."""
    refusal = send(ctx, terms, terms.client, DealRefusal(deal_id=terms.deal_id, code=code, detail=detail[:200]))
    return leave(terms, code, detail, refusal, forget=True)


def _inputs_failed(state: Signed, failed: FetchFailed, ctx: Ctx) -> Step:
    return _refuse(state.terms, "inputs-unavailable", failed.detail, ctx)


def _not_begun(state: Signed | Ready, event: TimePassed, ctx: Ctx) -> Step:
    return _refuse(
        state.terms,
        "not-funded",
        "commitBy passed before the channel covered the deal, or the one before it was paid",
        ctx,
    )


def _left_behind(state: Signed | Ready, event: LeftBehind, ctx: Ctx) -> Step:
    """Nothing has begun, so nothing is lost."""
    return _refuse(state.terms, "busy", event.why, ctx)


def start(state: Ready, job: bytes, ctx: Ctx, *, sealed: bool) -> Step:
    """Run the job: the node calls this when a slot is free and the channel covers it. ``sealed``: its client is not known
    yet, and gets the key against the voucher."""
    running, (run, *rest) = committed.start(Committed(state.terms, work_began(ctx.now)), job)
    if not sealed:
        return running, (run, *rest)
    key = key_of(ctx.env.signer, state.terms.deal_id)
    return msgspec.structs.replace(running, sealed=True), (msgspec.structs.replace(run, seal=key), *rest)


def _ended(state: Running, finished: JobFinished, ctx: Ctx) -> Step:
    if finished.result.outcome in committed.OWN_FAULT:
        return _refuse(state.terms, "infra-error", finished.result.detail, ctx)
    if not state.sealed:
        return committed.advance(state, finished, ctx)
    sealed = finished.result.sealed
    if not sealed:
        return _refuse(state.terms, "infra-error", "the result could not be sealed", ctx)
    # The head of the log has no salt: a log that can be guessed could be confirmed by it, unpaid.
    blind = msgspec.structs.replace(finished.result, log_head=ZERO_HASH)
    resulted, effects = committed.advance(state, JobFinished(blind), ctx)
    return _sealed(resulted, sealed, effects[-1], ctx) if isinstance(resulted, Resulted) else (resulted, effects)


def _sealed(state: Resulted, sealed: SealedBytes, note: Effect, ctx: Ctx) -> Step:
    """Serve and name the sealed bytes alone."""
    terms = state.terms
    notice = seal_notice(ctx.env.signer, ctx.env.domain, state.result, sealed.root, sealed.size)
    serve = ServeBlobs(
        key=f"serve:{terms.deal_id.hex()}", deal_id=terms.deal_id, peer=terms.client, roots=(sealed.root,)
    )
    return msgspec.structs.replace(state, sealed=notice), (serve, send(ctx, terms, terms.client, notice), note)


def _overdue(state: Running, event: TimePassed, ctx: Ctx) -> Step:
    return _refuse(state.terms, "infra-error", "the job did not end in its time", ctx)


def _left(state: Signed | Ready | Running, event: ResultDisowned, ctx: Ctx) -> Step:
    """Nothing was delivered, so nothing is owed, whatever the client calls it."""
    code = "cancelled" if event.code in UNPAID else event.code
    return leave(state.terms, code, event.detail, forget=True)


def _disowned(state: Resulted, event: ResultDisowned, ctx: Ctx) -> Step:
    """It had the result and does not pay: one price is lost, and there is no second."""
    why = f"{event.code}: {event.detail}"
    return leave(state.terms, "rejected-unpaid", why, forget=True, disowned=state.result)


def _silence(state: Resulted, event: TimePassed, ctx: Ctx) -> Step:
    return leave(state.terms, "not-paid", "no voucher came for the result", forget=True)


def _paid(state: Resulted, event: Paid, ctx: Ctx) -> Step:
    terms = state.terms
    return settled(terms, state.commitment, state.result, ""), (
        *end(terms, forget=True),
        *((_key(terms, ctx),) if state.sealed else ()),
        say(terms, "deal.settled", paid=str(terms.deal.price), how="voucher"),
    )


def _key(terms: DealTerms, ctx: Ctx) -> Effect:
    """What the voucher was signed for."""
    return send(ctx, terms, terms.client, release_of(ctx.env.signer, terms.deal_id))


def _key_again(state: Settled, event: KeyWanted, ctx: Ctx) -> Step:
    """The key of a result that was not sealed opens nothing."""
    return state, (_key(state.terms, ctx),)


def _paid_late(state: Abandoned, event: Paid, ctx: Ctx) -> Step:
    """The channel has its voucher after all; the deal stays as it was, and its key, if it has one, is released."""
    return state, (
        _key(state.terms, ctx),
        say(state.terms, "deal.paid_late", paid=str(state.terms.deal.price)),
    )


TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Signed, Fetched): _inputs_held,
    (Signed, FetchFailed): _inputs_failed,
    (Signed, TimePassed): _not_begun,
    (Ready, TimePassed): _not_begun,
    **{(state, LeftBehind): _left_behind for state in (Signed, Ready)},
    (Running, JobFinished): _ended,
    (Running, TimePassed): _overdue,
    (Resulted, ResultDisowned): _disowned,
    (Resulted, TimePassed): _silence,
    (Resulted, Paid): _paid,
    (Abandoned, Paid): _paid_late,
    (Settled, KeyWanted): _key_again,
    **{(state, ResultDisowned): _left for state in (Signed, Ready, Running)},
}


def advance(state: DealState, event: DealInput, ctx: Ctx) -> Step:
    """The provider's half of a deal that a channel pays."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: DealState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state."""
    deal = state.terms.deal
    match state:
        case Signed() | Ready():
            return UnixSeconds(deal.commit_by + 1)
        case Running(commitment=Commitment(at=at)):
            return UnixSeconds(at + deal.exec_seconds + deal.claim_seconds)
        case Resulted(at=at):
            return UnixSeconds(at + patience(state.terms, ctx.env.params))
        case _:
            return None

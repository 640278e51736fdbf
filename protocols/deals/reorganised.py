"""What does a deal do when the chain takes back what it had said?

It steps back to where it stood before, keeps everything it has learned from its peer, and posts its own call again. A
commitment that is gone leaves the state as it is, marked `lost`: the work goes on, but only `commitBy` counts until the
commitment is on chain again. The same transaction may come back by itself; then its log says so and nothing is paid twice.
"""

import msgspec

from protocols.deals import eip712
from protocols.deals.inputs import ChainMoved, ChainRetracted, Ctx, Step, post_tx, say
from protocols.deals.states import (
    Abandoned,
    Accepted,
    Checking,
    Claimed,
    Commitment,
    Committed,
    DealState,
    Delivered,
    Expired,
    Rejected,
    Resulted,
    Running,
    Settled,
    Signed,
)
from protocols.effects import Effect, FetchBlobs
from protocols.messages.deal import ResultNotice
from protocols.messages.negotiation import InputRoot
from protocols.units import ZERO_HASH, Hash32

__all__ = [
    "OnChain",
    "claim_hash",
    "claim_now",
    "client_retracted",
    "fetch_result",
    "post_again",
    "provider_retracted",
    "recommitted",
    "settle_now",
]

OnChain = Committed | Running | Resulted | Delivered | Checking | Accepted | Rejected
"""States that stand on a commitment."""


def claim_hash(state: Claimed, ctx: Ctx) -> Hash32:
    """What the claim recorded: as logged, else as the result says; zero when this party knows neither."""
    if state.result_hash != ZERO_HASH or state.result is None:
        return state.result_hash
    return eip712.digest(ctx.env.domain, state.result.commit)


def claim_now(
    state: Resulted | Delivered | Checking | Rejected | Accepted, ctx: Ctx, attempt: Hash32 | None = None
) -> Effect:
    """Post the claim: the client is silent, or refuses what we stand by."""
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    return post_tx(state.terms, "claim", result_hash=result_hash, attempt=attempt)


def settle_now(state: Accepted | Claimed, ctx: Ctx, attempt: Hash32 | None = None) -> tuple[Effect, ...]:
    """Post the settlement that the client has signed, if it has."""
    off = state.sign_off
    if off is None:
        return ()
    claimed = claim_hash(state, ctx) if isinstance(state, Claimed) else ZERO_HASH
    paid, signature = off.settlement.paid, off.signature
    return (post_tx(state.terms, "settle", amount=paid, signature=signature, result_hash=claimed, attempt=attempt),)


def fetch_result(state: Committed | Claimed | Resulted, notice: ResultNotice) -> FetchBlobs:
    """Client: pull what the provider says it has computed."""
    terms = state.terms
    return FetchBlobs(
        key=f"fetch:{terms.deal_id.hex()}:result",
        deal_id=terms.deal_id,
        purpose="result",
        peer=terms.provider,
        roots=(InputRoot(root=notice.root, size=terms.room_for(notice.size)),),
    )


def recommitted(state: OnChain, moved: ChainMoved, ctx: Ctx) -> Step:
    """The commitment is on chain again, maybe elsewhere: deadlines follow it, and what was posted in vain is posted again."""
    commitment = Commitment(tx=moved.tx, block=moved.block, at=moved.at)
    if commitment == state.commitment:
        return state, ()
    new = msgspec.structs.replace(state, commitment=commitment)
    return new, (say(state.terms, "deal.committed", tx="0x" + moved.tx.hex(), block=str(moved.block)),)


def post_again(state: DealState, moved: ChainMoved, ctx: Ctx) -> tuple[Effect, ...]:
    """Provider: what it had posted on top of a commitment that was gone."""
    match state:
        case Accepted():
            return settle_now(state, ctx, moved.tx)
        case Rejected() | Resulted(claiming=True) | Delivered(claiming=True) | Checking(claiming=True):
            return (claim_now(state, ctx, moved.tx),)
        case _:
            return ()


def _is_about(state: DealState, event: ChainRetracted) -> bool:
    """Whether it takes back what this state stands on: a log that comes twice may be of a transaction long replaced."""
    match event.was, state:
        case "committed", (Committed() | Running() | Resulted() | Delivered() | Checking() | Accepted() | Rejected()):
            return event.tx == state.commitment.tx
        case "claimed", Claimed():
            return event.tx == state.tx
        case "claimed", (Resulted() | Delivered() | Checking()):
            return isinstance(state.claim, Claimed) and event.tx == state.claim.tx
        case ("settled" | "finalized" | "cancelled") as how, Settled():
            return event.tx == state.tx and how == state.how
        case "expired", Expired():
            return event.tx == state.tx
        case "burned", Abandoned(burned=True):
            return True
        case _:
            return False


def _lost(state: OnChain) -> OnChain:
    return msgspec.structs.replace(state, commitment=msgspec.structs.replace(state.commitment, lost=True))


def provider_retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """Post it again, the work goes on."""
    if not _is_about(state, event):
        return state, ()
    terms, again = state.terms, event.tx
    note = say(terms, "deal.reorganised", was=event.was)
    match event.was, state:
        case "committed", (Committed() | Running() | Resulted() | Delivered() | Checking() | Accepted() | Rejected()):
            post = post_tx(terms, "commit", signature=terms.client_signature, attempt=again)
            return _lost(state), (post, note)
        case "claimed", Claimed(result=ResultNotice() as result, sign_off=None):
            resulted = Resulted(terms, state.commitment, result, ctx.now, claiming=True)
            return resulted, (claim_now(resulted, ctx, again), note)
        case "claimed", Claimed(result=ResultNotice() as result, sign_off=off) if off is not None:
            accepted = Accepted(terms, state.commitment, result, off, state.checked)
            return accepted, (*settle_now(accepted, ctx, again), note)
        case "settled" | "finalized", Settled(claim=Claimed() as claim):
            return claim, (*settle_now(claim, ctx, again), note)
        case "settled", Settled(commitment=Commitment() as on, result=ResultNotice() as result, sign_off=off) if off:
            accepted = Accepted(terms, on, result, off, state.checked)
            return accepted, (*settle_now(accepted, ctx, again), note)
        case "cancelled", Settled(commitment=Commitment() as on):
            return Committed(terms, on), (note,)
        case "expired", Expired(commitment=Commitment() as on):
            return Committed(terms, on, leaving=True), (note,)
        case _:
            return state, ()


def client_retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """What the chain took back, we take back; the provider posts it again."""
    if not _is_about(state, event):
        return state, ()
    terms = state.terms
    note = say(terms, "deal.reorganised", was=event.was)
    match event.was, state:
        case "committed", Committed():
            return Signed(terms), (note,)
        case "committed", Resulted() | Delivered() | Checking() | Accepted() | Rejected():
            return _lost(state), (note,)
        case "claimed", Claimed():
            return _unclaimed(state, ctx, note)
        case "claimed", Resulted() | Delivered() | Checking():
            return msgspec.structs.replace(state, claim=msgspec.UNSET), (note,)
        case "settled" | "finalized", Settled(claim=Claimed() as claim):
            return claim, (note,)
        case "settled", Settled(commitment=Commitment() as on, result=ResultNotice() as result, sign_off=off) if off:
            return Accepted(terms, on, result, off, state.checked), (note,)
        case "cancelled", Settled(commitment=Commitment() as on):
            return Committed(terms, on), (note,)
        case "expired", Expired(commitment=Commitment() as on):
            return Committed(terms, on), (note,)
        case "burned", Abandoned():
            return msgspec.structs.replace(state, burned=False), (post_tx(terms, "burn", attempt=event.tx), note)
        case _:
            return state, ()


def _unclaimed(state: Claimed, ctx: Ctx, note: Effect) -> Step:
    """Client: back to where the claim found it. A result that was being pulled is asked for again."""
    terms, on, result = state.terms, state.commitment, state.result
    if result is None:
        return Committed(terms, on), (note,)
    if state.sign_off is not None:
        return Accepted(terms, on, result, state.sign_off, state.checked), (note,)
    if state.rejected:
        return Rejected(terms, on, result, "rejected", state.rejected), (note,)
    resulted = Resulted(terms, on, result, ctx.now)
    return resulted, (fetch_result(resulted, result), note)

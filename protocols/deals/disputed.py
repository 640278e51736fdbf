"""What becomes of a deal that is taken to the panel, seen by either party?

The deal only waits: who does what in the dispute stands in the node's file of it (`protocols.handlers.disputes`). The ends
are the chain's word alone. A reorganisation leads back to where the dispute, or its end, had found the deal.
"""

from typing import Final

from protocols.deals.eip712 import digest
from protocols.deals.inputs import ChainMoved, ChainRetracted, Ctx, Step, post_tx, say
from protocols.deals.reorganised import OnChain, post_again
from protocols.deals.states import Claimed, DealState, Disputed, Rejected, Settled, Slashed, Voided
from protocols.disputes.opening import open_dispute
from protocols.effects import DropEffects, Effect, ProveFraud
from protocols.messages.deal import ResultNotice
from protocols.units import ZERO_HASH, Hash32, Signature, Tokens, UnixSeconds

__all__ = [
    "ENDS",
    "MOVES",
    "UNAVAILABLE",
    "client_retracted",
    "judged",
    "opened",
    "overdue",
    "provider_retracted",
    "retracted",
    "two_results",
    "void_at",
]

ENDS: Final = frozenset({"acquitted", "convicted", "void", "slashed"})
"""How a panel ends a dispute; `slashed` needs no panel, but two signed results."""
MOVES: Final = ENDS | {"disputed"}
"""The words of the chain that this page is about."""
UNAVAILABLE: Final = "result-unavailable"
"""The client's word for bytes that never came: `Rejected.code`."""
_DISPUTE_LIMIT_S: Final = 365 * 86_400
"""After so long the escrow returns everything, whatever the panel does: reached only through a defect of the panel."""


def opened(state: DealState, moved: ChainMoved) -> Step:
    """The panel has the deal: nothing else can happen to its money, so no call of ours about it is worth its gas."""
    if not isinstance(state, OnChain | Claimed):
        return state, ()
    terms = state.terms
    disputed = Disputed(terms, state, moved.tx, moved.at, moved.result_hash)
    drop = DropEffects(prefix=f"tx:{terms.deal_id.hex()}")
    return disputed, (drop, say(terms, "deal.disputed", tx="0x" + moved.tx.hex()))


def two_results(state: DealState, other: ResultNotice | None, claimed: Hash32, ctx: Ctx) -> tuple[Effect, ...]:
    """The provider has bound itself to another result than the one that this client holds: a second signature (``other``), or
    a claim of another hash (``claimed``). Nobody need judge that. Empty where both are one."""
    held: ResultNotice | None = getattr(state, "result", None)
    if held is None:
        return ()
    first = digest(ctx.env.domain, held.commit)
    second = digest(ctx.env.domain, other.commit) if other else claimed
    if second in (first, ZERO_HASH):
        return ()
    terms = state.terms
    proof = ProveFraud(
        key=f"fraud:{terms.deal_id.hex()}:{second.hex()[:16]}",
        deal_id=terms.deal_id,
        deal=terms.deal,
        first=held.commit,
        first_signature=held.signature,
        second=other.commit if other else None,
        second_signature=other.signature if other else Signature(b""),
        claimed=claimed,
    )
    return (proof, say(terms, "deal.two_results", first=first.hex(), second=second.hex()))


def judged(state: DealState, moved: ChainMoved, end: tuple[Effect, ...]) -> Step:
    """The last word about the money. ``end``: what this half does with a deal that is over."""
    terms, refund = state.terms, moved.refund
    if moved.to == "slashed":
        refund = Tokens(terms.deal.price + refund)
    amounts = {"paid": str(moved.paid), "refund": str(refund), "returned": str(moved.returned)}
    effects = (*end, say(terms, f"deal.{moved.to}", tx="0x" + moved.tx.hex(), **amounts))
    if moved.to == "slashed" and isinstance(state, OnChain | Claimed):
        return Slashed(terms, moved.tx, refund, moved.returned, state), effects
    match moved.to, state:
        case "convicted", Disputed():
            return Slashed(terms, moved.tx, refund, moved.returned, state), effects
        case "void", Disputed():
            return Voided(terms, moved.tx, refund, moved.returned, state), effects
        case "acquitted", Disputed():
            settled = Settled(
                terms=terms,
                tx=moved.tx,
                paid=moved.paid,
                how=moved.to,
                result=state.result,
                checked="disputed",
                commitment=state.commitment,
                dispute=state,
            )
            return settled, effects
        case _:
            return state, ()


def void_at(state: Disputed) -> UnixSeconds:
    """When anybody may have the escrow return everything."""
    return UnixSeconds(state.at + _DISPUTE_LIMIT_S + 1)


def overdue(state: Disputed) -> Step:
    """Nobody has ended the dispute in a year."""
    return state, (post_tx(state.terms, "void", result_hash=state.result_hash), say(state.terms, "deal.overdue"))


def retracted(state: DealState, event: ChainRetracted) -> Step:
    """Back to where the dispute, or its end, found the deal."""
    note = say(state.terms, "deal.reorganised", was=event.was)
    match event.was, state:
        case "disputed", Disputed(tx=event.tx, was=was):
            return was, (note,)
        case "convicted", Slashed(tx=event.tx, was=Disputed() as disputed):
            return disputed, (note,)
        case "slashed", Slashed(tx=event.tx, was=was) if not isinstance(was, Disputed):
            return was, (note,)
        case "void", Voided(tx=event.tx, was=disputed):
            return disputed, (note,)
        case "acquitted", Settled(how="acquitted", tx=event.tx, dispute=Disputed() as disputed):
            return disputed, (note,)
        case _:
            return state, ()


def client_retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """The same, and a dispute that this client had opened is opened again."""
    new, effects = retracted(state, event)
    match new:
        case Rejected(confirmed=confirmed, code=code) if isinstance(state, Disputed):
            withheld, ours = code == UNAVAILABLE, confirmed or code == UNAVAILABLE
        case Claimed(withheld=withheld, rejected=why) if isinstance(state, Disputed):
            ours = bool(why)
        case _:
            return new, effects
    if not ours:
        return new, effects
    again = open_dispute(
        new.terms, new.result, ctx.env, withheld=bool(withheld), result_hash=state.result_hash, attempt=event.tx
    )
    return new, (*effects, *again)


def provider_retracted(state: DealState, event: ChainRetracted, ctx: Ctx) -> Step:
    """The same, and a claim that the dispute had overtaken is posted again."""
    new, effects = retracted(state, event)
    if new is state or isinstance(new, Disputed) or not isinstance(new, OnChain):
        return new, effects
    on = new.commitment
    moved = ChainMoved("committed", event.tx, on.block, on.at, Tokens(0))
    return new, (*effects, *post_again(new, moved, ctx))

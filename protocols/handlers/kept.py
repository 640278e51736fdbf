"""How many results does a provider keep for clients that were away? As many as fit; the oldest go first."""

from protocols.deals.states import Settled
from protocols.limits import MAX_KEPT_BYTES, MAX_KEPT_RESULTS
from protocols.state import PROVIDER, NodeState
from protocols.units import DealId

__all__ = ["too_many"]


def too_many(state: NodeState) -> list[DealId]:
    """Deals whose paid results have to go, because there are more than a provider keeps. Looks at every deal: only for the
    rare moment in which one more is kept."""
    held = [
        half.state
        for half in state.durable.deals.values()
        if half.role == PROVIDER and isinstance(half.state, Settled) and half.state.kept
    ]
    held.sort(key=lambda deal: deal.claim.at if deal.claim else 0, reverse=True)
    over, count, size = [], 0, 0
    for deal in held:
        count, size = count + 1, size + (deal.result.size if deal.result else 0)
        if count > MAX_KEPT_RESULTS or size > MAX_KEPT_BYTES:
            over.append(deal.terms.deal_id)
    return over

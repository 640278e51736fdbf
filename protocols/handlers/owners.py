"""Whose is an operator? The chain says; rules that mean an owner ask here.

Operators are free to make, so 'another owner' must not be 'another operator' of the same one. An operator of which the chain
has said nothing is its own owner, as in the escrow.
"""

from typing import TYPE_CHECKING

from protocols import events as ev
from protocols.effects import Effect
from protocols.signing import address_of_peer
from protocols.state import MAX_OWNERS, NodeState
from protocols.units import PeerId

if TYPE_CHECKING:
    from protocols.deals.search import Search

__all__ = ["operator_set", "wants"]


def operator_set(state: NodeState, event: ev.OperatorSet) -> list[Effect]:
    """The chain says for whom an operator trades from now on; for itself where that is zero or its own address."""
    state.owners.pop(event.operator, None)
    if any(event.owner) and event.owner != event.operator:
        state.owners[event.operator] = event.owner
        while len(state.owners) > MAX_OWNERS:
            del state.owners[next(iter(state.owners))]
    return []


def wants(state: NodeState, search: "Search", provider: PeerId) -> bool:
    """Whether a search may ask a provider at all: one that looks for another owner asks no operator of those it has had."""
    if search.recheck is None:
        return True
    had = {state.owner_of(one) for one in search.recheck.other_than}
    return state.owner_of(address_of_peer(provider)) not in had

"""Whose is an operator? The chain says; rules that mean an owner ask here.

Operators are free to make, so 'another owner' must not be 'another operator' of the same one. An operator of which the chain
has said nothing is its own owner, as in the escrow.

Logs of strangers cost little, so nobody's may push out what matters here: who offers and who is party to a deal stays. Once
anything was forgotten, silence about an operator says nothing, and the chain is asked before somebody counts as another owner.
"""

from typing import TYPE_CHECKING, Final

from protocols import events as ev
from protocols.effects import Effect
from protocols.signing import address_of_peer
from protocols.state import MAX_OWNERS, NodeState
from protocols.units import Address, PeerId

if TYPE_CHECKING:
    from protocols.deals.search import Search

__all__ = ["ROOM", "operator_set", "operators_forgotten", "unsure", "wants"]

ROOM: Final = 1024
"""Operators forgotten at once when there are too many: looking for them goes through all offers and deals."""


def operator_set(state: NodeState, event: ev.OperatorSet) -> list[Effect]:
    """The chain says for whom an operator trades from now on; for itself where that is zero or its own address."""
    state.owners.pop(event.operator, None)
    if any(event.owner) and event.owner != event.operator:
        state.owners[event.operator] = event.owner
    elif state.owners_forgotten:
        state.owners[event.operator] = event.operator
    if len(state.owners) > MAX_OWNERS:
        concerned = {*_offering(state), *_dealing(state), *_had(state)}
        spare = [one for one in state.owners if one not in concerned] or list(state.owners)
        for one in spare[:ROOM]:
            del state.owners[one]
        state.owners_forgotten = True
    return []


def operators_forgotten(state: NodeState) -> list[Effect]:
    """Not all that the chain has logged will be told again after a restart."""
    state.owners_forgotten = True
    return []


def unsure(state: NodeState) -> tuple[Address, ...]:
    """Whose owners the chain must be asked for, so that a search for another owner can go on; told as `OperatorSet`."""
    had = _had(state)
    if not had or not state.owners_forgotten:
        return ()
    return tuple(one for one in dict.fromkeys((*had, *_offering(state))) if one not in state.owners)


def _had(state: NodeState) -> list[Address]:
    """Other than whom is looked for."""
    return [
        one for search in state.searches.values() if search.recheck is not None for one in search.recheck.other_than
    ]


def _offering(state: NodeState) -> list[Address]:
    return [address_of_peer(offer.provider) for offer in state.market.offers.live(state.wall)]


def _dealing(state: NodeState) -> list[Address]:
    deals = [state.durable.deals[one].state.terms.deal for one in state.durable.live]
    return [one for deal in deals for one in (deal.client, deal.provider)]


def wants(state: NodeState, search: "Search", provider: PeerId) -> bool:
    """Whether a search may ask a provider at all: one that looks for another owner asks no operator of those it has had."""
    if search.recheck is None:
        return True
    operator, had = address_of_peer(provider), search.recheck.other_than
    if state.owners_forgotten and any(one not in state.owners for one in (operator, *had)):
        return False  # until the chain has been asked: see `unsure`
    return state.owner_of(operator) not in {state.owner_of(one) for one in had}

"""Does this node wait for the chain? If not, it looks at it less often: what it learns then is only the time."""

from typing import Final

from mesh.engine import Engine
from protocols.channels.states import Closed, Open
from protocols.deals.in_channel import in_channel
from protocols.state import NodeState

__all__ = ["IDLE_PACE", "pace_of", "waits_for_chain"]

IDLE_PACE: Final = 4.0
"""How many times longer a node that waits for nothing pauses: with the public networks' second, its clock is 4 s late at
most, where the shortest time to commit is minutes. A look costs 1.4 ms here and a call of a public endpoint's quota there."""
_CHAIN_EFFECTS: Final = frozenset({"tx", "panel", "channel", "fraud"})
"""What keys of effects begin with that end in a transaction."""


def pace_of(engine: Engine) -> float:
    """By how much the follower's pauses are to be stretched now."""
    posting = any(key.partition(":")[0] in _CHAIN_EFFECTS for key in engine.outstanding())
    return 1.0 if posting or engine.view(waits_for_chain) else IDLE_PACE


def waits_for_chain(state: NodeState) -> bool:
    """Whether anything is under way that a log of the chain moves on."""
    durable = state.durable
    if durable.disputes or durable.cases:
        return True
    if any(not isinstance(half.state, Open | Closed) for half in durable.channels.values()):
        return True
    return any(not in_channel(durable.deals[deal_id].state.terms) for deal_id in durable.live)

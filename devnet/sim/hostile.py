"""What does a node look like that breaks a rule which no shell can break for it? The shipped rules, but for one function.

It is swapped for as long as that node's own events are handled: everybody else keeps the rules.
"""

from typing import Any, Final

from protocols import events as ev
from protocols import node as rules
from protocols.deals import checking, in_channel
from protocols.effects import Effect
from protocols.env import Env
from protocols.state import NodeState

__all__ = ["slandering"]

EVERY: Final = 16
"""One result of so many is slandered: more would be more disputes than deals."""
_CONCLUDED: Final = checking._concluded


def _refused(state: Any, end: Any, ctx: Any) -> Any:
    """Whatever the check has found, this client calls it confirmed that the result is another."""
    terms = state.terms
    if in_channel.in_channel(terms) or not terms.deal.enforcement or terms.deal_id[0] % EVERY:
        return _CONCLUDED(state, end, ctx)
    return checking.reject(state, "wrong-result", "it is not what this client likes to see", ctx, confirmed=True)


def slandering(state: NodeState, event: ev.Event, env: Env) -> list[Effect]:
    """As `protocols.node.handle`, for a client that disputes right results."""
    vars(checking)["_concluded"] = _refused
    try:
        return rules.handle(state, event, env)
    finally:
        vars(checking)["_concluded"] = _CONCLUDED

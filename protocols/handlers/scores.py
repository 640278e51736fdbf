"""What does a provider's node say when a settled deal has brought its score down?"""

from protocols import events as ev
from protocols.deals.inputs import say
from protocols.effects import Effect
from protocols.state import NodeState

__all__ = ["score_credited"]


def score_credited(state: NodeState, event: ev.ScoreCredited) -> list[Effect]:
    """Told to people; no rule depends on it."""
    half = state.durable.deals.get(event.deal_id)
    return [say(half.state.terms, "deal.score_credited", score=str(event.score))] if half is not None else []

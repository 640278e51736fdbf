"""What does a client look like that promises the same money twice? The shipped node, but it signs with two providers at once.

Both deals name the same run nonce and index, so the escrow takes one of them. Whoever else has quoted gets its slot back, as from
anybody. As a program (`main`) it takes what `mesh` takes.
"""

from collections.abc import Callable
from typing import Final

from devnet.scenarios.hostile.altered import alter
from mesh.cli.app import main as mesh_main
from protocols.deals.search import Asked, Search
from protocols.effects import Effect
from protocols.env import Env
from protocols.handlers import runs
from protocols.handlers import search as searching
from protocols.messages.negotiation import Quote
from protocols.state import NodeState
from protocols.units import Millis

__all__ = ["main", "sign_twice"]

TWO: Final = 2
Closing = Callable[[NodeState, Search, Millis, Env], list[Effect]]
Proposing = Callable[[NodeState, Search, Asked, Quote, Env], list[Effect]]


def _doubly(close: Closing, propose: Proposing) -> Closing:
    """A round's end that signs with the first two that quoted, instead of the best."""

    def sign_both(state: NodeState, search: Search, now: Millis, env: Env) -> list[Effect]:
        firm = [quote for quote, _ in search.quotes.values() if quote.firm]
        if len(firm) < TWO or search.quote_only or search.recheck is not None:
            return close(state, search, now, env)
        effects = [runs.release(search.asked[one.rfq_id].provider, one.rfq_id, env) for one in firm[TWO:]]
        for quote in firm[:TWO]:
            state.searches[search.name] = search
            effects += propose(state, search, search.asked[quote.rfq_id], quote, env)
        return effects

    return sign_both


def sign_twice() -> Closing:
    """From now on nodes of this process sign with two at once; answers how they ended a round before."""
    was: Closing = vars(searching)["_close"]
    alter(searching, "_close", _doubly(was, vars(searching)["_propose"]))
    return was


def main() -> None:
    """`mesh`, built with a search that signs twice."""
    sign_twice()
    mesh_main()

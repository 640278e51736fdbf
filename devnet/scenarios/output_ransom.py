"""Can a provider keep the bytes of a result that it has signed, until somebody pays? It is disputed as withheld: it serves the
seats, who hand on what they get, or it loses its collateral.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.court import MEDIATORS, convicted

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A provider that signs its result, and serves it to nobody."""
    return await convicted(cluster, "ransomer", seats_paid=0, checked_again=False)


SCENARIO = Scenario(
    name="output-ransom",
    about="a provider signs a result and keeps its bytes: the seats were not served either, and it is slashed",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

"""What if a seat accepts and is never heard of again? It loses its lock and is replaced; the verdict is the others'."""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.court import convicted, seat

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Whoever is drawn for the first place accepts it, and does nothing."""
    await seat(cluster, "silent-seat")
    return await convicted(cluster, "liar", seats_paid=3, locks_lost=1)


SCENARIO = Scenario(
    name="mediator-silent",
    about="a seat accepts and is silent: it loses its lock, another takes its place",
    script=run,
    providers=2,
    worlds=("processes",),
)

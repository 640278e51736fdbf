"""What if a seat votes without having worked? Nobody matches it: it loses its lock and is not paid."""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.court import convicted, seat

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The seat at the first place commits to something, and says that it matches everybody."""
    await seat(cluster, "junk-seat")
    return await convicted(cluster, "liar", seats_paid=2, locks_lost=1)


SCENARIO = Scenario(
    name="mediator-junk",
    about="a seat that votes without working matches nobody, loses its lock and earns nothing",
    script=run,
    providers=2,
    worlds=("processes",),
)

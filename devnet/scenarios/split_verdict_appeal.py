"""What if no two seats agree? Both sides put up seven fees, and seven other seats decide for good."""

from typing import Any

from devnet.scenario import Cluster, Scenario, check
from devnet.scenarios.court import convicted, seat

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Two of three seats vote junk, each its own; the client appeals, the provider answers, the seven are honest."""
    await seat(cluster, "split-seats")
    figures = await convicted(cluster, "liar", seats_paid=1, locks_lost=2, appealed=True)
    check("appealed" in figures["phases"], f"there was no appeal: {figures['phases']}")
    return figures


SCENARIO = Scenario(
    name="split-verdict-appeal",
    about="a panel of three finds nothing; both sides deposit, and a panel of seven convicts",
    script=run,
    providers=2,
    worlds=("processes",),
)

"""Does a provider escape a panel by not showing its secret, without which no seats are drawn? Its silence costs the collateral,
and nobody has worked.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario, check
from devnet.scenarios.court import MEDIATORS, convicted

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A provider that lies, and keeps its secret."""
    figures = await convicted(cluster, "mute-liar", seats_paid=0)
    check(not figures["executed_blind"], f"seats have worked: {figures['executed_blind']}")
    check("drawn" not in figures["phases"], f"seats were drawn: {figures['phases']}")
    return figures


SCENARIO = Scenario(
    name="secret-withheld",
    about="a provider that shows no secret is slashed without any panel",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

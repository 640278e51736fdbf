"""What if no two seats agree where honest ones differ too? Seven other machines decide, within the tolerance, for good."""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.near_court import decided_by_seven
from devnet.scenarios.wrong_result_numeric import MATTER

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Two of three seats vote junk, each its own; the third stands with the seven, who have near numbers: the row is LOST."""
    return await decided_by_seven(cluster, MATTER)


SCENARIO = Scenario(
    name="split-verdict-numeric",
    about="a panel of three finds nothing; seven other machines find the numbers wrong, within the tolerance",
    script=run,
    providers=1,
    clients=0,
    worlds=("processes",),
)

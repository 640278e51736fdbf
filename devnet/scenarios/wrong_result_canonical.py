"""What does a wrong report cost where the order of its keys means nothing? All of the collateral, at once.

Every mediator writes its JSON in its own way, and the provider in another: the same counts in other bytes, for which it is paid,
or counts that are half as large again. Seats match by the fingerprint of the normal form, whatever their bytes are.
"""

from typing import Any, Final

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.near_court import Matter, judged_within_tolerance

__all__ = ["SCENARIO"]

MATTER: Final = Matter(job="tally", near="0", wrong="0.5", convicts_at_once=True)


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Two reports in other bytes that are paid, and a wrong one that convicts."""
    return await judged_within_tolerance(cluster, MATTER)


SCENARIO = Scenario(
    name="wrong-result-canonical",
    about="a report in other bytes is paid, also after a dispute; a wrong one costs its provider the collateral",
    script=run,
    providers=2,
    worlds=("processes",),
)

"""What does a wrong result cost where honest ones differ too? One failure the deal, the third in a row all of the collateral.

The job's numbers are compared with a tolerance of a millionth. Every mediator is another machine, whose numbers are larger by
some billionths than anybody else's; the provider's are larger by a billionth, for which it is paid, or by a hundredth. So no two
seats have the same bytes: they show each other their outputs once all have revealed, and match within the tolerance.
"""

from typing import Any, Final

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.near_court import Matter, judged_within_tolerance

__all__ = ["SCENARIO"]

MATTER: Final = Matter(job="fit", near="1e-9", wrong="1e-2")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Two near results that are paid; three wrong ones: twice the row is LOST, then CONVICTED."""
    return await judged_within_tolerance(cluster, MATTER)


SCENARIO = Scenario(
    name="wrong-result-numeric",
    about="wrong numbers are told from other machines' by a panel: each costs the deal, the third all of the collateral",
    script=run,
    providers=2,
    worlds=("processes",),
)

"""What does a wrong picture cost where every machine's is a little another? What wrong numbers cost: the deal, and the third in
a row all of the collateral.

Every mediator packs its PNG in its own way, with pixels up to two levels away from anybody else's; the provider's are up to three
levels away, for which it is paid, or half of the whole scale. Seats show each other their pictures and compare what they show.
"""

from typing import Any, Final

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.near_court import Matter, judged_within_tolerance

__all__ = ["SCENARIO"]

MATTER: Final = Matter(job="shade", near="1e-2", wrong="0.5")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Two near pictures that are paid; three wrong ones: twice the row is LOST, then CONVICTED."""
    return await judged_within_tolerance(cluster, MATTER)


SCENARIO = Scenario(
    name="wrong-result-perceptual",
    about="wrong pictures are told from other machines' by a panel: each costs the deal, the third all of the collateral",
    script=run,
    providers=2,
    worlds=("processes",),
)

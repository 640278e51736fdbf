"""What if whoever disputes gives the seats nothing to work with? The provider has the inputs too, and serves them: the seats
work, and the dispute ends as if nothing had been withheld.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario, check
from devnet.scenarios.court import MEDIATORS, court_of, told_by
from devnet.scenarios.false_dispute import acquitted

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A client that disputes a right result, and tells the seats neither the job nor its inputs."""
    figures = await acquitted(cluster, "withholding-slanderer")
    told = [one["event"] for one in told_by(court_of(cluster).cluster["slanderer"], figures["deal_id"])]
    check("case.withheld" in told, f"no seat has asked the disputer in vain: {told}")
    return figures


SCENARIO = Scenario(
    name="input-withheld-in-dispute",
    about="the disputer withholds the inputs; the provider serves them, and is acquitted",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

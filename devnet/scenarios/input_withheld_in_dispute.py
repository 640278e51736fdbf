"""What if whoever disputes gives the seats nothing to work with? The provider has the inputs too, and serves them: the seats
work, and the dispute ends as if nothing had been withheld.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.court import MEDIATORS
from devnet.scenarios.false_dispute import acquitted

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A client that disputes a right result, and tells the seats neither the job nor its inputs."""
    return await acquitted(cluster, "withholding-slanderer")


SCENARIO = Scenario(
    name="input-withheld-in-dispute",
    about="the disputer withholds the inputs; the provider serves them, and is acquitted",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

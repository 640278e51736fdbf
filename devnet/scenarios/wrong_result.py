"""What does a wrong result cost a provider that has put up collateral? An audit that nobody asked for finds it, three
mediators execute the job again without seeing any result, and the provider is slashed.

The job file asks for a panel and says nothing about audits. The client's configuration makes every round of the beacon draw
one, so that the scenario need not wait for luck.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.court import MEDIATORS, convicted

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The cheapest provider lies; the client is whole and has its bounty, the seats their fees, the rest is burned."""
    return await convicted(cluster, "liar", seats_paid=3)


SCENARIO = Scenario(
    name="wrong-result",
    about="a wrong result is found by an audit, judged by three mediators, and costs its provider the collateral",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

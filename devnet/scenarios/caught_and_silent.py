"""Does a caught cheat save its collateral by never claiming? No: its signed result is enough to dispute."""

from typing import Any

from devnet.scenario import Cluster, Scenario
from devnet.scenarios.court import MEDIATORS, convicted

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A provider that lies, and when it is caught never claims."""
    return await convicted(cluster, "silent-liar", seats_paid=3)


SCENARIO = Scenario(
    name="caught-and-silent",
    about="a cheat that is caught and never claims loses all the same",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

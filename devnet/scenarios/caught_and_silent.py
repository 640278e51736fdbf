"""Does a caught cheat save its collateral by never claiming? No: its signed result is enough to dispute."""

from typing import Any

from devnet.scenario import Cluster, Scenario, check
from devnet.scenarios.court import MEDIATORS, convicted, court_of, told_by

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A provider that lies, and when it is caught never claims."""
    figures = await convicted(cluster, "silent-liar", seats_paid=3)
    events = [one["event"] for one in told_by(court_of(cluster).cluster["rogue"], figures["deal_id"])]
    check("deal.not_claimed" in events, f"nothing kept the provider from claiming: {events}")
    check("deal.claimed" not in events, "the provider has claimed")
    return figures


SCENARIO = Scenario(
    name="caught-and-silent",
    about="a cheat that is caught and never claims loses all the same",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

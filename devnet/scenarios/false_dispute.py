"""What does it cost a client to dispute a result that is right? Three mediators come to the same bytes: the provider is paid,
has its collateral back and half a price on top, and the client has paid for everybody's work.
"""

from typing import Any

from devnet.scenario import Cluster, JobChoice, Scenario, check
from devnet.scenarios.court import LIMIT_S, MEDIATORS, Court, court_of, executed_blind, judged_job, row_of

__all__ = ["SCENARIO", "acquitted"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A client that calls every result wrong, and honest everybody else."""
    return await acquitted(cluster, "slanderer")


async def acquitted(cluster: Cluster, program: str, job: JobChoice | None = None) -> dict[str, Any]:
    """A dispute by such a client, about this job, ends for the provider; what everybody has won or lost."""
    world = court_of(cluster)
    client = await world.cluster.add("slanderer", ("client",), program=program, client={"audit_ppm": 1_000_000})
    await world.cluster.meet(len(world.providers))
    court = await Court.opened(world)

    began = world.now()
    run_id = await world.submit(client.name, job or judged_job())
    refused = await world.until(client.name, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    check(refused.code == "rejected", f"it {refused.status}: {refused.detail}")
    deal = refused.deals[0]
    provider = next(one for one in world.cluster.providers if one.peer_id == deal.provider)
    for name in (client.name, provider.name):
        await world.until_deal(name, deal.deal_id, lambda one: one.final_how == "acquitted", LIMIT_S)

    price, fee = int(deal.price), int(deal.seat_fee)
    bond = 3 * fee + price // 2
    earned = price - price // 100 + price // 2
    found = await court.require({client.name: -price - bond, provider.name: earned}, seats=3 * fee)
    return {
        "deal_id": deal.deal_id,
        **await row_of(world, client.name, run_id),
        "ended_s": round(world.now() - began, 2),
        **found,
        "executed_blind": executed_blind(court, deal.deal_id, found["won_wei"]),
        "price_wei": deal.price,
        "bond_wei": str(bond),
        "seat_fee_wei": deal.seat_fee,
    }


SCENARIO = Scenario(
    name="false-dispute",
    about="a client disputes a right result: the provider is acquitted, and the client pays for it",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

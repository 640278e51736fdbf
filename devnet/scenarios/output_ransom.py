"""Can a provider keep the bytes of a result that it has signed, until somebody pays? It is disputed as withheld.

Whoever keeps a right result has won nothing: the seats come to the same bytes and hand them to the client, and the provider
pays half of their work, which is more than its price. Whoever has nothing that it could serve loses its collateral.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario, check
from devnet.scenarios.court import LIMIT_S, MEDIATORS, Court, convicted, court_of, executed_blind, judged_job, row_of

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A provider that keeps right bytes, and another one that keeps wrong ones."""
    kept = await _kept(cluster)
    empty = await convicted(cluster, "empty-ransomer", seats_paid=0, checked_again=False, floor="0.0002")
    return {"right_bytes_kept": kept, "nothing_to_serve": empty}


async def _kept(cluster: Cluster) -> dict[str, Any]:
    world = court_of(cluster)
    client, provider = world.cluster.clients[0], await world.cluster.add(
        "ransomer", ("provider",), program="ransomer", provider={"price_floor": "0.0005"}
    )  # fmt: skip
    await world.cluster.meet(len(world.providers))
    court = await Court.opened(world)

    run_id = await world.submit(client.name, judged_job())
    refused = await world.until(client.name, run_id, lambda one: one.status == "failed" or one.settled, LIMIT_S)
    check(refused.code == "rejected", f"it {refused.status}: {refused.detail}")
    deal = refused.deals[0]
    check(deal.provider == provider.peer_id, "the cheapest provider did not get the job")
    for name in (client.name, provider.name):
        await world.until_deal(name, deal.deal_id, lambda one: one.final_how == "acquitted", LIMIT_S)
    done = await world.run(client.name, run_id)
    check((done.status, done.checked) == ("done", "disputed"), f"it {done.status}, checked: {done.checked}")
    check(b"pi" in await world.stdout(client.name, run_id), "the client has not got what it has paid for")

    price, fee = int(deal.price), int(deal.seat_fee)
    half = 3 * fee - 3 * fee // 2
    kept = price - price // 100 - half
    check(kept < 0, "keeping the bytes has paid")
    found = await court.require({client.name: -price - 3 * fee // 2, provider.name: kept}, seats=3 * fee)
    return {
        "deal_id": deal.deal_id,
        **await row_of(world, client.name, run_id),
        **found,
        "executed_blind": executed_blind(court, deal.deal_id, found["won_wei"]),
        "price_wei": deal.price,
    }


SCENARIO = Scenario(
    name="output-ransom",
    about="a provider signs a result and keeps its bytes: the seats hand them on, or it loses its collateral",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

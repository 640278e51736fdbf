"""What does a wrong result cost a provider that has put up collateral? An audit that nobody asked for finds it, three
mediators execute the job again without seeing any result, and the provider is slashed.

The job file asks for a panel and says nothing about audits. The client's configuration makes every round of the beacon draw
one, so that the scenario need not wait for luck.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario, check
from devnet.scenarios.court import LIMIT_S, MEDIATORS, Books, court_of, judged_job, row_of

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The cheapest provider lies; the client is whole and has its bounty, the seats their fees, the rest is burned."""
    world = court_of(cluster)
    client = await world.cluster.add("client-2", ("client",), client={"audit_ppm": 1_000_000})
    liar = await world.cluster.add("liar", ("provider",), program="liar", provider={"price_floor": "0.0005"})
    await world.cluster.meet(len(world.providers))
    mediators = [one.name for one in world.cluster.mediators]
    books = await Books.of(world, [client.name, liar.name, *mediators])

    began = world.now()
    run_id = await world.submit(client.name, judged_job())
    disputed = await world.until(client.name, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    check((disputed.status, disputed.code) == ("failed", "rejected"), f"it {disputed.status}: {disputed.detail}")
    caught_s = world.now() - began
    deal, again = disputed.deals[0], disputed.rechecks[0]
    check(deal.provider == liar.peer_id, "the cheapest provider did not get the job")
    check(deal.enforcement == "panel", f"the deal is judged by {deal.enforcement}")
    ended = await world.until_deal(client.name, deal.deal_id, lambda one: one.final_how == "slashed", LIMIT_S)
    await world.until_deal(liar.name, deal.deal_id, lambda one: one.final_how == "slashed", LIMIT_S)
    await world.until_deal(client.name, again.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    took_s = world.now() - began

    price, fee, collateral = int(deal.price), int(deal.seat_fee), int(deal.collateral)
    won = await books.require(
        {client.name: 2 * price - int(again.price), liar.name: -collateral},
        seats=3 * fee,
    )
    return {
        "deal_id": deal.deal_id,
        "slashed_by": ended.final_tx,
        **await row_of(world, client.name, run_id),
        "caught_s": round(caught_s, 2),
        "slashed_s": round(took_s, 2),
        "won_wei": won,
        "price_wei": deal.price,
        "re_execution_wei": again.price,
        "collateral_wei": deal.collateral,
        "seat_fee_wei": deal.seat_fee,
        "burned_wei": str(collateral - 2 * price - 3 * fee),
    }


SCENARIO = Scenario(
    name="wrong-result",
    about="a wrong result is found by an audit, judged by three mediators, and costs its provider the collateral",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

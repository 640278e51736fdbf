"""What does a wrong result cost where honest ones differ too? One failure the deal, the third in a row all of the collateral.

The job's numbers are compared with a tolerance of a millionth. Every mediator is another machine, whose numbers are larger by
some billionths than anybody else's; the provider's are larger by a hundredth. So no two seats have the same bytes: they show
each other their outputs once all have revealed, and match within the tolerance.
"""

from typing import Any, Final

from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, Scenario, check
from devnet.scenarios.court import LIMIT_S, Books, court_of, row_of, seat
from mesh.api.types import DealInfo
from protocols.disputes.params import SPRT_FAILURE, SPRT_LIMIT

__all__ = ["SCENARIO"]

SETS: Final = (
    "verify.enforcement=panel",
    "env={NOISE: '1e-2'}",
    "market.budget=20 MESH",
    "retry.max_attempts=1",
)
FAILURES: Final = -(-SPRT_LIMIT // SPRT_FAILURE)
"""In a row, until all of the collateral is taken."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The same provider, three wrong results: twice the row is LOST, then CONVICTED."""
    world = court_of(cluster)
    await seat(cluster, "near-seat")
    client = await world.cluster.add("careful", ("client",), client={"audit_ppm": 1_000_000})
    rogue = await world.cluster.add("rogue", ("provider",), program="noisy", provider={"price_floor": "0.0005"})
    await world.cluster.meet(len(world.providers))
    names = client.name, rogue.name
    figures = {}
    for number in range(1, FAILURES + 1):
        row = "CONVICTED" if number == FAILURES else "LOST"
        figures[f"failure_{number}"] = await _judged(world, names, rogue.peer_id, row)
    return figures


async def _judged(world: ProcessWorld, names: tuple[str, str], target: str, row: str) -> dict[str, Any]:
    client, rogue = names
    books = await Books.of(world, [*names, *(one.name for one in world.cluster.mediators)])
    began = world.now()
    run_id = await world.submit(client, JobChoice(name="fit", sets=(*SETS, f"market.target={target}")))
    refused = await world.until(client, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    check((refused.status, refused.code) == ("failed", "rejected"), f"it {refused.status}: {refused.detail}")
    deal = refused.deals[0]
    check(deal.provider == target, "another provider got the job")
    check(deal.enforcement == "panel", f"the deal is judged by {deal.enforcement}")
    for name in names:
        await world.until_deal(name, deal.deal_id, lambda one: one.final_how == "slashed", LIMIT_S)
    found = await row_of(world, client, run_id)
    check(found["row"] == row, f"the row is {found['row']}, not {row}")
    again = 0
    for one in refused.rechecks:
        again += int(one.price)
        await world.until_deal(client, one.deal_id, lambda it: it.final_how == "settled", LIMIT_S)
    wanted = {client: 2 * int(deal.price) - again, rogue: -int(deal.collateral)}
    if row == "LOST":
        wanted = {client: -again, rogue: -int(deal.price) - 3 * int(deal.seat_fee)}
    return {
        "deal_id": deal.deal_id,
        **found,
        "ended_s": round(world.now() - began, 2),
        "won_wei": await books.require(wanted, seats=3 * int(deal.seat_fee)),
        "re_execution_wei": str(again),
        **_amounts(deal, row),
    }


def _amounts(deal: DealInfo, row: str) -> dict[str, str]:
    price, fee, collateral = int(deal.price), int(deal.seat_fee), int(deal.collateral)
    return {
        "price_wei": str(price),
        "collateral_wei": str(collateral),
        "seat_fee_wei": str(fee),
        "burned_wei": str(price if row == "LOST" else collateral - 2 * price - 3 * fee),
    }


SCENARIO = Scenario(
    name="wrong-result-numeric",
    about="wrong numbers are told from other machines' by a panel: each costs the deal, the third all of the collateral",
    script=run,
    providers=2,
    worlds=("processes",),
)

"""What if a provider vanishes after its commitment and never comes back? The deal expires, and its client is compensated."""

from typing import Any, Final

from devnet.books import balance_figures, check_conserved, read_books
from devnet.scenario import Cluster, JobChoice, Scenario, check, settled
from devnet.steps import LIMIT_S, has_deal, pass_until, provider_of, real

__all__ = ["SCENARIO"]

WALL_S: Final = 40
EXPIRY_S: Final = WALL_S + 5 + 15 + 20
"""From the commitment until somebody must have ended it, on the devnet."""
SETS: Final = (f"limits.wall={WALL_S}s", "settlement=commit")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The budget covers one deal, so the second waits for the first one's money; who has what in the end?"""
    world = real(cluster)
    client = world.clients[0]
    before = await read_books(world.cluster)
    run_id = await world.submit(client, JobChoice(millions=400, sets=SETS, audit="0"))
    deal = (await world.until(client, run_id, has_deal("committed"), LIMIT_S)).deals[0]
    dead = provider_of(world, deal).name
    await world.kill(dead)
    expired = await pass_until(world, client, deal.deal_id, lambda one: one.final_how != "", EXPIRY_S)
    check(expired.final_how == "expired", f"the dead provider's deal ended {expired.final_how!r}")
    done = await world.until(client, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(done), f"the run {done.status}: {done.code}: {done.detail}")
    last = done.deals[-1]
    check(last.provider != deal.provider, "the second deal went to the dead provider")
    living = provider_of(world, last).name
    await world.until_deal(living, last.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    after = await read_books(world.cluster)
    price, second = int(deal.price), int(last.price)
    penalty = min(price, int(deal.collateral))
    spent = before[client].free - after[client].free
    lost = before[dead].stake - after[dead].stake
    earned = after[living].free - before[living].free
    check(penalty > 0, "the deal had no collateral")
    check(spent == second - penalty // 2, f"the client spent {spent}, not {second} less half of the penalty {penalty}")
    check(lost == penalty, f"the dead provider lost {lost} of its stake, the penalty is {penalty}")
    check(after[dead].free == before[dead].free, "the dead provider was paid")
    check(earned == second - second // 100, f"the living provider earned {earned} of {second}")
    check_conserved(before, after)
    return {
        "dead_deal": deal.deal_id,
        "expired_in": expired.final_tx,
        "price_wei": str(price),
        "penalty_wei": str(penalty),
        "to_the_client_wei": str(penalty // 2),
        "deals": len(done.deals),
        "balances": balance_figures(before, after),
    }


SCENARIO = Scenario(
    name="provider-vanishes",
    about="kill -9 of the provider after its commitment: price back, half of the penalty to the client",
    script=run,
    providers=2,
    worlds=("processes",),
)

"""What if a client vanishes with the result, or before it? Its provider claims, the window passes, and it is paid. The client
that comes back gets what it has paid for, and buys nothing more."""

from typing import Any, Final

from devnet.books import Books, balance_figures, check_conserved, read_books
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, Scenario, check
from devnet.steps import LIMIT_S, has_deal, pass_until, provider_of, real
from mesh.api.types import DealInfo

__all__ = ["SCENARIO"]

WALL_S: Final = 40
CLAIM_S: Final = WALL_S + 5 + 15
"""From the commitment until nobody can claim any more, on the devnet."""
WINDOW_S: Final = 6 + 2 * (WALL_S + 5)
"""The devnet's dispute window for such a deal."""
SETS: Final = (f"limits.wall={WALL_S}s", "settlement=commit", "retry.max_attempts=4", "market.budget=10 MESH")
"""Attempts and money for more than one deal: it is not for the lack of them that nothing is bought twice."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Twice: killed before the result is there, and killed while it checks what it has; it comes back when all is over."""
    world = real(cluster)
    client = world.clients[0]
    before = await read_books(world.cluster)
    figures: dict[str, Any] = {}
    prices = 0
    for name, phase, audit in (("before_the_result", "committed", "0"), ("while_it_checked", "checking", "1")):
        opened = await read_books(world.cluster)
        deal = await _abandoned(world, client, phase, JobChoice(millions=150, sets=SETS, audit=audit))
        await world.start(client)
        known = await world.until_deal(client, deal.deal_id, lambda one: one.final_how == "finalized", LIMIT_S)
        _check_paid(opened, await read_books(world.cluster), client, provider_of(world, deal).name, int(deal.price))
        prices += int(deal.price)
        ended = await world.until(client, known.run_id, lambda one: one.status in ("done", "failed"), LIMIT_S)
        check(ended.status == "done" and ended.settled, f"its run {ended.status} {ended.code}: {ended.detail}")
        check(len(ended.deals) == 1, f"it was paid for, and the client has bought it {len(ended.deals)} times")
        check(bool(await world.stdout(client, known.run_id)), "the result is empty")
        spent = opened[client].free - (await read_books(world.cluster))[client].free
        check(spent == int(deal.price), f"{spent} wei were spent on a price of {deal.price}")
        figures[name] = {
            "deal_id": deal.deal_id,
            "finalized_in": deal.final_tx,
            "price_wei": deal.price,
            "its_run_when_it_came_back": ended.status,
            "checked": ended.checked,
            "deals": len(ended.deals),
        }
    after = await read_books(world.cluster)
    check_conserved(before, after)
    return {**figures, "prices_wei": str(prices), "balances": balance_figures(before, after)}


async def _abandoned(world: ProcessWorld, client: str, phase: str, job: JobChoice) -> DealInfo:
    """A deal whose client dies in that phase, until its provider has been paid."""
    run_id = await world.submit(client, job)
    deal = (await world.until(client, run_id, has_deal(phase), LIMIT_S)).deals[0]
    await world.kill(client)
    provider = provider_of(world, deal).name
    await world.until_deal(provider, deal.deal_id, lambda one: one.outcome is not None, LIMIT_S)
    await pass_until(world, provider, deal.deal_id, lambda one: one.phase == "claimed", CLAIM_S)
    return await pass_until(world, provider, deal.deal_id, lambda one: one.final_how == "finalized", WINDOW_S + CLAIM_S)


def _check_paid(before: Books, after: Books, client: str, provider: str, price: int) -> None:
    spent = before[client].free - after[client].free
    earned = after[provider].free - before[provider].free
    check(spent == price, f"the client is {spent} wei lighter, the price is {price}")
    check(earned == price - price // 100, f"the provider earned {earned} wei of {price}, one percent is burned")
    check(after[provider].stake == before[provider].stake, "the provider's collateral did not come back whole")


SCENARIO = Scenario(
    name="client-vanishes",
    about="kill -9 of the client before and after delivery: its provider claims and is paid",
    script=run,
    providers=1,
    worlds=("processes",),
)

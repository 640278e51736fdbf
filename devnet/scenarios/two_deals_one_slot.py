"""What if the same money is promised to two providers, or one slot to three clients? Nobody pays for what it did not get."""

from typing import Any, Final

import trio

from devnet.books import Books, balance_figures, check_conserved, read_books
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.steps import LIMIT_S, real
from mesh.api.types import DealInfo, RunInfo

__all__ = ["SCENARIO"]

SETS: Final = ("limits.wall=90s", "limits.fuel=200e9", "settlement=commit")
COMMIT_S: Final = 40
"""Longer than the devnet leaves a signed deal to be committed."""
MILLIONS: Final = 1_500
"""Points: ten seconds and more of computing, in which a provider that was not heard in time is asked again."""
CLIENTS: Final = 3
PLACES: Final = 2
"""One slot, and one job that may wait for it."""
POLL_S: Final = 0.05


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """First two providers and one promise, then three clients and one slot; who has what in the end?"""
    world = real(cluster)
    double = await world.cluster.add("double", ("client",), program="double")
    await world.cluster.meet(len(world.providers))
    before = await read_books(world.cluster)
    promised = await _one_promise(world, double)
    held = await _one_slot(world, world.cluster.providers[0])
    after = await read_books(world.cluster)
    check_conserved(before, after)
    return {"one_promise": promised, "one_slot": held, "balances": balance_figures(before, after)}


async def _one_promise(world: ProcessWorld, double: Member) -> dict[str, Any]:
    """A client signs two deals of one run nonce and index; both providers pull the inputs, and both post the commitment."""
    before = await read_books(world.cluster)
    run_id = await world.submit(double.name, JobChoice(millions=50, sets=SETS, audit="0"))
    done = await world.until(double.name, run_id, lambda one: any(d.final_how == "settled" for d in one.deals), LIMIT_S)
    check(len(done.deals) == 2, f"the client signed {len(done.deals)} deals")
    good = next(one for one in done.deals if one.final_how == "settled")
    void = next(one for one in done.deals if one.deal_id != good.deal_id)
    refused = await _ended(world, void)
    paid = await _ended(world, good)
    check(refused.phase == "abandoned", f"the other provider's deal is {refused.phase}")
    await world.pass_time(COMMIT_S)
    await world.until_deal(double.name, void.deal_id, lambda one: one.phase == "abandoned", LIMIT_S)
    after = await read_books(world.cluster)
    loser, winner = _name(world, void), _name(world, good)
    _check_paid(before, after, double.name, winner, int(good.price))
    check(_tokens(after, loser) == _tokens(before, loser), "the provider that came second lost tokens")
    return {
        "deals": [good.deal_id, void.deal_id],
        "settled_in": paid.final_tx,
        "the_second_was_told": refused.detail,
        "the_second_paid_for_gas_wei": str(before[loser].gas - after[loser].gas),
        "price_wei": good.price,
    }


async def _one_slot(world: ProcessWorld, one: Member) -> dict[str, Any]:
    """Three clients want one provider in the same moment: it has one slot, and one place to wait for it. The third is told so,
    and gives up."""
    before = await read_books(world.cluster)
    runs = await _all_want(world, one)
    away, word = await _turned_away(world, runs)
    async with world.cluster[away].api() as api:
        gone = await api.cancel(runs[away])
    ended = {client: await _over(world, client, run_id) for client, run_id in runs.items()}
    got = {client: run.deals[-1] for client, run in ended.items() if settled(run)}
    check(len(got) == PLACES, f"{len(got)} of {len(ended)} clients got it: {[_told(run) for run in ended.values()]}")
    for deal in got.values():
        await world.until_deal(one.name, deal.deal_id, lambda half: half.final_how == "settled", LIMIT_S)
    after = await read_books(world.cluster)
    for client, deal in got.items():
        spent = before[client].free - after[client].free
        check(spent == int(deal.price), f"{client} is {spent} wei lighter, the price is {deal.price}")
    prices = sum(int(deal.price) for deal in got.values())
    earned = after[one.name].free - before[one.name].free
    check(earned == prices - prices // 100, f"the provider earned {earned} wei of {prices}")
    check(not gone.deals, f"{away} was turned away and had signed a deal")
    check(before[away] == after[away], f"{away} was turned away and paid")
    return {
        "deals": [deal.deal_id for deal in got.values()],
        "prices_wei": str(prices),
        "turned_away": away,
        "it_was_told": word,
    }


async def _all_want(world: ProcessWorld, one: Member) -> dict[str, str]:
    """Every client's run, handed in at once."""
    runs: dict[str, str] = {}
    sets = (*SETS, f"market.target={one.peer_id}")

    async def want(client: str) -> None:
        runs[client] = await world.submit(client, JobChoice(millions=MILLIONS, sets=sets, audit="0"))

    async with trio.open_nursery() as nursery:
        for client in (f"client-{number + 1}" for number in range(CLIENTS)):
            nursery.start_soon(want, client)
    return runs


async def _turned_away(world: ProcessWorld, runs: dict[str, str]) -> tuple[str, str]:
    """The client that has no deal once the others have theirs, and what it was told."""
    seen: dict[str, RunInfo] = {}
    with trio.move_on_after(LIMIT_S):
        while True:
            seen = {client: await world.run(client, run_id) for client, run_id in runs.items()}
            away = [client for client, run in seen.items() if not run.deals]
            if len(away) == CLIENTS - PLACES and (words := _busy(seen[away[0]])):
                return away[0], words[-1]
            if not away:
                break
            await trio.sleep(POLL_S)
    raise Failed(f"nobody was told that the slot is taken: {[_told(run) for run in seen.values()]}")


def _busy(run: RunInfo) -> list[str]:
    return [seen.detail for seen in run.candidates if seen.code == "busy"]


async def _over(world: ProcessWorld, client: str, run_id: str) -> RunInfo:
    return await world.until(client, run_id, lambda run: settled(run) or run.status in ("failed", "cancelled"), LIMIT_S)


async def _ended(world: ProcessWorld, deal: DealInfo) -> DealInfo:
    """The deal as its provider has it, once it is over there."""
    over = ("settled", "expired", "abandoned")
    return await world.until_deal(_name(world, deal), deal.deal_id, lambda one: one.phase in over, LIMIT_S)


def _name(world: ProcessWorld, deal: DealInfo) -> str:
    found: Member = next(one for one in world.cluster.providers if one.peer_id == deal.provider)
    return found.name


def _tokens(books: Books, name: str) -> tuple[int, int]:
    return books[name].free, books[name].stake


def _check_paid(before: Books, after: Books, client: str, provider: str, price: int) -> None:
    spent, earned = before[client].free - after[client].free, after[provider].free - before[provider].free
    check(spent == price, f"{client} is {spent} wei lighter, the price is {price}")
    check(earned == price - price // 100, f"{provider} earned {earned} wei of {price}, one percent is burned")
    check(after[provider].stake == before[provider].stake, f"the collateral of {provider} did not come back whole")


def _told(run: RunInfo) -> str:
    return f"{run.status} {run.code} {run.detail}"


SCENARIO = Scenario(
    name="two-deals-one-slot",
    about="one promise to two providers, then one slot for three clients: who comes too late loses nothing but gas",
    script=run,
    providers=2,
    clients=CLIENTS,
    worlds=("processes",),
)

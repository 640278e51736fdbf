"""What if the chain takes a commitment back, or a settlement? It is posted again or found again, and nothing is paid twice."""

from typing import Any, Final

import trio

from devnet.books import balance_figures, check_conserved, read_books
from devnet.chain.control import block_of, mine, raw_tx, reorganise
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, Scenario, check
from devnet.steps import LIMIT_S, has_deal, provider_of, real
from mesh.api.types import DealInfo

__all__ = ["SCENARIO"]

SETS: Final = ("limits.wall=60s",)
EPOCH_BLOCKS: Final = 60
"""On anvil thirty seconds until a block is final: what is taken back here is younger."""
DEEP: Final = 3
"""Blocks above the one that goes first."""
POLL_S: Final = 0.05


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Three deals: the commitment is gone; it is gone and stands in another block at once; the settlement is gone."""
    world = real(cluster)
    client = world.clients[0]
    before = await read_books(world.cluster)
    figures: dict[str, Any] = {}
    prices = 0
    for name, back, was in (
        ("commitment_out", False, "committed"),
        ("commitment_out_and_back", True, "committed"),
        ("settlement_out", False, "settled"),
    ):
        run_id = await world.submit(client, JobChoice(millions=100, sets=SETS, audit="0"))
        deal, depth = await _taken_back(world, client, run_id, was, back)
        ended = await _settled_again(world, client, run_id, deal)
        prices += int(ended.price)
        figures[name] = {"deal_id": deal.deal_id, "blocks_replaced": depth, **_figures(deal, ended)}
    after = await read_books(world.cluster)
    spent = before[client].free - after[client].free
    earned = sum(after[name].free - before[name].free for name in world.providers)
    check(spent == prices, f"the client is {spent} wei lighter, the prices are {prices}")
    check(earned == prices - prices // 100, f"the providers earned {earned} wei of {prices}, one percent is burned")
    check_conserved(before, after)
    return {**figures, "prices_wei": str(prices), "balances": balance_figures(before, after)}


async def _taken_back(world: ProcessWorld, client: str, run_id: str, was: str, back: bool) -> tuple[DealInfo, int]:
    """Both know of a transaction of the deal; then its block and all after it are others. The deal as it was, the depth."""
    run = await world.until(client, run_id, has_deal(was), LIMIT_S)
    deal, chain = run.deals[-1], world.cluster.chain
    provider = provider_of(world, deal).name
    await world.until_deal(provider, deal.deal_id, lambda one: _tx_of(one, was) is not None, LIMIT_S)
    tx = _tx_of(deal, was)
    assert tx is not None
    raw = await raw_tx(chain, tx)
    await mine(chain, DEEP)
    first = await block_of(chain, tx)
    assert first is not None
    return deal, await reorganise(chain, first, *((raw,) if back else ()))


def _tx_of(deal: DealInfo, was: str) -> str | None:
    return deal.commit_tx if was == "committed" else deal.final_tx


async def _settled_again(world: ProcessWorld, client: str, run_id: str, deal: DealInfo) -> DealInfo:
    """Until both have noticed, and what both call the settlement stands in the chain."""
    provider = provider_of(world, deal).name
    with trio.fail_after(LIMIT_S):
        while not any(one.name == "deal.reorganised" for one in await world.trace(client, run_id)):
            await trio.sleep(POLL_S)
        while True:
            halves = [
                await world.until_deal(name, deal.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
                for name in (client, provider)
            ]
            txs = {one.final_tx for one in halves}
            stands = [one.final_tx and await block_of(world.cluster.chain, one.final_tx) for one in halves]
            if len(txs) == 1 and all(stands):
                return halves[0]
            await trio.sleep(POLL_S)


def _figures(before: DealInfo, after: DealInfo) -> dict[str, Any]:
    return {
        "committed_first_in": before.commit_tx,
        "committed_in": after.commit_tx,
        "settled_in": after.final_tx,
        "price_wei": after.price,
    }


SCENARIO = Scenario(
    name="reorg",
    about="blocks with a commitment, then with a settlement, are replaced by others: nothing is paid twice",
    script=run,
    providers=2,
    worlds=("processes",),
    alone="its chain calls blocks final late",
    epoch_blocks=EPOCH_BLOCKS,
)

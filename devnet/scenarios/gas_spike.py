"""What if gas becomes three hundred times dearer while a deal waits for its last transaction? It is sent anew, within the cap."""

from typing import Any, Final

import trio

from devnet.books import balance_figures, check_conserved, read_books
from devnet.chain.control import (
    hold_blocks,
    make_blocks,
    raise_base_fee,
    raw_tx,
    sent_by,
    time_of,
    waiting_of,
)
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, Scenario, check
from devnet.steps import LIMIT_S, has_deal, provider_of, real
from mesh.chain.transactions import fees_of
from protocols.units import Address

__all__ = ["SCENARIO"]

WALL_S: Final = 60
CLAIM_S: Final = WALL_S + 5 + 15
"""From the commitment until nobody can claim or settle any more, on the devnet."""
SPIKE_WEI: Final = 6 * 10**9
"""Three hundred times the devnet's base fee; twice as much, which a node would offer, is above its cap."""
CAP_WEI: Final = 10 * 10**9
"""What `chain.max_fee_gwei` is when nobody sets it."""
KEEP_UP_S: Final = 0.3
"""Anvil's fee falls with every empty block, so it is raised more often than blocks are made."""
POLL_S: Final = 0.05


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Blocks stop while the job runs; the settlement waits at the old fee; then they go on at the new one."""
    world = real(cluster)
    chain, client = world.cluster.chain, world.clients[0]
    before = await read_books(world.cluster)
    run_id = await world.submit(client, JobChoice(millions=100, sets=(f"limits.wall={WALL_S}s",), audit="0"))
    deal = (await world.until(client, run_id, has_deal("committed"), LIMIT_S)).deals[0]
    provider = provider_of(world, deal)
    assert provider.account is not None
    payer = provider.account.address
    sent = await sent_by(chain, payer)
    await hold_blocks(chain)
    await _waits(world, payer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_spike, world)
        await make_blocks(chain)
        ended = await world.until_deal(provider.name, deal.deal_id, lambda one: one.final_how != "", LIMIT_S)
        nursery.cancel_scope.cancel()
    check(ended.final_how == "settled", f"the deal ended {ended.final_how!r}")
    assert ended.final_tx is not None
    max_fee, tip, _ = fees_of(await raw_tx(chain, ended.final_tx))
    check(
        SPIKE_WEI <= max_fee <= CAP_WEI,
        f"it offered {max_fee} wei per gas; the gas cost {SPIKE_WEI}, the cap is {CAP_WEI}",
    )
    check(await sent_by(chain, payer) == sent + 1, "the replaced transaction and its replacement both landed")
    assert ended.committed_at is not None
    took_s = await time_of(chain, ended.final_tx) - ended.committed_at
    check(took_s <= CLAIM_S, f"it settled {took_s} s after the commitment, {CLAIM_S} s were left")
    await world.until_deal(client, deal.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    after = await read_books(world.cluster)
    spent = before[client].free - after[client].free
    check(spent == int(deal.price), f"the client is {spent} wei lighter, the price is {deal.price}")
    check_conserved(before, after)
    return {
        "deal_id": deal.deal_id,
        "settlement": ended.final_tx,
        "base_fee_wei": str(SPIKE_WEI),
        "offered_wei": str(max_fee),
        "tip_wei": str(tip),
        "cap_wei": str(CAP_WEI),
        "after_commitment_s": took_s,
        "time_left_s": CLAIM_S - took_s,
        "price_wei": deal.price,
        "balances": balance_figures(before, after),
    }


async def _waits(world: ProcessWorld, payer: Address) -> None:
    """Until a transaction of the account is in the pool of the chain that stands still."""
    with trio.fail_after(LIMIT_S):
        while not await waiting_of(world.cluster.chain, payer):
            await trio.sleep(POLL_S)
    await raise_base_fee(world.cluster.chain, SPIKE_WEI)


async def _spike(world: ProcessWorld) -> None:
    while True:
        await trio.sleep(KEEP_UP_S)
        await raise_base_fee(world.cluster.chain, SPIKE_WEI)


SCENARIO = Scenario(
    name="gas-spike",
    about="gas becomes 300 times dearer under a waiting settlement: it is replaced within the cap, and in time",
    script=run,
    providers=1,
    worlds=("processes",),
    alone="it stops the chain's blocks and moves its fee",
)

"""How fast are jobs that a channel pays? To the first output, and deals per second with three providers side by side.

Part of `mesh devnet bench first-job`. One client has a channel with each of three providers; with each it has one unpaid
deal at a time, as the rules want it, so three deals are under way at most.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import trio

from devnet.cluster import ClusterPlan, open_cluster
from devnet.process_world import ProcessWorld
from devnet.scenario import JobChoice, check, settled

__all__ = ["in_channels"]

PROVIDERS: Final = 3
LIMIT_S: Final = 60.0
LOG_POLL_S: Final = 0.005
_SETS: Final = (
    "settlement=channel",
    "verify={level: none}",
    "command=[--samples, '1000']",
    "market.budget=50 MESH",
    "limits.wall=10s",
)


async def in_channels(quick: bool) -> dict[str, Any]:
    """Seconds to the first output in a channel that is open, and deals per second."""
    laps, deals = (5, 8) if quick else (20, 40)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as made:
        async with open_cluster(Path(made) / "net", ClusterPlan(providers=PROVIDERS, clients=1)) as cluster:
            world = ProcessWorld(cluster)
            for number, name in enumerate(world.providers):
                await _paid(world, name, number)  # opens the channel
            first = [await _to_output(world, number) for number in range(100, 100 + laps)]
            began = time.monotonic()
            async with trio.open_nursery() as nursery:
                for number, name in enumerate(world.providers):
                    nursery.start_soon(_some, world, name, 1_000 * (number + 1), deals)
            per_s = PROVIDERS * deals / (time.monotonic() - began)
    return {
        "channel_to_first_output": {"value": round(statistics.median(first), 3), "unit": "s"},
        "channel_deals_per_s": {"value": round(per_s, 1), "unit": "/s"},
    }


async def _some(world: ProcessWorld, provider: str, first: int, count: int) -> None:
    for number in range(first, first + count):
        await _paid(world, provider, number)


async def _paid(world: ProcessWorld, provider: str, number: int) -> None:
    """One job with this provider, until its voucher is signed."""
    client = world.clients[0]
    aimed = f"market.target={await world.peer_id(provider)}"
    run_id = await world.submit(client, JobChoice(sets=(*_SETS, aimed, f"seed={number}")))
    async with world.cluster[client].api() as api:
        with trio.fail_after(LIMIT_S):
            async for event in api.events(run_id, follow=True):
                if event.name in ("run.settled", "run.failed"):
                    break
    run = await world.run(client, run_id)
    check(settled(run) and run.deals[-1].final_how == "voucher", f"it {run.status}: {run.detail}")


async def _to_output(world: ProcessWorld, number: int) -> float:
    client = world.clients[0]
    aimed = f"market.target={await world.peer_id(world.providers[number % PROVIDERS])}"
    async with world.cluster[client].api() as api:
        began = time.monotonic()
        run_id = await world.submit(client, JobChoice(sets=(*_SETS, aimed, f"seed={number}")))
        with trio.fail_after(LIMIT_S):
            while not (await api.logs(run_id, "stdout", 0)).data:
                await trio.sleep(LOG_POLL_S)
        took = time.monotonic() - began
    await world.until(client, run_id, settled, LIMIT_S)
    return took

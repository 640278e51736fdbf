"""How long from a submission to a signed deal, to the first output, to the settlement? On real processes and a real chain.

Through a running node; the same without a daemon is measured beside it. The chain is part of the way: its block time is
noted with the figures.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from devnet.bench.in_channel import in_channels
from devnet.cluster import ClusterPlan, ProcessCluster, open_cluster
from devnet.process_world import ProcessWorld
from devnet.scenario import JOBS, Failed, JobChoice
from mesh.api.client import RemoteApi

__all__ = ["run"]

LIMIT_S: Final = 60.0
LOG_POLL_S: Final = 0.01
MARKS: Final = ("deal.signed", "deal.committed", "deal.delivered", "run.settled")


async def run(quick: bool, seed: int) -> Mapping[str, Any]:
    """A network of 4 (quick) or 10 nodes; 5 or 20 runs one after the other, the first one thrown away."""
    providers, repeats = (3, 5) if quick else (9, 20)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as made:
        began = time.monotonic()
        async with open_cluster(Path(made) / "net", ClusterPlan(providers=providers, clients=1)) as cluster:
            up_s = time.monotonic() - began
            world = ProcessWorld(cluster)
            laps = [await _one(world, number) for number in range(repeats + 1)][1:]
            bare_s = await _without_daemon(cluster)
            kind = cluster.chain.kind
    figures: dict[str, Any] = {
        name: {"value": round(statistics.median(lap[name] for lap in laps), 3), "unit": "s"} for name in laps[0]
    }
    figures |= await in_channels(quick)
    figures["network_up"] = {"value": round(up_s, 2), "unit": "s"}
    figures["daemonless_to_result"] = {"value": round(bare_s, 2), "unit": "s"}
    figures["nodes"] = {"value": providers + 1, "unit": ""}
    figures["chain"] = {"value": kind, "unit": ""}
    figures["runs"] = {"value": repeats, "unit": ""}
    return figures


async def _one(world: ProcessWorld, number: int) -> dict[str, float]:
    """One run; seconds from the submission to each mark."""
    client = world.clients[0]
    member = world.cluster[client]
    marks: dict[str, float] = {}
    async with member.api() as api, member.api() as logs:
        began = time.monotonic()
        run_id = await world.submit(client, JobChoice(millions=1, sets=(f"seed={number}",), audit="0"))
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_first_output, logs, run_id, marks, began)
                async for event in api.events(run_id, follow=True):
                    if event.name == "run.failed":
                        raise Failed(f"run {run_id[:10]} failed: {event.fields}")
                    if event.name in MARKS:
                        marks.setdefault(event.name, time.monotonic() - began)
                    if event.name == "run.settled":
                        break
    return {
        "to_deal_signed": marks["deal.signed"],
        "to_committed": marks["deal.committed"],
        "to_first_output": marks["output"],
        "to_result_checked": marks["deal.delivered"],
        "to_settled": marks["run.settled"],
    }


async def _first_output(api: RemoteApi, run_id: str, marks: dict[str, float], began: float) -> None:
    while True:
        part = await api.logs(run_id, "stdout", 0)
        if part.data:
            marks["output"] = time.monotonic() - began
            return
        await trio.sleep(LOG_POLL_S)


async def _without_daemon(cluster: ProcessCluster) -> float:
    """`mesh submit` where no node runs: it starts a client of its own. To the result, start and stop included."""
    member = cluster.clients[0]
    await member.stop()
    began = time.monotonic()
    ended = await member.command(
        "submit", str(JOBS / "pi" / "job.yaml"), "--yes", "--set", "command=[--samples, '1000000']"
    )
    if ended.code != 0:
        raise Failed(f"mesh submit without a daemon ended with {ended.code}: {ended.talk[-400:]}")
    return time.monotonic() - began

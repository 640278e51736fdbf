"""How fast are jobs that a channel pays? To the first output, and deals per second with three providers side by side.

Part of `mesh devnet bench first-job`. One client has a channel with each of three providers; with each it has one unpaid
deal at a time, as the rules want it, and one more that is made ready meanwhile; beside it, in the same run, none ahead. One
program submits all jobs through the client's daemon: the job file is read and its module imported once, the jobs differ by
their seed, and all are followed on one stream of events. The channels hold enough for all of it: what it costs to top one up
is in `bench gas`, and the wait for that block is not what is measured here.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from devnet.cluster import ClusterPlan, open_cluster
from devnet.process_world import ProcessWorld
from devnet.scenario import JobChoice, check, settled
from mesh.api.client import RemoteApi
from mesh.api.types import Submission
from mesh.base.tasks import Started
from protocols.job.canonical import CanonicalJob

__all__ = ["in_channels"]

PROVIDERS: Final = 3
AHEAD: Final = 1
"""Deals of one channel that may be made ready while another is executed and paid."""
DEPOSIT: Final = 250 * 10**18
"""More than the hundred deals of a channel can cost; what a devnet gives its client is enough for three."""
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
                await world.channel(world.clients[0], "fund", name, DEPOSIT)
                await _paid(world, name, number)
            first = [await _to_output(world, number) for number in range(100, 100 + laps)]
            alone = await _deals_per_s(world, deals, ahead=0)
            per_s = await _deals_per_s(world, deals, ahead=AHEAD)
    return {
        "channel_to_first_output": {"value": round(statistics.median(first), 3), "unit": "s"},
        "channel_deals_per_s": {"value": round(per_s, 1), "unit": "/s"},
        "channel_deals_per_s_none_ahead": {"value": round(alone, 1), "unit": "/s"},
    }


async def _deals_per_s(world: ProcessWorld, deals: int, ahead: int = AHEAD) -> float:
    """So many jobs with each provider; ``ahead``: how many are submitted before the voucher of the one before is signed."""
    client = world.clients[0]
    jobs = [await world.submission(client, _job(await world.peer_id(name), 0)) for name in world.providers]
    async with world.cluster[client].api() as api, trio.open_nursery() as nursery:
        runs = _Runs(api)
        await nursery.start(partial(runs.follow))
        began = time.monotonic()
        async with trio.open_nursery() as submitting:
            for number, job in enumerate(jobs):
                seeds = iter(range(1_000 * (number + 1), 1_000 * (number + 1) + deals))
                submitting.start_soon(_turns, runs, job, seeds, ahead)
        took_s = time.monotonic() - began
        nursery.cancel_scope.cancel()
    async with world.cluster[client].api() as api:
        found = {run.run_id: run for run in await api.runs()}
    for run_id in runs.ended:
        run = found[run_id]
        check(settled(run) and run.deals[-1].final_how == "voucher", f"it {run.status}: {run.detail}")
    return len(runs.ended) / took_s


class _Runs:
    """The runs of one program, followed on one stream."""

    def __init__(self, api: RemoteApi) -> None:
        self.api = api
        self.ended: dict[str, trio.Event] = {}
        self.resulted: dict[str, trio.Event] = {}

    async def follow(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Hear of every end from now on."""
        newest = max([one.seq async for one in self.api.events("")], default=0)
        task_status.started()
        async for one in self.api.events("", since=newest, follow=True):
            over = one.name in ("run.settled", "run.failed")
            if over or one.name == "deal.resulted":
                self.resulted.setdefault(one.subject, trio.Event()).set()
            if over:
                self.ended.setdefault(one.subject, trio.Event()).set()

    async def submit(self, submission: Submission, seed: int) -> str:
        """One more of these jobs."""
        job = msgspec.structs.replace(CanonicalJob.decode(submission.job), seed=seed)
        return await self.api.submit(msgspec.structs.replace(submission, job=job.encode()))

    async def paid(self, run_id: str) -> None:
        """Wait for the voucher."""
        with trio.fail_after(LIMIT_S):
            await self.ended.setdefault(run_id, trio.Event()).wait()


async def _turns(runs: _Runs, submission: Submission, seeds: Iterator[int], ahead: int) -> None:
    """One after the other; and, from the first result on, as many more beside it as are ahead."""
    first = await runs.submit(submission, next(seeds))
    with trio.fail_after(LIMIT_S):
        await runs.resulted.setdefault(first, trio.Event()).wait()
    async with trio.open_nursery() as beside:
        for _ in range(ahead):
            beside.start_soon(_some, runs, submission, seeds)
        await runs.paid(first)
        await _some(runs, submission, seeds)


async def _some(runs: _Runs, submission: Submission, seeds: Iterator[int]) -> None:
    for seed in seeds:
        await runs.paid(await runs.submit(submission, seed))


def _job(peer: str, seed: int) -> JobChoice:
    return JobChoice(sets=(*_SETS, f"market.target={peer}", f"seed={seed}"))


async def _paid(world: ProcessWorld, provider: str, number: int) -> None:
    """One job with this provider, until its voucher is signed."""
    client = world.clients[0]
    run_id = await world.submit(client, _job(await world.peer_id(provider), number))
    async with world.cluster[client].api() as api:
        with trio.fail_after(LIMIT_S):
            async for event in api.events(run_id, follow=True):
                if event.name in ("run.settled", "run.failed"):
                    break
    run = await world.run(client, run_id)
    check(settled(run) and run.deals[-1].final_how == "voucher", f"it {run.status}: {run.detail}")


async def _to_output(world: ProcessWorld, number: int) -> float:
    client = world.clients[0]
    peer = await world.peer_id(world.providers[number % PROVIDERS])
    async with world.cluster[client].api() as api:
        began = time.monotonic()
        run_id = await world.submit(client, _job(peer, number))
        with trio.fail_after(LIMIT_S):
            while not (await api.logs(run_id, "stdout", 0)).data:
                await trio.sleep(LOG_POLL_S)
        took = time.monotonic() - began
    await world.until(client, run_id, settled, LIMIT_S)
    return took

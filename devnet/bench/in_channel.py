"""How fast are jobs that a channel pays? To the first output, and deals per second with three providers side by side.

Part of `mesh devnet bench first-job`. One client has a channel with each of three providers; with each it has one unpaid
deal at a time, as the rules want it, so three deals are under way at most. One program submits all jobs through the client's
daemon: the job file is read and its module imported once, the jobs differ by their seed, and all are followed on one stream
of events.
"""

import statistics
import tempfile
import time
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
            per_s = await _deals_per_s(world, deals)
    return {
        "channel_to_first_output": {"value": round(statistics.median(first), 3), "unit": "s"},
        "channel_deals_per_s": {"value": round(per_s, 1), "unit": "/s"},
    }


async def _deals_per_s(world: ProcessWorld, deals: int) -> float:
    """So many jobs with each provider, each submitted when the voucher of the one before is signed."""
    client = world.clients[0]
    jobs = [await world.submission(client, _job(await world.peer_id(name), 0)) for name in world.providers]
    async with world.cluster[client].api() as api, trio.open_nursery() as nursery:
        runs = _Runs(api)
        await nursery.start(partial(runs.follow))
        began = time.monotonic()
        async with trio.open_nursery() as submitting:
            for number, job in enumerate(jobs):
                submitting.start_soon(_some, runs, job, 1_000 * (number + 1), deals)
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

    async def follow(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Hear of every end from now on."""
        newest = max([one.seq async for one in self.api.events("")], default=0)
        task_status.started()
        async for one in self.api.events("", since=newest, follow=True):
            if one.name in ("run.settled", "run.failed"):
                self._of(one.subject).set()

    def _of(self, run_id: str) -> trio.Event:
        return self.ended.setdefault(run_id, trio.Event())

    async def paid(self, submission: Submission) -> None:
        """Submit, and wait for the voucher."""
        run_id = await self.api.submit(submission)
        with trio.fail_after(LIMIT_S):
            await self._of(run_id).wait()


async def _some(runs: _Runs, submission: Submission, first: int, count: int) -> None:
    job = CanonicalJob.decode(submission.job)
    for number in range(first, first + count):
        seeded = msgspec.structs.replace(job, seed=number)
        await runs.paid(msgspec.structs.replace(submission, job=seeded.encode()))


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

"""How does a scenario see real processes? `ProcessCluster` behind the `Cluster` seam."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from devnet.chain.control import newest_time, pass_time, sent_by
from devnet.cluster import ProcessCluster
from devnet.members import Member
from devnet.scenario import JOBS, Failed, JobChoice
from mesh.api.types import BalanceInfo, ChannelInfo, DealInfo, RunInfo, Submission, TraceInfo
from mesh.base.config import load_config
from mesh.cli.submitting import prepare

__all__ = ["ProcessWorld"]

T = TypeVar("T")
POLL_S: Final = 0.05
FOLLOW_S: Final = 120.0
"""A node hears of a block within a second; on a busy machine, among ten others, within some."""
BLOCK_NAME_CHARS: Final = 59
"""A CID in base32: what a block's file is called."""


class ProcessWorld:
    """A `Cluster` of real processes."""

    world = "processes"

    def __init__(self, cluster: ProcessCluster) -> None:
        self.cluster = cluster
        self._withholding: set[str] = set()

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the providers."""
        return tuple(member.name for member in self.cluster.providers)

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the clients."""
        return tuple(member.name for member in self.cluster.clients)

    async def submit(self, client: str, job: JobChoice) -> str:
        """See ``Cluster``."""
        member = self.cluster[client]
        submission = await self.submission(client, job)
        if client in self._withholding:
            await trio.to_thread.run_sync(_move_blocks, member.home / "blobs", member.home / "blobs-withheld")
        async with member.api() as api:
            return await api.submit(submission)

    async def submission(self, client: str, job: JobChoice) -> Submission:
        """What ``submit`` hands in: the job file read, what it names imported."""
        member = self.cluster[client]
        loaded = load_config(flags={}, env=member.environment, cwd=member.home, file=member.home / "mesh.toml")
        async with member.api() as api:
            prepared = await prepare(api, loaded, job_file(job), sets=job_sets(job), env=(), now=int(time.time()))
        return prepared[2]

    async def run(self, client: str, run_id: str) -> RunInfo:
        """See ``Cluster``."""
        async with self.cluster[client].api() as api:
            return await api.run(run_id)

    async def until(self, client: str, run_id: str, holds: Callable[[RunInfo], bool], limit_s: float) -> RunInfo:
        """See ``Cluster``."""
        async with self.cluster[client].api() as api:
            return await _until(lambda: api.run(run_id), holds, limit_s, f"run {run_id[:10]}")

    async def until_deal(self, node: str, deal_id: str, holds: Callable[[DealInfo], bool], limit_s: float) -> DealInfo:
        """See ``Cluster``."""
        async with self.cluster[node].api() as api:
            return await _until(lambda: api.deal(deal_id), holds, limit_s, f"deal {deal_id[:10]} at {node}")

    async def trace(self, client: str, run_id: str) -> tuple[TraceInfo, ...]:
        """See ``Cluster``."""
        async with self.cluster[client].api() as api:
            return tuple([one async for one in api.events(run_id)])

    async def balance(self, node: str) -> BalanceInfo:
        """See ``Cluster``."""
        async with self.cluster[node].api() as api:
            return await api.balance()

    async def until_channel(self, node: str, holds: Callable[[ChannelInfo], bool], limit_s: float) -> ChannelInfo:
        """See ``Cluster``."""
        async with self.cluster[node].api() as api:
            found = await _until(api.channels, lambda all_: any(map(holds, all_)), limit_s, f"a channel of {node}")
        return next(filter(holds, found))

    async def channel(self, node: str, verb: str, peer: str, wei: int = 0) -> None:
        """See ``Cluster``."""
        async with self.cluster[node].api() as api:
            await api.channel(verb, await self.peer_id(peer), str(wei))

    async def peer_id(self, node: str) -> str:
        """See ``Cluster``."""
        return self.cluster[node].peer_id

    async def transactions(self) -> int:
        """See ``Cluster``: what the chain counts for their accounts."""
        accounts = [member.account for member in self.cluster.members.values() if member.account is not None]
        return sum([await sent_by(self.cluster.chain, one.address) for one in accounts])

    async def stdout(self, client: str, run_id: str) -> bytes:
        """See ``Cluster``."""
        async with self.cluster[client].api() as api:
            return (await api.logs(run_id, "stdout", 0)).data

    async def kill(self, name: str) -> None:
        """See ``Cluster``."""
        await self.cluster[name].kill()

    async def start(self, name: str) -> None:
        """See ``Cluster``."""
        await self.cluster.restart(name)

    async def withhold(self, client: str, withholding: bool) -> None:
        """See ``Cluster``: the blocks of its next submissions are gone from its disk once it has signed."""
        home = self.cluster[client].home
        if withholding:
            self._withholding.add(client)
        else:
            self._withholding.discard(client)
            await trio.to_thread.run_sync(_move_blocks, home / "blobs-withheld", home / "blobs")

    async def pass_time(self, seconds: int) -> None:
        """See ``Cluster``: the machine's clock stays as it is. Every node that runs knows the new time afterwards: who still
        has the old one signs deals that others find dated, and is not to blame for it. Raises ``Failed``."""
        await pass_time(self.cluster.chain, seconds)
        now = await newest_time(self.cluster.chain)
        async with trio.open_nursery() as nursery:
            for member in self.cluster.members.values():
                if member.running:
                    nursery.start_soon(_knows, member, now)

    def now(self) -> float:
        """See ``Cluster``."""
        return time.monotonic()


async def _knows(member: Member, now: int) -> None:
    async with member.api() as api:
        await _until(api.status, lambda one: one.chain_time >= now, FOLLOW_S, f"the chain's time at {member.name}")


async def _until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], limit_s: float, what: str) -> T:
    last: T | None = None
    with trio.move_on_after(limit_s):
        while True:
            last = await ask()
            if holds(last):
                return last
            await trio.sleep(POLL_S)
    raise Failed(f"{what} did not get there within {limit_s:g} s; it is {last}")


def _move_blocks(source: Path, target: Path) -> None:
    """Move every block file, keeping the folders."""
    for block in [one for one in source.rglob("*") if one.is_file() and len(one.name) == BLOCK_NAME_CHARS]:
        place = target / block.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        block.rename(place)


def job_file(job: JobChoice) -> Path:
    """The job file of an example job."""
    return JOBS / job.name / "job.yaml"


def job_sets(job: JobChoice) -> tuple[str, ...]:
    """What the choice changes in the file."""
    size = (f"command=[--samples, '{job.millions}000000']",) if job.name == "pi" else ()
    audit = (f"verify.audit={job.audit}",) if job.audit else ()
    return (*size, *audit, *job.sets)

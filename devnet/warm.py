"""How do scenarios share one network? Each finds it as it was when it came up: chain, homes and processes set back.

A network costs a chain, contracts, money and imports; setting one back costs a copy of its homes and the start of its
nodes, which are forks of a process that has loaded everything.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from devnet.chain.control import pass_time, revert_to, take_snapshot
from devnet.cluster import ClusterPlan, ProcessCluster, open_cluster
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.reporting import reported
from devnet.scenario import Report, Scenario

__all__ = ["Pristine", "Timed", "remember", "run_shared"]

PRISTINE: Final = ".pristine"
KEPT: Final = "failed"


class Timed(msgspec.Struct, frozen=True):
    """What a scenario came to, and what it took: the script, and setting the network back before it."""

    report: Report
    seconds: float
    reset_s: float


class Pristine:
    """A network as it was at one moment, and the way back to it."""

    def __init__(self, cluster: ProcessCluster, snapshot: str) -> None:
        self._cluster = cluster
        self._snapshot = snapshot
        self._members = dict(cluster.members)
        self._plans = {name: member.plan for name, member in self._members.items()}
        self._accounts = cluster.accounts_used

    async def reset(self, keep_as: str = "") -> None:
        """Everybody ends, chain and homes are set back, the members of then start again, where they listened before.

        ``keep_as``: the homes as they were left are kept under this name.
        """
        cluster = self._cluster
        async with trio.open_nursery() as ending:
            for member in cluster.members.values():
                ending.start_soon(member.kill)
        await trio.to_thread.run_sync(self._restore, tuple(cluster.members.values()), keep_as)
        await revert_to(cluster.chain, self._snapshot)
        self._snapshot = await take_snapshot(cluster.chain)
        # A block of the present: else who looks first sees the next one long before the others, and they trade across it.
        await pass_time(cluster.chain, 1)
        cluster.members.clear()
        cluster.members.update(self._members)
        cluster.accounts_used = self._accounts
        async with trio.open_nursery() as starting:
            for name, member in self._members.items():
                member.plan = self._plans[name]
                starting.start_soon(member.start)
        await cluster.meet(len(cluster.providers))

    def _restore(self, present: tuple[Member, ...], keep_as: str) -> None:
        home = self._cluster.home
        for member in present:
            if keep_as:
                (home / KEPT / keep_as).mkdir(parents=True, exist_ok=True)
                member.home.rename(home / KEPT / keep_as / member.name)
            else:
                shutil.rmtree(member.home, ignore_errors=True)
        for name, member in self._members.items():
            _copy(home / PRISTINE / name, member.home)


async def remember(cluster: ProcessCluster) -> Pristine:
    """The network as it is now. Its nodes stand still meanwhile: what is copied is what a power cut would leave."""
    for member in cluster.members.values():
        member.pause()
    try:
        for name, member in cluster.members.items():
            await trio.to_thread.run_sync(_copy, member.home, cluster.home / PRISTINE / name)
        return Pristine(cluster, await take_snapshot(cluster.chain))
    finally:
        for member in cluster.members.values():
            member.resume()


def _copy(source: Path, target: Path) -> None:
    """A home without its sockets, which only a living process can have."""
    shutil.copytree(source, target, symlinks=True, ignore=_sockets)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


async def run_shared(
    scenarios: Sequence[Scenario], home: Path, seed: int, chain: str, tell: Callable[[Timed], None]
) -> float:
    """Run scenarios one after the other in one network, as large as the largest wants it; seconds until it was up.

    ``tell`` hears of each as soon as it is judged. One that fails leaves its homes below ``home/failed``, the last one
    where they are.
    """
    plan = ClusterPlan(
        providers=max(one.providers for one in scenarios),
        clients=max(one.clients for one in scenarios),
        mediators=max(one.mediators for one in scenarios),
        chain=chain,  # type: ignore[arg-type]
    )
    began = time.monotonic()
    async with open_cluster(home, plan) as cluster:
        pristine = await remember(cluster)
        up_s = time.monotonic() - began
        failed = ""
        for number, scenario in enumerate(scenarios):
            timed = await _one(cluster, pristine, scenario, seed, None if number == 0 else failed)
            failed = "" if timed.report.ok else scenario.name
            tell(timed)
    return up_s


async def _one(cluster: ProcessCluster, pristine: Pristine, scenario: Scenario, seed: int, before: str | None) -> Timed:
    """``before``: the scenario whose homes are worth keeping, empty for none; None where nothing was done yet."""
    marks = [time.monotonic()]

    async def script() -> dict[str, Any]:
        if before is not None:
            await pristine.reset(before)
        marks.append(time.monotonic())
        figures = await scenario.script(ProcessWorld(cluster), seed)
        return {"chain": cluster.chain.kind, **figures}

    report = await reported(scenario.name, seed, "processes", script)
    ready = marks[-1]
    return Timed(report, round(time.monotonic() - ready, 3), round(ready - marks[0], 3))

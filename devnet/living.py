"""Which nodes of the running network live, and under which pid? Also those that their owner has started again."""

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec
import trio

from devnet.layout import ClusterFile, NodeEntry, devnet_home, read_cluster
from mesh.api.client import open_remote
from mesh.base.errors import MeshError

__all__ = ["alive", "end_restarted", "living_cluster", "living_now"]

ASK_S: Final = 5.0
"""A node answers in milliseconds, on a busy machine in a second."""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to ask does not."""
    try:
        return pid > 0 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def living_cluster() -> ClusterFile:
    """The running network as it is now. Raises ``UsageError`` where none runs."""
    return trio.run(living_now, read_cluster(devnet_home()))


async def living_now(cluster: ClusterFile) -> ClusterFile:
    """The same with pid and addresses of each node as it tells them itself, where the process that was started here is gone."""
    found = {one.name: one for one in cluster.nodes}

    async def look(one: NodeEntry) -> None:
        with trio.move_on_after(ASK_S):
            try:
                async with open_remote(Path(one.home) / "api.sock") as api:
                    told = await api.status()
            except MeshError:
                return
            found[one.name] = msgspec.structs.replace(one, pid=told.pid, addresses=told.addresses)

    async with trio.open_nursery() as nursery:
        for one in cluster.nodes:
            if not alive(one.pid) and (Path(one.home) / "api.sock").exists():
                nursery.start_soon(look, one)
    return msgspec.structs.replace(cluster, nodes=tuple(found[one.name] for one in cluster.nodes))


async def end_restarted(home: Path, own: Collection[int]) -> None:
    """End the nodes of a network that were started again. ``own``: pids of the network's children, which it ends itself."""
    for one in (await living_now(read_cluster(home))).nodes:
        if one.pid not in own and alive(one.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGTERM)

"""Does a whole node start, say why not, and leave nothing behind?"""

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from mesh.base.config import Config
from mesh.base.config.schema import Chain, Network, Provider
from mesh.base.config.schema import Store as config_store
from mesh.base.keys import NodeKey
from mesh.node import open_node
from mesh.store import Batch, Row, StoreLocked
from protocols.events import DrainRequested
from protocols.hashing import sha256

KEY = NodeKey(sha256(b"node of the node tests"))
ADDRESS = "0x" + "11" * 20


def config(*roles: Any, rpc: str = "http://127.0.0.1:1") -> Config:
    """A node alone, whose chain does not answer."""
    return Config(
        network=Network(name="devnet", listen=("/ip4/127.0.0.1/tcp/0",), mdns=False),
        chain=Chain(rpc=(rpc,), chain_id=31337, escrow=ADDRESS, token=ADDRESS),
        provider=Provider(roles=roles or ("client",)),
    )


def children() -> set[str]:
    """Processes that this one has started and that live."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        found.update((task / "children").read_text().split())
    return found


def sockets() -> int:
    """Open sockets of this process."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue  # the one that listed them
    return count


def workers() -> set[str]:
    """Threads besides trio's own, which idle and end by themselves."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio")}


def left_at_most(before: tuple[set[str], int, set[str]]) -> bool:
    """Nothing was added. What earlier tests left dying may have ended meanwhile."""
    return children() <= before[0] and sockets() <= before[1] and workers() <= before[2]


async def test_a_node_whose_chain_is_dead_is_up_and_says_so(tmp_path: Path) -> None:
    scratch = tmp_path / "runs" / "aa-run"
    scratch.mkdir(parents=True)
    with trio.fail_after(250):
        async with open_node(config("client", "provider"), KEY, tmp_path) as node:
            assert node.link.addresses
            assert node.advertiser is not None
            endpoint = node.ledger.endpoints()[0]
            assert endpoint.failures > 0
            assert not endpoint.serving or endpoint.head_block <= 0
            assert not scratch.exists()


async def _second(home: Path) -> None:
    async with open_node(config(), KEY, home):
        pytest.fail("two nodes share a home")


async def test_a_home_has_one_node(tmp_path: Path) -> None:
    with trio.fail_after(250):
        async with open_node(config(), KEY, tmp_path):
            with pytest.raises(StoreLocked, match=f"process {os.getpid()} holds") as caught:
                await _second(tmp_path)
            assert "MESH_HOME" in caught.value.fix
        async with open_node(config(), KEY, tmp_path):
            pass


@pytest.mark.parametrize("steps", [1, 60, 400])
async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path, steps: int) -> None:
    before = (children(), sockets(), workers())
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(stop)
            async with open_node(config("client", "provider"), KEY, tmp_path):
                await trio.sleep_forever()
    with trio.fail_after(60):
        while not left_at_most(before):
            await trio.sleep(0.02)
    async with open_node(config(), KEY, tmp_path) as node:
        assert node.store.path.exists()


async def test_a_node_without_room_lives_on_and_works_again_when_there_is_some(tmp_path: Path) -> None:
    small = msgspec.structs.replace(config("client", "provider"), store=config_store(journal_quota_mib=4))
    big = b"x" * (1 << 20)
    with trio.fail_after(250):
        async with open_node(small, KEY, tmp_path) as node, trio.open_nursery() as nursery:
            for number in range(8):
                rows = [Row("x", bytes([number]), 1, big)]
                nursery.start_soon(node.store.commit, Batch(puts=rows))
            trouble = await node.store.until_trouble()
            assert "journal_quota_mib" in trouble.fix
            posted = trio.Event()

            async def drain() -> None:
                await node.engine.post(DrainRequested(at=node.clock.monotonic_ms(), draining=True))
                posted.set()

            await node.store.commit(Batch(deletes=[("x", bytes([number])) for number in range(8)]))
            nursery.start_soon(drain)
            await posted.wait()
            while (await node.store.load()).rows and node.store.trouble is not None:
                await node.store.commit(Batch(deletes=[("x", bytes([number])) for number in range(8)]))
            nursery.cancel_scope.cancel()

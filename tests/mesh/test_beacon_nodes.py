"""Do whole nodes share the beacon? One reaches a relay, the other only the first, over real libp2p."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from devnet.beacon import BeaconServer
from mesh.base.config import Config
from mesh.base.config.schema import Beacon, Chain, Network
from mesh.base.keys import NodeKey
from mesh.node import Node, open_node
from protocols.beacon.scheme import verify_round
from protocols.hashing import sha256

ADDRESS = "0x" + "11" * 20


def config(relays: tuple[str, ...], bootstrap: tuple[str, ...]) -> Config:
    """A client whose chain does not answer."""
    return Config(
        network=Network(name="devnet", listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, bootstrap=bootstrap),
        chain=Chain(rpc=("http://127.0.0.1:1",), chain_id=31337, escrow=ADDRESS, token=ADDRESS),
        beacon=Beacon(relays=relays),
    )


@pytest.fixture
async def server(nursery: trio.Nursery) -> BeaconServer:
    made = BeaconServer()
    await nursery.start(partial(made.run))
    return made


@asynccontextmanager
async def opened(
    home: Path, name: str, relays: tuple[str, ...] = (), bootstrap: tuple[str, ...] = ()
) -> AsyncIterator[Node]:
    async with open_node(config(relays, bootstrap), NodeKey(sha256(name.encode())), home / name) as node:
        yield node


def newest(node: Node) -> int:
    return node.engine.view(lambda state: state.beacon.newest)


def states(node: Node) -> list[str]:
    return [one.state for one in node.relays.statistics()]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(120):
        while not holds():
            await trio.sleep(0.02)


async def test_a_node_without_a_relay_hears_rounds_from_one_that_has(server: BeaconServer, tmp_path: Path) -> None:
    with trio.fail_after(250):
        async with (
            opened(tmp_path, "hearing", (server.url,)) as hearing,
            opened(tmp_path, "deaf", (), hearing.link.addresses) as deaf,
        ):
            await until(lambda: newest(deaf) > 0)
            first = newest(deaf)
            await until(lambda: newest(deaf) > first)
            one = deaf.engine.view(lambda state: state.beacon.latest)
            assert one is not None
            verify_round(deaf.engine.env.params.beacon, one)
            assert one == hearing.engine.view(lambda state: state.beacon.known(one.number))
            assert deaf.relays.statistics() == ()
            await until(lambda: states(hearing) == ["ready"])  # an answer that came late rests it for a moment


async def test_a_node_that_trusts_a_liar_and_an_honest_relay_follows(
    server: BeaconServer, nursery: trio.Nursery, tmp_path: Path
) -> None:
    liar = BeaconServer()
    liar.habit = "forges"
    await nursery.start(partial(liar.run))
    with trio.fail_after(250):
        async with opened(tmp_path, "node", (liar.url, server.url)) as node:
            await until(lambda: newest(node) > 0)
            await until(lambda: states(node) == ["quarantined", "ready"])
            one = node.engine.view(lambda state: state.beacon.latest)
            assert one is not None
            verify_round(node.engine.env.params.beacon, one)

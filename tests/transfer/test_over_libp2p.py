"""Does a tree travel over the real link, past every window of the multiplexer?"""

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
import trio
from msgspec import Struct

from devnet.sim.trees import pattern
from mesh.net.addresses import parse_address
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.store.blobs import BlobStore
from mesh.transfer import BlobFetcher, BlobServer, FetchError, FetchRefused, FetchTimeout, FetchTooLarge
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId, PeerId

DEAL = DealId(b"d" * 32)
PROVIDER = Path(__file__).with_name("hostile_provider.py")


@asynccontextmanager
async def two_links() -> AsyncIterator[tuple[Libp2pLink, Libp2pLink]]:
    def config(*bootstrap: str) -> LinkConfig:
        return LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, bootstrap=bootstrap)

    async with trio.open_nursery() as nursery:
        alice = Libp2pLink(hashlib.sha256(b"transfer alice").digest(), config())
        await nursery.start(alice.run)
        bob = Libp2pLink(hashlib.sha256(b"transfer bob").digest(), config(*alice.addresses))
        await nursery.start(bob.run)
        yield alice, bob
        nursery.cancel_scope.cancel()


async def test_20_mib_arrive_whole_and_without_a_break(store: BlobStore, other: BlobStore) -> None:
    content = pattern(100_003) * 210
    root = await store.add_bytes(content)
    limits = Limits.for_content(len(content))
    async with two_links() as (alice, bob):
        server = BlobServer(store, alice)
        fetcher = BlobFetcher(other, bob)
        bob.learn(alice.me, alice.addresses)
        with pytest.raises(FetchRefused):
            await fetcher.fetch(DEAL, [alice.me], root.cid, limits)
        broken = fetcher.statistics().streams_broken
        server.grant(bob.me, root.cid, DEAL)
        with trio.fail_after(250):
            await fetcher.fetch(DEAL, [alice.me], root.cid, limits)
        assert fetcher.statistics().streams_broken == broken
    assert await other.read_file(root.cid, max_bytes=len(content)) == content


class Hostile(Struct):
    """A link of ours, and a provider in another process: its PeerId, and the tree it is asked for."""

    link: Libp2pLink
    provider: PeerId
    root: Cid
    leaves: list[Cid]


@asynccontextmanager
async def hostile(kind: str, way: str) -> AsyncIterator[Hostile]:
    """The provider does this ``kind`` of wrong, over the side port or a stream of the link."""
    command = [sys.executable, "-W", "ignore", str(PROVIDER), kind, way]
    environment = {**os.environ, "PYTHONPATH": str(PROVIDER.parents[2])}
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stdin=PIPE, stdout=PIPE, env=environment)
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        assert process.stdin is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
        told = json.loads(line)
        peer = parse_address(told["address"]).peer
        assert peer is not None
        config = LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, side_port=way == "side")
        link = Libp2pLink(hashlib.sha256(b"transfer bob").digest(), config)
        await nursery.start(link.run)
        link.learn(peer, [told["address"]])
        await link.connect(peer)
        yield Hostile(
            link, peer, Cid(bytes.fromhex(told["root"])), [Cid(bytes.fromhex(leaf)) for leaf in told["leaves"]]
        )
        await process.stdin.aclose()
        with trio.fail_after(60):
            await process.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["side", "link"])
@pytest.mark.parametrize("kind", ["wrong bytes", "a frame over the bound", "more than the leaf may have"])
async def test_a_provider_in_another_process_that_sends_other_bytes_pays_and_nothing_of_it_is_kept(
    kind: str, way: str, other: BlobStore
) -> None:
    async with hostile(kind, way) as at:
        fetcher = BlobFetcher(other, at.link)
        with trio.fail_after(60), pytest.raises(FetchTimeout, match="reached"):
            await fetcher.fetch(DEAL, [at.provider], at.root, Limits(max_content_bytes=30_002))
        assert fetcher.statistics().violations == 1
        assert at.link.peers()[at.provider].score < 0
        assert at.link.statistics().disconnected_score == 0
        assert fetcher.statistics().bytes_received < 30_000
    assert other.statistics().bytes_written <= fetcher.statistics().bytes_received
    assert other.statistics().blocks_damaged == 0


@pytest.mark.parametrize("way", ["side", "link"])
async def test_more_than_was_declared_is_refused_before_any_leaf_travels(way: str, other: BlobStore) -> None:
    async with hostile("more than declared", way) as at:
        fetcher = BlobFetcher(other, at.link)
        with trio.fail_after(60), pytest.raises(FetchTooLarge, match="30001"):
            await fetcher.fetch(DEAL, [at.provider], at.root, Limits(max_content_bytes=30_001))
        assert at.link.peers()[at.provider].score == 0, "whoever carries a tree need not know what was declared"
    assert not any([await other.has(leaf) for leaf in at.leaves])


@pytest.mark.parametrize("way", ["side", "link"])
async def test_a_node_that_declares_less_than_its_leaf_has_ends_the_fetch(way: str, other: BlobStore) -> None:
    async with hostile("a node that lies", way) as at:
        fetcher = BlobFetcher(other, at.link)
        with trio.fail_after(60), pytest.raises(FetchError):
            await fetcher.fetch(DEAL, [at.provider], at.root, Limits(max_content_bytes=10))
        assert fetcher.statistics().bytes_received < 1000
    assert not any([await other.has(leaf) for leaf in at.leaves])

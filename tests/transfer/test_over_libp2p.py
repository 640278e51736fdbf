"""Does a tree travel over the real link, past every window of the multiplexer?"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from devnet.sim.trees import pattern
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.store.blobs import BlobStore
from mesh.transfer import BlobFetcher, BlobServer, FetchRefused
from protocols.transfer.walk import Limits
from protocols.units import DealId

DEAL = DealId(b"d" * 32)


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


@pytest.mark.timeout(120)
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
        with trio.fail_after(100):
            await fetcher.fetch(DEAL, [alice.me], root.cid, limits)
        assert fetcher.statistics().streams_broken == broken
    assert await other.read_file(root.cid, max_bytes=len(content)) == content

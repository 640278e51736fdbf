"""Does a pull go on with a stream that an earlier one left, and never with one that is not in order?"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from devnet.sim.memory_link import MemoryLink, open_hub
from devnet.sim.trees import Blocks, Layout, pattern, plant
from mesh.store.blobs import BlobStore
from mesh.transfer import BlobFetcher, BlobServer, FetchRefused
from mesh.transfer.kept import KEEP_S, KEPT_PER_PEER
from mesh.transfer.server import MAX_STREAMS
from protocols.transfer.frames import BLOB_PROTOCOL
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId, PeerId
from tests.clock import all_at_rest

ALICE, BOB = PeerId(b"a" * 39), PeerId(b"b" * 39)
LIMITS = Limits(max_content_bytes=1 << 26)


class Mute(trio.abc.ReceiveStream):
    """The end of a stream on which answers are awaited and none comes."""

    def __init__(self, awaited: trio.Event) -> None:
        self._awaited = awaited

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._awaited.set()
        await trio.sleep_forever()
        return b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Counting:
    """A link that remembers the streams it opened. ``mute``: whether what it opens stays without answers. ``together``: how
    many must have been opened before any of them is handed out."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self.opened: list[trio.abc.HalfCloseableStream] = []
        self.mute = False
        self.together = 0
        self.awaited = trio.Event()
        self._enough = trio.Event()

    async def open(self, peer: PeerId, protocol: str) -> trio.abc.HalfCloseableStream:
        stream = await self._link.open(peer, protocol)
        if self.mute:
            stream = trio.StapledStream(stream, Mute(self.awaited))
        self.opened.append(stream)
        if len(self.opened) >= self.together:
            self._enough.set()
        await self._enough.wait()
        return stream

    def accept(self, protocol: str, handler: Callable[[PeerId, trio.abc.HalfCloseableStream], Awaitable[None]]) -> None:
        self._link.accept(protocol, handler)

    def penalise(self, peer: PeerId, points: int) -> None:
        self._link.penalise(peer, points)


class Scene:
    """Alice serves, Bob pulls."""

    def __init__(self, server: BlobServer, store: BlobStore, fetcher: BlobFetcher, streams: Counting) -> None:
        self.server, self.fetcher, self.streams = server, fetcher, streams
        self._store = store
        self._deals = 0

    async def result(self, size: int = 3) -> tuple[DealId, Cid]:
        """A fresh small tree that Bob may have."""
        self._deals += 1
        deal = DealId(bytes([self._deals]) * 32)
        layout: Layout = {"stdout": pattern(size) + bytes([self._deals]), "exitCode": b"0", "outputs": {}}
        blocks: Blocks = {}
        root = plant(layout, blocks, 1000, 5).cid
        await self._store.put(list(blocks.items()))
        self.server.grant(BOB, root, deal)
        return deal, root

    async def pull(self, size: int = 3) -> None:
        deal, root = await self.result(size)
        await self.fetcher.fetch(deal, [ALICE], root, LIMITS)


@pytest.fixture
async def scene(store: BlobStore, other: BlobStore) -> AsyncIterator[Scene]:
    async with _scene(store, other) as made:
        yield made


@asynccontextmanager
async def _scene(store: BlobStore, other: BlobStore) -> AsyncIterator[Scene]:
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(store, hub.link(ALICE))
        streams = Counting(hub.link(BOB))
        yield Scene(server, store, BlobFetcher(other, streams), streams)


async def test_pulls_of_many_deals_share_a_stream(scene: Scene) -> None:
    for size in (1, 5_000, 40_000):
        await scene.pull(size)
    assert len(scene.streams.opened) == 1
    assert scene.server.statistics().streams == 1
    assert scene.fetcher.statistics().streams_broken == 0


async def test_who_has_everything_asks_nobody(scene: Scene) -> None:
    deal, root = await scene.result()
    await scene.fetcher.fetch(deal, [ALICE], root, LIMITS)
    scene.server.revoke(deal)
    await scene.fetcher.fetch(DealId(b"x" * 32), [PeerId(b"n" * 39)], root, LIMITS)
    assert len(scene.streams.opened) == 1


async def test_a_stream_that_died_meanwhile_is_no_fault_and_costs_no_pause(
    scene: Scene, mock_clock: trio.testing.MockClock
) -> None:
    await scene.pull()
    await trio.aclose_forcefully(scene.streams.opened[0])
    await scene.pull()  # with a clock that stands still: a pause would never end
    assert scene.fetcher.statistics().streams_broken == 0
    assert len(scene.streams.opened) == 2


async def test_only_a_few_are_kept_and_not_for_long(scene: Scene, mock_clock: trio.testing.MockClock) -> None:
    results = [await scene.result(30_000) for _ in range(KEPT_PER_PEER + 2)]
    scene.streams.together = len(results)
    async with trio.open_nursery() as nursery:
        for deal, root in results:
            nursery.start_soon(scene.fetcher.fetch, deal, [ALICE], root, LIMITS)
    assert len(scene.streams.opened) == KEPT_PER_PEER + 2
    await all_at_rest()
    assert scene.server.statistics().streams == KEPT_PER_PEER
    mock_clock.jump(KEEP_S + 1)
    await scene.pull()
    assert len(scene.streams.opened) == KEPT_PER_PEER + 3
    await all_at_rest()
    assert scene.server.statistics().streams == 1


async def test_a_pull_that_is_cut_off_leaves_no_stream_behind(scene: Scene) -> None:
    deal, root = await scene.result(200_000)
    scene.streams.mute = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.fetcher.fetch, deal, [ALICE], root, LIMITS)
        await scene.streams.awaited.wait()
        nursery.cancel_scope.cancel()  # an answer is owed, and would come to whoever had the stream next
    scene.streams.mute = False
    await scene.pull()
    assert len(scene.streams.opened) == 2
    assert scene.fetcher.statistics().violations == 0


async def test_a_refused_pull_does_not_spoil_the_next(scene: Scene) -> None:
    deal, root = await scene.result()
    scene.server.revoke(deal)
    with pytest.raises(FetchRefused):
        await scene.fetcher.fetch(deal, [ALICE], root, LIMITS)
    await scene.pull()
    assert scene.server.statistics().violations == 0


async def test_a_full_server_sheds_the_stream_that_has_been_idle_longest(store: BlobStore) -> None:
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(store, hub.link(ALICE))
        peers = [PeerId(number.to_bytes(39, "big")) for number in range(MAX_STREAMS + 1)]
        streams = []
        for peer in peers:
            streams.append(await hub.link(peer).open(ALICE, BLOB_PROTOCOL))
            await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().streams == MAX_STREAMS
        assert server.statistics().streams_refused == 0
        with trio.fail_after(60):
            assert not await streams[0].receive_some()
        for stream in streams:
            await stream.aclose()

"""Peers that serve a tree: whole, in parts, over streams that break, or whatever a hostile one answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from devnet.sim.memory_link import MemoryHub, MemoryLink, open_hub
from devnet.sim.trees import Blocks, Layout, pattern, plant
from mesh.net.link import PeerUnreachable
from mesh.store.blobs import BlobStore
from mesh.transfer import BlobServer
from mesh.transfer.streams import FrameReader
from protocols.transfer.frames import (
    MAX_FRAME_BYTES,
    WantBlocks,
    WantTree,
    decode_want,
)
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId, PeerId

ALICE, BOB, CAROL = (PeerId(name * 39) for name in (b"a", b"b", b"c"))
DEAL, OTHER_DEAL = DealId(b"d" * 32), DealId(b"e" * 32)
LIMITS = Limits(max_content_bytes=1 << 26)
TREE: Layout = {"big": pattern(150_000), "sub": {"é": b"", "one": b"1"}, "empty": {}}

Handler = Callable[[PeerId, trio.abc.HalfCloseableStream], Awaitable[None]]


class Breaking(trio.abc.HalfCloseableStream):
    """A stream that breaks, for both sides, once it has carried so many bytes towards us."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, breaks_after: int) -> None:
        self._stream = stream
        self._left = breaks_after

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._left <= 0:
            await self._stream.aclose()
            raise trio.BrokenResourceError("broken on purpose")
        piece = bytes(await self._stream.receive_some(min(self._left, max_bytes or self._left)))
        self._left -= len(piece)
        return piece

    async def send_all(self, data: bytes | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Unreliable:
    """A link whose every stream breaks after so many bytes, and whose first opens fail."""

    def __init__(self, link: MemoryLink, breaks_after: int, failing_opens: int = 0) -> None:
        self._link = link
        self._breaks_after = breaks_after
        self._failing_opens = failing_opens
        self.opened = 0

    async def open(self, peer: PeerId, protocol: str) -> trio.abc.HalfCloseableStream:
        self.opened += 1
        if self.opened <= self._failing_opens:
            raise PeerUnreachable("not yet")
        return Breaking(await self._link.open(peer, protocol), self._breaks_after)

    def accept(self, protocol: str, handler: Handler) -> None:
        self._link.accept(protocol, handler)

    def penalise(self, peer: PeerId, points: int) -> None:
        self._link.penalise(peer, points)


async def keep(store: BlobStore, layout: Layout = TREE) -> tuple[Cid, Blocks]:
    blocks: Blocks = {}
    root = plant(layout, blocks, 1000, 5).cid
    await store.put(list(blocks.items()))
    return root, blocks


async def holds(store: BlobStore, blocks: Blocks) -> bool:
    return await store.get_many(list(blocks), max_bytes=1 << 30) == list(blocks.values())


def answering(answer: Callable[[WantBlocks | WantTree], list[bytes]]) -> Handler:
    """A peer that answers each want with these bytes."""

    async def handle(peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        reader = FrameReader(stream, MAX_FRAME_BYTES)
        while (body := await reader.next()) is not None:
            for piece in answer(decode_want(body)):
                await stream.send_all(piece)

    return handle


@asynccontextmanager
async def pair(store: BlobStore) -> AsyncIterator[tuple[MemoryHub, BlobServer]]:
    """A hub on which Alice serves ``store``."""
    async with open_hub(latency_s=0) as hub:
        yield hub, BlobServer(store, hub.link(ALICE))

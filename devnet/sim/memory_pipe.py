"""How do bytes travel between two in-memory links? In order, after a latency, through a bounded window."""

from collections import deque
from typing import Final

import trio

__all__ = ["PIPE_WINDOW_BYTES", "PipeStream", "pipe_pair"]

PIPE_WINDOW_BYTES: Final = 256 * 1024
"""Bytes one direction holds before the writer waits: yamux's initial window."""
_CHUNK_BYTES: Final = 64 * 1024


class _Pipe:
    """One direction: chunks with the moment each arrives."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.chunks: deque[tuple[float, bytes]] = deque()
        self.held = 0
        self.ended = False
        self.broken = False
        self.changed = trio.Condition()

    async def put(self, chunk: bytes) -> None:
        async with self.changed:
            while self.held >= PIPE_WINDOW_BYTES and not self.broken:
                await self.changed.wait()
            if self.broken:
                raise trio.BrokenResourceError("the link was cut")
            self.chunks.append((trio.current_time() + self.latency_s, chunk))
            self.held += len(chunk)
            self.changed.notify_all()

    async def get(self, limit: int) -> bytes:
        async with self.changed:
            while not self.chunks and not self.ended and not self.broken:
                await self.changed.wait()
        if self.broken:
            raise trio.BrokenResourceError("the link was cut")
        if not self.chunks:
            return b""
        await trio.sleep_until(self.chunks[0][0])
        async with self.changed:
            if self.broken:
                raise trio.BrokenResourceError("the link was cut")
            due, chunk = self.chunks.popleft()
            if len(chunk) > limit:
                self.chunks.appendleft((due, chunk[limit:]))
                chunk = chunk[:limit]
            self.held -= len(chunk)
            self.changed.notify_all()
            return chunk

    async def finish(self, *, broken: bool) -> None:
        async with self.changed:
            self.ended = True
            self.broken = self.broken or broken
            self.changed.notify_all()


class PipeStream(trio.abc.HalfCloseableStream):
    """One end of a two-way in-memory stream with latency and backpressure."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._sending = trio.StrictFIFOLock()
        self._sent_eof = False
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises ``ClosedResourceError`` after our close or EOF, ``BrokenResourceError`` when the link was cut."""
        if self.closed or self._sent_eof:
            raise trio.ClosedResourceError("this end was closed for sending")
        async with self._sending:
            view = memoryview(bytes(data))
            for offset in range(0, len(view), _CHUNK_BYTES):
                await self._outgoing.put(bytes(view[offset : offset + _CHUNK_BYTES]))

    async def wait_send_all_might_not_block(self) -> None:
        """Returns at once: the pipe tells by blocking in ``send_all``."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, or ``b""`` at the end. Raises ``ClosedResourceError``, ``BrokenResourceError``."""
        if self.closed:
            raise trio.ClosedResourceError("this end was closed")
        return await self._incoming.get(max_bytes or _CHUNK_BYTES)

    async def send_eof(self) -> None:
        """Ends our direction; the other one stays open."""
        self._sent_eof = True
        await self._outgoing.finish(broken=False)

    async def aclose(self) -> None:
        """Closes both directions; a peer that still sends gets ``BrokenResourceError``."""
        if not self.closed:
            self.closed = True
            with trio.CancelScope(shield=True):
                await self._outgoing.finish(broken=False)
                await self._incoming.finish(broken=True)
        await trio.lowlevel.checkpoint()

    async def cut(self) -> None:
        """Breaks both directions at once, as a reset does."""
        await self._outgoing.finish(broken=True)
        await self._incoming.finish(broken=True)


def pipe_pair(latency_s: float = 0.0) -> tuple[PipeStream, PipeStream]:
    """Two connected ends; each byte arrives ``latency_s`` after it was sent."""
    there, back = _Pipe(latency_s), _Pipe(latency_s)
    return PipeStream(back, there), PipeStream(there, back)

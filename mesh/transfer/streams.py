"""What does a transfer need of the network, and how do frames travel on its streams?"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from mesh.net.link import LinkError
from protocols.transfer.frames import LENGTH_BYTES, frame_bytes
from protocols.units import PeerId

__all__ = ["STREAM_ERRORS", "FrameReader", "Streams"]

STREAM_ERRORS: Final = (LinkError, trio.BrokenResourceError, trio.ClosedResourceError)
"""How a stream may end before its time: the peer's or the network's doing, never a defect of ours."""

_READ_BYTES: Final = 256 * 1024


class Streams(Protocol):
    """The part of ``mesh.net.link.Link`` that moves blobs."""

    async def open(self, peer: PeerId, protocol: str) -> trio.abc.HalfCloseableStream:
        """See ``Link.open``."""
        ...

    def accept(self, protocol: str, handler: Callable[[PeerId, trio.abc.HalfCloseableStream], Awaitable[None]]) -> None:
        """See ``Link.accept``."""
        ...

    def penalise(self, peer: PeerId, points: int) -> None:
        """See ``Link.penalise``."""
        ...


class FrameReader:
    """Frames from a stream, one after the other; holds at most one frame and one read."""

    def __init__(self, stream: trio.abc.ReceiveStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._pieces: deque[bytes] = deque()
        self._at = 0
        self._held = 0
        self.received_bytes = 0
        """Bytes read so far, whole frames or not: tells a slow peer from a silent one."""

    @property
    def between_frames(self) -> bool:
        """Whether everything that was read has been taken."""
        return not self._held

    async def next(self) -> bytes | None:
        """The body of the next frame; None at a clean end. Not a checkpoint while frames are at hand.

        Raises ``RemoteProtocolError`` for a length out of bounds, ``BrokenResourceError`` for an end inside a frame.
        Cancelled: what was read stays, and the next call goes on from it.
        """
        if not await self._fill(LENGTH_BYTES):
            return None
        if len(self._pieces[0]) - self._at < LENGTH_BYTES:
            self._pieces = deque((b"".join(self._pieces)[self._at :],))
            self._at = 0
        length = self._pieces[0][self._at : self._at + LENGTH_BYTES]
        body_bytes = frame_bytes(length, self._max_bytes)
        if not await self._fill(LENGTH_BYTES + body_bytes):
            return None
        self._at += LENGTH_BYTES
        self._held -= LENGTH_BYTES + body_bytes
        return self._cut(body_bytes)

    def _cut(self, size: int) -> bytes:
        """Takes the next bytes off, in one copy."""
        parts: list[memoryview] = []
        while size:
            piece = self._pieces[0]
            part = memoryview(piece)[self._at : self._at + size]
            parts.append(part)
            size -= len(part)
            self._at += len(part)
            if self._at == len(piece):
                self._pieces.popleft()
                self._at = 0
        return b"".join(parts)

    async def _fill(self, size: int) -> bool:
        while self._held < size:
            piece = bytes(await self._stream.receive_some(_READ_BYTES))
            if not piece:
                if self._held:
                    raise trio.BrokenResourceError("the peer ended the stream inside a frame")
                return False
            self.received_bytes += len(piece)
            self._held += len(piece)
            self._pieces.append(piece)
        return True

"""What does a transfer need of the network, and how do frames travel on its streams?"""

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
        self._buffer = bytearray()
        self.received_bytes = 0
        """Bytes read so far, whole frames or not: tells a slow peer from a silent one."""

    async def next(self) -> bytes | None:
        """The body of the next frame; None at a clean end.

        Raises ``RemoteProtocolError`` for a length out of bounds, ``BrokenResourceError`` for an end inside a frame.
        Cancelled: what was read stays, and the next call goes on from it.
        """
        if not await self._fill(LENGTH_BYTES):
            return None
        end = LENGTH_BYTES + frame_bytes(bytes(self._buffer[:LENGTH_BYTES]), self._max_bytes)
        if not await self._fill(end):
            return None
        body = bytes(memoryview(self._buffer)[LENGTH_BYTES:end])
        del self._buffer[:end]
        return body

    async def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            piece = await self._stream.receive_some(_READ_BYTES)
            if not piece:
                if self._buffer:
                    raise trio.BrokenResourceError("the peer ended the stream inside a frame")
                return False
            self.received_bytes += len(piece)
            self._buffer += piece
        return True

"""Which stream does a pull use? One that an earlier pull from the same peer left in good order, else a new one.

A stream costs a ticket, a connection and a TLS handshake; a pull of a small result costs less than that. Wants name their
deal, so one stream carries the pulls of many, one after the other.
"""

from typing import Final

import msgspec
import trio

from mesh.transfer.streams import FrameReader, Streams
from protocols.transfer.frames import BLOB_PROTOCOL, MAX_FRAME_BYTES
from protocols.units import PeerId

__all__ = ["KEEP_S", "KEPT_MAX", "KEPT_PER_PEER", "KeptStreams", "Line"]

KEEP_S: Final = 20.0
"""Seconds a stream may lie unused: a third of what the server allows, so that it is not on the point of ending."""
KEPT_PER_PEER: Final = 2
"""Half of what a server grants to one peer."""
KEPT_MAX: Final = 32
"""Of all peers together: a descriptor and 300 KiB of TLS buffers each."""


class Line(msgspec.Struct, eq=False):
    """A stream with what was read from it."""

    peer: PeerId
    stream: trio.abc.HalfCloseableStream
    reader: FrameReader
    reused: bool = False
    since_s: float = 0.0
    """When it was put aside."""


class KeptStreams:
    """Opens streams for pulls and keeps a few. What is kept ends with the link."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._kept: dict[PeerId, list[Line]] = {}

    async def take(self, peer: PeerId) -> Line:
        """A stream to the peer, whose only user is now the caller. Raises as ``Link.open``."""
        await self._end_old()
        kept = self._kept.get(peer)
        if kept:
            line = kept.pop()
            if not kept:
                del self._kept[peer]
            line.reused = True
            return line
        stream = await self._streams.open(peer, BLOB_PROTOCOL)
        return Line(peer, stream, FrameReader(stream, MAX_FRAME_BYTES))

    def keep(self, line: Line) -> bool:
        """Put a stream aside on which nobody owes anything; False if there is no place: then it is still the caller's."""
        mine = self._kept.get(line.peer, [])
        if len(mine) >= KEPT_PER_PEER or sum(map(len, self._kept.values())) >= KEPT_MAX:
            return False
        line.since_s = trio.current_time()
        self._kept[line.peer] = [*mine, line]
        return True

    def penalise(self, peer: PeerId, points: int) -> None:
        """See ``Link.penalise``."""
        self._streams.penalise(peer, points)

    async def _end_old(self) -> None:
        too_old = trio.current_time() - KEEP_S
        old = [line for kept in self._kept.values() for line in kept if line.since_s <= too_old]
        if old:
            self._kept = {
                peer: left
                for peer, kept in self._kept.items()
                if (left := [line for line in kept if line.since_s > too_old])
            }
        for line in old:
            await trio.aclose_forcefully(line.stream)

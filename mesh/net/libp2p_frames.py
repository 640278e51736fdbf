"""Which frames came, and what do they change?

Stock reads a frame with a dozen awaits, locks and log lines, and keeps what a peer sends beyond its window. Here all
frames of a message are taken at once, and bytes are handed on as they come, so that a frame may span any messages.
"""

import struct
from typing import Final

import trio
from libp2p.stream_muxer.yamux import yamux

__all__ = ["FrameFault", "FrameTaker", "frame"]

_HEADER: Final = struct.Struct(yamux.YAMUX_HEADER_FORMAT)


class FrameFault(Exception):
    """A peer sent what is no frame, or more bytes than its window allows: the connection ends."""


def frame(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The header of a frame: all of it, unless it carries data."""
    return _HEADER.pack(0, kind, flags, stream_id, length)


class FrameTaker:
    """Takes the plain text of a connection, cut anywhere, and applies it. One task uses it."""

    def __init__(self, conn: yamux.Yamux) -> None:
        self._conn = conn
        self._header = b""
        self._body_left = 0
        self._body_of = self._body_flags = 0

    async def take(self, plain: bytes) -> None:
        """Applies every frame that is whole, and the part of the last one that is there. Raises ``FrameFault``."""
        at = 0
        with memoryview(plain) as view:
            while at < len(plain):
                if self._body_left:
                    with view[at : at + self._body_left] as piece:
                        at += len(piece)
                        self._body(piece)
                    continue
                missing = yamux.HEADER_SIZE - len(self._header)
                self._header += bytes(view[at : at + missing])
                at += missing
                if len(self._header) == yamux.HEADER_SIZE:
                    header, self._header = self._header, b""
                    await self._frame(*_HEADER.unpack(header))

    def _body(self, piece: memoryview) -> None:
        conn = self._conn
        self._body_left -= len(piece)
        stream = conn.streams.get(self._body_of)
        if stream is not None and not stream.recv_closed:  # else: a stream that we reset meanwhile
            conn.stream_buffers[self._body_of] += piece
            stream.recv_window -= len(piece)
            conn.stream_events[self._body_of].set()
        if not self._body_left:
            self._end(self._body_of, self._body_flags)

    async def _frame(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if kind == yamux.TYPE_DATA or kind == yamux.TYPE_WINDOW_UPDATE:
            if flags & yamux.FLAG_SYN and not await self._open(stream_id):
                flags = 0
            if kind == yamux.TYPE_DATA and length:
                self._announce(stream_id, flags, length)
                return
            stream = self._conn.streams.get(stream_id)
            if stream is not None and length:
                stream.send_window += length
            self._end(stream_id, flags)
        elif kind == yamux.TYPE_PING:
            if flags & yamux.FLAG_SYN:
                await self._conn._write_frame(frame(yamux.TYPE_PING, yamux.FLAG_ACK, 0, length))
            elif flags & yamux.FLAG_ACK and length == self._conn._ping_id:
                self._pong()
        elif kind == yamux.TYPE_GO_AWAY:
            raise FrameFault(f"the peer goes away, for reason {length}")
        else:
            raise FrameFault(f"a frame of unknown type {kind}, version {version}")

    def _announce(self, stream_id: int, flags: int, length: int) -> None:
        """Data follows. Stock only logs a peer that sends more than its window, and keeps the bytes."""
        stream = self._conn.streams.get(stream_id)
        window = stream.recv_window if stream is not None else yamux.MAX_WINDOW_SIZE
        if length > window:
            raise FrameFault(f"stream {stream_id}: {length} bytes announced, {window} allowed")
        self._body_of, self._body_flags, self._body_left = stream_id, flags, length

    async def _open(self, stream_id: int) -> bool:
        """A stream of the peer's; False if the number is not its to use: then only that stream is refused."""
        conn = self._conn
        if stream_id in conn.streams or stream_id % 2 == conn.next_stream_id % 2:
            await conn._write_frame(frame(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_RST, stream_id, 0))
            return False
        stream = conn.streams[stream_id] = yamux.YamuxStream(stream_id, conn, False)
        conn.stream_buffers[stream_id] = bytearray()
        conn.stream_events[stream_id] = trio.Event()
        await conn._write_frame(frame(yamux.TYPE_WINDOW_UPDATE, yamux.FLAG_ACK, stream_id, 0))
        await conn.new_stream_send_channel.send(stream)
        return True

    def _end(self, stream_id: int, flags: int) -> None:
        """Applies the end of a direction, or of a stream."""
        if not flags & (yamux.FLAG_FIN | yamux.FLAG_RST):
            return
        stream = self._conn.streams.get(stream_id)
        if stream is None:
            return
        if flags & yamux.FLAG_FIN:
            stream.recv_closed = True
            stream.closed = stream.closed or stream.send_closed
        if flags & yamux.FLAG_RST:
            stream.closed = stream.reset_received = True
            self._conn.stream_buffers[stream_id].clear()  # stock keeps what nobody reads any more for a minute
        self._conn.stream_events[stream_id].set()
        if stream.closed:
            self._conn._finalize_stream_locked(stream, fully_closed=True)  # no lock: nothing is awaited in between

    def _pong(self) -> None:
        conn = self._conn
        measured = trio.current_time() - conn._ping_sent_time
        conn._rtt = (conn._rtt + measured) / 2 if conn._rtt else measured
        conn._ping_event.set()

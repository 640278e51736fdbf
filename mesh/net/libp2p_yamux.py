"""What is wrong with libp2p's stream multiplexer, and what runs in its place?

Measured on libp2p 0.8.1 (docs/adr/0002-libp2p-fixes.md). ``tests/net/test_libp2p_fixes.py`` shows the stock classes
failing where these do not.
"""

from typing import Final
from weakref import WeakSet

import structlog
import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.custom_types import TMuxerOptions
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux

from mesh.net.libp2p_frames import FrameTaker, frame
from mesh.net.libp2p_noise import PLAIN_MAX_BYTES, NoiseLine

__all__ = ["PING_INTERVAL_S", "PING_TIMEOUT_S", "SturdyMuxers", "SturdyStream", "SturdyYamux"]

CREDIT_LIMIT_S: Final = 5.0
"""A writer without credit this long gives up: the stock value, which other implementations expect, too."""
CLOSED_CHECK_S: Final = 0.25
"""A writer without credit looks this often whether its stream was closed meanwhile."""
PING_INTERVAL_S: Final = 2.0
"""Between two pings of a connection."""
PING_TIMEOUT_S: Final = 3.0
"""A ping unanswered this long is repeated once: a dead peer is gone after 2 + 2 * 3 s, within the 10 s of the target."""
WRITE_LIMIT_S: Final = 30.0
"""One frame may take this long to leave. Longer means a socket that is stuck while its peer answers pings."""
FRAME_DATA_BYTES: Final = PLAIN_MAX_BYTES - yamux.HEADER_SIZE
"""Data of one frame, so that it fits one noise message."""
WRITE_BYTES: Final = 4 * FRAME_DATA_BYTES
"""Handed to the socket at once: 150 us of sealing, during which nothing else runs."""
YIELD_BYTES: Final = 256 * 1024
"""Written without a turn for other tasks."""
WINDOW_MAX_BYTES: Final = 4 * 1024 * 1024
"""Largest receive window of a stream. 200 MB/s at 20 ms; the stock 16 MiB lets 64 streams hold 1 GiB."""

_log = structlog.get_logger(__name__)


class SturdyStream(yamux.YamuxStream):
    """A stream that grants credit in large pieces, holds its peer to it, and loses no byte to a cancelled read.

    Its reads and writes take no locks, since nothing is awaited between a look and the change that follows. The stock
    ones take a dozen per message, and each is a trip through the scheduler: most of what a delivered record costs.
    """

    _send_window: int = 0
    _credit: trio.Event | None = None

    @property
    def send_window(self) -> int:
        """Bytes we may still send. Stock polls it every 10 ms; here a grant wakes the writer."""
        return self._send_window

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._send_window = value
        if value > 0 and self._credit is not None:
            self._credit.set()

    async def write(self, data: bytes) -> None:
        """Sends all of ``data``. Raises ``MuxedStreamError`` if the stream is closed, or has had no credit for 5 s."""
        view = memoryview(data)
        offset = 0
        while offset < len(view):
            if self.send_closed or self.closed:
                raise MuxedStreamError("the stream is closed for sending")
            room = min(self._send_window, WRITE_BYTES, len(view) - offset)
            if room <= 0:
                await self._wait_for_credit()
                continue
            self._send_window -= room
            try:
                await self.conn._write_frame(self._frames(view[offset : offset + room]))
            except BaseException:
                self._send_window += room  # cancelled while it waited its turn: nothing was sent
                raise
            offset += room

    def _frames(self, data: memoryview) -> bytes:
        """Each frame fills one noise message: stock frames are 17 bytes longer, and each costs two messages."""
        parts: list[bytes | memoryview] = []
        for start in range(0, len(data), FRAME_DATA_BYTES):
            piece = data[start : start + FRAME_DATA_BYTES]
            parts += (frame(yamux.TYPE_DATA, 0, self.stream_id, len(piece)), piece)
        return b"".join(parts)

    async def _wait_for_credit(self) -> None:
        deadline = trio.current_time() + CREDIT_LIMIT_S
        while self._send_window <= 0 and not self.closed:
            if trio.current_time() >= deadline:
                raise MuxedStreamError(f"the peer took nothing for {CREDIT_LIMIT_S:g} s")
            self._credit = trio.Event()
            with trio.move_on_after(CLOSED_CHECK_S):
                await self._credit.wait()

    async def read(self, n: int | None = -1) -> bytes:
        """What is there, up to ``n`` bytes, waiting for some. Raises ``MuxedStreamEOF`` or ``MuxedStreamReset``."""
        if n == 0:
            return b""
        while True:
            buffer = self.conn.stream_buffers.get(self.stream_id)
            if buffer:
                end = len(buffer) if n is None or n < 0 else n
                data = bytes(memoryview(buffer)[:end])
                del buffer[:end]
                if self.closed and not buffer:
                    with trio.CancelScope(shield=True):
                        await self.conn._finalize_stream(self, fully_closed=True)
                await self._auto_tune_and_send_window_update()
                return data
            if self.reset_received:
                raise MuxedStreamReset("the stream was reset")
            event = self.conn.stream_events.get(self.stream_id)
            if buffer is None or event is None or self.recv_closed or self.closed:
                raise MuxedStreamEOF("the stream ended")
            await event.wait()
            if self.stream_id in self.conn.stream_events:
                self.conn.stream_events[self.stream_id] = trio.Event()

    async def reset(self) -> None:
        """Ends both directions, and lets go of what was not read; stock keeps that for a minute."""
        self.recv_closed = True
        self.conn.stream_buffers.get(self.stream_id, bytearray()).clear()
        await super().reset()

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        """Grant new credit once half the window is used; stock sends a frame for every read.

        Nothing is awaited before the decision, so a cancelled read keeps its bytes.
        """
        buffered = len(self.conn.stream_buffers.get(self.stream_id, b""))
        increment = self.target_recv_window - self.recv_window - buffered
        if increment < self.target_recv_window // 2:
            return
        now = trio.current_time()
        if self.epoch_start and now - self.epoch_start < 4 * self._effective_rtt():
            grown = min(2 * self.target_recv_window, WINDOW_MAX_BYTES)
            increment += grown - self.target_recv_window
            self.target_recv_window = grown
        self.epoch_start = now
        self.recv_window += increment
        with trio.CancelScope(shield=True):
            await self.send_window_update(increment)


class SturdyYamux(yamux.Yamux):
    """A connection that notices a silent peer, survives cancelled writers, and moves a message in one step."""

    def __init__(self, secured: ISecureConn, peer: ID) -> None:
        super().__init__(secured, peer, is_initiator=secured.is_initiator)
        self._line = NoiseLine(secured)
        self._unyielded = 0
        self.silent = False
        """True once we gave the peer up because nothing came from it."""

    async def handle_incoming(self) -> None:
        """Takes what comes until the connection ends, one way or another; then every stream ends. Raises nothing."""
        taker = FrameTaker(self)
        try:
            while not self.event_shutting_down.is_set() and (plain := await self._line.receive()):
                await taker.take(plain)
        except Exception as error:
            _log.debug("connection ended", peer=self.peer_id.to_base58(), error=repr(error))
        await self._cleanup_on_error()

    async def _write_frame(self, data: bytes) -> None:
        """Writes frames whole. A cancelled stock writer leaves half of one, or a nonce skipped: the link is dead.

        Not a checkpoint while the socket takes what it is given, except every 256 KiB: so others have their turn.
        """
        try:
            self._write_lock.acquire_nowait()
        except trio.WouldBlock:
            await self._write_lock.acquire()
        try:
            rest = self._line.send_now(data)
            if rest:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_LIMIT_S) as scope:
                    await self._line.send(rest)
                if scope.cancelled_caught:
                    await self.sever()
        finally:
            self._write_lock.release()
        self._unyielded += len(data)
        if self._unyielded >= YIELD_BYTES:
            self._unyielded = 0
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _measure_rtt_loop(self) -> None:
        """Pings every 2 s; a peer that is silent for 8 s is severed. Stock pings every 30 s and draws no conclusion."""
        while not self.event_shutting_down.is_set():
            pinged_at = trio.current_time()
            self._ping_event = trio.Event()
            self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
            self._ping_sent_time = pinged_at
            answered = False
            with trio.move_on_after(PING_TIMEOUT_S):
                await self._write_frame_or_give_up(frame(yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id))
                await self._ping_event.wait()
                answered = True
            if not answered and trio.current_time() - self._line.read_at >= 2 * PING_TIMEOUT_S:
                self.silent = True
                await self.sever()
                return
            if answered:
                with trio.move_on_after(PING_INTERVAL_S):
                    await self.event_shutting_down.wait()

    async def _write_frame_or_give_up(self, ping: bytes) -> None:
        """A ping that waits its turn behind a stuck writer may be abandoned: nothing of it was written then."""
        try:
            await self._write_frame(ping)
        except Exception:
            await self.event_shutting_down.wait()

    async def sever(self) -> None:
        """Closes the socket under everything: readers and writers end, and the swarm hears of it.

        The stock ``close`` first writes a farewell, which never returns when the peer has stopped reading.
        """
        with trio.CancelScope(shield=True):
            await self.secured_conn.close()


class SturdyMuxers(MuxerMultistream):
    """Negotiates the multiplexer; stock always builds the stock class, whatever was asked for."""

    def __init__(self, muxers: TMuxerOptions, negotiate_timeout: int) -> None:
        super().__init__(muxers, negotiate_timeout)
        self.live: WeakSet[SturdyYamux] = WeakSet()
        """Every connection that may still hold a socket."""

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """A multiplexed connection over a secured one. Raises as the stock method does."""
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        muxed = SturdyYamux(conn, peer_id)
        self.live.add(muxed)
        return self._annotate_connection(muxed, conn, protocol)

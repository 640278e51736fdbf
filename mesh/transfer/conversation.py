"""How is one peer asked for blocks, over streams that may break at any byte?

Open, ask, read, check; after a break the session takes back what was owed, and another stream is tried after a pause.
A peer that breaks the protocol is blamed and not asked again.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from mesh.transfer.kept import KeptStreams, Line
from mesh.transfer.streams import STREAM_ERRORS, FrameReader
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import is_raw
from protocols.transfer.frames import (
    MAX_AHEAD_BLOCKS,
    MAX_AHEAD_BYTES,
    BlockFrame,
    Denied,
    Missing,
    WantBlocks,
    WantTree,
    decode_answer,
    encode_frame,
)
from protocols.transfer.steps import (
    BlockDenied,
    BlockMissing,
    BlockReceived,
    CheckedBlock,
    Event,
    PeerLost,
    PeerReady,
    PeerReset,
    check_block,
)
from protocols.transfer.wants import WantSession
from protocols.units import Cid, DealId, PeerId

__all__ = ["BACKOFF_S", "FRAME_S", "MAX_BREAKS", "MAX_DENIALS", "OPEN_S", "STALL_S", "Conversation"]

OPEN_S: Final = 10.0
"""Seconds to open a stream, dialling included."""
STALL_S: Final = 10.0
"""Seconds without a byte from a peer that owes us blocks: then its stream is given up."""
FRAME_S: Final = 60.0
"""Seconds without FRAME_BYTES in whole frames from it: 4 KiB/s is the least that counts as serving."""
FRAME_BYTES: Final = 256 * 1024
"""One full block, or many small ones."""
SMALL_FRAME_BYTES: Final = 1024
"""What a smaller frame counts for: each costs its server a lookup."""
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the next stream, by breaks in a row without a block."""
MAX_BREAKS: Final = 8
"""Breaks in a row without a block between them, then the peer is lost: about 15 s of pauses."""
MAX_DENIALS: Final = 4
"""A grant may be on its way while we ask already: only the fourth denial in a row, 0.8 s later, is believed."""

_SLICE_S: Final = 0.002
"""Of answers at hand before others have a turn: 256 KiB may hold 250 small blocks, 100 us each."""
_LARGE_NODE_BYTES: Final = 16 * 1024
"""A node above this is decoded in a thread: 16 KiB are 0.6 ms."""


class Conversation:
    """With one peer, for one fetch. ``follow`` runs until the peer is lost or the fetch ends."""

    def __init__(
        self,
        peer: PeerId,
        key: DealId,
        root: Cid,
        streams: KeptStreams,
        session: WantSession,
        tell: Callable[[Event], None],
        counts: dict[str, int],
    ) -> None:
        self._peer = peer
        self._key = key
        self._root = root
        self._streams = streams
        self._session = session
        self._tell = tell
        self._counts = counts
        self._questions: deque[tuple[Cid, ...]] = deque()
        self._asking = trio.Event()
        self._owed = 0
        self._sending = False
        self._tree_asked = False
        """The root is asked for with what is below it, and not answered yet."""
        self._ahead: dict[Cid, bytes] = {}
        """What came with it and was not wanted yet, unverified: at most MAX_AHEAD_BYTES."""
        self._ahead_blocks = self._ahead_bytes = 0
        """What came with it, whether it was wanted or not."""
        self._stale = False
        """A stream from an earlier pull was broken already: that says nothing about the peer."""
        self._heard_at_s = self._frame_at_s = 0.0
        self._served_bytes = 0
        """Since ``_frame_at_s``."""
        self._blocks = 0
        self._denials = 0

    def ask(self, cids: tuple[Cid, ...]) -> None:
        """Wants these of the peer, whose stream is open."""
        if not self._owed:
            self._heard_at_s = self._frame_at_s = trio.current_time()
            self._served_bytes = 0
        self._owed += len(cids)
        self._questions.append(cids)
        self._asking.set()

    async def follow(self) -> None:
        """Stream after stream; ends by telling ``PeerLost``."""
        breaks = 0
        blamed = False
        while breaks < MAX_BREAKS and not blamed:
            before = self._blocks
            try:
                await self._stream()
            except* RemoteProtocolError as group:
                blamed = True
                self._blame(group)
            except* STREAM_ERRORS:
                self._counts["streams_broken"] += not self._stale
            self._questions.clear()
            self._owed = 0
            self._tell(PeerReset(self._peer))
            if blamed:
                break
            if self._stale:
                continue
            breaks = 0 if self._blocks > before else breaks + 1
            await trio.sleep(BACKOFF_S[min(max(breaks - 1, 0), len(BACKOFF_S) - 1)])
        self._tell(PeerLost(self._peer))

    async def _stream(self) -> None:
        self._stale = self._sending = self._tree_asked = False
        self._ahead.clear()
        with trio.move_on_after(OPEN_S) as opening:
            line = await self._streams.take(self._peer)
        if opening.cancelled_caught:
            raise trio.BrokenResourceError(f"no stream within {OPEN_S:.0f} s")
        before = line.reader.received_bytes
        kept = False
        try:
            async with trio.open_nursery() as nursery:
                self._tell(PeerReady(self._peer))
                nursery.start_soon(self._send, line.stream)
                try:
                    await self._receive(line.reader)
                except trio.Cancelled:  # the fetch is over
                    kept = self._in_order(line) and self._streams.keep(line)
                    raise
        finally:
            self._stale = line.reused and line.reader.received_bytes == before
            if not kept:
                await line.stream.aclose()

    def _in_order(self, line: Line) -> bool:
        """Whether another fetch may go on with the stream: nothing is half sent, owed or half read."""
        return not (self._sending or self._questions or self._owed) and line.reader.between_frames

    async def _send(self, stream: trio.abc.SendStream) -> None:
        while True:
            while self._questions:
                cids = await self._take_ahead(self._questions.popleft())
                if not cids:
                    continue
                self._sending = True
                await stream.send_all(encode_frame(self._question(cids)))
                self._sending = False
            self._asking = trio.Event()
            await self._asking.wait()

    def _question(self, cids: tuple[Cid, ...]) -> WantBlocks | WantTree:
        if cids != (self._root,) or is_raw(self._root):
            return WantBlocks(self._key, cids)
        self._tree_asked = True
        self._ahead_blocks = self._ahead_bytes = 0
        return WantTree(self._key, self._root)

    async def _take_ahead(self, cids: tuple[Cid, ...]) -> tuple[Cid, ...]:
        """Take those that came with the root; answers the others."""
        for cid in cids:
            if cid in self._ahead:
                await self._take(BlockFrame(cid, self._ahead[cid]))
        left = tuple(cid for cid in cids if cid not in self._ahead)
        for cid in cids:
            self._ahead.pop(cid, None)
        return left

    async def _receive(self, reader: FrameReader) -> None:
        turned_at_s = trio.current_time()
        while True:
            heard = reader.received_bytes
            with trio.move_on_after(STALL_S) as silence:
                body = await reader.next()
            now_s = trio.current_time()
            if reader.received_bytes > heard:
                self._heard_at_s = now_s
            late = now_s - self._heard_at_s >= STALL_S or now_s - self._frame_at_s >= FRAME_S
            if silence.cancelled_caught:
                if self._owed and late:
                    raise trio.BrokenResourceError("the peer owes blocks and stalls")
                continue
            if body is None:
                raise trio.BrokenResourceError("the peer ended the stream")
            self._served_bytes += max(len(body), SMALL_FRAME_BYTES)
            if self._served_bytes >= FRAME_BYTES:
                self._frame_at_s, self._served_bytes = now_s, 0
            await self._answered(body)
            if self._owed and late and self._served_bytes:
                raise trio.BrokenResourceError("the peer owes blocks and serves them too slowly")
            if now_s - turned_at_s >= _SLICE_S:
                await trio.lowlevel.checkpoint()
                turned_at_s = trio.current_time()

    async def _answered(self, body: bytes) -> None:
        answer = decode_answer(body)
        if isinstance(answer, BlockFrame):
            if self._tree_asked and answer.cid != self._root:
                self._put_ahead(answer)
                return
            self._tree_asked = False
            await self._take(answer)
            return
        self._tree_asked = False
        self._owed -= len(answer.cids)
        if isinstance(answer, Missing):
            self._tell(BlockMissing(self._peer, answer.cids))
        else:
            self._denied(answer)

    def _put_ahead(self, answer: BlockFrame) -> None:
        self._ahead[answer.cid] = answer.block
        self._ahead_blocks += 1
        self._ahead_bytes += len(answer.block)
        if self._ahead_blocks > MAX_AHEAD_BLOCKS or self._ahead_bytes > MAX_AHEAD_BYTES:
            raise RemoteProtocolError("more sent ahead of a root than may be", code="flood", penalty=20)

    async def _take(self, answer: BlockFrame) -> None:
        """One block that was asked for."""
        self._owed -= 1
        self._session.expect(self._peer, answer.cid, len(answer.block))
        checked = await self._check(answer)
        self._blocks += 1
        self._denials = 0
        self._counts["blocks_received"] += 1
        self._counts["bytes_received"] += len(answer.block)
        self._tell(BlockReceived(self._peer, checked))

    def _denied(self, answer: Denied) -> None:
        self._denials += 1
        if self._denials < MAX_DENIALS:
            raise trio.BrokenResourceError("denied; the grant may still come")
        self._tell(BlockDenied(self._peer, answer.cids))

    async def _check(self, answer: BlockFrame) -> CheckedBlock:
        if is_raw(answer.cid) or len(answer.block) <= _LARGE_NODE_BYTES:
            return check_block(answer.cid, answer.block)
        return await trio.to_thread.run_sync(check_block, answer.cid, answer.block)

    def _blame(self, group: BaseExceptionGroup[RemoteProtocolError]) -> None:
        self._counts["violations"] += 1
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, RemoteProtocolError)
        self._streams.penalise(self._peer, error.penalty)

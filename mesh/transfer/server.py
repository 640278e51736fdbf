"""Who may pull what from this node, and in which order is it sent?

A stream carries one pull at a time; its wants are answered in order, a megabyte per turn, turns shared out fairly between peers.
A peer that breaks the protocol loses score and its stream; nothing it sends ends more than that.
"""

import itertools
from collections import deque
from typing import Final

import trio
from msgspec import Struct

from mesh.store.blobs import BlobStore
from mesh.transfer.choke import Choke
from mesh.transfer.grants import Grants, MoreRoots
from mesh.transfer.streams import STREAM_ERRORS, FrameReader, Streams
from protocols.errors import RemoteProtocolError
from protocols.transfer.frames import (
    BLOB_PROTOCOL,
    MAX_AHEAD_BLOCKS,
    MAX_AHEAD_BYTES,
    MAX_WANT_FRAME_BYTES,
    MAX_WANTS,
    Denied,
    Missing,
    WantTree,
    block_header,
    decode_want,
    encode_frame,
)
from protocols.units import Cid, DealId, PeerId

__all__ = ["IDLE_S", "MAX_QUEUED_WANTS", "MAX_STREAMS", "MAX_STREAMS_PER_PEER", "BlobServer", "ServerStatistics"]

MAX_STREAMS: Final = 256
"""Pulls served at once; each holds a turn's blocks at most. When all are taken, the one that has been idle longest goes."""
MAX_STREAMS_PER_PEER: Final = 4
"""Of one peer: it may fetch inputs of some deals side by side."""
MAX_QUEUED_WANTS: Final = 1024
"""Wants of one stream not yet answered: a session of ours has 1,024 blocks open at most."""
IDLE_S: Final = 60.0
"""Seconds a stream may ask for nothing: longer than our own puller pauses, short enough to shed the dead."""
_SEND_S: Final = 30.0
"""Seconds a turn may take to send: 64 KiB/s for the largest block."""
_TURN_BYTES: Final = 1024 * 1024
"""Sent in a turn, and one block more at most: four leaves, or a frame's worth of small ones."""

_SEND_BYTES: Final = 192 * 1024
"""Gathered before it is sent: less than a leaf, so that a leaf goes at once."""


class ServerStatistics(Struct, frozen=True, kw_only=True):
    """Counters since the start, except ``streams``, which is now."""

    streams: int
    streams_refused: int
    blocks_sent: int
    bytes_sent: int
    blocks_missing: int
    blocks_denied: int
    violations: int
    """Streams ended because the peer broke the protocol."""


class BlobServer:
    """Serves ``/mesh/blob/1`` from the moment it is made. It has no task of its own: the link runs its handlers.

    ``rate_bytes_per_s`` bounds what is sent to all peers together; None for no bound. ``more``: what a peer may have beside
    what it is granted.
    """

    def __init__(
        self,
        store: BlobStore,
        streams: Streams,
        *,
        rate_bytes_per_s: int | None = None,
        more: MoreRoots | None = None,
    ) -> None:
        self._store = store
        self._streams = streams
        self._grants = Grants(store, more)
        self._choke = Choke(rate_bytes_per_s)
        self._live: dict[PeerId, int] = {}
        self._servings: dict[_Serving, None] = {}
        self._counts = dict.fromkeys(ServerStatistics.__struct_fields__[1:], 0)
        streams.accept(BLOB_PROTOCOL, self._serve)

    def grant(self, peer: PeerId | None, root: Cid, key: DealId) -> None:
        """Lets a peer pull everything below ``root`` under the deal ``key``; the root need not be here yet.

        ``None`` is anybody who names the deal: for results that the job says are public. Twice is once.
        """
        self._grants.add(peer, root, key)

    def revoke(self, key: DealId) -> None:
        """Ends every grant of a deal, at once also for pulls that are under way."""
        self._grants.revoke(key)

    def statistics(self) -> ServerStatistics:
        """Counters now."""
        return ServerStatistics(streams=sum(self._live.values()), **self._counts)

    async def _serve(self, peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        if self._live.get(peer, 0) >= MAX_STREAMS_PER_PEER or not self._has_room():
            self._counts["streams_refused"] += 1
            return
        self._live[peer] = self._live.get(peer, 0) + 1
        serving = _Serving(peer, stream, self._store, self._grants, self._choke, self._counts)
        self._servings[serving] = None
        try:
            await serving.run()
        except* RemoteProtocolError as group:
            self._counts["violations"] += 1
            self._streams.penalise(peer, max(error.penalty for error in _leaves(group)))
        except* STREAM_ERRORS:
            pass  # the puller left, or the network did: it comes back and asks again
        finally:
            self._servings.pop(serving, None)
            self._live[peer] -= 1
            if not self._live[peer]:
                del self._live[peer]

    def _has_room(self) -> bool:
        """Whether one more stream may be served, if need be in the place of one that its puller only keeps."""
        if len(self._servings) < MAX_STREAMS:
            return True
        idle = [one for one in self._servings if one.idle_since_s is not None]
        if idle:
            longest = min(idle, key=lambda one: one.idle_since_s or 0.0)
            del self._servings[longest]
            longest.end()
        return bool(idle)


class _Serving:
    """One stream."""

    def __init__(
        self,
        peer: PeerId,
        stream: trio.abc.HalfCloseableStream,
        store: BlobStore,
        grants: Grants,
        choke: Choke,
        counts: dict[str, int],
    ) -> None:
        self._peer = peer
        self._stream = stream
        self._store = store
        self._grants = grants
        self._choke = choke
        self._counts = counts
        self._queue: deque[tuple[DealId, Cid]] = deque()
        self._trees: set[Cid] = set()
        """Those in the queue whose small blocks are to go ahead of them."""
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._changed = trio.Event()
        self._ended = False
        self._scope = trio.CancelScope()
        self.idle_since_s: float | None = None
        """Since when it has been asked for nothing; None while it is."""

    async def run(self) -> None:
        """Until the peer ends the stream, falls silent or breaks a rule, or `end`."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                await self._answer()
                nursery.cancel_scope.cancel()

    def end(self) -> None:
        """Others need its place."""
        self._scope.cancel()

    async def _read(self) -> None:
        reader = FrameReader(self._stream, MAX_WANT_FRAME_BYTES)
        while True:
            with trio.move_on_after(IDLE_S) as idle:
                body = await reader.next()
            if idle.cancelled_caught:
                if self._queue:
                    continue  # it waits for us
                body = None
            if body is None:
                break
            want = decode_want(body)
            if len(self._queue) + len(want.cids) > MAX_QUEUED_WANTS:
                raise RemoteProtocolError(f"more than {MAX_QUEUED_WANTS} wants at once", code="flood", penalty=20)
            if isinstance(want, WantTree):
                self._trees.add(want.cid)
            self._queue.extend((want.deal_id, cid) for cid in want.cids)
            self._changed.set()
        self._ended = True
        self._changed.set()

    async def _answer(self) -> None:
        while True:
            while self._queue:
                await self._one_turn()
            if self._ended:
                return
            self._changed = trio.Event()
            self.idle_since_s = trio.current_time()
            await self._changed.wait()
            self.idle_since_s = None

    async def _one_turn(self) -> None:
        async with self._choke.turn(self._peer):
            key = self._queue[0][0]
            cids = [cid for of_key, cid in itertools.islice(self._queue, MAX_WANTS) if of_key == key]
            allowed, unknown = await self._grants.allowed(self._peer, key, cids)
            names = [cid for cid in cids if cid in allowed]
            blocks = await self._store.get_many(names, max_bytes=_TURN_BYTES)
            read = dict(zip(names, blocks, strict=False))  # a turn ends with the block that fills it
            for cid in cids:
                if cid in allowed and cid not in read:
                    break
                self._queue.popleft()
                if cid in self._trees:
                    self._trees.discard(cid)
                    self._add_below(cid, read.get(cid))
                self._add(cid, read.get(cid), known=cid in allowed or cid in unknown)
                if self._out_bytes >= _SEND_BYTES:
                    await self._send()
            await self._send()

    def _add(self, cid: Cid, block: bytes | None, *, known: bool) -> None:
        """One more answer to be sent."""
        if block is not None:
            self._out += (block_header(cid, len(block)), block)
            self._out_bytes += len(block)
            self._counts["blocks_sent"] += 1
            self._counts["bytes_sent"] += len(block)
        else:
            self._out.append(encode_frame(Missing((cid,)) if known else Denied((cid,))))
            self._counts["blocks_missing" if known else "blocks_denied"] += 1

    def _add_below(self, root: Cid, block: bytes | None) -> None:
        """What is at hand below a root that is sent now: who may have the one may have the others."""
        if block is not None:
            for cid, small in self._store.below_at_once(root, MAX_AHEAD_BLOCKS, MAX_AHEAD_BYTES):
                self._add(cid, small, known=True)

    async def _send(self) -> None:
        """Small answers travel together: each piece that is sent costs as much as 50 KiB of it."""
        frames, size = self._out, self._out_bytes
        self._out, self._out_bytes = [], 0
        with trio.move_on_after(_SEND_S) as slow:
            await self._stream.send_all(b"".join(frames))
        if slow.cancelled_caught:
            raise trio.BrokenResourceError(f"the peer took no block for {_SEND_S:.0f} s")
        await self._choke.sent(self._peer, size)


def _leaves(group: BaseExceptionGroup[RemoteProtocolError]) -> list[RemoteProtocolError]:
    found: list[RemoteProtocolError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found

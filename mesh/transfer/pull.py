"""How is one want-list session carried out?

A conversation per peer, a task that looks blocks up, and one that stores them. All of them feed the session and carry out
its effects; it decides.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, assert_never

import trio

from mesh.store.blobs import BlobStore, Lease, QuotaExceeded
from mesh.transfer.conversation import Conversation
from mesh.transfer.kept import KeptStreams
from protocols.transfer.cid import is_raw
from protocols.transfer.frames import MAX_WANTS
from protocols.transfer.steps import (
    AskPeer,
    BlocksStored,
    Done,
    Effect,
    Event,
    Failed,
    LookUp,
    StoreBlock,
    Surveyed,
    Want,
)
from protocols.transfer.unixfs import Block
from protocols.transfer.walk import Limits
from protocols.transfer.wants import WantSession
from protocols.units import Cid, DealId, PeerId

__all__ = ["NO_ROOM", "Progress", "Pull"]

NO_ROOM: Final = "no_room"
"""Code of a failure that is nobody's fault but this node's: its store is full."""

Progress = Callable[[int, int | None], None]
"""``progress(done_bytes, total_bytes)``: file bytes; the total is None until the tree is surveyed. Called after every
block: it must be quick and must not raise."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Written and synced together; the larger, the fewer syncs."""
_HELD_BYTES: Final = 256 * 1024
"""What may come from peers that still owe blocks before it is stored: a small tree is written and synced once."""
_NODES_AT_ONCE: Final = 8
"""Looked up in one go: their children are entered into the session in one turn of the event loop, 1 ms for 1,000."""


class Pull:
    """One fetch. ``run`` once."""

    def __init__(
        self,
        store: BlobStore,
        streams: KeptStreams,
        lease: Lease,
        key: DealId,
        peers: tuple[PeerId, ...],
        root: Cid,
        limits: Limits,
        counts: dict[str, int],
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._pin: tuple[bytes, Cid] | None = (key, root)
        """To be placed with the first blocks; None when it is."""
        self._session = WantSession(root, peers, limits)
        self._conversations = {
            peer: Conversation(peer, key, root, streams, self._session, self._tell, counts) for peer in peers
        }
        self._to_store: deque[Block] = deque()
        self._to_store_bytes = 0
        self._to_look_up: deque[Want] = deque()
        self._looking = False
        self._more_to_look_up, self._more_to_store, self._needed = trio.Event(), trio.Event(), trio.Event()
        self._failed: Failed | None = None
        self._scope = trio.CancelScope()
        self._progress = progress
        self._shown: tuple[int, int | None] | None = None

    async def run(self) -> Failed | None:
        """None when everything is here, else why not; pinned either way. Cancelled: ends every stream; stored blocks stay."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._carry(self._session.start())
                nursery.start_soon(self._look_up)
                nursery.start_soon(self._keep)
                await self._needed.wait()  # nobody is dialled for what is here already
                for conversation in self._conversations.values():
                    nursery.start_soon(conversation.follow)
        if self._pin is not None:  # all of it was here
            await self._store.pin(*self._pin)
        return self._failed

    def _tell(self, event: Event) -> None:
        self._carry(self._session.handle(event))
        if self._to_store and self._is_store_time():
            self._more_to_store.set()
        shown = (self._session.done_bytes, self._session.total_bytes)
        if self._progress is not None and shown != self._shown:
            self._shown = shown
            self._progress(*shown)

    def _carry(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case LookUp(wants):
                    self._to_look_up += wants
                    self._more_to_look_up.set()
                case AskPeer(peer, cids):
                    self._conversations[peer].ask(cids)
                case StoreBlock(cid, block):
                    self._to_store.append((cid, block))
                    self._to_store_bytes += len(block)
                case Surveyed():
                    pass  # progress shows it
                case Done():
                    self._scope.cancel()
                case Failed():
                    self._end(effect)
                case _:
                    assert_never(effect)

    def _end(self, failed: Failed) -> None:
        self._failed = failed
        self._scope.cancel()

    async def _look_up(self) -> None:
        """Beside ``_keep``: what is wanted next is known before what came is on disk."""
        while True:
            while self._to_look_up:
                self._looking = True
                found = await self._store.look_up(self._next_wants(), self._lease)
                self._looking = False
                if found.absent:
                    self._needed.set()
                self._tell(found)
            self._more_to_look_up = trio.Event()
            await self._more_to_look_up.wait()

    def _is_store_time(self) -> bool:
        """Whether enough has come for a sync, or nothing more is to be expected before this is stored."""
        if self._to_store_bytes >= _HELD_BYTES:
            return True
        return not self._is_waiting()

    def _is_waiting(self) -> bool:
        return self._looking or bool(self._to_look_up) or any(map(self._session.asked_of, self._conversations))

    async def _keep(self) -> None:
        while True:
            while self._to_store and self._is_store_time():
                await self._store_some()
            self._more_to_store = trio.Event()
            await self._more_to_store.wait()

    def _next_wants(self) -> list[Want]:
        wants: list[Want] = []
        nodes = 0
        while self._to_look_up and len(wants) < MAX_WANTS and nodes < _NODES_AT_ONCE:
            want = self._to_look_up.popleft()
            nodes += not is_raw(want.cid)
            wants.append(want)
        return wants

    async def _store_some(self) -> None:
        batch: list[Block] = []
        size = 0
        while self._to_store and size < _BATCH_BYTES:
            batch.append(self._to_store.popleft())
            size += len(batch[-1][1])
        self._to_store_bytes -= size
        try:
            settle = not self._to_store and not self._is_waiting()
            await self._store.put(batch, self._lease, settle=settle, pin=self._pin)
            self._pin = None
        except QuotaExceeded as full:
            self._end(Failed(NO_ROOM, full.why))
            return
        self._tell(BlocksStored(tuple(cid for cid, _ in batch)))

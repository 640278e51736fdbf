"""Where does a node keep blobs, and who may throw them away?

``BlobStore`` is the async face of the blob directory: every call does its blocking work in threads, in steps of about
10 ms, and may be cancelled between two; only a few names are looked for, and a few recent blocks had, without one.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import trio
from msgspec import Struct

from mesh.base.errors import map_exceptions
from mesh.store.blobs.collect import Collected, collect_steps
from mesh.store.blobs.disk import BlobDisk, Lease, disk_bytes
from mesh.store.blobs.errors import BlobStoreFailed, QuotaExceeded
from mesh.store.blobs.glance import below_at_once, look_up, look_up_at_once, reach_at_once, read_at_once, read_some
from mesh.store.blobs.importing import ImportRules, import_steps, is_last
from mesh.store.blobs.materialise import Materialised, file_leaves, materialise_steps
from mesh.store.blobs.reach import DigestSet, Reach, reach_steps
from protocols.transfer.steps import LookedUp, Want
from protocols.transfer.unixfs import Block, Importer, Root
from protocols.transfer.walk import Limits
from protocols.units import Cid

__all__ = ["BlobStatistics", "BlobStore", "open_blobs"]

T = TypeVar("T")

_THREADS: Final = 4
"""Of one store at once: the disk gains little from more, and the cores are for jobs."""
_ROOM_PERCENT: Final = 90
"""A collection makes room down to this share of the quota, so that the next one is not due at once."""


class BlobStatistics(Struct, frozen=True, kw_only=True):
    """The store now. Counters since it was opened."""

    quota_bytes: int
    blocks_written: int
    bytes_written: int
    blocks_read: int
    blocks_damaged: int
    """Found with another hash than their name's, removed, and fetched again when next needed."""
    collections: int
    blocks_collected: int


@asynccontextmanager
async def open_blobs(path: Path, *, quota_bytes: int, sync: bool = True) -> AsyncIterator["BlobStore"]:
    """The store at ``path``, made if it is not there. ``sync=False`` trusts the machine not to lose power.

    Raises ``BlobStoreFailed`` if another process has it open.
    """
    disk = BlobDisk(path, quota_bytes, sync=sync)
    with _disk_errors():
        await trio.to_thread.run_sync(disk.open)
    try:
        yield BlobStore(disk)
    finally:
        disk.close()


class BlobStore:
    """Blocks by name, trees by root. Made by ``open_blobs``.

    Disk errors surface as ``BlobStoreFailed``.
    """

    def __init__(self, disk: BlobDisk) -> None:
        self._disk = disk
        self._roomy_bytes = disk.quota_bytes * _ROOM_PERCENT // 100
        self._threads = trio.CapacityLimiter(_THREADS)
        self._collecting = trio.Lock()
        self._counts = {"blocks_written": 0, "bytes_written": 0, "blocks_read": 0, "collections": 0, "collected": 0}

    # blocks

    async def has(self, cid: Cid) -> bool:
        """Whether a block is held."""
        return await self._run(lambda: self._disk.size(cid)) >= 0

    async def get(self, cid: Cid) -> bytes | None:
        """A held block, verified; None if absent (or damaged: then it is removed)."""
        return (await self.get_many((cid,), max_bytes=1))[0]

    async def get_many(self, cids: Sequence[Cid], *, max_bytes: int) -> list[bytes | None]:
        """Blocks in one hop, for the first names of the list: it ends with the block that fills ``max_bytes``."""
        at_hand = read_at_once(self._disk, cids, max_bytes)
        if at_hand is not None:
            await trio.lowlevel.checkpoint()
            blocks = at_hand
        else:
            blocks = await self._run(lambda: read_some(self._disk, cids, max_bytes))
        self._counts["blocks_read"] += len(blocks)
        return blocks

    def below_at_once(self, root: Cid, most_blocks: int, most_bytes: int) -> list[Block]:
        """Blocks below a small tree's root that were just written or read, the nearest first; others are left out, and a tree
        beyond the bounds has none. Never waits."""
        return below_at_once(self._disk, root, most_blocks, most_bytes)

    async def put(
        self,
        blocks: Sequence[Block],
        lease: Lease | None = None,
        *,
        settle: bool = False,
        pin: tuple[bytes, Cid] | None = None,
    ) -> None:
        """Makes verified blocks durable, collecting garbage if there is no room. Raises ``QuotaExceeded``.

        With a lease their names are durable only after ``settle``: one sync of a directory then serves many batches.
        ``settle`` says that these are likely the last: their names are made durable in the same hop. ``pin``: a key and
        the root that it keeps, as ``pin`` does, in that hop too.
        Cancelled: the write that is under way is completed; nothing half-written stays.
        """
        try:
            await self._run(lambda: self._write(blocks, lease, settle, pin))
        except QuotaExceeded:
            need = sum(disk_bytes(len(block)) for _, block in blocks)
            await self.collect(max(0, min(self._roomy_bytes, self._disk.quota_bytes - need)))
            await self._run(lambda: self._write(blocks, lease, settle, pin))
        self._count(blocks)

    def _write(self, blocks: Sequence[Block], lease: Lease | None, settle: bool, pin: tuple[bytes, Cid] | None) -> None:
        self._disk.write(blocks, lease, pin)
        if settle:
            self._disk.settle()

    def _count(self, written: Sequence[Block]) -> None:
        self._counts["blocks_written"] += len(written)
        self._counts["bytes_written"] += sum(len(block) for _, block in written)

    async def settle(self) -> None:
        """Ends work under a lease: what was put is durable, names too, also what others put and this work relied on."""
        if not self._disk.settled:
            await self._run(self._disk.settle)

    async def look_up(self, wants: Sequence[Want], lease: Lease) -> LookedUp:
        """Answers a want-list session: which of these are here. Nodes are read and verified, leaves measured."""
        if (found := look_up_at_once(self._disk, wants, lease)) is not None:
            await trio.lowlevel.checkpoint()
            return found
        return await self._run(lambda: look_up(self._disk, wants, lease))

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """While the block runs, what its work touches is not collected."""
        lease = Lease()
        self._disk.add_lease(lease)
        try:
            yield lease
        finally:
            self._disk.end_lease(lease)

    # trees

    async def add_bytes(self, content: bytes, *, key: bytes | None = None) -> Root:
        """Stores a small file (a job, a module) from memory; pinned under ``key`` before it could be collected."""
        with self.lease() as lease:
            importer = Importer()
            blocks = importer.feed(content) + importer.finish()
            await self.put(blocks, lease)
            await self.settle()
            if key is not None:
                await self.pin(key, importer.root.cid)
        return importer.root

    async def add_path(self, path: Path, rules: ImportRules, *, key: bytes | None = None) -> Root:
        """Stores a file or directory of this machine, streaming; pinned under ``key`` at the end.

        Raises ``ImportRefused``, ``QuotaExceeded``. Cancelled: blocks stored so far stay until collected.
        """
        with self.lease() as lease:
            steps = import_steps(path, rules)
            try:
                while True:
                    done = await self._run(lambda: self._import_some(steps, lease, key))
                    if not done.stored:
                        await self.put(done.batch, lease)
                    else:
                        self._count(done.batch)
                    if done.root is not None:
                        break
            finally:
                steps.close()
            if not done.stored:
                await self.settle()
                if key is not None:
                    await self.pin(key, done.root.cid)
        return done.root

    def _import_some(self, steps: Generator[list[Block], None, Root], lease: Lease, key: bytes | None) -> "_Imported":
        """The next batch, and what follows the last one, in one hop: most imports are one small batch."""
        batch = next(steps)
        root = _root_after(steps) if is_last(batch) else None
        try:
            self._disk.write(batch, lease, (key, root.cid) if key is not None and root is not None else None)
        except QuotaExceeded:
            return _Imported(batch, root, stored=False)
        if root is not None:
            self._disk.settle()
        return _Imported(batch, root, stored=True)

    async def read_file(self, cid: Cid, *, max_bytes: int) -> bytes:
        """A whole file in memory. Raises ``BlobAbsent``, ``RemoteProtocolError`` (``too_large``, a bad tree)."""
        limits = Limits(max_content_bytes=max_bytes)
        return await self._run(lambda: b"".join(file_leaves(self._disk, cid, limits)))

    async def materialise(self, root: Cid, destination: Path, limits: Limits) -> Materialised:
        """Writes a tree as files at ``destination``: all of it, or after an error or cancellation nothing.

        Raises ``DestinationRefused``, ``BlobAbsent``, ``RemoteProtocolError``.
        """
        result = Materialised()
        await self._drain(materialise_steps(self._disk, root, destination, limits, result))
        return result

    async def reach(self, root: Cid) -> tuple[DigestSet, bool]:
        """The blocks below a root, and whether all nodes were here to tell. About 50 ms per GiB."""
        reach = reach_at_once(self._disk, root)
        if reach is not None:
            await trio.lowlevel.checkpoint()
            return reach.freeze(), True
        reach = Reach()
        frozen: list[DigestSet] = []

        def steps() -> Iterator[None]:
            yield from reach_steps(self._disk.read, (root,), reach)
            frozen.append(reach.freeze())

        await self._drain(steps())
        return frozen[0], reach.complete

    # pins and room

    async def pin(self, key: bytes, root: Cid) -> None:
        """Keeps a tree, held already or not, until ``unpin(key)``; survives restarts."""
        await self._run(lambda: self._disk.rows.write((), (key, root)))

    async def unpin(self, key: bytes) -> None:
        """Ends every pin of a key. Its blocks go when room is needed."""
        if self._disk.rows.unpin_at_once(key):
            await trio.lowlevel.checkpoint()
        else:
            await self._run(lambda: self._disk.rows.unpin(key))

    async def pinned(self, key: bytes) -> tuple[Cid, ...]:
        """What a key pins."""
        return await self._run(lambda: self._disk.rows.pinned(key))

    async def collect(self, target_bytes: int | None = None) -> Collected:
        """Removes blocks nobody needs, oldest first, until at most ``target_bytes`` (90 % of the quota) are in use."""
        if target_bytes is None:
            target_bytes = self._roomy_bytes
        async with self._collecting:
            result = Collected()
            await self._drain(collect_steps(self._disk, target_bytes, result))
            self._counts["collections"] += 1
            self._counts["collected"] += result.removed_blocks
        return result

    async def used_bytes(self) -> int:
        """What the blocks count against the quota; the first call looks at every block."""
        return await self._run(self._disk.used_bytes)

    def statistics(self) -> BlobStatistics:
        """Counters now."""
        counts = self._counts
        return BlobStatistics(
            quota_bytes=self._disk.quota_bytes,
            blocks_written=counts["blocks_written"],
            bytes_written=counts["bytes_written"],
            blocks_read=counts["blocks_read"],
            blocks_damaged=self._disk.damaged,
            collections=counts["collections"],
            blocks_collected=counts["collected"],
        )

    async def _run(self, work: Callable[[], T]) -> T:
        with _disk_errors():
            return await trio.to_thread.run_sync(work, limiter=self._threads)

    async def _drain(self, steps: Iterator[None]) -> None:
        """Runs an iterator some steps at a time; one that is not through is closed in a thread: that may remove what it
        wrote."""
        ended = False
        try:
            while not ended:
                ended = await self._run(lambda: _some_steps(steps))
        finally:
            if not ended and isinstance(steps, Generator):
                with trio.CancelScope(shield=True):
                    await self._run(steps.close)


_END: Final = object()
_HOP_S: Final = 0.005
"""Steps go on in the same thread hop for so long: most trees have a few of 0.1 ms each, and a hop costs three of them."""


def _some_steps(steps: Iterator[None]) -> bool:
    """Whether the iterator is through."""
    until_s = time.monotonic() + _HOP_S
    while next(steps, _END) is not _END:
        if time.monotonic() >= until_s:
            return False
    return True


@contextmanager
def _disk_errors() -> Iterator[None]:
    with map_exceptions({OSError: _failed, sqlite3.Error: _failed}):
        yield


def _failed(error: Exception) -> BlobStoreFailed:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BlobStoreFailed(
            "the small blocks and pins of the blob store are damaged",
            why=str(error),
            fix="mesh down; then move small.sqlite3* out of the blobs folder   (what is needed is fetched again)",
        )
    return BlobStoreFailed("the disk under the blob store failed", why=str(error), fix="df -h   (and `mesh doctor`)")


class _Imported(Struct):
    """A step of an import; ``root`` after the last one. Not ``stored``: there was no room."""

    batch: list[Block]
    root: Root | None
    stored: bool


def _root_after(steps: Generator[list[Block], None, Root]) -> Root:
    try:
        next(steps)
    except StopIteration as end:
        root: Root = end.value
        return root
    raise AssertionError("an import goes on after a batch that is not full")

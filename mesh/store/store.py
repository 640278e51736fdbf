"""What must this node not forget? The durable side of everything it does, in one SQLite file."""

import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec
import trio

from mesh.base.clock import Clock, SystemClock
from mesh.base.observe import get_log
from mesh.store.batch import Batch, Snapshot, apply_batch, check_batch, read_snapshot
from mesh.store.database import READERS, Database, open_database
from mesh.store.errors import StoreClosed, store_error
from mesh.store.journal import TxJournal
from mesh.store.trace import TraceRecord, read_subject, read_tail
from mesh.store.writer import Writer

__all__ = ["DEFAULT_QUOTA_BYTES", "DEFAULT_TRACE_KEPT", "Store", "StoreStatistics"]

T = TypeVar("T")
DEFAULT_QUOTA_BYTES: Final = 4 << 30
"""As ``store.journal_quota_mib``: 10,000 deals take 10 MiB, the trace 50."""
DEFAULT_TRACE_KEPT: Final = 100_000
"""As ``store.trace_entries``."""

log = get_log("store")


class StoreStatistics(msgspec.Struct, frozen=True):
    """Counts since the store was opened."""

    commits: int
    transactions: int
    largest_group: int
    failures: int
    reads: int


class Store:
    """Open with ``Store.open``, use as an async context manager or call ``aclose``. One process at a time."""

    def __init__(self, database: Database, clock: Clock, trace_kept: int) -> None:
        self.path = database.path
        self._database = database
        self._clock = clock
        self._trace_kept = trace_kept
        self._writer = Writer(database.writer, database.path)
        self._readers = deque(database.readers)
        self._reading = trio.CapacityLimiter(READERS)
        self._reads = 0
        self._closed = False
        self.journal = TxJournal(self, clock)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock | None = None,
        quota_bytes: int = DEFAULT_QUOTA_BYTES,
        trace_kept: int = DEFAULT_TRACE_KEPT,
    ) -> Self:
        """Open or create the store at ``path``, locked for this process and brought to today's version.

        Raises ``StoreLocked``, ``StoreTooNew``, ``StoreCorrupt``, ``StoreFull`` or ``StoreError``. Cancellation waits
        until the files are open or closed again.
        """
        database = await trio.to_thread.run_sync(partial(open_database, path, quota_bytes=quota_bytes))
        log.info("store.opened", path=str(database.path))
        return cls(database, clock or SystemClock(), trace_kept)

    async def commit(self, batch: Batch) -> int:
        """Make ``batch`` durable, all of it; on return it survives a crash of the process and of the machine.

        Answers the place (``seq``) of its last trace entry, those before it have the places before; 0 without any.

        Callers at the same time share an fsync. Raises ``LocalProtocolError`` (a bound broken: nothing written),
        ``StoreFull`` (nothing written, may be tried again), ``StoreError``, ``StoreClosed``. Cancellation before it is
        queued means it did not happen; after that the call finishes first, so a cancelled commit that began is durable.
        """
        check_batch(batch)
        work = partial(apply_batch, batch=batch, now_s=self._clock.unix_s(), trace_kept=self._trace_kept)
        return await self.write(work)

    async def load(self) -> Snapshot:
        """All rows, the open effects and the cursors, as of one moment. Errors as ``read``."""
        return await self.read(read_snapshot)

    async def trace(self, subject: bytes, since: int = 0, limit: int = 1_000) -> tuple[TraceRecord, ...]:
        """What happened to a run or deal after ``since`` (a ``seq``), oldest first, at most 10,000.

        Errors as ``read``.
        """
        return await self.read(partial(read_subject, subject=subject, since=since, limit=limit))

    async def tail(self, limit: int = 100) -> tuple[TraceRecord, ...]:
        """The newest records of all subjects, oldest first, at most 10,000. Errors as ``read``."""
        return await self.read(partial(read_tail, limit=limit))

    async def cursor(self, name: str) -> bytes | None:
        """How far ``name`` has read; None before the first ``set_cursor``. Errors as ``read``."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            found = connection.execute("SELECT value FROM cursors WHERE name = ?", (name,)).fetchone()
            return found[0] if found else None

        return await self.read(work)

    async def set_cursor(self, name: str, value: bytes) -> None:
        """Remember how far ``name`` has read. Errors and cancellation as ``commit``."""
        await self.commit(Batch(cursors={name: value}))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out ``work`` in a durable transaction and return its result; see ``Writer.run``."""
        if self._closed:
            raise self._gone()
        return await self._writer.run(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out ``work`` in a thread on a connection that can't write; it sees every commit that has returned.

        Raises ``StoreError`` or ``StoreClosed``. Cancellation waits for the read to end.
        """

        def in_thread() -> T:
            if self._closed:
                raise self._gone()
            connection = self._readers.popleft()
            try:
                return work(connection)
            except sqlite3.Error as error:
                raise store_error(error, self.path) from error
            finally:
                self._readers.append(connection)

        self._reads += 1
        return await trio.to_thread.run_sync(in_thread, limiter=self._reading)

    def statistics(self) -> StoreStatistics:
        """A window for metrics and tests."""
        written = self._writer.statistics()
        return StoreStatistics(**msgspec.structs.asdict(written), reads=self._reads)

    async def aclose(self) -> None:
        """Let what was begun finish, close the files, release the lock. A second call does nothing.

        Not cancelled half-way: the files are closed when it returns, also with ``Cancelled``.
        """
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            await self._writer.drain()
            places = [object() for _ in range(READERS)]
            for place in places:  # all reads have ended
                await self._reading.acquire_on_behalf_of(place)
            try:
                await trio.to_thread.run_sync(self._database.close)
            finally:
                for place in places:  # those that wait find it closed
                    self._reading.release_on_behalf_of(place)
        log.info("store.closed", path=str(self.path))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _gone(self) -> StoreClosed:
        return StoreClosed(f"the store {self.path} is closed", why="the node is stopping", fix="mesh up")

"""How do many callers share one fsync?

There is one connection that writes and one transaction at a time. Whoever comes while it is on its way to the disk
waits in the queue; when it has landed, the first of the queue takes everything that waits into the next transaction
(group commit) and carries it out as one function in one thread hop. So there is no task to keep alive, and the group
grows with the load: fifty callers cost two fsyncs, one caller costs one.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, TypeVar, cast

import msgspec
import trio

from mesh.base.observe import Counters
from mesh.store.errors import StoreClosed, StoreError, store_error

__all__ = ["MAX_QUEUED", "Writer", "WriterStatistics"]

T = TypeVar("T")
MAX_QUEUED: Final = 1_024
"""Callers waiting for the disk; the next one waits for a place. At 50 per fsync it never came to more than that."""
_FATAL: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Errors after which the file on disk and SQLite's idea of it may differ (a failed fsync): only a restart is safe."""


class WriterStatistics(msgspec.Struct, frozen=True):
    """What went to the disk since the store was opened."""

    commits: int
    """Callers served."""
    transactions: int
    """Transactions that landed: the number of fsyncs."""
    largest_group: int
    """Most callers in one transaction."""
    failures: int
    """Callers that got an error."""


class _Ticket(Generic[T]):
    """A caller's work on its way."""

    __slots__ = ("error", "result", "settled", "task", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.task: trio.lowlevel.Task | None = None
        self.settled = False
        self.result: T | None = None
        self.error: Exception | None = None


class Writer:
    """Carries out functions on the connection, each in a transaction of its own or of its group."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._queue: deque[_Ticket[object]] = deque()
        self._room = trio.Semaphore(MAX_QUEUED)
        self._thread = trio.CapacityLimiter(1)  # its own, so that no other blocking call delays a commit
        self._leading = False
        self._broken: sqlite3.Error | None = None
        self._counters = Counters(WriterStatistics)

    @trio.lowlevel.enable_ki_protection
    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out ``work`` and return its result when it is durable.

        ``work`` runs in a thread and may run twice (once in its group, once alone after another one failed there), so
        it changes nothing but the database. Errors: its own, or ``StoreError``; either way nothing of it is in the
        store, but for a failed disk, where the next start tells. Cancelled while it waits for a place: it did not
        happen. After that cancellation waits until it is durable, and is delivered at the caller's next checkpoint.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:  # a semaphore's own checkpoint would cost a turn of the loop
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        ticket = _Ticket(work)
        try:
            self._queue.append(cast(_Ticket[object], ticket))
            if self._leading:
                ticket.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(_not_now)
            if not ticket.settled:
                await self._lead()
        finally:
            self._room.release()
        if ticket.error is None:
            return cast(T, ticket.result)
        self._counters.add("failures")
        if isinstance(ticket.error, sqlite3.Error):
            raise self._explain(ticket.error) from ticket.error
        raise ticket.error

    async def drain(self) -> None:
        """Return when all work handed in before has landed or failed."""
        with suppress(StoreError):
            await self.run(_nothing)

    def statistics(self) -> WriterStatistics:
        """Counts since the store was opened."""
        return self._counters.freeze()

    async def _lead(self) -> None:
        """Carry out everything that waits, this caller's work among it, and pass the lead on."""
        self._leading = True
        group: list[_Ticket[object]] = []
        landed = 0
        try:
            with trio.CancelScope(shield=True):
                for _ in range(2):  # who was woken beside this caller, and who is ready now, joins the group
                    await trio.lowlevel.cancel_shielded_checkpoint()
                group.extend(self._queue)
                self._queue.clear()
                landed = await trio.to_thread.run_sync(self._carry_out, group, limiter=self._thread)
        except RuntimeError as error:  # no thread to be had
            for ticket in group:
                ticket.error = StoreError(
                    "the store could not be written", why=str(error), fix="ulimit -u; mesh doctor"
                )
        finally:
            self._counters.add("commits", sum(ticket.error is None for ticket in group))
            self._counters.add("transactions", landed)
            self._counters.peak("largest_group", len(group))
            for ticket in group:
                ticket.settled = True
                _wake(ticket)
            self._leading = bool(self._queue)
            if self._queue:
                _wake(self._queue[0])

    def _carry_out(self, group: list[_Ticket[object]]) -> int:
        """In the thread: one transaction for all; if it fails, one for each: nobody pays for another's error."""
        error = self._transact(group)
        if error is None:
            return 1
        if len(group) == 1 or self._broken is not None:
            for ticket in group:
                ticket.error = error
            return 0
        for ticket in group:
            ticket.error = self._transact([ticket])
        return sum(ticket.error is None for ticket in group)

    def _transact(self, group: list[_Ticket[object]]) -> Exception | None:
        if self._broken is not None:
            return self._broken
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [ticket.work(self._connection) for ticket in group]
            self._connection.execute("COMMIT")
        except Exception as error:  # a caller's function may raise anything; it gets it back
            self._roll_back(error)
            return error
        for ticket, result in zip(group, results, strict=True):
            ticket.result = result
        return None

    def _roll_back(self, error: Exception) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            self._broken = second
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _FATAL:
            self._broken = error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        explained = store_error(error, self._path)
        if error is not self._broken:
            return explained
        return StoreClosed(explained.what, why=explained.why, fix=f"{explained.fix}, then restart the node")


def _not_now(_raise_cancel: object) -> trio.lowlevel.Abort:
    """The wait for the disk can't be cancelled: who gave up would not know whether it happened."""
    return trio.lowlevel.Abort.FAILED


def _wake(ticket: _Ticket[object]) -> None:
    """Let a waiting caller go on; one that leads does not wait."""
    if ticket.task is not None:
        trio.lowlevel.reschedule(ticket.task)
        ticket.task = None


def _nothing(_connection: sqlite3.Connection) -> None:
    """Work that only takes its place in the queue."""

"""What does the store of a node that is not running hold? Read without its lock, so that a node may start meanwhile."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from mesh.store.batch import Snapshot, read_snapshot
from mesh.store.errors import StoreCorrupt, StoreTooNew, store_error
from mesh.store.journal import TxRecord, read_transactions
from mesh.store.migrations import APPLICATION_ID, SCHEMA_VERSION
from mesh.store.trace import TraceRecord, read_subject, read_tail

__all__ = ["StoreReader", "open_reader"]

T = TypeVar("T")


class StoreReader:
    """The reading half of ``Store``. Made by ``open_reader``; one call at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._turn = trio.CapacityLimiter(1)

    async def load(self) -> Snapshot:
        """All rows, the open effects and the cursors, as of one moment. Raises ``StoreError``."""
        return await self._read(read_snapshot)

    async def trace(self, subject: bytes, since: int = 0, limit: int = 1_000) -> tuple[TraceRecord, ...]:
        """As ``Store.trace``."""
        return await self._read(partial(read_subject, subject=subject, since=since, limit=limit))

    async def tail(self, limit: int = 100) -> tuple[TraceRecord, ...]:
        """As ``Store.tail``."""
        return await self._read(partial(read_tail, limit=limit))

    async def transactions(self) -> tuple[TxRecord, ...]:
        """Every transaction that this node has signed and still remembers: the newest 10,000, replaced ones with them."""
        return await self._read(read_transactions)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def in_thread() -> T:
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                raise store_error(error, self._path) from error

        return await trio.to_thread.run_sync(in_thread, limiter=self._turn)


@asynccontextmanager
async def open_reader(path: Path) -> AsyncIterator[StoreReader]:
    """The store at ``path``, which must exist, for reading alone. Raises ``StoreError`` and its kin."""
    connection = await trio.to_thread.run_sync(_connect, path)
    try:
        yield StoreReader(connection, path)
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID or version < 1:
            raise StoreCorrupt(
                f"{path} is no store of a node", why="it is empty or of another program", fix=f"ls -l {path}"
            )
        if version > SCHEMA_VERSION:
            raise StoreTooNew(
                f"the store {path} was written by a newer mesh",
                why=f"its version is {version}, this mesh knows {SCHEMA_VERSION}",
                fix="mesh version   (upgrade mesh, or use another MESH_HOME)",
            )
    except sqlite3.Error as error:
        connection.close()
        raise store_error(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection

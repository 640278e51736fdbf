"""How are the files of a store opened, checked and closed? Blocking; called in a thread."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from mesh.base.errors import map_exceptions
from mesh.store.errors import StoreCorrupt, StoreError, store_error
from mesh.store.lock import take_lock
from mesh.store.migrations import migrate

__all__ = ["READERS", "Database", "open_database"]

READERS: Final = 2
"""Connections that read: the API and the trace; the core reads only at the start."""
BUSY_S: Final = 5.0
"""How long to wait for a person's sqlite3 shell to let go of the file."""
WAL_BYTES: Final = 64 << 20
"""Size to which the write-ahead log is cut back after a large transaction: one batch of the largest size."""
CHECKED_BYTES: Final = 64 << 20
"""Up to this size a file is checked for damage at every start (0.1 s); a larger one shows it when it is read."""
PAGE_BYTES: Final = 4_096
_OLDEST_SQLITE: Final = (3, 37, 0)
"""STRICT tables."""


class Database:
    """The open files of one store: the lock, one connection that writes, ``READERS`` that read."""

    def __init__(
        self, path: Path, writer: sqlite3.Connection, readers: list[sqlite3.Connection], stack: ExitStack
    ) -> None:
        self.path = path
        self.writer = writer
        self.readers = readers
        self._stack = stack

    def close(self) -> None:
        """Close everything; the last connection folds the write-ahead log into the file. Then the lock goes."""
        with map_exceptions({sqlite3.Error: lambda e: _mapped(e, self.path)}):
            self._stack.close()


def open_database(path: Path, *, quota_bytes: int) -> Database:
    """Open or create the store at ``path`` (mode 0600), brought to today's version.

    ``quota_bytes`` bounds the file; a file that is larger already can be read and shrink, not grow. Raises
    ``StoreLocked``, ``StoreTooNew``, ``StoreCorrupt``, ``StoreFull`` or ``StoreError``, and then leaves nothing open.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            "this Python's SQLite is too old", why=f"{sqlite3.sqlite_version} < 3.37", fix="use a newer Python build"
        )
    path = path.absolute()
    with ExitStack() as stack, map_exceptions({sqlite3.Error: lambda e: _mapped(e, path), OSError: _unusable(path)}):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.callback(os.close, take_lock(path))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        writer = _connect(path, stack)
        writer.execute(f"PRAGMA max_page_count = {max(quota_bytes // PAGE_BYTES, 1)}")
        _check(writer, path)  # first, so that a damaged file is left as it was found
        migrate(writer, path)
        _set_up(writer, path)
        readers = [_connect(path, stack) for _ in range(READERS)]
        for reader in readers:
            reader.execute("PRAGMA query_only = ON")
        _sync_folder(path.parent)
        return Database(path, writer, readers, stack.pop_all())


def _connect(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """A connection in autocommit mode, so that transactions are ours alone to begin and end."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    stack.callback(connection.close)
    return connection


def _set_up(writer: sqlite3.Connection, path: Path) -> None:
    (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"the store {path} cannot keep a write-ahead log",
            why="its file system does not allow shared memory files (a network disk?)",
            fix="set MESH_HOME to a folder on a local disk",
        )
    writer.execute("PRAGMA synchronous = FULL")
    writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")


def _check(writer: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_BYTES:
        return
    found = [text for (text,) in writer.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise StoreCorrupt(
            f"the store {path} is damaged",
            why=found[0].splitlines()[0] if found else "",
            fix=f"copy {path}* away, then: sqlite3 {path} .recover   (or start with an empty MESH_HOME)",
        )


def _sync_folder(folder: Path) -> None:
    """The new file's name is durable too. Some file systems refuse to sync a folder and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mapped(error: Exception, path: Path) -> StoreError:
    assert isinstance(error, sqlite3.Error)
    return store_error(error, path)


def _unusable(path: Path) -> Callable[[Exception], StoreError]:
    return lambda error: StoreError(f"cannot use the store {path}", why=str(error), fix=f"ls -ld {path.parent}")

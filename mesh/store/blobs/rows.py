"""Where do small blocks lie, and who needs which tree? In the rows of one SQLite file.

A result of a few hundred bytes is four or five blocks. As files they cost an inode, a sync and a directory's sync each;
as rows they become durable together with the pin that keeps them, by one sync of a log. Everything here blocks, except
what ends in ``_at_once``, and may be called from several threads.
"""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from protocols.errors import LocalProtocolError
from protocols.transfer.cid import parse_cid
from protocols.units import Cid

__all__ = ["MAX_KEY_BYTES", "SMALL_BYTES", "BlobRows"]

SMALL_BYTES: Final = 4096
"""The largest block that becomes a row: what takes a page as a file, too."""
MAX_KEY_BYTES: Final = 64
"""An owner key: a DealId or a RunId has 32 bytes."""
_BUSY_S: Final = 5.0
"""How long to wait for a person's sqlite3 shell to let go of the file."""
_LOG_BYTES: Final = 16 << 20
"""Size to which the write-ahead log is cut back: four batches of an import."""
_SCANNED: Final = 1024
"""Rows of one step: 1 ms."""
_FREED_PAGES: Final = 16_384
"""Given back to the file system after one collection: 64 MiB, in 50 ms."""
_BROKEN: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""After one of these the file and SQLite's idea of it may differ (a failed sync): nothing more is called durable."""
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS blocks (cid BLOB PRIMARY KEY, at_ns INTEGER NOT NULL, block BLOB NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS pins (owner BLOB, root BLOB, PRIMARY KEY (owner, root)) STRICT, WITHOUT ROWID",
)


class BlobRows:
    """The file. Who opens it holds the lock of the store."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._stack = ExitStack()
        self._writing, self._reading = threading.Lock(), threading.Lock()
        """Of the two connections. Whoever needs both takes them in this order."""
        self._broken: sqlite3.Error | None = None

    def open(self) -> None:
        """Makes the file if it is not there. Raises ``sqlite3.Error``, and then leaves nothing open."""
        with ExitStack() as stack:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = _connect(self._path, stack, _BUSY_S)
            self._writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'OFF'}")
            for table in _TABLES:
                self._writer.execute(table)
            # Answers on the event loop: it neither waits for others nor for the disk. What it deletes is on disk with
            # the next commit of the other one; until then a crash of the machine may bring it back.
            self._quick = _connect(self._path, stack, 0)
            self._quick.execute("PRAGMA wal_autocheckpoint = 0")
            self._quick.execute(f"PRAGMA synchronous = {'NORMAL' if self._sync else 'OFF'}")
            if self._sync:
                _sync_name(self._path)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """The last connection folds the write-ahead log into the file."""
        self._stack.close()

    # blocks

    def write(self, blocks: Iterable[tuple[Cid, bytes]], pin: tuple[bytes, Cid] | None = None) -> int:
        """Makes blocks, and that a key keeps a tree, durable together. How many of the blocks were held before."""
        held = 0
        at_ns = time.time_ns()
        pins = [] if pin is None else [(_checked(pin[0]), pin[1])]
        with self._transaction() as writer:
            for cid, block in blocks:
                if writer.execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", (cid, at_ns, block)).rowcount == 0:
                    writer.execute("UPDATE blocks SET block = ? WHERE cid = ?", (block, cid))
                    held += 1
            writer.executemany("INSERT OR IGNORE INTO pins VALUES (?, ?)", pins)
        return held

    def size(self, cid: Cid) -> int:
        """Bytes of a block, or -1."""
        with self._reading:
            return self._size(cid)

    def size_at_once(self, cid: Cid) -> int | None:
        """As ``size``; None where that has to wait."""
        if not self._reading.acquire(blocking=False):
            return None
        try:
            return self._size(cid)
        except sqlite3.Error:
            return None
        finally:
            self._reading.release()

    def _size(self, cid: Cid) -> int:
        row = self._quick.execute("SELECT length(block) FROM blocks WHERE cid = ?", (cid,)).fetchone()
        return -1 if row is None else int(row[0])

    def read(self, cid: Cid) -> bytes | None:
        """A block as it lies there, None if it is absent."""
        with self._reading:
            row = self._quick.execute("SELECT block FROM blocks WHERE cid = ?", (cid,)).fetchone()
        return None if row is None else bytes(row[0])

    def remove(self, cid: Cid) -> None:
        """Deletes a block that may be there."""
        with self._writing, self._reading:
            self._quick.execute("DELETE FROM blocks WHERE cid = ?", (cid,))

    def scan(self) -> Iterator[list[tuple[Cid, int, int]]]:
        """Every block in some steps: its name, bytes, and time of writing in ns."""
        last = -1
        while True:
            with self._reading:
                rows = self._quick.execute(
                    "SELECT rowid, cid, length(block), at_ns FROM blocks WHERE rowid > ? ORDER BY rowid LIMIT ?",
                    (last, _SCANNED),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [(Cid(cid), size, at_ns) for _, cid, size, at_ns in rows]

    def shrink(self) -> None:
        """Gives back to the file system what removed blocks took."""
        with self._writing:
            # One page for each step of the statement, and `execute` makes a single one.
            self._writer.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES});")

    # pins: a tree is kept while any key pins it

    def pinned(self, key: bytes) -> tuple[Cid, ...]:
        """What a key keeps, in the order of the names."""
        with self._reading:
            rows = self._quick.execute(
                "SELECT root FROM pins WHERE owner = ? ORDER BY root", (_checked(key),)
            ).fetchall()
        return tuple(Cid(root) for (root,) in rows)

    def roots(self) -> set[Cid]:
        """What any key keeps."""
        with self._reading:
            return {Cid(root) for (root,) in self._quick.execute("SELECT DISTINCT root FROM pins").fetchall()}

    def unpin(self, key: bytes) -> None:
        """Ends all pins of a key; a key without any is fine."""
        with self._transaction() as writer:
            writer.execute("DELETE FROM pins WHERE owner = ?", (_checked(key),))

    def unpin_at_once(self, key: bytes) -> bool:
        """As ``unpin``, but a crash of the machine may bring the pins back: then they keep their trees. False where it has
        to wait."""
        _checked(key)
        if not self._writing.acquire(blocking=False):
            return False
        try:
            if not self._reading.acquire(blocking=False):
                return False
            try:
                self._quick.execute("DELETE FROM pins WHERE owner = ?", (key,))
            except sqlite3.Error:
                return False
            finally:
                self._reading.release()
        finally:
            self._writing.release()
        return True

    def adopt(self, folder: Path) -> None:
        """Takes over pins that lie as empty files ``folder/<owner key in hex>/<cid text>``, as stores had them first."""
        found = []
        with suppress(FileNotFoundError):
            for owner in os.listdir(folder):
                found += [(bytes.fromhex(owner), parse_cid(name)) for name in os.listdir(folder / owner)]
            with self._transaction() as writer:
                writer.executemany("INSERT OR IGNORE INTO pins VALUES (?, ?)", found)
            shutil.rmtree(folder)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """What the block does happens at its end, durably, or after an error not at all."""
        with self._writing:
            if self._broken is not None:
                raise self._broken
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._writer.rollback()
                if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
                    self._broken = error
                raise


def _connect(path: Path, stack: ExitStack, busy_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    stack.callback(connection.close)
    return connection


def _sync_name(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _checked(key: bytes) -> bytes:
    if not 1 <= len(key) <= MAX_KEY_BYTES:
        raise LocalProtocolError(f"an owner key of {len(key)} bytes, expected 1 to {MAX_KEY_BYTES}")
    return key

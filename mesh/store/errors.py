"""What can go wrong with a store, and what does the operator do about it?"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from mesh.base.errors import ConfigError, MeshError

__all__ = [
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "StoreTooNew",
    "store_error",
]

_SCARCE_BYTES: Final = 16 << 20
"""Free disk below which a full store is blamed on the disk and not on its quota: one write-ahead log."""


class StoreError(MeshError):
    """The node's store could not be read or written. Nothing was half-written."""


class StoreFull(StoreError):
    """The disk, or the store's quota, is full. Nothing of the transaction was written; it may be tried again."""


class StoreCorrupt(StoreError):
    """The file is not a store, or is damaged."""


class StoreTooNew(StoreError):
    """A newer mesh has written the file; it is left untouched."""


class StoreLocked(StoreError, ConfigError):
    """Another process works with the same store."""

    exit_code = ConfigError.exit_code


class StoreClosed(StoreError):
    """The store was closed, or failed in a way after which only a restart is safe."""


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error as ours, by its result code."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the class, the rest its detail
    why = f"{error} ({getattr(error, 'sqlite_errorname', 'no code')})"
    if code == sqlite3.SQLITE_FULL:
        return _full(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(
            f"the store {path} is damaged",
            why=why,
            fix=f"stop the node, copy {path}* away, then: sqlite3 {path} .recover   (or start with an empty MESH_HOME)",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"the store {path} is held by another program", why=why, fix=f"fuser {path}   (and end that program)"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
        return StoreError(f"the store {path} cannot be opened for writing", why=why, fix=f"ls -l {path}*")
    return StoreError(f"the store {path} failed", why=why, fix="mesh doctor   (checks the disk)")


def _full(path: Path) -> StoreFull:
    what = f"no room to write to the store {path}; nothing was written"
    try:
        disk = os.statvfs(path.parent)
        free_bytes = disk.f_bavail * disk.f_frsize
    except OSError:
        free_bytes = 0
    if free_bytes < _SCARCE_BYTES:
        return StoreFull(what, why=f"its disk has {free_bytes >> 10} KiB left", fix=f"make room: df -h {path.parent}")
    return StoreFull(
        what,
        why="it has reached its quota",
        fix="raise it: mesh config set store.journal_quota_mib, then restart the node",
    )

"""Which trees does somebody still need?

A pin is an empty file ``pins/<owner key in hex>/<cid text>``: it survives a crash as the blocks do, and needs no
database. A tree is kept while any key pins it. Everything here blocks and is called in threads.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from protocols.errors import LocalProtocolError
from protocols.transfer.cid import cid_text, parse_cid
from protocols.units import Cid

__all__ = ["MAX_KEY_BYTES", "Pins"]

MAX_KEY_BYTES: Final = 64
"""An owner key: a DealId or a RunId has 32 bytes."""


class Pins:
    """The pins of one store."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._path = path
        self._sync = sync

    def place(self, key: bytes, root: Cid) -> list[str]:
        """Pins a tree for a key; twice is once. Durable when the caller has synced the directories that this answers."""
        owner = self._owner(key)
        with suppress(FileExistsError):
            owner.mkdir(mode=0o700)
        (owner / cid_text(root)).touch(mode=0o600)
        # That of all keys always, also for a key that was there: who made that one may not have synced it yet.
        return [str(self._path), str(owner)]

    def drop(self, key: bytes) -> None:
        """Ends all pins of a key; a key without any is fine."""
        shutil.rmtree(self._owner(key), ignore_errors=True)
        self._sync_directory(self._path)

    def of(self, key: bytes) -> tuple[Cid, ...]:
        """What a key pins, in the order of the names."""
        try:
            return tuple(parse_cid(name) for name in sorted(os.listdir(self._owner(key))))
        except FileNotFoundError:
            return ()

    def roots(self) -> set[Cid]:
        """What any key pins."""
        return {root for owner in os.listdir(self._path) for root in self.of(bytes.fromhex(owner))}

    def _owner(self, key: bytes) -> Path:
        if not 1 <= len(key) <= MAX_KEY_BYTES:
            raise LocalProtocolError(f"an owner key of {len(key)} bytes, expected 1 to {MAX_KEY_BYTES}")
        return self._path / key.hex()

    def _sync_directory(self, path: Path) -> None:
        if not self._sync:
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

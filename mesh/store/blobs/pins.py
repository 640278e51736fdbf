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
_FEW: Final = 8
"""Pins of a key that are removed without a thread: 15 us each."""


class Pins:
    """The pins of one store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def place(self, key: bytes, root: Cid) -> list[str]:
        """Pins a tree for a key; twice is once. Durable when the caller has synced the directories that this answers."""
        owner = self._owner(key)
        with suppress(FileExistsError):
            owner.mkdir(mode=0o700)
        (owner / cid_text(root)).touch(mode=0o600)
        # That of all keys always, also for a key that was there: who made that one may not have synced it yet.
        return [str(self._path), str(owner)]

    def drop(self, key: bytes) -> None:
        """Ends all pins of a key; a key without any is fine. A pin that a crash of the machine brings back keeps its tree."""
        shutil.rmtree(self._owner(key), ignore_errors=True)

    def drop_at_once(self, key: bytes) -> bool:
        """As ``drop``, without a thread: few empty files, and nothing waits for the disk. False if there are many."""
        owner = self._owner(key)
        try:
            names = os.listdir(owner)
        except FileNotFoundError:
            return True
        if len(names) > _FEW:
            return False
        with suppress(OSError):  # somebody else drops it, or places another
            for name in names:
                os.unlink(owner / name)
            os.rmdir(owner)
        return True

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

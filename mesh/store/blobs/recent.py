"""Which blocks need not be read from the disk again? Small ones that were just written or read and have not changed since.

A result of a few files is written, reckoned up for its grant and sent within a tenth of a second: each of these would wait
for a thread that reads and hashes the same five blocks. May be called from several threads.
"""

import os
import threading
from collections.abc import Callable
from typing import Final

from protocols.units import Cid

__all__ = ["RECENT_BLOCK_BYTES", "RECENT_BYTES", "Recent"]

RECENT_BYTES: Final = 8 * 1024 * 1024
"""All blocks kept: the small files of a hundred results."""
RECENT_BLOCK_BYTES: Final = 16 * 1024
"""The largest kept: a larger node takes more than 1 ms to decode, so it is worth a thread anyway."""
_ENTRY_BYTES: Final = 1024
"""What an entry takes beside its block, at most: tiny blocks are bounded too."""

_Mark = tuple[int, int, int, int]


class Recent:
    """Verified blocks by name, the longest unused goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[Cid, tuple[bytes, _Mark | None]] = {}
        self._bytes = 0

    def keep(self, cid: Cid, block: bytes, found: os.stat_result | None) -> None:
        """A block that was written to, or read from, the file of which this is the status; None for a row."""
        if len(block) > RECENT_BLOCK_BYTES:
            return
        with self._lock:
            self._drop(cid)
            self._blocks[cid] = (block, None if found is None else _mark(found))
            self._bytes += len(block) + _ENTRY_BYTES
            while self._bytes > RECENT_BYTES:
                self._drop(next(iter(self._blocks)))

    def get(self, cid: Cid, file: Callable[[Cid], str]) -> bytes | None:
        """The block, if its file is the one it was in, unchanged; None if that is not so or not known. A row changes only
        with ``forget``."""
        with self._lock:
            held = self._blocks.get(cid)
        if held is None:
            return None
        try:
            same = held[1] is None or _mark(os.stat(file(cid))) == held[1]
        except FileNotFoundError:
            same = False
        with self._lock:
            if self._blocks.get(cid) is held:
                del self._blocks[cid]  # to the end: it is the latest used
                if same:
                    self._blocks[cid] = held
                else:
                    self._bytes -= len(held[0]) + _ENTRY_BYTES
        return held[0] if same else None

    def forget(self, cid: Cid) -> None:
        """It was removed."""
        with self._lock:
            self._drop(cid)

    def _drop(self, cid: Cid) -> None:
        held = self._blocks.pop(cid, None)
        if held is not None:
            self._bytes -= len(held[0]) + _ENTRY_BYTES


def _mark(found: os.stat_result) -> _Mark:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

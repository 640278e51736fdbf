"""What must the submitter remember across a crash?

Every signed transaction, before it leaves: what it is for (``key``), its nonce, its bytes, their hash. The node's store
keeps such a journal on disk; ``MemoryJournal`` is for commands that send one transaction and end.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from protocols.units import Hash32

__all__ = ["JournalEntry", "MemoryJournal", "TxJournal"]

NEWEST: Final = 32
"""Transactions of one nonce that ``newest`` tells: a submitter replaces one so often at most."""


class JournalEntry(Protocol):
    """One signed transaction, as any journal returns it."""

    @property
    def key(self) -> str: ...
    @property
    def nonce(self) -> int: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def hash(self) -> bytes: ...


class TxJournal(Protocol):
    """Durable memory. ``put`` returns only when the entry would survive a crash."""

    async def put(self, key: str, nonce: int, raw: bytes, hash: bytes, /) -> None:
        """Remember a transaction; another one of the same key (a replacement) joins it."""
        ...

    async def pending(self) -> Sequence[JournalEntry]:
        """All that are not done, by nonce and then by age."""
        ...

    async def done(self, key: str, /) -> None:
        """Forget the key: its outcome is recorded elsewhere."""
        ...

    async def newest(self) -> Sequence[JournalEntry]:
        """Those of the highest nonce of all that are remembered, done or not; 32 of them at most."""
        ...


class _Entry(msgspec.Struct, frozen=True):
    key: str
    nonce: int
    raw: bytes
    hash: bytes


class MemoryJournal:
    """A journal that ends with the process. Bounded by what its submitter keeps in flight."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._newest: list[_Entry] = []

    async def put(self, key: str, nonce: int, raw: bytes, hash: bytes, /) -> None:
        """See ``TxJournal``."""
        entry = _Entry(key, nonce, raw, Hash32(hash))
        self._entries.append(entry)
        if self._newest and self._newest[-1].nonce < nonce:
            self._newest.clear()
        if not self._newest or self._newest[-1].nonce == nonce:
            self._newest = [*self._newest[1 - NEWEST :], entry]

    async def pending(self) -> Sequence[JournalEntry]:
        """See ``TxJournal``."""
        return tuple(sorted(self._entries, key=lambda entry: entry.nonce))

    async def done(self, key: str, /) -> None:
        """See ``TxJournal``."""
        self._entries = [entry for entry in self._entries if entry.key != key]

    async def newest(self) -> Sequence[JournalEntry]:
        """See ``TxJournal``."""
        return tuple(self._newest)

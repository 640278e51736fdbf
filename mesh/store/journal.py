"""Which transactions has this node signed, so that none is sent under a second nonce?"""

import sqlite3
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec

from mesh.base.clock import Clock

__all__ = ["DONE_KEPT", "TxJournal", "TxRecord", "read_transactions"]

T = TypeVar("T")
DONE_KEPT: Final = 10_000
"""Positions of the journal for which finished transactions stay, for who asks what the node has paid."""


class TxRecord(msgspec.Struct, frozen=True):
    """A signed transaction: why it exists (``key``), its nonce, its bytes and their hash."""

    key: str
    nonce: int
    raw: bytes
    hash: bytes


class _Access(Protocol):
    """The part of the store that the journal stands on."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T: ...

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class TxJournal:
    """The submitter's memory. What is written here is durable before the call returns.

    Errors and cancellation as ``Store.commit``.
    """

    def __init__(self, access: _Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock

    async def put(self, key: str, nonce: int, raw: bytes, hash: bytes) -> None:
        """Note a transaction before it is sent. The same one twice is one, also after ``done``.

        A replacement joins those of its key.
        """
        values = (key, nonce, raw, hash, self._clock.unix_s())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO txs (key, nonce, raw, hash, created) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key, hash) DO UPDATE SET done = NULL",
                values,
            )

        await self._access.write(work)

    async def pending(self) -> tuple[TxRecord, ...]:
        """Those not done, by nonce and then by age."""
        return await self._access.read(_pending)

    async def done(self, key: str) -> None:
        """The nonce of ``key`` is used for good: none of its transactions needs attention again."""
        now_s = self._clock.unix_s()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE txs SET done = ? WHERE key = ? AND done IS NULL", (now_s, key))
            connection.execute(
                "DELETE FROM txs WHERE done IS NOT NULL AND seq <= (SELECT max(seq) FROM txs) - ?", (DONE_KEPT,)
            )

        await self._access.write(work)

    async def newest(self) -> tuple[TxRecord, ...]:
        """Those of the highest nonce of all that are remembered, done or not; the last 32 of them."""
        return await self._access.read(_newest)


def _pending(connection: sqlite3.Connection) -> tuple[TxRecord, ...]:
    found = connection.execute("SELECT key, nonce, raw, hash FROM txs WHERE done IS NULL ORDER BY nonce, seq")
    return tuple(TxRecord(*values) for values in found)


def _newest(connection: sqlite3.Connection) -> tuple[TxRecord, ...]:
    found = connection.execute(
        "SELECT key, nonce, raw, hash FROM txs WHERE nonce = (SELECT max(nonce) FROM txs) ORDER BY seq DESC LIMIT 32"
    )
    return tuple(TxRecord(*values) for values in found)


def read_transactions(connection: sqlite3.Connection) -> tuple[TxRecord, ...]:
    """All that are remembered, done or not, oldest first."""
    found = connection.execute("SELECT key, nonce, raw, hash FROM txs ORDER BY seq")
    return tuple(TxRecord(*values) for values in found)

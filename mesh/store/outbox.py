"""Which effects must still happen? Each is on disk before it leaves, and stays until it is acknowledged."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

__all__ = ["ACKNOWLEDGED_KEPT", "OutboxEntry", "acknowledge", "add_entries", "read_open"]

ACKNOWLEDGED_KEPT: Final = 10_000
"""Positions of the outbox for which acknowledged entries stay, without payload, for who asks what the node has done."""


class OutboxEntry(msgspec.Struct, frozen=True):
    """An effect to perform until it is acknowledged. The same ``key`` is the same effect; twice is harmless."""

    key: str
    kind: str
    payload: bytes


def add_entries(connection: sqlite3.Connection, entries: Sequence[OutboxEntry], now_s: int) -> None:
    """Open an entry for each; an entry of the same key, acknowledged or not, gives way to it."""
    connection.executemany(
        "INSERT OR REPLACE INTO outbox (key, kind, payload, created) VALUES (?, ?, ?, ?)",
        [(entry.key, entry.kind, entry.payload, now_s) for entry in entries],
    )


def acknowledge(connection: sqlite3.Connection, keys: Sequence[str], now_s: int) -> None:
    """They need not happen again. A key that is not there, or is acknowledged, is no error."""
    connection.executemany(
        "UPDATE outbox SET acknowledged = ?, payload = x'' WHERE key = ? AND acknowledged IS NULL",
        [(now_s, key) for key in keys],
    )
    connection.execute(
        "DELETE FROM outbox WHERE acknowledged IS NOT NULL AND seq <= (SELECT max(seq) FROM outbox) - ?",
        (ACKNOWLEDGED_KEPT,),
    )


def read_open(connection: sqlite3.Connection) -> tuple[OutboxEntry, ...]:
    """Those not acknowledged, oldest first."""
    found = connection.execute("SELECT key, kind, payload FROM outbox WHERE acknowledged IS NULL ORDER BY seq")
    return tuple(OutboxEntry(*values) for values in found)

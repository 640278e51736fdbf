"""What goes into one durable transaction, and what comes out at the start?"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from mesh.store.outbox import OutboxEntry, acknowledge, add_entries, read_open
from mesh.store.rows import Row, delete_rows, put_rows, read_rows
from mesh.store.trace import TraceEntry, append_entries
from protocols.errors import LocalProtocolError

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_ITEMS",
    "MAX_ITEM_BYTES",
    "Batch",
    "Snapshot",
    "apply_batch",
    "check_batch",
    "read_snapshot",
]

MAX_ITEM_BYTES: Final = 4 << 20
"""One row, payload or trace entry: the largest machine, a run with its job and 64 candidates, has 150 KiB."""
MAX_BATCH_ITEMS: Final = 65_536
"""Items of a transaction: the engine's 256 events change a few rows each."""
MAX_BATCH_BYTES: Final = 64 << 20
"""Bytes of a transaction: 256 of the largest machines fit."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction: all of it or nothing.

    Order inside: deletes, puts, acknowledgements, outbox, trace, cursors. So a key both acknowledged and added is open
    afterwards: the acknowledgement was for the entry before it.
    """

    puts: Sequence[Row] = ()
    deletes: Sequence[tuple[str, bytes]] = ()
    outbox: Sequence[OutboxEntry] = ()
    acks: Sequence[str] = ()
    trace: Sequence[TraceEntry] = ()
    cursors: Mapping[str, bytes] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """What a node starts from: its machines, the effects that must still happen (oldest first), the cursors."""

    rows: tuple[Row, ...]
    outbox: tuple[OutboxEntry, ...]
    cursors: Mapping[str, bytes]


def check_batch(batch: Batch) -> None:
    """Raises ``LocalProtocolError`` for a batch that breaks a bound, or that puts and deletes the same row."""
    items = len(batch.deletes) + len(batch.acks)
    total = largest = 0
    payloads: tuple[Iterable[bytes], ...] = (
        [row.data for row in batch.puts],
        [entry.payload for entry in batch.outbox],
        [entry.data for entry in batch.trace],
        batch.cursors.values(),
    )
    for group in payloads:
        for payload in group:
            items += 1
            total += len(payload)
            largest = max(largest, len(payload))
    if items > MAX_BATCH_ITEMS or total > MAX_BATCH_BYTES or largest > MAX_ITEM_BYTES:
        raise LocalProtocolError(
            f"a batch of {items} items, {total} bytes, largest {largest}, exceeds"
            f" {MAX_BATCH_ITEMS}, {MAX_BATCH_BYTES} or {MAX_ITEM_BYTES}"
        )
    if batch.deletes and {(row.kind, row.id) for row in batch.puts} & set(batch.deletes):
        raise LocalProtocolError("a batch puts and deletes the same row")


def apply_batch(connection: sqlite3.Connection, batch: Batch, *, now_s: int, trace_kept: int) -> int:
    """Carry out ``batch`` inside the transaction that is open; the place of its last trace entry, 0 without any."""
    if batch.deletes:
        delete_rows(connection, batch.deletes)
    if batch.puts:
        put_rows(connection, batch.puts)
    if batch.acks:
        acknowledge(connection, batch.acks, now_s)
    if batch.outbox:
        add_entries(connection, batch.outbox, now_s)
    if batch.cursors:
        connection.executemany("INSERT OR REPLACE INTO cursors (name, value) VALUES (?, ?)", batch.cursors.items())
    return append_entries(connection, batch.trace, trace_kept) if batch.trace else 0


def read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    """Everything a start needs, as of one moment."""
    connection.execute("BEGIN")
    try:
        cursors = dict(connection.execute("SELECT name, value FROM cursors").fetchall())
        return Snapshot(read_rows(connection), read_open(connection), cursors)
    finally:
        connection.execute("COMMIT")

"""Where do the core's machines rest? One row each, replaced whole."""

import sqlite3
from collections.abc import Sequence

import msgspec

__all__ = ["Row", "delete_rows", "put_rows", "read_rows"]


class Row(msgspec.Struct, frozen=True):
    """One machine of the core. ``version`` is that of the encoding of ``data``; the store reads neither."""

    kind: str
    id: bytes
    version: int
    data: bytes


def put_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Insert or replace."""
    connection.executemany(
        "INSERT INTO rows (kind, id, version, data) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, data = excluded.data",
        [(row.kind, row.id, row.version, row.data) for row in rows],
    )


def delete_rows(connection: sqlite3.Connection, keys: Sequence[tuple[str, bytes]]) -> None:
    """Remove; one that is not there is no error."""
    connection.executemany("DELETE FROM rows WHERE kind = ? AND id = ?", keys)


def read_rows(connection: sqlite3.Connection) -> tuple[Row, ...]:
    """All, by kind and id."""
    found = connection.execute("SELECT kind, id, version, data FROM rows ORDER BY kind, id")
    return tuple(Row(*values) for values in found)

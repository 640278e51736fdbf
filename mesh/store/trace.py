"""What happened to a run or a deal? A bounded record for people; the core never reads it."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

__all__ = ["MAX_TRACE_READ", "TraceEntry", "TraceRecord", "append_entries", "read_subject", "read_tail"]

MAX_TRACE_READ: Final = 10_000
"""Records one read returns at most: a page of `mesh events`."""


class TraceEntry(msgspec.Struct, frozen=True):
    """Something that happened: ``at`` unix seconds, ``kind`` its dotted name, ``subject`` the run or deal."""

    at: int
    kind: str
    subject: bytes
    data: bytes


class TraceRecord(TraceEntry, frozen=True):
    """An entry with its place in the record; ``seq`` only grows."""

    seq: int


def append_entries(connection: sqlite3.Connection, entries: Sequence[TraceEntry], keep: int) -> int:
    """Add at the end and drop the oldest beyond ``keep``; the place of the last one."""
    connection.executemany(
        "INSERT INTO trace (at, kind, subject, data) VALUES (?, ?, ?, ?)",
        [(entry.at, entry.kind, entry.subject, entry.data) for entry in entries],
    )
    (last,) = connection.execute("SELECT max(seq) FROM trace").fetchone()
    connection.execute("DELETE FROM trace WHERE seq <= ?", (last - keep,))
    return int(last)


def read_subject(connection: sqlite3.Connection, subject: bytes, since: int, limit: int) -> tuple[TraceRecord, ...]:
    """Records of one run or deal with ``seq > since``, oldest first, at most ``limit``."""
    found = connection.execute(
        "SELECT at, kind, subject, data, seq FROM trace WHERE subject = ? AND seq > ? ORDER BY seq LIMIT ?",
        (subject, since, min(limit, MAX_TRACE_READ)),
    )
    return tuple(TraceRecord(*values) for values in found)


def read_tail(connection: sqlite3.Connection, limit: int) -> tuple[TraceRecord, ...]:
    """The newest records, oldest first, at most ``limit``."""
    found = connection.execute(
        "SELECT at, kind, subject, data, seq FROM trace ORDER BY seq DESC LIMIT ?", (min(limit, MAX_TRACE_READ),)
    )
    return tuple(TraceRecord(*values) for values in found)[::-1]

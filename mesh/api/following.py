"""Which trace lines came since a reader looked last? From memory: the disk is read again only when they came too fast."""

from collections import deque
from typing import Final

import trio

from mesh.api.types import TraceInfo
from protocols.effects import Notify

__all__ = ["FOLLOW_QUEUE", "Tail"]

FOLLOW_QUEUE: Final = 256
"""Trace lines waiting for a slow reader, 23 deals' worth; beyond it the trace is read again."""


class Tail:
    """Lines of one subject, or of all, in the order in which they became durable. `hear` is the engine's listener."""

    def __init__(self, subject: bytes | None) -> None:
        self._subject = subject
        self._lines: deque[TraceInfo] = deque()
        self._came = trio.Event()
        self._lost = False

    def hear(self, notice: Notify, wall: int, place: int) -> None:
        """Keep a line of the subject."""
        if self._subject is not None and notice.subject != self._subject:
            return
        if len(self._lines) >= FOLLOW_QUEUE:
            self._lines.clear()
            self._lost = True
        if not self._lost:
            shown = "0x" + notice.subject.hex()
            self._lines.append(TraceInfo(seq=place, at=wall, name=notice.name, subject=shown, fields=notice.fields))
        self._came.set()

    async def after(self, since: int) -> tuple[TraceInfo, ...] | None:
        """The lines after a place, waiting for one; None when some were lost, and the trace must be read from there."""
        while True:
            if self._lost:
                self._lost = False
                return None
            found = tuple(line for line in self._lines if line.seq > since)
            self._lines.clear()
            if found:
                return found
            self._came = trio.Event()
            await self._came.wait()

"""What of a simulated node survives its death? Rows and the outbox, and nothing else.

The seam has two sides: a dictionary for thousands of nodes, and the shipped store for the few whose every step is to be
killed (``devnet.sim.restarts``).
"""

from collections.abc import Sequence
from typing import Protocol

from protocols.effects import DurableEffect
from protocols.state import Row

__all__ = ["Disk", "MemoryDisk"]

Rows = list[tuple[str, bytes, bytes]]
"""(kind, id, data) of every row."""


class Disk(Protocol):
    """Where a node's rows and unacknowledged effects are."""

    def load(self) -> tuple[Rows, list[DurableEffect]]:
        """What the last life left behind."""
        ...

    def commit(self, rows: Sequence[Row], fresh: Sequence[DurableEffect], gone: Sequence[str]) -> None:
        """Make it durable, all of it. ``gone`` are effects that are answered or no longer matter."""
        ...

    def crash(self) -> None:
        """The process is gone; what was committed is what there is."""
        ...


class MemoryDisk:
    """A disk that never fails and costs nothing."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, bytes], bytes] = {}
        self._outbox: dict[str, DurableEffect] = {}

    def load(self) -> tuple[Rows, list[DurableEffect]]:
        """See ``Disk``."""
        return [(kind, key, data) for (kind, key), data in self._rows.items()], list(self._outbox.values())

    def commit(self, rows: Sequence[Row], fresh: Sequence[DurableEffect], gone: Sequence[str]) -> None:
        """See ``Disk``."""
        for row in rows:
            if row.data is not None:
                self._rows[(row.kind, row.id)] = row.data
        for key in gone:
            self._outbox.pop(key, None)
        for effect in fresh:
            self._outbox[effect.key] = effect

    def crash(self) -> None:
        """See ``Disk``."""

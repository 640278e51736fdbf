"""What does a node keep of a dispute that it is part of? The panel's logs, and which calls it has made."""

from typing import Final

import msgspec
from msgspec.structs import replace

from protocols.disputes.record import MAX_LOGS, Record, record_of
from protocols.units import DealId, Hash32

__all__ = ["DEFENDANT", "DISPUTER", "ONLOOKER", "SEAT", "DisputeFile", "PanelLog"]

DISPUTER: Final = "disputer"
DEFENDANT: Final = "defendant"
SEAT: Final = "seat"
ONLOOKER: Final = "onlooker"
"""No part, until a seat of this node is called: it knows only who has to do with it."""


class PanelLog(msgspec.Struct, frozen=True, array_like=True):
    """One log of the panel, and where it stands: (block, index) is its place in the chain, (tx, index) its name."""

    block: int
    index: int
    tx: Hash32
    topics: tuple[bytes, ...]
    data: bytes


class DisputeFile(msgspec.Struct, frozen=True, array_like=True):
    """One dispute. Everything else about it is read from the logs (`record`)."""

    deal_id: DealId
    role: str
    """Which part this node plays: ``disputer``, ``defendant``, ``seat`` or ``onlooker``."""
    logs: tuple[PanelLog, ...] = ()
    """In the order of the chain; MAX_LOGS at most."""
    asked: tuple[str, ...] = ()
    """The duties that were turned into calls, by name: none is called for twice."""
    attempt: int = 0
    """Reorganisations that took a log, and calls that were refused: what has to be called again needs another key."""

    def record(self) -> Record | None:
        """Where the dispute stands; None when a reorganisation took even its opening."""
        return record_of((log.topics, log.data) for log in self.logs)

    def heard(self, log: PanelLog) -> "DisputeFile":
        """With one more log. One that is known changes nothing, as does one beyond the bound: no real dispute has as many."""
        if len(self.logs) >= MAX_LOGS or any((one.tx, one.index) == (log.tx, log.index) for one in self.logs):
            return self
        logs = sorted((*self.logs, log), key=lambda one: (one.block, one.index))
        return replace(self, logs=tuple(logs))

    def retracted(self, tx: Hash32, index: int) -> "DisputeFile":
        """Without a log that a reorganisation took. What was called for may have to be called for again."""
        left = tuple(one for one in self.logs if (one.tx, one.index) != (tx, index))
        if len(left) == len(self.logs):
            return self
        return replace(self, logs=left, asked=(), attempt=self.attempt + 1)

    def refused(self, name: str) -> "DisputeFile":
        """After a call that the panel did not take, by its duty's name: it is owed again for as long as the rules say so."""
        if name not in self.asked:
            return self
        return replace(self, asked=tuple(one for one in self.asked if one != name), attempt=self.attempt + 1)

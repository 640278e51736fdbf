"""What does a node keep of a dispute that it is part of? The panel's logs, and which calls it has made."""

from typing import Final

import msgspec
from msgspec.structs import replace

from protocols.contracts.panel import event_of
from protocols.disputes.record import MAX_LOGS, Record, fold, record_of
from protocols.units import DealId, Hash32

__all__ = ["DEFENDANT", "DISPUTER", "MAX_FOLDS", "ONLOOKER", "SEAT", "DisputeFile", "Folds", "PanelLog"]

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


def _place(log: PanelLog) -> tuple[int, int]:
    return log.block, log.index


class Folds:
    """Which record follows from which logs, of the last that were asked for: with it one more log is one more step.

    A pure function remembered: what it answers hangs on the logs alone, whatever was asked before.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[tuple[PanelLog, ...], Record | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def record(self, logs: tuple[PanelLog, ...]) -> Record | None:
        """As `record_of` folds them."""
        if logs in self._known:
            return self._known[logs]
        if not logs:
            return None
        before, last = logs[:-1], logs[-1]
        if before not in self._known:
            self._keep(before, record_of((log.topics, log.data) for log in before))
        record, event = self._known[before], event_of(last.topics, last.data)
        if event is not None:
            record = fold(record, event)
        self._keep(logs, record)
        return record

    def _keep(self, logs: tuple[PanelLog, ...], record: Record | None) -> None:
        self._known[logs] = record
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]


MAX_FOLDS: Final = 4_096
"""Records of disputes remembered in a process, the newest: a dispute has 60 logs, and its last two records are asked for.
3 KiB each, as most of a record is shared with the one before it."""
_FOLDS: Final = Folds(MAX_FOLDS)


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
        return _FOLDS.record(self.logs)

    def heard(self, log: PanelLog) -> "DisputeFile":
        """With one more log. One that is known changes nothing, as does one beyond the bound: no real dispute has as many."""
        if len(self.logs) >= MAX_LOGS or any(one.index == log.index and one.tx == log.tx for one in self.logs):
            return self
        logs = (*self.logs, log)
        if self.logs and _place(log) < _place(self.logs[-1]):
            logs = tuple(sorted(logs, key=_place))
        return replace(self, logs=logs)

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

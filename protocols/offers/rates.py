"""How many records a second may one author publish?

A token bucket per author, in integers, on the times that events carry. A look costs nothing: only a record whose
signature was checked is charged, or anybody could silence an author by forging its records.
"""

from typing import Final

from protocols.units import Millis, PeerId

__all__ = ["BURST", "MAX_AUTHORS", "PER_SECOND", "Rates"]

PER_SECOND: Final = 2
"""Records a second: sixteen offers with a heartbeat every 30 s need half of one."""
BURST: Final = 16
"""Records at once: a node that starts announces all its slots."""
MAX_AUTHORS: Final = 8192
"""Authors remembered: five times a network of 1,600 nodes, about 1 MiB."""
_RECORD: Final = 1000
"""One record in the bucket's unit, so that a millisecond refills a whole number of units."""
_FULL: Final = BURST * _RECORD


class Rates:
    """Buckets by author. An author not in the table has a full one."""

    def __init__(self) -> None:
        self._buckets: dict[PeerId, tuple[int, Millis]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, author: PeerId, now: Millis) -> bool:
        """Whether the author may publish one more record now."""
        bucket = self._buckets.get(author)
        if bucket is None:
            return len(self._buckets) < MAX_AUTHORS or self._idle(now) is not None
        return _level(bucket, now) >= _RECORD

    def charge(self, author: PeerId, now: Millis) -> None:
        """Take one record out of the author's bucket."""
        bucket = self._buckets.pop(author, None)  # the table stays in order of last use
        if bucket is None and len(self._buckets) >= MAX_AUTHORS:
            idle = self._idle(now)
            if idle is None:
                return
            del self._buckets[idle]
        left = _FULL if bucket is None else _level(bucket, now)
        self._buckets[author] = (left - _RECORD if left > _RECORD else 0, now)

    def _idle(self, now: Millis) -> PeerId | None:
        """The author charged longest ago, if its bucket is full again: forgetting it changes nothing."""
        oldest = next(iter(self._buckets))
        return oldest if _level(self._buckets[oldest], now) == _FULL else None


def _level(bucket: tuple[int, Millis], now: Millis) -> int:
    """What is in a bucket now. Comparisons, because this is asked twice for every record that arrives."""
    left, at = bucket
    if now > at:
        left += (now - at) * PER_SECOND
    return left if left < _FULL else _FULL

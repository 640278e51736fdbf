"""Which offers are live right now?

One record per (author, slot); a higher sequence replaces it, its expiry or its author's withdrawal ends it. Every
change costs O(1). The book is volatile and a hint: a node learns it again from three peers within seconds.

When the book is full, a new record evicts the one that expires first of the author with most records, provided that
this author holds more than the newcomer would; else it is turned away. So nobody is pushed out by an author who came
later with as many records, and extra slots are what goes first.
"""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Final, Generic, TypeVar

import msgspec

from protocols.hashing import sha256
from protocols.offers.records import MAX_SLOTS, JobOffer, OfferWithdrawn, ResourceOffer
from protocols.units import PeerId, UnixSeconds

__all__ = ["BUCKETS", "MAX_RECORDS", "Book", "BookStatistics", "Change", "Entry", "JobBook", "OfferBook"]

MAX_RECORDS: Final = 4096
"""Records of one kind: 1,600 nodes with two or three offers each; at most 8 MiB of envelopes."""
MARKS_PER_RECORD: Final = 2
"""Sequences remembered per record of capacity, withdrawn and evicted ones included. Forgetting one early harms
nothing.
"""
BUCKETS: Final = 64
"""Parts of the digest: 1 KiB in all, and a difference of one record costs 1/64 of the book to transfer."""

R = TypeVar("R", ResourceOffer, JobOffer)
Key = tuple[PeerId, int]


class Change(Enum):
    """What became of a record."""

    NEW = "new"
    REFRESHED = "refreshed"
    WITHDRAWN = "withdrawn"
    STALE = "stale"
    """Its sequence is not higher than what was seen."""
    EXPIRED = "expired"
    FULL = "full"


class Entry(Generic[R]):
    """A live record with the signed envelope it came in, which is what peers are served."""

    __slots__ = ("envelope", "record")
    record: R

    def __init__(self, record: R, envelope: bytes) -> None:
        self.record = record
        self.envelope = envelope


class BookStatistics(msgspec.Struct, frozen=True):
    """How full the book is, and what it has seen."""

    live: int
    authors: int
    marks: int
    evicted: int
    refused: int


class Book(Generic[R]):
    """Live records of one kind. ``now`` is wall-clock time from an event; see the module text."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._max = max_records
        self._entries: dict[Key, Entry[R]] = {}
        self._marks: dict[Key, tuple[int, UnixSeconds]] = {}
        """Highest sequence seen, and until when it matters."""
        self._slots: dict[PeerId, dict[int, None]] = {}
        self._crowd: list[dict[PeerId, None]] = [{} for _ in range(MAX_SLOTS + 1)]
        """Authors by how many records they have, in the order they got there."""
        self._wheel: dict[UnixSeconds, dict[Key, None]] = {}
        """What to look at when a second has passed. A heartbeat moves nothing here: looked at too early, a key is filed
        again."""
        self._filed: dict[Key, UnixSeconds] = {}
        """Where in the wheel each key is, once: no later than anything of it ends."""
        self._earliest: int = 0
        """No second in the wheel lies before this one."""
        self._dead: dict[Key, None] = {}
        """Marks without a live record, the first to go when there are too many."""
        self._order: list[Key] | None = None
        """Keys of the live records, sorted; None when they have changed."""
        self._digest = [0] * BUCKETS
        self._counted: dict[Key, int] = {}
        """The ids that are in the digest."""
        self._changed: dict[Key, None] = {}
        """Keys whose id in the digest may be an old one: hashed when somebody asks, not at every heartbeat."""
        self._evicted = 0
        self._refused = 0

    def __len__(self) -> int:
        return len(self._entries)

    def newer(self, author: PeerId, slot: int, sequence: int) -> bool:
        """Whether a record with this sequence would tell the book anything."""
        mark = self._marks.get((author, slot))
        return mark is None or sequence > mark[0]

    def put(self, record: R, envelope: bytes, now: UnixSeconds) -> Change:
        """Take in a record whose signature was checked."""
        key = (record.author, record.slot)
        if record.expires <= now:
            return Change.EXPIRED
        mark = self._marks.get(key)
        if mark is not None and record.sequence <= mark[0]:
            return Change.STALE
        if key in self._entries:
            # Nearly every record is a heartbeat: the keys stay, and so do their order and their author's crowd.
            self._mark(key, record.sequence, record.expires)
            self._entries[key] = Entry(record, envelope)
            self._changed[key] = None
            return Change.REFRESHED
        if not self._make_room(key, now):
            self._refused += 1
            return Change.FULL
        self._mark(key, record.sequence, record.expires)
        self._insert(key, Entry(record, envelope))
        return Change.NEW

    def withdraw(self, withdrawal: OfferWithdrawn, now: UnixSeconds) -> Change:
        """Take a record back; the caller has checked who signed this. Remembered even when it comes first."""
        key = (withdrawal.owner, withdrawal.slot)
        if withdrawal.expires <= now:
            return Change.EXPIRED
        if not self.newer(*key, withdrawal.sequence):
            return Change.STALE
        if key in self._entries:
            self._remove(key)
        self._mark(key, withdrawal.sequence, withdrawal.expires)
        self._dead[key] = None
        return Change.WITHDRAWN

    def expire(self, now: UnixSeconds) -> int:
        """Drop what is over at ``now``; returns how many records went. Amortised O(1) per record."""
        if now < self._earliest:
            return 0
        before = len(self._entries)
        for second in sorted(moment for moment in self._wheel if moment <= now):
            for key in self._wheel.pop(second):
                del self._filed[key]
                entry = self._entries.get(key)
                if entry is not None and entry.record.expires > now:
                    self._file(key, entry.record.expires)
                    continue
                if entry is not None:
                    self._remove(key)
                if self._marks[key][1] > now:
                    self._file(key, self._marks[key][1])
                else:
                    del self._marks[key]
                    del self._dead[key]
        self._earliest = min(self._wheel, default=UnixSeconds(now + 1))
        return before - len(self._entries)

    def get(self, author: PeerId, slot: int = 0) -> R | None:
        """The live record in a slot."""
        entry = self._entries.get((author, slot))
        return entry.record if entry else None

    def live(self, now: UnixSeconds) -> list[R]:
        """All records that are not over at ``now``, by author and slot: the same book gives the same list."""
        self.expire(now)
        return [self._entries[key].record for key in self._sorted()]

    def digest(self) -> tuple[bytes, ...]:
        """What two books compare: per bucket the exclusive-or of its records' ids, 16 bytes each."""
        for key in self._changed:
            entry = self._entries.get(key)
            old = self._counted.pop(key, 0)
            new = _record_id(key, entry.record.sequence) if entry is not None else 0
            self._digest[_bucket(key)] ^= old ^ new
            if entry is not None:
                self._counted[key] = new
        self._changed.clear()
        return tuple(value.to_bytes(16, "big") for value in self._digest)

    def differing(self, theirs: tuple[bytes, ...]) -> Iterator[tuple[Key, bytes]]:
        """Key and envelope of every record in a bucket where the other digest differs, by key."""
        ours = self.digest()
        wanted = {index for index in range(BUCKETS) if index >= len(theirs) or theirs[index] != ours[index]}
        for key in self._sorted():
            if _bucket(key) in wanted:
                yield key, self._entries[key].envelope

    def statistics(self) -> BookStatistics:
        """Counts, for metrics and tests."""
        return BookStatistics(len(self._entries), len(self._slots), len(self._marks), self._evicted, self._refused)

    def _make_room(self, key: Key, now: UnixSeconds) -> bool:
        if len(self._entries) >= self._max:
            self.expire(now)
        if len(self._entries) < self._max:
            return True
        author = next((next(iter(crowd)) for crowd in reversed(self._crowd) if crowd), None)
        if author is None or len(self._slots[author]) <= len(self._slots.get(key[0], ())) + 1:
            return False
        slot = min(self._slots[author], key=lambda s: (self._entries[author, s].record.expires, s))
        self._remove((author, slot))
        self._evicted += 1
        return True

    def _sorted(self) -> list[Key]:
        if self._order is None:
            self._order = sorted(self._entries)
        return self._order

    def _insert(self, key: Key, entry: Entry[R]) -> None:
        self._entries[key] = entry
        self._dead.pop(key, None)
        self._order = None
        self._changed[key] = None
        self._recount(key[0], add=key[1])

    def _remove(self, key: Key) -> None:
        del self._entries[key]
        self._dead[key] = None
        self._order = None
        if key in self._counted:
            self._changed[key] = None
        else:  # it came and went between two digests
            self._changed.pop(key, None)
        self._recount(key[0], drop=key[1])

    def _recount(self, author: PeerId, *, add: int | None = None, drop: int | None = None) -> None:
        slots = self._slots.setdefault(author, {})
        self._crowd[len(slots)].pop(author, None)
        if add is not None:
            slots[add] = None
        if drop is not None:
            del slots[drop]
        if slots:
            self._crowd[len(slots)][author] = None
        else:
            del self._slots[author]

    def _mark(self, key: Key, sequence: int, expires: UnixSeconds) -> None:
        old = self._marks.get(key)
        if old is None and len(self._marks) >= MARKS_PER_RECORD * self._max:
            forgotten = next(iter(self._dead))
            del self._dead[forgotten]
            del self._marks[forgotten]
            self._unfile(forgotten)
        until = expires if old is None or expires > old[1] else old[1]
        self._marks[key] = (sequence, until)
        filed = self._filed.get(key)
        if filed is None or expires < filed:
            self._unfile(key)
            self._file(key, expires)

    def _file(self, key: Key, second: UnixSeconds) -> None:
        self._filed[key] = second
        self._wheel.setdefault(second, {})[key] = None
        if second < self._earliest:
            self._earliest = second

    def _unfile(self, key: Key) -> None:
        second = self._filed.pop(key, None)
        if second is not None:
            keys = self._wheel[second]
            del keys[key]
            if not keys:
                del self._wheel[second]


class OfferBook(Book[ResourceOffer]):
    """Live resource offers."""


class JobBook(Book[JobOffer]):
    """Live job offers."""


@lru_cache(maxsize=MAX_RECORDS)  # 1 MiB: the digest and every page of a sync ask again
def _bucket(key: Key) -> int:
    return sha256(key[0], bytes([key[1]]))[0] % BUCKETS


def _record_id(key: Key, sequence: int) -> int:
    return int.from_bytes(sha256(key[0], bytes([key[1]]), sequence.to_bytes(8, "big"))[:16], "big")

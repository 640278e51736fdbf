"""Does the book hold exactly the live offers, within its bounds, whatever arrives in whatever order?"""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocols.offers.book import BUCKETS, MARKS_PER_RECORD, Change, OfferBook
from protocols.offers.records import MAX_SLOTS, Ask, ExecutorOffer, OfferWithdrawn, ResourceOffer
from protocols.units import Address, PeerId, Tokens, UnixSeconds


def _peer(number):
    return PeerId(bytes.fromhex("002508021221") + b"\x02" + number.to_bytes(32, "big"))


def _offer(**changes):
    """A small offer; fixtures do not reach into hypothesis' machines."""
    zero = Tokens(0)
    fields = {
        "provider": _peer(1),
        "sequence": 1,
        "expires": UnixSeconds(1000),
        "cpus_milli": 4000,
        "memory_mib": 8192,
        "disk_mib": 10_240,
        "executors": (ExecutorOffer("wasm", 3),),
        "ask": Ask(zero, zero, zero, zero),
        "token": Address(bytes(20)),
        "escrow": Address(bytes(20)),
        "max_wall_s": 3600,
        "free_slots": 2,
    }
    return ResourceOffer(**(fields | changes))


def put(book, now=0, **changes):
    record = _offer(**changes)
    return book.put(record, b"%d" % record.sequence, UnixSeconds(now))


def test_a_higher_sequence_replaces_and_nothing_else_does():
    book = OfferBook()
    assert put(book, sequence=5) is Change.NEW
    assert put(book, sequence=5) is Change.STALE
    assert put(book, sequence=4) is Change.STALE
    assert put(book, sequence=6, cpus_milli=1) is Change.REFRESHED
    assert [one.cpus_milli for one in book.live(UnixSeconds(0))] == [1]


def test_an_offer_ends_at_its_expiry():
    book = OfferBook()
    put(book, expires=UnixSeconds(100))
    assert len(book.live(UnixSeconds(99))) == 1
    assert book.live(UnixSeconds(100)) == []
    assert put(book, now=100, sequence=2, expires=UnixSeconds(100)) is Change.EXPIRED


def test_a_heartbeat_keeps_it_alive():
    book = OfferBook()
    put(book, expires=UnixSeconds(100))
    put(book, sequence=2, expires=UnixSeconds(200))
    assert book.expire(UnixSeconds(150)) == 0
    assert len(book.live(UnixSeconds(150))) == 1


def test_a_later_record_may_end_sooner():
    book = OfferBook()
    put(book, expires=UnixSeconds(200))
    put(book, sequence=2, expires=UnixSeconds(100))
    assert book.live(UnixSeconds(100)) == []


def test_a_withdrawal_ends_it_and_outlasts_what_comes_late(withdrawn):
    book = OfferBook()
    put(book, sequence=5)
    assert book.withdraw(withdrawn(sequence=5), UnixSeconds(0)) is Change.STALE
    assert book.withdraw(withdrawn(sequence=6), UnixSeconds(0)) is Change.WITHDRAWN
    assert book.live(UnixSeconds(0)) == []
    assert put(book, sequence=5) is Change.STALE
    assert put(book, sequence=6) is Change.STALE
    assert put(book, sequence=7) is Change.NEW


def test_a_withdrawal_may_come_first(withdrawn):
    book = OfferBook()
    assert book.withdraw(withdrawn(sequence=6), UnixSeconds(0)) is Change.WITHDRAWN
    assert put(book, sequence=5) is Change.STALE
    assert book.withdraw(withdrawn(sequence=7), UnixSeconds(1000)) is Change.EXPIRED


def test_withdrawing_touches_one_slot_of_one_author(withdrawn):
    book = OfferBook()
    for author in (1, 2):
        for slot in (0, 1):
            put(book, provider=_peer(author), slot=slot)
    book.withdraw(withdrawn(slot=1), UnixSeconds(0))
    assert [(one.provider, one.slot) for one in book.live(UnixSeconds(0))] == [
        (_peer(1), 0),
        (_peer(2), 0),
        (_peer(2), 1),
    ]


def test_a_full_book_drops_extra_slots_first_and_never_a_peer_for_its_equal():
    book = OfferBook(max_records=4)
    for slot in range(3):
        put(book, slot=slot, expires=UnixSeconds(900 - slot))
    put(book, provider=_peer(2))
    assert put(book, provider=_peer(3)) is Change.NEW  # author 1 had three: the one that ends first, slot 2, went
    assert [(one.provider, one.slot) for one in book.live(UnixSeconds(0))] == [
        (_peer(1), 0),
        (_peer(1), 1),
        (_peer(2), 0),
        (_peer(3), 0),
    ]
    assert put(book, provider=_peer(4)) is Change.NEW
    assert put(book, provider=_peer(5)) is Change.FULL
    assert put(book, provider=_peer(2), slot=1) is Change.FULL
    assert put(book, provider=_peer(2), sequence=2) is Change.REFRESHED
    assert (book.statistics().evicted, book.statistics().refused) == (2, 2)
    assert put(book, now=898, provider=_peer(5), expires=UnixSeconds(2000)) is Change.FULL
    assert put(book, now=900, provider=_peer(5), expires=UnixSeconds(2000)) is Change.NEW


def test_remembered_sequences_are_bounded(withdrawn):
    book = OfferBook(max_records=4)
    put(book, provider=_peer(10_000))
    for author in range(100):
        book.withdraw(withdrawn(owner=_peer(author)), UnixSeconds(0))
    assert book.statistics().marks == 4 * MARKS_PER_RECORD
    assert len(book.live(UnixSeconds(0))) == 1
    book.expire(UnixSeconds(1000))
    assert book.statistics().marks == 0


def test_two_books_agree_exactly_when_their_digests_do():
    one, two = OfferBook(), OfferBook()
    for author in range(200):
        put(one, provider=_peer(author))
        put(two, provider=_peer(199 - author))
    assert one.digest() == two.digest()
    assert len(one.digest()) == BUCKETS
    put(two, provider=_peer(7), sequence=2)
    put(one, provider=_peer(300))
    lacking = [key for key, _ in one.differing(two.digest())]
    assert {(_peer(7), 0), (_peer(300), 0)} <= set(lacking)
    assert len(lacking) < 40  # two of 64 buckets, of 201 records
    assert list(one.differing(one.digest())) == []
    assert len(list(one.differing(()))) == 201


class BookMachine(RuleBasedStateMachine):
    """The book against the plainest model: a dict, and everything looked through every time."""

    LIMIT = 6
    authors = st.integers(0, 5)
    slots = st.integers(0, MAX_SLOTS - 1).map(lambda n: n % 3)

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.book = OfferBook(max_records=self.LIMIT)
        self.live: dict[tuple[bytes, int], ResourceOffer] = {}

    @rule(author=authors, slot=slots, sequence=st.integers(0, 8), lifetime=st.integers(-2, 30))
    def put(self, author, slot, sequence, lifetime):
        expires = UnixSeconds(max(self.now + lifetime, 0))
        record = _offer(provider=_peer(author), slot=slot, sequence=sequence, expires=expires)
        before = dict(self._alive())
        change = self.book.put(record, b"", UnixSeconds(self.now))
        key = (record.provider, slot)
        if change in (Change.NEW, Change.REFRESHED):
            assert expires > self.now
            assert key not in before or before[key].sequence < sequence
            self.live[key] = record
            gone = set(before) - {(one.provider, one.slot) for one in self.book.live(UnixSeconds(self.now))}
            assert len(gone) <= (len(before) == self.LIMIT)
            for evicted in gone:
                counts = [other for other, _ in before]
                assert counts.count(evicted[0]) == max(counts.count(other) for other in counts)
                assert counts.count(evicted[0]) > counts.count(record.provider) + 1
                del self.live[evicted]
        elif change is Change.FULL:
            assert key not in before
            assert len(before) == self.LIMIT

    @rule(author=authors, slot=slots, sequence=st.integers(0, 8))
    def withdraw(self, author, slot, sequence):
        expires = UnixSeconds(self.now + 40)
        record = OfferWithdrawn(owner=_peer(author), kind="offer", slot=slot, sequence=sequence, expires=expires)
        change = self.book.withdraw(record, UnixSeconds(self.now))
        live = self.live.get((_peer(author), slot))
        if change is Change.WITHDRAWN:
            assert live is None or live.sequence < sequence or live.expires <= self.now
            self.live.pop((_peer(author), slot), None)
        else:
            assert change is Change.STALE

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.now > 0)
    @rule()
    def expire(self):
        self.book.expire(UnixSeconds(self.now))

    def _alive(self):
        self.live = {key: one for key, one in self.live.items() if one.expires > self.now}
        return self.live

    @invariant()
    def same_offers(self):
        listed = self.book.live(UnixSeconds(self.now))
        assert {(one.provider, one.slot): one for one in listed} == self._alive()
        assert all((a.provider, a.slot) < (b.provider, b.slot) for a, b in pairwise(listed))

    @invariant()
    def bounded(self):
        self.book.expire(UnixSeconds(self.now))
        figures = self.book.statistics()
        assert figures.live <= self.LIMIT
        assert figures.marks <= self.LIMIT * MARKS_PER_RECORD
        assert figures.authors == len({author for author, _ in self._alive()})
        assert sum(len(keys) for keys in self.book._wheel.values()) <= figures.marks

    @invariant()
    def digest_is_that_of_a_fresh_book(self):
        fresh = OfferBook()
        for record in self.book.live(UnixSeconds(self.now)):
            fresh.put(record, b"", UnixSeconds(self.now))
        assert self.book.digest() == fresh.digest()


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.mark.parametrize("count", [1, 4000])
def test_changes_touch_nothing_else(count):
    """O(1), told by what is touched and not by a clock: other entries stay the very same objects."""
    book = OfferBook()
    for author in range(count):
        put(book, provider=_peer(author))
    before = dict(book._entries)
    put(book, provider=_peer(0), sequence=2)
    assert sum(book._entries[key] is not entry for key, entry in before.items()) == 1


def test_what_came_and_went_between_two_digests_is_forgotten(withdrawn):
    book = OfferBook()
    empty = book.digest()
    for author in range(50):
        put(book, provider=_peer(author))
        book.withdraw(withdrawn(owner=_peer(author), sequence=2), UnixSeconds(0))
    assert not book._changed
    put(book, provider=_peer(100))
    one = book.digest()
    book.expire(UnixSeconds(1000))
    assert (one != empty, book.digest()) == (True, empty)


def test_a_heartbeat_is_filed_once_and_still_lapses_in_time():
    book = OfferBook()
    for sequence in range(1, 50):
        put(book, sequence=sequence, expires=UnixSeconds(1000 + sequence))
    assert sum(len(keys) for keys in book._wheel.values()) == 1
    assert book.expire(UnixSeconds(1048)) == 0
    assert book.expire(UnixSeconds(1049)) == 1
    assert book.statistics().marks == 0
    assert not book._wheel

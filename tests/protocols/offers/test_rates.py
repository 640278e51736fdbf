"""Is an author held to its rate, to the millisecond, and can nobody else use it up?"""

from hypothesis import given
from hypothesis import strategies as st

from protocols.offers.rates import BURST, MAX_AUTHORS, PER_SECOND, Rates
from protocols.units import Millis


def spend(rates, author, now):
    if not rates.allows(author, Millis(now)):
        return False
    rates.charge(author, Millis(now))
    return True


def test_a_burst_then_two_a_second(peer):
    rates = Rates()
    assert [spend(rates, peer(1), 0) for _ in range(BURST + 1)] == [True] * BURST + [False]
    assert not spend(rates, peer(1), 499)
    assert spend(rates, peer(1), 500)
    assert not spend(rates, peer(1), 999)
    assert spend(rates, peer(1), 1000)


def test_authors_do_not_share(peer):
    rates = Rates()
    for _ in range(BURST):
        spend(rates, peer(1), 0)
    assert not rates.allows(peer(1), Millis(0))
    assert rates.allows(peer(2), Millis(0))


def test_looking_costs_nothing(peer):
    rates = Rates()
    for _ in range(1000):
        rates.allows(peer(1), Millis(0))
    assert len(rates) == 0
    assert spend(rates, peer(1), 0)


@given(st.lists(st.integers(0, 2000), max_size=100))
def test_never_more_than_the_burst_and_the_rate(gaps):
    rates, now, spent = Rates(), 0, 0
    for gap in gaps:
        now += gap
        spent += spend(rates, b"author", now)
        assert spent <= BURST + now * PER_SECOND // 1000


def test_a_clock_that_steps_back_gives_nothing_away(peer):
    rates = Rates()
    for _ in range(BURST):
        spend(rates, peer(1), 10_000)
    assert not rates.allows(peer(1), Millis(5000))


def test_the_table_is_bounded_and_makes_room_of_those_who_are_idle():
    rates = Rates()
    for author in range(MAX_AUTHORS):
        assert spend(rates, author.to_bytes(4, "big"), 0)
    assert not rates.allows(b"new", Millis(0))
    rates.charge(b"new", Millis(0))
    assert len(rates) == MAX_AUTHORS
    idle = 1000 // PER_SECOND  # one record was taken; its bucket is full again after this many milliseconds
    assert not rates.allows(b"new", Millis(idle - 1))
    assert spend(rates, b"new", idle)
    assert len(rates) == MAX_AUTHORS

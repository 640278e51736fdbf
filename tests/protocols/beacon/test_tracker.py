"""Does a node keep the rounds it needs, and no more; does it know who waits?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.beacon.tracker import MAX_WAITERS, RECENT_ROUNDS, Beacon
from protocols.errors import LocalProtocolError
from protocols.messages.beacon import BeaconRound
from protocols.units import Millis, UnixSeconds


def put(beacon: Beacon, number: int) -> bool:
    return beacon.put(BeaconRound(number, number.to_bytes(48, "big")), Millis(number), UnixSeconds(number))


@given(st.lists(st.integers(1, 3_000), max_size=50))
def test_the_latest_is_the_highest(numbers: list[int]) -> None:
    beacon = Beacon()
    for count, number in enumerate(numbers):
        assert put(beacon, number) is (number > max(numbers[:count], default=0))
    assert beacon.newest == max(numbers, default=0)
    assert all(beacon.known(number) is not None for number in numbers)


def test_an_old_round_is_no_news() -> None:
    beacon = Beacon()
    put(beacon, 9)
    put(beacon, 7)
    assert (beacon.news_at, beacon.news_wall) == (9, 9)


def test_memory_is_bounded_and_old_rounds_go_first() -> None:
    beacon = Beacon()
    for number in range(1, RECENT_ROUNDS + 3):
        put(beacon, number)
    assert [beacon.known(number) is None for number in (1, 2, 3)] == [True, True, False]
    put(beacon, 1)
    assert beacon.known(1) is None
    assert beacon.known(RECENT_ROUNDS + 2) is not None


def test_waiters_are_told_once_in_the_order_they_came() -> None:
    beacon = Beacon()
    for who in ("b:1", "a:2", "b:1"):
        beacon.wait(5, who)
    beacon.wait(6, "c:3")
    assert beacon.waiters == 3
    beacon.forget(5, "nobody")
    beacon.forget(6, "c:3")
    assert beacon.awaited(0, 100) == [5]
    assert beacon.take_waiters(5) == ("b:1", "a:2")
    assert beacon.take_waiters(5) == ()
    assert beacon.waiters == 0


def test_awaited_rounds_lie_strictly_between() -> None:
    beacon = Beacon()
    for number in (9, 3, 5, 7):
        beacon.wait(number, "x:")
    assert beacon.awaited(3, 9) == [5, 7]


def test_there_is_a_bound_on_those_who_wait() -> None:
    beacon = Beacon()
    for number in range(MAX_WAITERS):
        beacon.wait(number % 100, f"x:{number}")
    beacon.wait(0, "x:0")
    with pytest.raises(LocalProtocolError, match="wait for rounds"):
        beacon.wait(200, "x:more")
    assert beacon.awaited(199, 201) == []
    beacon.take_waiters(0)
    beacon.wait(200, "x:more")

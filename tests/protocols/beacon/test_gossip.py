"""Which gossiped rounds are taken, which dropped, and which cost the forwarder?"""

from collections.abc import Callable

import pytest

from protocols.beacon.chain import DEVNET_BEACON as CHAIN
from protocols.beacon.gossip import AHEAD_S, LATE_ROUNDS, check_round
from protocols.beacon.tracker import Beacon
from protocols.canonical import encode
from protocols.errors import GossipIgnore, GossipReject
from protocols.messages.beacon import BeaconRound
from protocols.units import UnixSeconds

Signed = Callable[[int], BeaconRound]
Knowing = Callable[..., Beacon]
N = 1_000_000
NOW = CHAIN.time_of(N)


def forged(number: int, signed: Signed) -> bytes:
    return encode(BeaconRound(number, signed(number + 1).signature))


def test_a_genuine_round_is_taken(signed: Signed, knowing: Knowing) -> None:
    assert check_round(Beacon(), CHAIN, encode(signed(N)), NOW) == signed(N)
    assert check_round(knowing(N - 1), CHAIN, encode(signed(N)), NOW) == signed(N)


def test_a_late_round_fills_its_gap(signed: Signed, knowing: Knowing) -> None:
    late = signed(N - LATE_ROUNDS + 1)
    assert check_round(knowing(N), CHAIN, encode(late), NOW) == late
    with pytest.raises(GossipIgnore, match="history"):
        check_round(knowing(N), CHAIN, encode(signed(N - LATE_ROUNDS)), NOW)


def test_a_known_round_is_dropped(signed: Signed, knowing: Knowing) -> None:
    with pytest.raises(GossipIgnore, match="seen"):
        check_round(knowing(N), CHAIN, encode(signed(N)), NOW)


def test_a_forgery_costs_the_forwarder(signed: Signed, knowing: Knowing) -> None:
    with pytest.raises(GossipReject, match="another key, or for another round"):
        check_round(knowing(N - 1), CHAIN, forged(N, signed), NOW)


def test_a_second_signature_of_a_known_round_is_refused_without_a_pairing(signed: Signed, knowing: Knowing) -> None:
    with pytest.raises(GossipReject, match="has one signature"):
        check_round(knowing(N), CHAIN, forged(N, signed), NOW)


def test_the_future_is_refused_before_the_pairing(signed: Signed, knowing: Knowing) -> None:
    edge = CHAIN.round_at(UnixSeconds(NOW + AHEAD_S))
    assert check_round(knowing(N), CHAIN, encode(signed(edge)), NOW).number == edge
    with pytest.raises(GossipReject, match="future"):
        check_round(knowing(N), CHAIN, forged(edge + 1, signed), NOW)


def test_a_slow_clock_still_follows_round_by_round(signed: Signed, knowing: Knowing) -> None:
    """An hour behind: what it has verified says more about the time than its clock."""
    slow = UnixSeconds(NOW - 3_600)
    assert check_round(knowing(N), CHAIN, encode(signed(N + 1)), slow).number == N + 1
    with pytest.raises(GossipReject, match="future"):
        check_round(knowing(N), CHAIN, encode(signed(N + LATE_ROUNDS + 1)), slow)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1", bytes(64), bytes(65), b"\xff" * 2_000])
def test_bytes_that_are_no_round_cost_the_forwarder(data: bytes) -> None:
    with pytest.raises(GossipReject):
        check_round(Beacon(), CHAIN, data, NOW)


def test_looking_changes_nothing(signed: Signed, knowing: Knowing) -> None:
    beacon = knowing(N)
    check_round(beacon, CHAIN, encode(signed(N + 1)), NOW)
    assert (beacon.newest, beacon.known(N + 1)) == (N, None)

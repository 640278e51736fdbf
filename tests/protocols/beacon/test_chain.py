"""Does every second have its round, every round its second, and every record one form?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.beacon.chain import DEVNET_BEACON, QUICKNET, BeaconChain
from protocols.canonical import decode_strict, encode
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.limits import ARBITRUM_ONE, ARBITRUM_SEPOLIA, DEVNET, MAX_GOSSIP_BYTES
from protocols.messages.beacon import MAX_ROUND, MAX_ROUND_BYTES, BeaconRound, beacon_topic
from protocols.units import Hash32, Seconds, UnixSeconds

chains = st.builds(
    BeaconChain,
    chain_hash=st.just(Hash32(bytes(32))),
    public_key=st.just(b""),
    period_s=st.integers(1, 86_400).map(Seconds),
    genesis=st.integers(0, 1 << 40).map(UnixSeconds),
)


@given(chains, st.integers(1, 1 << 50))
def test_a_round_is_due_at_its_time_and_not_before(chain: BeaconChain, number: int) -> None:
    due = chain.time_of(number)
    assert chain.round_at(due) == number
    assert chain.round_at(UnixSeconds(due - 1)) == number - 1
    assert chain.round_at(UnixSeconds(due + chain.period_s - 1)) == number


@given(chains, st.integers(0, 1 << 50), st.integers(0, 1 << 20))
def test_time_never_takes_a_round_back(chain: BeaconChain, now: int, later: int) -> None:
    before, after = chain.round_at(UnixSeconds(now)), chain.round_at(UnixSeconds(now + later))
    assert 0 <= before <= after
    assert before == 0 or chain.time_of(before) <= now


def test_rounds_count_from_one() -> None:
    assert QUICKNET.round_at(UnixSeconds(QUICKNET.genesis - 1)) == 0
    assert QUICKNET.round_at(QUICKNET.genesis) == 1
    with pytest.raises(LocalProtocolError, match="count from 1"):
        QUICKNET.time_of(0)


def test_quicknet_as_others_count_it() -> None:
    """drand's clients date round 1000 to this second."""
    assert QUICKNET.time_of(1_000) == 1_692_806_364


def test_every_network_has_its_beacon() -> None:
    assert DEVNET.beacon == DEVNET_BEACON
    assert ARBITRUM_ONE.beacon == ARBITRUM_SEPOLIA.beacon == QUICKNET


GOLDEN = bytes.fromhex(
    "92cd03e8c430b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
)


def test_a_round_has_one_form() -> None:
    one = BeaconRound(1_000, GOLDEN[6:])
    assert encode(one) == GOLDEN
    assert decode_strict(BeaconRound, GOLDEN, max_bytes=MAX_ROUND_BYTES) == one
    assert beacon_topic("devnet") == "/mesh/devnet/beacon/1"


def test_the_largest_round_fits() -> None:
    assert len(encode(BeaconRound(MAX_ROUND, b"\xff" * 48))) <= MAX_ROUND_BYTES < MAX_GOSSIP_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOLDEN[:-1],
        GOLDEN + b"\x00",
        b"\x92\xce\x00\x00\x03\xe8" + GOLDEN[4:],
        b"\x93" + GOLDEN[1:] + b"\x00",
        b"\x92\x00" + GOLDEN[4:],
        b"\x92\xcf" + (1 << 63).to_bytes(8, "big") + GOLDEN[4:],
        GOLDEN[:4] + b"\xc4\x2f" + GOLDEN[7:],
    ],
    ids=["empty", "short", "trailing", "wide number", "third field", "round 0", "past the last", "47 bytes"],
)
def test_other_forms_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_strict(BeaconRound, data, max_bytes=MAX_ROUND_BYTES)

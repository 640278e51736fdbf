"""Are genuine rounds taken and all others refused? Real rounds of quicknet, and py_ecc as the second opinion."""

import hashlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, decompress_G1
from py_ecc.optimized_bls12_381 import G2, curve_order, multiply, neg, normalize, pairing

from devnet.beacon import BeaconKey
from protocols.beacon.chain import DEVNET_BEACON, QUICKNET, BeaconChain
from protocols.beacon.scheme import DST, round_message, verify_round
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.messages.beacon import BeaconRound
from protocols.units import Hash32, Seconds, UnixSeconds

# Published by drand's own relays and quoted in the tests of its clients in several languages.
REAL = {
    1_000: (
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
        "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
    ),
    657_413: (
        "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b",
        "fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587",
    ),
    32_281_667: (
        "b0f5ae301358ff87a9d3dd539ed4a07c0148b1ab4f7b61a8ca43c7e9ca7ca9553e4faae9188deb30b2cd1a7f447e3e5b",
        "4fd2fc55983dbfa3f446d8a0bd56f16cc8c5e76afd1ec154b60d477cbabed13b",
    ),
}
INFINITY = bytes([0xC0]) + bytes(47)
OUTSIDE = bytes.fromhex(
    "92001532257215c1893e2cab26ec43cd34c4d098def7524a8b25d9994f8df8122f1319fe9b0e98c219546a5147ef38fa"
)
"""A point of the curve that is not in the subgroup."""


def real(number: int) -> BeaconRound:
    return BeaconRound(number, bytes.fromhex(REAL[number][0]))


@pytest.mark.parametrize("number", list(REAL))
def test_real_rounds_of_quicknet_are_genuine(number: int) -> None:
    one = real(number)
    verify_round(QUICKNET, one)
    assert one.randomness.hex() == REAL[number][1]


@pytest.mark.parametrize(("number", "other"), [*pairwise(REAL), (1_000, 1_001), (1_000, 1)])
def test_a_signature_is_for_one_round(number: int, other: int) -> None:
    with pytest.raises(RemoteProtocolError, match="another key, or for another round"):
        verify_round(QUICKNET, BeaconRound(other, real(number).signature))


def test_a_signature_is_for_one_chain(signed: Callable[[int], BeaconRound]) -> None:
    verify_round(DEVNET_BEACON, signed(1_000))
    with pytest.raises(RemoteProtocolError, match="another key"):
        verify_round(QUICKNET, signed(1_000))
    with pytest.raises(RemoteProtocolError, match="another key"):
        verify_round(DEVNET_BEACON, real(1_000))


def test_the_second_opinion_agrees() -> None:
    """py_ecc: another hash to the curve, another pairing, no code in common."""
    one = real(1_000)
    message = hash_to_G1(round_message(1_000), DST, hashlib.sha256)
    key = BeaconKey(7)
    assert compress_G1(multiply(message, 7)).to_bytes(48, "big") == key.sign(1_000).signature
    point = decompress_G1(int.from_bytes(one.signature, "big"))
    x, y = pairing(G2, point), pairing(_public_point(), message)
    assert x == y
    assert pairing(neg(G2), point) != y


def _public_point() -> object:
    from py_ecc.bls.point_compression import decompress_G2

    raw = QUICKNET.public_key
    return decompress_G2((int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big")))


@pytest.mark.parametrize("signature", [INFINITY, bytes([0xE0]) + bytes(47), b"\xff" * 48], ids=["c0", "e0", "ff"])
def test_infinity_signs_nothing(signature: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="one spelling"):
        verify_round(QUICKNET, BeaconRound(1_000, signature))


def test_a_point_outside_the_subgroup_signs_nothing() -> None:
    point = decompress_G1(int.from_bytes(OUTSIDE, "big"))
    assert normalize(multiply(point, curve_order))[0] != 0, "py_ecc: on the curve, and not in the subgroup"
    with pytest.raises(RemoteProtocolError, match="not a point of the group"):
        verify_round(QUICKNET, BeaconRound(1_000, OUTSIDE))


def test_the_mirrored_point_signs_nothing() -> None:
    signature = bytearray(real(1_000).signature)
    signature[0] ^= 0x20
    with pytest.raises(RemoteProtocolError, match="another key"):
        verify_round(QUICKNET, BeaconRound(1_000, bytes(signature)))


@given(st.binary(min_size=0, max_size=60))
def test_any_bytes_are_refused_politely(signature: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_round(QUICKNET, BeaconRound(1_000, signature))


@given(st.integers(0, 383))
def test_every_bit_counts(bit: int) -> None:
    flipped = int.from_bytes(real(1_000).signature, "big") ^ (1 << bit)
    with pytest.raises(RemoteProtocolError):
        verify_round(QUICKNET, BeaconRound(1_000, flipped.to_bytes(48, "big")))


@given(secret=st.integers(1, curve_order - 1), number=st.integers(1, (1 << 63) - 1))
def test_what_a_key_signs_is_genuine_under_it_alone(secret: int, number: int) -> None:
    key = BeaconKey(secret)
    chain = BeaconChain(
        chain_hash=Hash32(bytes(32)), public_key=key.public_key, period_s=Seconds(3), genesis=UnixSeconds(0)
    )
    verify_round(chain, key.sign(number))
    with pytest.raises(RemoteProtocolError):
        verify_round(DEVNET_BEACON, key.sign(number))


@pytest.mark.parametrize("public_key", [bytes([0xC0]) + bytes(95), bytes(96), b"\xaa" * 96, b""])
def test_a_chain_with_a_broken_key_is_our_own_fault(public_key: bytes) -> None:
    chain = BeaconChain(
        chain_hash=Hash32(bytes(32)), public_key=public_key, period_s=Seconds(3), genesis=UnixSeconds(0)
    )
    with pytest.raises(LocalProtocolError, match="public key"):
        verify_round(chain, real(1_000))

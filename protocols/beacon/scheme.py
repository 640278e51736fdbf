"""Is this round genuine? BLS verification, the same for drand's chain and for a devnet's.

A signature is the round's message, hashed to G1, times the secret key; so ``e(signature, g2) == e(hash, public key)``.
It is unique: a chain has one signature per round, and one way to write it. Checking takes 2 to 3 ms, nearly all of it in
the two pairings (`mesh devnet bench beacon`), so callers look at everything else first.
"""

from functools import lru_cache
from typing import Final

from py_arkworks_bls12381 import GT, G1Point, G2Point

from protocols.beacon.chain import BeaconChain
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import sha256
from protocols.messages.beacon import BeaconRound
from protocols.units import Hash32

__all__ = ["DST", "round_message", "verify_round"]

DST: Final = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
"""Domain of the hash to the curve: RFC 9380's suite for G1, as drand's scheme names it."""
_MINUS_G2: Final = -G2Point()
_INFINITY: Final = G1Point.identity()


def round_message(number: int) -> Hash32:
    """What the signers sign for a round: SHA-256 of its number in eight big-endian bytes."""
    return sha256(number.to_bytes(8, "big"))


def verify_round(chain: BeaconChain, one: BeaconRound) -> None:
    """Raises ``RemoteProtocolError`` (``bad_round``) unless this is the chain's signature for this round.

    The point at infinity, points outside the subgroup and second spellings of a point are refused, whatever the pairing
    would say about them.
    """
    try:
        point = G1Point.from_compressed_bytes(one.signature)  # checks the curve and the subgroup
    except ValueError as error:
        raise RemoteProtocolError(f"round {one.number}: not a point of the group: {error}", code="bad_round") from error
    if point == _INFINITY or point.to_compressed_bytes() != one.signature:
        raise RemoteProtocolError(f"round {one.number}: not a signature's one spelling", code="bad_round")
    message = G1Point.hash_to_curve(round_message(one.number), DST)
    if not GT.pairing_check([point, message], [_MINUS_G2, _public_key(chain.public_key)]):
        raise RemoteProtocolError(
            f"round {one.number} is signed by another key, or for another round", code="bad_round"
        )


@lru_cache(maxsize=8)
def _public_key(data: bytes) -> G2Point:
    """The point of a chain's key: 0.2 ms to unpack, and a process knows one or two."""
    try:
        point = G2Point.from_compressed_bytes(data)
    except ValueError as error:
        raise LocalProtocolError(f"the beacon's public key is none: {error}") from error
    if point == G2Point.identity():
        raise LocalProtocolError("the beacon's public key is the point at infinity, which fits every signature")
    return point

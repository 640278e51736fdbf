"""How does a randomness round travel? As itself: its signature proves it, whoever passes it on.

The one gossip record without an envelope: there is no author whose word would count. Its version is the topic's.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.hashing import sha256
from protocols.units import Hash32

__all__ = [
    "BEACON_PROTOCOL",
    "MAX_ROUND",
    "MAX_ROUND_BYTES",
    "ROUND_SIGNATURE_BYTES",
    "BeaconRound",
    "RoundPull",
    "beacon_topic",
]

BEACON_PROTOCOL: Final = "/mesh/beacon/1"
"""Asks a peer for one round: `RoundPull`, answered by `BeaconRound`, or by nothing when it is not there."""

MAX_ROUND: Final = (1 << 63) - 1
"""Rounds are counted in 64 bits; three seconds each, this one lies beyond any clock."""
ROUND_SIGNATURE_BYTES: Final = 48
"""A compressed point on G1."""
MAX_ROUND_BYTES: Final = 64
"""A round on the wire: one byte of array, nine of number, fifty of signature."""


class BeaconRound(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One round. Genuine only if ``protocols.beacon.scheme.verify_round`` says so."""

    number: Annotated[int, Meta(ge=1, le=MAX_ROUND)]
    signature: Annotated[bytes, Meta(min_length=ROUND_SIGNATURE_BYTES, max_length=ROUND_SIGNATURE_BYTES)]

    @property
    def randomness(self) -> Hash32:
        """The round's value, as drand defines it."""
        return sha256(self.signature)


class RoundPull(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which round is wanted."""

    number: Annotated[int, Meta(ge=1, le=MAX_ROUND)]


def beacon_topic(network: str) -> str:
    """Where rounds travel."""
    return f"/mesh/{network}/beacon/1"

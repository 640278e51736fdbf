"""Which beacon does a network trust, and which round belongs to which second?

A beacon chain signs a number, the round, every ``period_s`` seconds; nobody can know the signature before enough of the
signers have made it, and nobody can make another one. Rounds count from 1 at ``genesis``.
"""

from typing import Final

import msgspec

from protocols.errors import LocalProtocolError
from protocols.units import Hash32, Seconds, UnixSeconds

__all__ = ["DEVNET_BEACON", "QUICKNET", "SCHEME", "BeaconChain"]

SCHEME: Final = "bls-unchained-g1-rfc9380"
"""drand's name for: BLS on BLS12-381, signatures on G1, each round signed by itself, hashed to the curve by RFC 9380."""


class BeaconChain(msgspec.Struct, frozen=True, kw_only=True):
    """One chain of randomness rounds and the key that its rounds are checked with."""

    chain_hash: Hash32
    """Identity of the chain: relays serve several, and its hexadecimal form is part of their addresses."""
    public_key: bytes
    """Compressed point on G2, 96 bytes."""
    period_s: Seconds
    genesis: UnixSeconds
    """When round 1 was due."""

    def round_at(self, now: UnixSeconds) -> int:
        """The newest round that is due at ``now``; 0 before genesis."""
        return 0 if now < self.genesis else (now - self.genesis) // self.period_s + 1

    def time_of(self, number: int) -> UnixSeconds:
        """When a round is due. Raises ``LocalProtocolError`` for a number below 1: there is no such round."""
        if number < 1:
            raise LocalProtocolError(f"rounds count from 1, got {number}")
        return UnixSeconds(self.genesis + (number - 1) * self.period_s)


QUICKNET: Final = BeaconChain(
    chain_hash=Hash32(bytes.fromhex("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971")),
    public_key=bytes.fromhex(
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451"
        "0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
    ),
    period_s=Seconds(3),
    genesis=UnixSeconds(1_692_803_367),
)
"""drand's quicknet, signed by the League of Entropy. Source: the chain's own ``/info``, as published by drand."""

DEVNET_BEACON: Final = BeaconChain(
    chain_hash=Hash32(bytes.fromhex("41ab9e777bc6a06f0b4e2e46a84cedf5850831ffb30e3d8d55f65e6148ea5c68")),
    public_key=bytes.fromhex(
        "a30687ebe1f7825d742f9d7a028fa2a8bec5295268fa8b5cf08fd377611cbcdef38745aef67191bc17b2ca0c2b3fcb12"
        "02ddf430264c63d9fb9cf17d3444658da2b610ae5ad8100961a92ad8634fabee8373abf386fcd782c400788d5f70121c"
    ),
    period_s=Seconds(1),
    genesis=UnixSeconds(1_700_000_000),
)
"""The development network's. Everybody knows its secret key (``devnet.beacon``), as everybody knows its money's."""

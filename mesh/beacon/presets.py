"""Which public relays serve which beacon? They are a help, not an authority: rounds prove themselves."""

from collections.abc import Mapping
from typing import Final

from protocols.beacon.chain import QUICKNET, BeaconChain
from protocols.units import Hash32

__all__ = ["relays_of"]

_PUBLIC: Final[Mapping[Hash32, tuple[str, ...]]] = {
    QUICKNET.chain_hash: (
        "https://api.drand.sh",
        "https://api2.drand.sh",
        "https://api3.drand.sh",
        "https://drand.cloudflare.com",
    ),
}
"""From drand's own list of League of Entropy mainnet endpoints (its developer documentation, HTTP API)."""


def relays_of(chain: BeaconChain) -> tuple[str, ...]:
    """Public relays of a chain; none for a chain of one's own."""
    return _PUBLIC.get(chain.chain_hash, ())

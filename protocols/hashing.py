"""Which hash functions do the rules use?"""

import hashlib

import sha3  # safe-pysha3: the C implementation, 2 us where pycryptodome takes 16

from protocols.units import Hash32

__all__ = ["keccak256", "sha256"]


def keccak256(*parts: bytes) -> Hash32:
    """Keccak-256 (Ethereum's, not FIPS 202) of the concatenated parts."""
    return Hash32(sha3.keccak_256(b"".join(parts)).digest())


def sha256(*parts: bytes) -> Hash32:
    """SHA-256 of the concatenated parts."""
    return Hash32(hashlib.sha256(b"".join(parts)).digest())

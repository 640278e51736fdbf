"""Which kinds of value exist, and in which unit is each counted?

Identifiers are raw bytes; hex and decimal text appear only at the edge (``mesh.cli``, ``mesh.api``, log renderers).
Amounts are integers in wei. Durations are whole seconds or milliseconds, and the name says which.
"""

from typing import Final, NewType

__all__ = [
    "PPM",
    "WEI_PER_TOKEN",
    "ZERO_ADDRESS",
    "ZERO_HASH",
    "Address",
    "Cid",
    "DealId",
    "Hash32",
    "JobId",
    "Mebibytes",
    "Millis",
    "PeerId",
    "RunId",
    "Seconds",
    "Signature",
    "Tokens",
    "UnixSeconds",
]

PeerId = NewType("PeerId", bytes)
"""libp2p PeerId of a secp256k1 key: identity multihash, 39 bytes (``00 25 08 02 12 21`` + compressed public key)."""
Address = NewType("Address", bytes)
"""Ethereum address, 20 bytes."""
Hash32 = NewType("Hash32", bytes)
"""A 32-byte digest."""
Cid = NewType("Cid", bytes)
"""Binary CIDv1 with a sha2-256 multihash, 36 bytes (raw or dag-pb)."""
DealId = NewType("DealId", bytes)
"""EIP-712 digest of a Deal, 32 bytes."""
JobId = NewType("JobId", bytes)
"""Hash of the canonical job, 32 bytes. Secrets never enter it."""
RunId = NewType("RunId", bytes)
"""H(JobId, client, run nonce), 32 bytes: one submission of a job."""
Signature = NewType("Signature", bytes)
"""Recoverable secp256k1 signature ``r || s || v``, 65 bytes, v in {27, 28}, low s."""

Seconds = NewType("Seconds", int)
"""A duration in whole seconds."""
Millis = NewType("Millis", int)
"""A reading of, or a duration on, the node's monotonic clock, in milliseconds. Never compared between machines."""
UnixSeconds = NewType("UnixSeconds", int)
"""Seconds since 1970 UTC; for anything the chain judges this is ``block.timestamp``."""
Mebibytes = NewType("Mebibytes", int)
"""2**20 bytes."""


class Tokens(int):
    """An amount of the deal's ERC-20 token in wei (10**-18), 0 <= amount < 2**256.

    Travels as 32 big-endian bytes, because msgpack integers end at 2**64. Arithmetic yields plain ``int``:
    wrap the result, which is where a negative amount is refused.
    """

    __slots__ = ()

    def __new__(cls, amount: int) -> "Tokens":
        if not 0 <= amount < 1 << 256:
            raise ValueError(f"an amount must lie in [0, 2**256), got {amount}")
        return super().__new__(cls, amount)


WEI_PER_TOKEN: Final = 10**18
PPM: Final = 1_000_000
ZERO_ADDRESS: Final = Address(bytes(20))
ZERO_HASH: Final = Hash32(bytes(32))

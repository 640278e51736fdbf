"""How can a transaction end, what may it cost, and what has the submitter done so far? The values that it deals in."""

import msgspec

from mesh.chain.reverts import RevertReason
from mesh.chain.wire import Log
from protocols.units import Address, Hash32

__all__ = [
    "Confirmed",
    "Dropped",
    "FeeQuote",
    "Outcome",
    "Reverted",
    "SubmitterSettings",
    "SubmitterStatistics",
]


class SubmitterSettings(msgspec.Struct, frozen=True):
    """Money in wei per gas, times in seconds."""

    fee_cap: int = 10 * 10**9
    """Never offer more than this. 10 gwei: 500 times Arbitrum's floor."""
    poll_s: float = 0.05
    """First pause between two looks for a receipt; grows by half each time."""
    poll_max_s: float = 1.0
    stuck_s: float = 15.0
    """Without a receipt for this long, a transaction is sent again or replaced."""
    resigns: int = 3
    """How often a transaction whose nonce was taken by another is signed anew before the caller is told."""


class FeeQuote(msgspec.Struct, frozen=True):
    """What a transaction would cost now. ``expected_wei`` at today's base fee, ``max_wei`` at worst."""

    gas: int
    base_fee: int
    max_fee: int
    expected_wei: int
    max_wei: int
    balance_wei: int


class Confirmed(msgspec.Struct, frozen=True, tag=True):
    """The transaction is in a block (``seen``; the follower tells when it is final) and did what it should."""

    tx_hash: Hash32
    block: int
    block_hash: Hash32
    gas_used: int
    created: Address | None
    logs: tuple[Log, ...]


class Reverted(msgspec.Struct, frozen=True, tag=True):
    """The contract refuses. ``tx_hash`` is None when the gas estimate showed it and nothing was spent."""

    reason: RevertReason
    tx_hash: Hash32 | None = None
    block: int | None = None
    gas_used: int = 0


class Dropped(msgspec.Struct, frozen=True, tag=True):
    """Another program uses the key: its transactions took every nonce tried. None of ours can ever land."""

    nonce: int
    tx_hash: Hash32


Outcome = Confirmed | Reverted | Dropped


class SubmitterStatistics(msgspec.Struct, frozen=True):
    """Counts since start; ``in_flight`` are keys not released."""

    in_flight: int
    sent: int
    confirmed: int
    reverted: int
    replaced: int
    resent: int
    dropped: int
    gas_used: int

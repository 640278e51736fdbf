"""What does a log of the escrow say about a deal?"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocols.contracts.lock import COMMITTED_TOPIC
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import DealId, Hash32, Tokens

__all__ = ["DEAL_TOPICS", "DealLog", "read_deal_log"]


class DealLog(msgspec.Struct, frozen=True):
    """A deal moved. ``paid`` is what the provider's side got before the fee; zero where nothing is paid."""

    deal_id: DealId
    to: str
    paid: Tokens
    result_hash: Hash32 | None


_PAID: Final = {"settled": "DealSettled", "finalized": "DealFinalized", "cancelled": "DealCancelled"}
_CLAIMED: Final = keccak256(b"DealClaimed(bytes32,bytes32,uint256)")
_EXPIRED: Final = keccak256(b"DealExpired(bytes32,uint256,uint256)")
_MOVES: Final[dict[bytes, str]] = {
    COMMITTED_TOPIC: "committed",
    _CLAIMED: "claimed",
    _EXPIRED: "expired",
    **{keccak256(f"{name}(bytes32,uint256,uint256)".encode()): to for to, name in _PAID.items()},
}
DEAL_TOPICS: Final[tuple[Hash32, ...]] = tuple(Hash32(topic) for topic in _MOVES)
"""First topics of every log that moves a deal."""


def read_deal_log(topics: Sequence[bytes], data: bytes) -> DealLog | None:
    """The move that a log tells of; None for a log that moves no deal.

    Raises RemoteProtocolError(code="malformed"): the chain endpoint sent something else than the contract logs.
    """
    to = _MOVES.get(bytes(topics[0])) if topics else None
    if to is None:
        return None
    if len(topics) < 2 or len(data) < 64:
        raise RemoteProtocolError("a deal's log is cut short; is this endpoint on the right chain?", code="malformed")
    deal_id = DealId(bytes(topics[1]))
    paid = Tokens(int.from_bytes(data[:32], "big")) if to in _PAID else Tokens(0)
    claimed = Hash32(bytes(data[:32])) if to == "claimed" else None
    return DealLog(deal_id, to, paid, claimed)

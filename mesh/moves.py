"""What does a log of the escrow say about deals, and what must be remembered of it until it is final?"""

from typing import Final

import msgspec

from mesh.chain.events import (
    DealCancelled,
    DealClaimed,
    DealCommitted,
    DealExpired,
    DealFinalized,
    DealSettled,
    EscrowEvent,
    RunBurned,
    topic_of,
)
from mesh.chain.feed import LogRef
from protocols.units import ZERO_HASH, DealId, Hash32, Tokens

__all__ = ["DEAL_TOPICS", "Move", "Moved", "move_of"]


class Move(msgspec.Struct, frozen=True, array_like=True):
    """A log of ours that a reorganisation may still take back."""

    ref: LogRef
    deal_ids: tuple[DealId, ...]
    to: str


class Moved(msgspec.Struct, frozen=True):
    """What a log says about deals."""

    deal_ids: tuple[DealId, ...]
    to: str
    paid: Tokens = Tokens(0)
    result_hash: Hash32 = ZERO_HASH


_PAYING: Final[dict[type, str]] = {DealSettled: "settled", DealFinalized: "finalized", DealCancelled: "cancelled"}
DEAL_TOPICS: Final = tuple(topic_of(kind) for kind in (DealCommitted, DealClaimed, DealExpired, RunBurned, *_PAYING))
"""First topics of the logs that move deals. `RunBurned` names a slot, which only the ledger can match with deals."""


def move_of(event: EscrowEvent | None) -> Moved | None:
    """What a log says about the one deal it names; None for logs that name none."""
    match event:
        case DealCommitted(lock=lock):
            return Moved((lock.deal_id,), "committed")
        case DealClaimed(deal_id=deal_id, result_hash=result_hash):
            return Moved((deal_id,), "claimed", result_hash=result_hash)
        case DealExpired(deal_id=deal_id):
            return Moved((deal_id,), "expired")
        case DealSettled() | DealFinalized() | DealCancelled():
            return Moved((event.deal_id,), _PAYING[type(event)], event.paid)
        case _:
            return None

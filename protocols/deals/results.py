"""What did an execution come to? By this node's own executor, or by whoever ran a job again."""

import msgspec

from protocols.channels.merkle import Frontier
from protocols.messages.channel import VoucherNotice
from protocols.units import Address, Cid, Hash32, Tokens
from protocols.verify.audits import AuditRequest, First, Second, Waiting

__all__ = ["Audit", "Comparing", "LocalResult", "PaidBy", "Ran", "SealedBytes"]


class SealedBytes(msgspec.Struct, frozen=True):
    """A result as it is handed to a stranger: a file that tells nothing without its key."""

    root: Cid
    size: int


class PaidBy(msgspec.Struct, frozen=True):
    """The voucher that paid for a sealed result: evidence. With this deal on top of ``before`` it has its root."""

    notice: VoucherNotice
    before: Frontier
    """All deals of the channel that were paid earlier."""


class LocalResult(msgspec.Struct, frozen=True, kw_only=True):
    """What this node's own executor produced: the root of the outcome folder and how the job ended."""

    outcome: int
    exit_code: int
    fuel: int
    wall_ms: int
    root: Cid
    size: int
    log_head: Hash32
    detail: str
    sealed: SealedBytes | msgspec.UnsetType = msgspec.UNSET
    """The same result sealed, where that was asked for."""


class Ran(msgspec.Struct, frozen=True):
    """What a re-execution came to, as far as it is compared, and whose it was."""

    owner: Address
    outcome: int
    exit_code: int
    fuel: int
    root: Cid


class Comparing(msgspec.Struct, frozen=True):
    """A re-execution that has ended and whose bytes are being compared, and what it took from the budget."""

    ran: Ran
    cost: Tokens


class Audit(msgspec.Struct, frozen=True):
    """A check under way: where it stands, what it waits for, and a first re-execution that differed."""

    at: Waiting | First | Second
    asked: AuditRequest
    first: Ran | None = None
    comparing: Comparing | msgspec.UnsetType = msgspec.UNSET
    """Unset while nothing is compared, as in every row of before there was the field."""

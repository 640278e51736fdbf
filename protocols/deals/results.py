"""What did an execution come to? By this node's own executor, or by whoever ran a job again."""

import msgspec

from protocols.units import Address, Cid, Hash32

__all__ = ["LocalResult", "Ran", "SealedBytes"]


class SealedBytes(msgspec.Struct, frozen=True):
    """A result as it is handed to a stranger: a file that tells nothing without its key."""

    root: Cid
    size: int


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

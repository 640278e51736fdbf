"""What does following the chain yield, and where does it go on after a restart? The follower's values."""

from typing import Final, Literal

import msgspec

from mesh.chain.wire import Log
from protocols.units import Hash32, UnixSeconds

__all__ = [
    "WHOLE_BLOCK",
    "Cursor",
    "FeedItem",
    "FollowerSettings",
    "FollowerStatistics",
    "HeadMoved",
    "Level",
    "LevelReached",
    "LogRef",
    "LogRetracted",
    "LogSeen",
]

Level = Literal["safe", "finalized"]
"""How sure a block is. Below both stands ``seen``, which is what ``LogSeen`` and ``HeadMoved`` say."""

WHOLE_BLOCK: Final = 1 << 32
"""The log index of a cursor that has every log of its block behind it."""


class Cursor(msgspec.Struct, frozen=True):
    """Everything up to log ``log_index`` of block ``number`` was delivered; blocks up to ``finalized`` cannot change.

    Store the cursor of an item in the transaction that processes the item: a follower started from it goes on with the
    next one.
    """

    number: int
    hash: Hash32
    log_index: int
    finalized: int


class LogRef(msgspec.Struct, frozen=True):
    """Which log: enough to take it back. Keep those above ``finalized`` to hand them to a restarted follower."""

    block_number: int
    block_hash: Hash32
    tx_hash: Hash32
    index: int

    @classmethod
    def of(cls, log: Log) -> "LogRef":
        """Of a log."""
        return cls(log.block_number, log.block_hash, log.tx_hash, log.index)


class LogSeen(msgspec.Struct, frozen=True, tag=True):
    """A log in the newest chain, in chain order; may still be retracted."""

    log: Log
    cursor: Cursor

    @property
    def ref(self) -> LogRef:
        """Its name in a later ``LogRetracted``."""
        return LogRef.of(self.log)


class LogRetracted(msgspec.Struct, frozen=True, tag=True):
    """A log that was seen is not in the chain any more; newest first. It may be seen again in another block."""

    ref: LogRef
    cursor: Cursor


class LevelReached(msgspec.Struct, frozen=True, tag=True):
    """Every log seen in blocks up to ``number`` was looked at again and stands, at this level."""

    level: Level
    number: int
    cursor: Cursor


class HeadMoved(msgspec.Struct, frozen=True, tag=True):
    """The chain's time. Every log up to this block was delivered before; a reorg may take number and time back."""

    number: int
    hash: Hash32
    timestamp: UnixSeconds
    cursor: Cursor


FeedItem = LogSeen | LogRetracted | LevelReached | HeadMoved


class FollowerSettings(msgspec.Struct, frozen=True):
    """Times in seconds, the rest in blocks."""

    poll_s: float = 1.0
    level_poll_s: float = 5.0
    """Between two looks at ``safe`` and ``finalized``."""
    window: int = 2_000
    """Blocks per ``eth_getLogs``, at most; public endpoints refuse more than 2,000 to 10,000."""
    use_tags: bool = True
    """Ask for ``safe`` and ``finalized``; where the endpoint has no such names, and where this is off, depth counts."""
    safe_depth: int = 20
    finalized_depth: int = 7_200
    """Half an hour of 250 ms blocks: Arbitrum's batches reach L1 in minutes and are final there 15 minutes later."""


class FollowerStatistics(msgspec.Struct, frozen=True):
    """Where the follower is and what it met."""

    number: int
    head: int
    safe: int
    finalized: int
    window: int
    unsettled: int
    checkpoints: int
    reorgs: int
    retracted: int
    failures: int
    last_error: str

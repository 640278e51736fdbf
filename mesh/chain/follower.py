"""Which logs has the chain, in order, and which of them did it take back?

The follower polls. At every step it makes sure that the block it stands on is still in the chain; if not, it walks its
checkpoints back to the common ancestor, retracts what was above, and reads on from there. Logs come in windows that
halve when an endpoint refuses them. Where there are several endpoints a second one confirms a window with logs before they
are told, and every window, so that none is left out, before it is called safe. Nothing runs in the background: awaiting the
next item does the work, so a slow consumer slows the follower and no queue grows.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import trio

from mesh.chain.checkpoints import Checkpoints, Point
from mesh.chain.errors import ChainUnreachable, ReorgTooDeep, RpcError, Unconfirmed
from mesh.chain.eth import Eth, LogQuery
from mesh.chain.feed import (
    WHOLE_BLOCK,
    Cursor,
    FeedItem,
    FollowerSettings,
    FollowerStatistics,
    HeadMoved,
    Level,
    LevelReached,
    LogRef,
    LogRetracted,
    LogSeen,
)
from mesh.chain.wire import Head, Log
from protocols.units import Hash32

__all__ = ["MAX_UNSETTLED", "Follower"]

MAX_UNSETTLED: Final = 65_536
"""Logs above the finalized block, 200 B each: half an hour at 36 logs per second. Beyond it the follower waits."""
_BACKOFF_MAX_S: Final = 30.0
_LEVELS: Final[tuple[Level, ...]] = ("safe", "finalized")


class Follower(AsyncIterator[FeedItem]):
    """The logs that match ``query``, for ever: ``async for item in Follower(...)``.

    Start with a stored ``cursor`` and the stored refs of logs above its ``finalized`` block, or at ``start_block``.
    Endpoint failures are waited out, with ``jitter`` in [0, 1). Raises ``ReorgTooDeep`` when a finalized block is gone.
    Cancelling an await loses nothing: state changes only between awaits.
    """

    def __init__(
        self,
        eth: Eth,
        query: LogQuery,
        *,
        jitter: Callable[[], float],
        cursor: Cursor | None = None,
        unsettled: Iterable[LogRef] = (),
        start_block: int = 0,
        settings: FollowerSettings | None = None,
        pace: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """``pace`` says before every pause how many times longer than the settings' it is."""
        self._pace = pace
        self._eth = eth
        self._query = query
        self._jitter = jitter
        self._set = settings or FollowerSettings()
        self._start_block = start_block
        self._items: deque[FeedItem] = deque()
        self._unsettled = deque(sorted(unsettled, key=lambda ref: (ref.block_number, ref.index)))
        self._at = cursor
        self._points = Checkpoints((ref.block_number, ref.block_hash) for ref in self._unsettled)
        if cursor is not None:
            self._points.remember((cursor.number, cursor.hash))
        self._level = {"safe": -1, "finalized": -1 if cursor is None else cursor.finalized}
        self._vouched = -1 if cursor is None else cursor.number
        """Up to here a second endpoint tells the same logs."""
        self._window = self._set.window
        self._unconfirmed: int | None = None
        """The height that no second endpoint knew yet. The next try goes no further: others are always a little behind the
        newest block, and know this one soon."""
        self._head: Head | None = None
        self._levels_due = -math.inf
        self._caught_up = False
        """The window just read ended at the head that was asked for a moment ago: asking again at once would tell nothing."""
        self._reorgs = self._retracted = self._failures = self._streak = 0
        self._last_error = ""

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> FeedItem:
        while not self._items:
            try:
                await self._step()
                self._streak = 0
            except (ChainUnreachable, RpcError) as error:
                self._failures += 1
                self._streak += 1
                self._last_error = f"{error.what} ({error.why})" if error.why else error.what
                pause = min(self._set.poll_s * 2.0 ** min(self._streak, 10), _BACKOFF_MAX_S)
                await trio.sleep(pause * (0.5 + self._jitter()))
        return self._items.popleft()

    def statistics(self) -> FollowerStatistics:
        """Where it is and what it met."""
        return FollowerStatistics(
            number=-1 if self._at is None else self._at.number,
            head=-1 if self._head is None else self._head.number,
            safe=self._level["safe"],
            finalized=self._level["finalized"],
            window=self._window,
            unsettled=len(self._unsettled),
            checkpoints=len(self._points),
            reorgs=self._reorgs,
            retracted=self._retracted,
            failures=self._failures,
            last_error=self._last_error,
        )

    # one step

    async def _step(self) -> None:
        """Do one thing: begin, roll back, read a window, confirm a level, or wait."""
        at = self._at
        if at is None:
            await self._begin()
            return
        caught_up, self._caught_up = self._caught_up, False
        if caught_up and trio.current_time() < self._levels_due:
            await self._wait()
            return
        self._head = head = await self._eth.head()
        canonical = await self._still_there(at, head)
        if canonical is None:
            await self._wait()
        elif not canonical:
            self._roll_back(await self._ancestor(head))
        elif (at.number < head.number or at.log_index < WHOLE_BLOCK) and len(self._unsettled) < MAX_UNSETTLED:
            await self._read_window(at, head)
        elif trio.current_time() < self._levels_due:
            await self._wait()
        elif not await self._raise_levels(head):
            self._levels_due = trio.current_time() + self._set.level_poll_s * self._pace()
            if not self._items:
                await self._wait()

    async def _begin(self) -> None:
        before = max(0, self._start_block - 1)
        block = await self._eth.block(before)
        if block is None:
            await self._wait()
            return
        # Genesis has no logs, so standing on it skips nothing.
        self._level["finalized"] = max(self._level["finalized"], before)
        self._vouched = before
        self._at = Cursor(block.number, block.hash, WHOLE_BLOCK, before)
        self._points.remember((block.number, block.hash))

    async def _wait(self) -> None:
        await trio.sleep(self._set.poll_s * self._pace())

    async def _still_there(self, at: Cursor, head: Head) -> bool | None:
        """Whether the block stood on is in the chain; None when this endpoint does not reach so far (yet)."""
        if head.number == at.number:
            return head.hash == at.hash
        if head.number == at.number + 1:
            return head.parent == at.hash
        if head.number > at.number:
            block = await self._eth.block(at.number)
            return None if block is None else block.hash == at.hash
        # The endpoint is behind, or the chain was cut shorter. One that is behind agrees with what is remembered.
        below = self._points.below(head.number)
        return None if below is None or await self._is_canonical(below, head) else False

    async def _is_canonical(self, point: Point, head: Head) -> bool:
        if point[0] >= head.number:
            return point == (head.number, head.hash)
        block = await self._eth.block(point[0])
        return block is not None and block.hash == point[1]

    # rolling back

    async def _ancestor(self, head: Head) -> Point:
        """The newest checkpoint that is still in the chain, else the finalized block. Raises ``ReorgTooDeep``."""
        floor = self._level["finalized"]
        good, bad = await self._points.fork(lambda point: self._is_canonical(point, head))
        if good is not None and good[0] >= floor:
            return good
        if bad is not None and bad[0] <= floor:
            raise ReorgTooDeep(
                f"the chain was rewritten below block {floor}, which it had called final",
                why=f"block {bad[0]} has another hash now",
                fix="mesh down, then mesh up   (on a development chain that was reset with an empty MESH_HOME)",
            )
        block = await self._eth.block(floor)
        if block is None:
            raise ChainUnreachable(f"the endpoint does not have block {floor}, which was final")
        return block.number, block.hash

    def _roll_back(self, ancestor: Point) -> None:
        number, block_hash = ancestor
        self._reorgs += 1
        self._points.cut(ancestor)
        self._at = cursor = Cursor(number, block_hash, WHOLE_BLOCK, self._level["finalized"])
        self._level["safe"] = min(self._level["safe"], number)
        self._vouched = min(self._vouched, number)
        while self._unsettled and self._unsettled[-1].block_number > number:
            self._retracted += 1
            self._items.append(LogRetracted(self._unsettled.pop(), cursor))

    # reading

    async def _read_window(self, at: Cursor, head: Head) -> None:
        """Read logs up to ``window`` blocks further. Changes nothing if the chain moved meanwhile."""
        first = at.number + 1 if at.log_index >= WHOLE_BLOCK else at.number
        last = min(head.number, first + self._window - 1)
        if self._unconfirmed is not None:
            last = max(first, min(last, self._unconfirmed))
        end = head if last == head.number else await self._eth.block(last)
        if end is None:
            await self._wait()
            return
        try:
            logs = await self._eth.logs(self._query, first, last)
            if logs and not self._eth.rpc.alone:
                told = await self._eth.agreed_logs(self._query, first, last)
                if told is None:
                    await self._wait()
                    return
                end, logs = told
        except Unconfirmed:
            self._unconfirmed = last
            raise
        except RpcError:
            if self._window == 1:
                raise
            self._window = max(1, self._window // 2)
            return
        self._unconfirmed = None
        after = await self._eth.block(last)
        if after is None or after.hash != end.hash or not _consistent(logs, end) or _forked(at, first, end):
            await trio.sleep(self._set.poll_s * self._jitter())
            return
        self._window = min(self._set.window, self._window * 2)
        self._caught_up = last == head.number
        self._accept(at, logs, end)

    def _accept(self, at: Cursor, logs: Iterable[Log], end: Head) -> None:
        finalized = self._level["finalized"]
        for log in logs:
            if (log.block_number, log.index) <= (at.number, at.log_index):
                continue
            seen = LogSeen(log, Cursor(log.block_number, log.block_hash, log.index, finalized))
            self._items.append(seen)
            self._unsettled.append(seen.ref)
            self._points.remember((log.block_number, log.block_hash))
        self._at = cursor = Cursor(end.number, end.hash, WHOLE_BLOCK, finalized)
        self._points.remember((end.number, end.hash))
        self._items.append(HeadMoved(end.number, end.hash, end.timestamp, cursor))

    # levels

    async def _raise_levels(self, head: Head) -> bool:
        """Confirm the levels that moved. True when there is more to do at once."""
        at = self._at
        assert at is not None
        more = False
        for level in _LEVELS:
            number = min(await self._level_of(level, head), at.number)
            if not self._eth.rpc.alone:
                if level == "safe" and number > self._vouched and not await self._vouch(number):
                    return True
                more = more or number > self._vouched > self._level[level]
                number = min(number, self._vouched)
            if number <= self._level[level]:
                continue
            blocks = {ref.block_number: ref.block_hash for ref in self._unsettled if ref.block_number <= number}
            for point in blocks.items():
                if point[0] > self._level[level] and not await self._is_canonical(point, head):
                    self._roll_back(await self._ancestor(head))
                    return True
            self._level[level] = number
            if level == "finalized":
                self._settle(number)
            self._at = cursor = Cursor(at.number, at.hash, at.log_index, self._level["finalized"])
            self._items.append(LevelReached(level, number, cursor))
        return more

    async def _vouch(self, number: int) -> bool:
        """Have a second endpoint confirm what was told up to a height, a window further. False after a roll back: it was not
        what the chain has."""
        first, last = self._vouched + 1, min(number, self._vouched + self._window)
        told = await self._eth.agreed_logs(self._query, first, last)
        if told is None:
            raise Unconfirmed(f"no endpoint has block {last} any more")
        ours = [ref for ref in self._unsettled if first <= ref.block_number <= last]
        if ours == [LogRef.of(one) for one in told[1]]:
            self._vouched = last
            return True
        block = await self._eth.block(self._vouched)
        if block is None:
            raise Unconfirmed(f"no endpoint has block {self._vouched} any more")
        self._roll_back((block.number, block.hash))
        return False

    async def _level_of(self, level: Level, head: Head) -> int:
        depth = self._set.safe_depth if level == "safe" else self._set.finalized_depth
        if self._set.use_tags:
            try:
                block = await self._eth.block(level)
            except RpcError:
                block = None
            if block is not None:
                return block.number
        return head.number - depth

    def _settle(self, number: int) -> None:
        """Forget what can no longer be taken back, but for one checkpoint to prove it by."""
        while self._unsettled and self._unsettled[0].block_number <= number:
            self._unsettled.popleft()
        self._points.settle(number)


def _consistent(logs: Iterable[Log], end: Head) -> bool:
    """One hash per block, and that of the last block where its header says so."""
    hashes: dict[int, Hash32] = {end.number: end.hash}
    return all(hashes.setdefault(log.block_number, log.block_hash) == log.block_hash for log in logs)


def _forked(at: Cursor, first: int, end: Head) -> bool:
    """A single next block that does not stand on the one we stand on."""
    return first == at.number + 1 == end.number and end.parent != at.hash

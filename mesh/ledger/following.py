"""What does the chain tell the node? The escrow's logs become `DealMovedOnChain`, the panel's `DisputeLogged`, heads
`ChainTimeMoved`; of deals between others it hears how they end.

The follower's cursor is durable; what comes twice changes nothing.
"""

import math
import random
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.chain import events as on_chain
from mesh.chain.errors import ChainError
from mesh.chain.eth import Eth, LogQuery
from mesh.chain.events import DealCommitted, RunBurned, read_event, topic_of
from mesh.chain.feed import Cursor, HeadMoved, LevelReached, LogRef, LogRetracted, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.presets import chain_preset
from mesh.chain.wire import Log, Malformed
from mesh.engine import Engine
from mesh.ledger.owners import CURSOR as OWNERS
from mesh.ledger.owners import Owners
from mesh.ledger.waiting import pace_of
from mesh.ledger.witnessing import Witnessing
from mesh.store import Batch, Store
from protocols import events as ev
from protocols.contracts.lock import Lock
from protocols.contracts.panel import EVENTS
from protocols.deals.terms import OnChainState
from protocols.disputes.file import PanelLog
from protocols.limits import NetworkParams
from protocols.units import ZERO_ADDRESS, ZERO_HASH, Address, DealId, Hash32, Tokens, UnixSeconds

__all__ = ["CHANNEL_TOPICS", "DEAL_TOPICS", "Following"]

CURSOR: Final = "escrow"
MOVES: Final = "escrow.moves"
DISPUTE: Final = "dispute"
"""What a log of the panel is in the list of moves: the only kind whose place in its transaction counts."""
OPERATOR: Final = "operator"
"""What a log about an operator's owner is in that list."""
BLOCK_RETRY_S: Final = 0.5
KEEP_S: Final = 5.0
"""A cursor by which nothing of ours is lost is written that often: a restart reads the blocks of so many seconds again."""
PATIENCE_S: Final = 5.0
"""A node waits that long for its chain before it comes up without: an endpoint that works answers in half a second."""

log = get_log("ledger")


Watcher = Callable[[Engine, LogRef, Log | None], Awaitable[None]]
"""What else wants to know of logs; the last is None when it was taken back."""


class _Move(msgspec.Struct, frozen=True, array_like=True):
    """A log of ours that a reorganisation may still take back."""

    ref: LogRef
    deal_ids: tuple[DealId, ...]
    to: str
    operator: Address = ZERO_ADDRESS
    owner: Address = ZERO_ADDRESS
    """Of a log about an operator: whose it was before."""


class Following:
    """The escrow's logs as events of one node."""

    def __init__(
        self,
        params: NetworkParams,
        eth: Eth,
        me: Address,
        store: Store,
        clock: Clock,
        deploy_block: int,
        remember: Callable[[Lock], None],
        *,
        mediates: bool = False,
    ) -> None:
        """``remember`` is told the Lock of every deal that anybody commits. ``mediates``: hear everything about the disputes
        of others too, in which this node may be called."""
        self._params = params
        self._eth = eth
        self._me = me
        self._store = store
        self._clock = clock
        self._deploy_block = deploy_block
        self._remember = remember
        self._mediates = mediates
        self._moves: dict[LogRef, _Move] = {}
        """Above the finalized block alone."""
        self._moves_changed = False
        self._kept_at_s = -math.inf
        self.owners = Owners(clock)
        self._witnessing = Witnessing(clock)
        self._head_known = trio.Event()
        self._watchers: list[Watcher] = []

    def watch(self, watcher: "Watcher") -> None:
        """Tell ``watcher`` of every log that is read, and of every one that is taken back."""
        self._watchers.append(watcher)

    async def follow(
        self,
        engine: Engine,
        endpoints: Callable[[], str],
        tidy: Callable[[], Awaitable[None]],
        *,
        task_status: Started = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Turn the chain into events until cancelled; started with the first head, or without one after ``PATIENCE_S``.

        A node whose endpoints are all dead is up nevertheless: it says so, and catches up by itself when one answers.
        ``endpoints`` describes them for that; ``tidy`` is called whenever a block became final.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, engine, tidy)
            with trio.move_on_after(PATIENCE_S) as waited:
                await self._head_known.wait()
            if waited.cancelled_caught:
                log.error("chain.unreachable", endpoints=endpoints(), fix="mesh doctor   (the node goes on trying)")
            task_status.started()

    async def _follow(self, engine: Engine, tidy: Callable[[], Awaitable[None]]) -> None:
        stored = await self._store.cursor(CURSOR)
        cursor = msgspec.msgpack.decode(stored, type=Cursor) if stored else None
        kept = await self._store.cursor(MOVES)
        self._moves = {move.ref: move for move in msgspec.msgpack.decode(kept, type=list[_Move])} if kept else {}
        await self.owners.resume(engine, await self._store.cursor(OWNERS))
        if cursor is not None:
            await self._resume(engine, cursor)
        follower = Follower(
            self._eth,
            self._query(),
            jitter=random.random,
            cursor=cursor,
            unsettled=tuple(self._moves),
            start_block=self._deploy_block,
            settings=chain_preset(self._params.name).follower,
            pace=lambda: 1.0 if self._mediates else pace_of(engine),
        )
        async for item in follower:
            match item:
                case LogSeen():
                    await self.seen(engine, item)
                    await self._tell(engine, item.ref, item.log)
                case LogRetracted(ref=ref):
                    await self._retracted(engine, ref)
                    await self._tell(engine, ref, None)
                case HeadMoved():
                    await self._time_moved(engine, item.number, item.timestamp)
                    await self._keep(item.cursor)
                case LevelReached(level=level, number=number):
                    if level == "finalized":
                        self._settle(number)
                        await self._witnessing.settled(engine, number)
                        await tidy()
                    await self._keep(item.cursor)

    def _query(self) -> LogQuery:
        topics = (*DEAL_TOPICS, *CHANNEL_TOPICS, *OWNER_TOPICS)
        if not any(self._params.panel):
            return LogQuery((self._params.escrow,), (topics,))
        return LogQuery((self._params.escrow, self._params.panel), ((*topics, *DISPUTE_TOPICS),))

    async def _tell(self, engine: Engine, ref: LogRef, seen: Log | None) -> None:
        for watcher in self._watchers:
            await watcher(engine, ref, seen)

    async def _resume(self, engine: Engine, cursor: Cursor) -> None:
        """The time up to which all logs are known: on a quiet chain the next block may be far away."""
        try:
            block = await self._eth.block(cursor.number)
        except ChainError:
            return
        if block is not None and block.hash == cursor.hash:
            await self._time_moved(engine, block.number, block.timestamp)

    async def _time_moved(self, engine: Engine, number: int, timestamp: UnixSeconds) -> None:
        self._witnessing.time_moved(timestamp)
        await engine.post(ev.ChainTimeMoved(at=self._clock.monotonic_ms(), block=number, timestamp=timestamp))
        self._head_known.set()

    async def _keep(self, cursor: Cursor) -> None:
        """Logs up to it were durable before: a restart reads those of the last ``KEEP_S`` once more at most.

        With it go the moves that may still be taken back, so that a restarted node hears of that too: those at once.
        """
        if not (self._moves_changed or self.owners.changed) and trio.current_time() - self._kept_at_s < KEEP_S:
            return
        self._kept_at_s = trio.current_time()
        cursors = {CURSOR: msgspec.msgpack.encode(cursor)}
        if self._moves_changed:
            cursors[MOVES] = msgspec.msgpack.encode(list(self._moves.values()))
            self._moves_changed = False
        if self.owners.changed:
            cursors[OWNERS] = self.owners.packed()
        await self._store.commit(Batch(cursors=cursors))

    def _settle(self, finalized: int) -> None:
        """Forget moves that nothing can take back any more."""
        standing = {ref: move for ref, move in self._moves.items() if ref.block_number > finalized}
        self._moves_changed |= len(standing) != len(self._moves)
        self._moves = standing

    async def seen(self, engine: Engine, item: LogSeen) -> None:
        """One log, as an event if it concerns a deal of ours."""
        if item.log.address == self._params.panel:
            await self._dispute_seen(engine, item)
            return
        try:
            event = read_event(item.log)
        except Malformed as error:
            log.warning("log.malformed", tx=item.log.tx_hash, reason=str(error))
            return
        if isinstance(event, DealCommitted):
            self._remember(event.lock)
        if isinstance(event, on_chain.OperatorSet):
            was = await self.owners.put(engine, event)
            if item.ref not in self._moves:  # read again after a restart, it knows no longer what was before
                self._moves[item.ref] = _Move(item.ref, (), OPERATOR, event.operator, was)
                self._moves_changed = True
            return
        to = _named(event) if event is not None else None
        if event is None or to is None:
            return
        named = self._burned(engine, event) if isinstance(event, RunBurned) else (_deal_of(event),)
        known = engine.view(lambda state: tuple(one for one in named if one in state.durable.deals))
        if not known:
            if isinstance(event, DealCommitted):
                self._witnessing.committed(event.lock)
            self._witnessing.moved(item.ref, _deal_of(event), to)
            return
        timestamp = await self._time_of(item.log.block_number)
        self._moves[item.ref] = _Move(item.ref, known, to)
        self._moves_changed = True
        for deal_id in known:
            await engine.post(
                ev.DealMovedOnChain(
                    at=self._clock.monotonic_ms(),
                    deal_id=deal_id,
                    to=to,
                    tx=item.log.tx_hash,
                    block=item.log.block_number,
                    timestamp=timestamp,
                    paid=getattr(event, "paid", Tokens(0)),
                    result_hash=getattr(event, "result_hash", ZERO_HASH),
                    refund=getattr(event, "to_client", getattr(event, "bounty", Tokens(0))),
                    returned=getattr(event, "to_stake", Tokens(0)),
                )
            )

    async def _dispute_seen(self, engine: Engine, item: LogSeen) -> None:
        """One log of the panel: about a dispute of ours; of those of others who is part of them, or as a mediator all."""
        topics = item.log.topics
        deal_id = DealId(topics[1]) if len(topics) > 1 else None
        if deal_id is None:
            return
        public = self._mediates or topics[0] in _PUBLIC
        if not public and not engine.view(lambda state: deal_id in state.durable.deals):
            return
        self._moves[item.ref] = _Move(item.ref, (deal_id,), DISPUTE)
        self._moves_changed = True
        found = PanelLog(item.log.block_number, item.log.index, item.log.tx_hash, topics, item.log.data)
        await engine.post(ev.DisputeLogged(at=self._clock.monotonic_ms(), deal_id=deal_id, log=found))

    async def _time_of(self, number: int) -> UnixSeconds:
        """When a block was made. A log whose block no endpoint shows yet is not lost: the feed waits for it."""
        while True:
            try:
                block = await self._eth.block(number)
                if block is not None:
                    return block.timestamp
                reason = "no endpoint has it yet"
            except ChainError as error:
                reason = str(error)
            log.info("block.awaited", number=number, reason=reason)
            await trio.sleep(BLOCK_RETRY_S)

    def _burned(self, engine: Engine, event: RunBurned) -> tuple[DealId, ...]:
        """A burn names no deal: it ends every one of ours in that slot."""
        if event.client != self._me:
            return ()
        slot = (event.client, event.run_nonce, event.index)
        return engine.view(
            lambda state: tuple(
                deal_id
                for deal_id, half in state.durable.deals.items()
                if (half.state.terms.deal.client, half.state.terms.deal.run_nonce, half.state.terms.deal.index) == slot
            )
        )

    async def _retracted(self, engine: Engine, ref: LogRef) -> None:
        move = self._moves.pop(ref, None)
        self._witnessing.retracted(ref)
        if move is None:
            return
        self._moves_changed = True
        if move.to == OPERATOR:
            await self.owners.put(engine, on_chain.OperatorSet(move.operator, move.owner))
        for deal_id in move.deal_ids:
            at = self._clock.monotonic_ms()
            if move.to == DISPUTE:
                await engine.post(ev.DisputeRetracted(at=at, deal_id=deal_id, tx=ref.tx_hash, index=ref.index))
                continue
            await engine.post(ev.DealRetractedOnChain(at=at, deal_id=deal_id, was=move.to, tx=ref.tx_hash))


_TRANSITIONS: Final[dict[type, str]] = {
    on_chain.DealCommitted: "committed",
    on_chain.DealClaimed: "claimed",
    on_chain.DealSettled: "settled",
    on_chain.DealFinalized: "finalized",
    on_chain.DealExpired: "expired",
    on_chain.DealCancelled: "cancelled",
    on_chain.RunBurned: "burned",
    on_chain.DealDisputed: "disputed",
    on_chain.DealSlashed: "slashed",
}
_JUDGED: Final = {
    OnChainState.SETTLED: "acquitted",
    OnChainState.SLASHED: "convicted",
    OnChainState.VOID: "void",
}
"""How a panel's end of a dispute is called, by the state that it leaves the deal in."""
DEAL_TOPICS: Final = (*map(topic_of, _TRANSITIONS), topic_of(on_chain.DisputeClosed))
OWNER_TOPICS: Final = (topic_of(on_chain.OperatorSet),)
_PUBLIC: Final = frozenset(
    topic for topic, (name, _) in EVENTS.items() if name in ("DisputeOpened", "SeatCalled", "DisputeEnded")
)
"""What every node hears of disputes: whose they are, so that it can tell a notice of a case from a stranger's."""
DISPUTE_TOPICS: Final = tuple(Hash32(topic) for topic, (_, members) in EVENTS.items() if members[0][0] == "dealId")

_CHANNEL_LOGS: Final[tuple[type, ...]] = (
    on_chain.ChannelFunded,
    on_chain.VoucherRedeemed,
    on_chain.ChannelClosing,
    on_chain.ChannelClosed,
)
CHANNEL_TOPICS: Final = tuple(map(topic_of, _CHANNEL_LOGS))


def _named(event: on_chain.EscrowEvent) -> str | None:
    """The word for what happened to a deal; None for a log about something else."""
    if isinstance(event, on_chain.DisputeClosed):
        return _JUDGED.get(event.end)
    return _TRANSITIONS.get(type(event))


def _deal_of(event: on_chain.EscrowEvent) -> DealId:
    """The one deal that a log about a deal names."""
    return event.lock.deal_id if isinstance(event, DealCommitted) else DealId(getattr(event, "deal_id", b""))

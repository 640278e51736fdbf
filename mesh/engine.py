"""Who calls the rules? One loop: events in, one durable transaction, then effects out.

Events are taken in batches; each batch is handled, its changed rows, new durable effects, acknowledgements and trace lines
go into one transaction, and only when that is on disk do effects leave. A crash in between loses nothing: rows and
unacknowledged effects are loaded again, and doing an effect twice is harmless.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.store import Batch, OutboxEntry, Row, Store, TraceEntry
from protocols import node
from protocols.canonical import decode_strict, encode
from protocols.effects import DropEffects, DurableEffect, Effect, Notify, OutboxItem
from protocols.env import Env
from protocols.events import Event, Ticked
from protocols.state import NodeState
from protocols.state import Row as StateRow

__all__ = ["Engine", "EngineStatistics", "Listener", "Perform", "Rules"]

T = TypeVar("T")
Perform = Callable[[Effect], None]
"""Starts an effect and returns at once; the answer, if any, comes back as an event."""
Listener = Callable[[Notify, int, int], None]
"""Hears a notice, its wall time in unix seconds, and its place in the trace."""
Rules = Callable[[NodeState, Event, Env], list[Effect]]
"""`protocols.node.handle`, or a shorter table for trying the loop out."""

QUEUE: Final = 4_096
"""Events waiting for the loop: 16 seconds of the busiest gossip measured. A producer waits when it is full."""
BATCH: Final = 256
"""Events per transaction: at 1.4 ms per fsync more would only add latency."""
ACK_WAIT_S: Final = 0.2
"""How long an acknowledgement waits for a transaction that is written anyway. Lost, it costs an effect done twice, which is
harmless; alone, it costs an fsync, and there are two for each deal."""
MAX_EFFECT_BYTES: Final = 1 << 20
"""A durable effect holds at most one message or one job, 64 KiB each."""

log = get_log("engine")


class EngineStatistics(msgspec.Struct, frozen=True):
    """What the loop has done since it started."""

    events: int
    transactions: int
    effects: int
    outbox: int
    prefixes: int
    """Groups of keys in the outbox: never more than keys."""
    deals: int
    live: int
    runs: int


class _Posted:
    """An event on its way through the loop."""

    __slots__ = ("acks", "done", "event")

    def __init__(self, event: Event | None, acks: Mapping[str, DurableEffect]) -> None:
        self.event = event
        self.acks = acks
        self.done = trio.Event()


class Engine:
    """The node's heart. `run` it in the root nursery; `post` events; read the state through `view`."""

    def __init__(self, state: NodeState, env: Env, store: Store, clock: Clock, rules: Rules = node.handle) -> None:
        self.env = env
        self._rules = rules
        self._state = state
        self._store = store
        self._clock = clock
        self._send, self._receive = trio.open_memory_channel[_Posted](QUEUE)
        self._outbox: dict[str, DurableEffect] = {}
        self._by_prefix: dict[str, dict[str, None]] = {}
        """Keys of the outbox, and no others, by what `DropEffects` names."""
        self._perform: Perform = _lost
        self._forget: Callable[[str], None] = _ignore
        self._listeners: list[Listener] = []
        self._events = self._transactions = self._effects = 0

    def connect(self, perform: Perform, forget: Callable[[str], None]) -> None:
        """Say who performs effects, and who stops one that no longer matters. Before `run`."""
        self._perform, self._forget = perform, forget

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear every notice, after it is durable. Returns how to stop."""
        self._listeners.append(listener)
        return partial(self._unlisten, listener)

    def _unlisten(self, listener: Listener) -> None:
        with contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def view(self, select: Callable[[NodeState], T]) -> T:
        """Read the state. ``select`` must neither keep nor change what it is given."""
        return select(self._state)

    async def post(self, event: Event, *, acks: Sequence[str] = ()) -> None:
        """Hand in an event; returns when its consequences are durable. ``acks`` are the effects it answers.

        Cancelled: the event may or may not be handled.
        """
        await self._post(event, acks)

    async def acknowledge(self, key: str) -> None:
        """A durable effect is done and has no answer; returns when that is durable, with the next event or ``ACK_WAIT_S``
        later. An unknown key is no error."""
        if key in self._outbox:
            await self._post(None, (key,))

    def outstanding(self) -> frozenset[str]:
        """Keys of the durable effects that are not acknowledged."""
        return frozenset(self._outbox)

    async def _post(self, event: Event | None, acks: Sequence[str]) -> None:
        """An acknowledgement is for the effect that has the key now, not for one that takes its place meanwhile."""
        posted = _Posted(event, {key: self._outbox[key] for key in acks if key in self._outbox})
        await self._send.send(posted)
        await posted.done.wait()

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Load, re-issue what was not acknowledged, then loop until cancelled. Cancelling leaves the store consistent."""
        snapshot = await self._store.load()
        for row in snapshot.rows:
            self._state.durable.restore(row.kind, row.id, row.data)
        for entry in snapshot.outbox:
            self._remember(decode_strict(OutboxItem, entry.payload, max_bytes=MAX_EFFECT_BYTES).effect)
        task_status.started()
        for effect in list(self._outbox.values()):
            self._perform(effect)
        while True:
            batch = await self._next_batch()
            if batch:
                await self._handle(batch)

    async def _next_batch(self) -> list[_Posted]:
        """What comes until there is an event among it: acknowledgements wait for one, but not for long."""
        batch: list[_Posted] = []
        patience = math.inf
        while True:
            with trio.move_on_at(min(self._wake_time(), patience)) as waited:
                batch.append(await self._receive.receive())
            while batch and len(batch) < BATCH:
                try:
                    batch.append(self._receive.receive_nowait())
                except trio.WouldBlock:
                    break
            wake = node.next_wakeup(self._state)
            if wake is not None and wake <= self._clock.monotonic_ms():
                tick = Ticked(at=self._clock.monotonic_ms(), wall=self._clock.unix_s())
                batch.append(_Posted(tick, {}))
            if waited.cancelled_caught or len(batch) >= BATCH or any(posted.event is not None for posted in batch):
                return batch
            patience = min(patience, trio.current_time() + ACK_WAIT_S)

    def _wake_time(self) -> float:
        """When the next tick is due, on trio's clock."""
        wake = node.next_wakeup(self._state)
        return math.inf if wake is None else trio.current_time() + max((wake - self._clock.monotonic_ms()) / 1000, 0)

    async def _handle(self, batch: list[_Posted]) -> None:
        effects: list[Effect] = []
        for posted in batch:
            if posted.event is not None:
                effects += self._rules(self._state, posted.event, self.env)
                self._events += 1
        acks = [key for posted in batch for key, effect in posted.acks.items() if self._outbox.get(key) is effect]
        fresh, dropped = self._sort(effects, acks)
        notices = [effect for effect in effects if isinstance(effect, Notify)]
        rows = self._state.durable.drain_dirty()
        gone = [*acks, *dropped]
        if rows or fresh or notices or gone:
            await self._commit(rows, fresh, gone, notices)
        for key in gone:
            self._discard(key)
        for posted in batch:
            posted.done.set()
        for key in dropped:
            self._forget(key)
        self._release(effects, fresh)

    def _sort(self, effects: Iterable[Effect], acks: Sequence[str]) -> tuple[list[DurableEffect], list[str]]:
        """The durable effects that are new, and the keys that no longer matter, in the order the rules said so."""
        fresh: dict[str, DurableEffect] = {}
        dropped: dict[str, None] = {}
        for effect in effects:
            match effect:
                case DropEffects(prefix=prefix):
                    for key in [key for key in fresh if _prefix(key) == prefix]:
                        del fresh[key]
                    dropped.update(self._by_prefix.get(prefix, {}))
                case DurableEffect(key=key):
                    if (key not in self._outbox or key in acks or key in dropped) and key not in fresh:
                        fresh[key] = effect
                case _:
                    pass
        return list(fresh.values()), list(dropped)

    async def _commit(
        self, rows: Sequence[StateRow], fresh: Sequence[DurableEffect], gone: Sequence[str], notices: Sequence[Notify]
    ) -> None:
        wall = self._clock.unix_s()
        last = await self._store.commit(
            Batch(
                puts=[Row(row.kind, row.id, row.version, row.data) for row in rows if row.data is not None],
                deletes=[(row.kind, row.id) for row in rows if row.data is None],
                outbox=[
                    OutboxEntry(
                        effect.key,
                        type(effect).__name__,
                        encode(OutboxItem(effect)),  # type: ignore[arg-type]  # the union lists every one: a test walks them
                    )
                    for effect in fresh
                ],
                acks=list(gone),
                trace=[
                    TraceEntry(
                        at=wall, kind=notice.name, subject=notice.subject, data=msgspec.json.encode(notice.fields)
                    )
                    for notice in notices
                ],
            )
        )
        self._transactions += 1
        for place, notice in enumerate(notices, last - len(notices) + 1):
            log.info(notice.name, subject=notice.subject.hex()[:12], **notice.fields)
            self._tell(notice, wall, place)

    def _tell(self, notice: Notify, wall: int, place: int) -> None:
        """A listener shows things to people. One that fails hears no more; the money goes on."""
        for listener in list(self._listeners):
            try:
                listener(notice, wall, place)
            except Exception as error:
                log.error("listener.failed", notice=notice.name, reason=repr(error))
                self._unlisten(listener)

    def _remember(self, effect: DurableEffect) -> None:
        self._outbox[effect.key] = effect
        self._by_prefix.setdefault(_prefix(effect.key), {})[effect.key] = None

    def _discard(self, key: str) -> None:
        """Forget a key and, with its last one, its prefix: what is done leaves nothing behind."""
        if self._outbox.pop(key, None) is None:
            return
        keys = self._by_prefix[_prefix(key)]
        del keys[key]
        if not keys:
            del self._by_prefix[_prefix(key)]

    def _release(self, effects: Iterable[Effect], fresh: Sequence[DurableEffect]) -> None:
        starting = {effect.key: effect for effect in fresh}
        for effect in effects:
            if isinstance(effect, DurableEffect):
                if starting.get(effect.key) is effect:
                    self._remember(effect)
                    self._perform(effect)
                    self._effects += 1
            elif not isinstance(effect, Notify | DropEffects):
                self._perform(effect)
                self._effects += 1

    def statistics(self) -> EngineStatistics:
        """A window for metrics and tests."""
        durable = self._state.durable
        return EngineStatistics(
            events=self._events,
            transactions=self._transactions,
            effects=self._effects,
            outbox=len(self._outbox),
            prefixes=len(self._by_prefix),
            deals=len(durable.deals),
            live=len(durable.live),
            runs=len(durable.runs),
        )


def _prefix(key: str) -> str:
    """``kind:deal`` of ``kind:deal:rest``: what `DropEffects` names."""
    kind, deal, *_ = key.split(":")
    return f"{kind}:{deal}"


def _lost(effect: Effect) -> None:
    raise RuntimeError("connect() the engine before it runs")


def _ignore(key: str) -> None:
    return None

"""How do the rules' words about money become transactions, and the chain's logs events?

One escrow on one chain: the follower's logs become `DealMovedOnChain`, its heads `ChainTimeMoved`; a `PostTx` becomes one
escrow call, posted exactly once under its key. The follower's cursor is durable; what comes twice changes nothing.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from mesh.api.types import EndpointInfo
from mesh.base.clock import Clock
from mesh.base.config import Config
from mesh.base.entropy import Entropy
from mesh.base.errors import ConfigError
from mesh.base.keys import NodeKey
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.chain import events as on_chain
from mesh.chain.contracts import Contracts
from mesh.chain.errors import ChainError, FeeAboveCap, InsufficientFunds
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.events import DealCommitted, RunBurned, read_event, topic_of
from mesh.chain.feed import Cursor, HeadMoved, LevelReached, LogRef, LogRetracted, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.outcomes import Confirmed, Dropped, Reverted, SubmitterSettings
from mesh.chain.presets import chain_preset
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from mesh.chain.wire import Malformed
from mesh.effects import TxRejected
from mesh.engine import Engine
from mesh.store import Batch, Store
from protocols import events as ev
from protocols.contracts import artifact
from protocols.contracts.lock import COMMITTED_TOPIC, Lock
from protocols.deals.eip712 import Domain
from protocols.effects import PostTx
from protocols.limits import NetworkParams
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Millis, Tokens, UnixSeconds

__all__ = ["DEAL_TOPICS", "Ledger", "network_params", "open_ledger"]

CURSOR: Final = "escrow"
MOVES: Final = "escrow.moves"
MAX_LOCKS: Final = 20_000
"""Locks of deals remembered: twice the deals a node may have open."""
RETRY_S: Final = 2.0
"""Between tries when the account lacks gas or the fee is above the cap: both mend themselves or are mended by hand."""

BLOCK_RETRY_S: Final = 0.5
PATIENCE_S: Final = 5.0
"""A node waits that long for its chain before it comes up without: an endpoint that works answers in half a second."""

log = get_log("ledger")


def network_params(config: Config) -> NetworkParams:
    """The network's parameters with the configured contracts. Raises ``ConfigError`` for a network nobody knows."""
    preset = chain_preset(config.network.name).params
    chain = config.chain
    if not any(chain.escrow_address) or not any(chain.token_address):
        raise ConfigError(
            f"no escrow is known on {preset.name}",
            why="its contracts are not deployed, or their addresses are not in the configuration",
            fix="mesh chain deploy --network NAME, or mesh config set chain.escrow 0x...",
        )
    return msgspec.structs.replace(
        preset,
        chain_id=chain.chain_id or preset.chain_id,
        escrow=chain.escrow_address,
        token=chain.token_address,
    )


class _Move(msgspec.Struct, frozen=True, array_like=True):
    """A log of ours that a reorganisation may still take back."""

    ref: LogRef
    deal_ids: tuple[DealId, ...]
    to: str


class Ledger:
    """The escrow as the node uses it."""

    def __init__(
        self, params: NetworkParams, rpc: Rpc, submitter: Submitter, store: Store, clock: Clock, deploy_block: int
    ) -> None:
        self.params = params
        self.rpc = rpc
        self.eth = Eth(rpc)
        self.contracts = Contracts(rpc, escrow=params.escrow, token=params.token)
        self.submitter = submitter
        self._store = store
        self._clock = clock
        self._deploy_block = deploy_block
        self._domain = Domain(params.chain_id, params.escrow)
        self._locks: dict[DealId, Lock] = {}
        self._moves: dict[LogRef, _Move] = {}
        """Above the finalized block alone."""
        self._moves_changed = False
        self._head_known = trio.Event()

    # --- following -----------------------------------------------------------------------------------------------

    async def follow(self, engine: Engine, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Turn the chain into events until cancelled; started with the first head, or without one after ``PATIENCE_S``.

        A node whose endpoints are all dead is up nevertheless: it says so, and catches up by itself when one answers.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, engine)
            with trio.move_on_after(PATIENCE_S) as waited:
                await self._head_known.wait()
            if waited.cancelled_caught:
                asked = ", ".join(f"{one.url} is {one.state}" for one in self.endpoints())
                log.error("chain.unreachable", endpoints=asked, fix="mesh doctor   (the node goes on trying)")
            task_status.started()

    async def _follow(self, engine: Engine) -> None:
        stored = await self._store.cursor(CURSOR)
        cursor = msgspec.msgpack.decode(stored, type=Cursor) if stored else None
        kept = await self._store.cursor(MOVES)
        self._moves = {move.ref: move for move in msgspec.msgpack.decode(kept, type=list[_Move])} if kept else {}
        if cursor is not None:
            await self._resume(engine, cursor)
        follower = Follower(
            self.eth,
            LogQuery((self.params.escrow,), (DEAL_TOPICS,)),
            jitter=random.random,
            cursor=cursor,
            unsettled=tuple(self._moves),
            start_block=self._deploy_block,
            settings=chain_preset(self.params.name).follower,
        )
        async for item in follower:
            match item:
                case LogSeen():
                    await self._seen(engine, item)
                case LogRetracted(ref=ref):
                    await self._retracted(engine, ref)
                case HeadMoved():
                    await self._time_moved(engine, item.number, item.timestamp)
                    await self._keep(item.cursor)
                case LevelReached(level=level, number=number):
                    if level == "finalized":
                        self._settle(number)
                        await self._tidy(engine)
                    await self._keep(item.cursor)

    async def _resume(self, engine: Engine, cursor: Cursor) -> None:
        """The time up to which all logs are known: on a quiet chain the next block may be far away."""
        try:
            block = await self.eth.block(cursor.number)
        except ChainError:
            return
        if block is not None and block.hash == cursor.hash:
            await self._time_moved(engine, block.number, block.timestamp)

    async def _time_moved(self, engine: Engine, number: int, timestamp: UnixSeconds) -> None:
        await engine.post(ev.ChainTimeMoved(at=self._clock.monotonic_ms(), block=number, timestamp=timestamp))
        self._head_known.set()

    async def _keep(self, cursor: Cursor) -> None:
        """Logs up to it were durable before: a restart reads the last ones once more at most.

        With it go the moves that may still be taken back, so that a restarted node hears of that too.
        """
        cursors = {CURSOR: msgspec.msgpack.encode(cursor)}
        if self._moves_changed:
            cursors[MOVES] = msgspec.msgpack.encode(list(self._moves.values()))
            self._moves_changed = False
        await self._store.commit(Batch(cursors=cursors))

    def _settle(self, finalized: int) -> None:
        """Forget moves that nothing can take back any more."""
        standing = {ref: move for ref, move in self._moves.items() if ref.block_number > finalized}
        self._moves_changed |= len(standing) != len(self._moves)
        self._moves = standing

    async def _tidy(self, engine: Engine) -> None:
        """Forget transactions whose effects were dropped while they were in flight, once their nonces are used."""
        wanted = engine.outstanding()
        if self.submitter.statistics().in_flight <= sum(key.startswith("tx:") for key in wanted):
            return
        try:
            await self.submitter.tidy(wanted)
        except ChainError as error:
            log.info("tx.tidy_later", reason=str(error))

    async def _seen(self, engine: Engine, item: LogSeen) -> None:
        try:
            event = read_event(item.log)
        except Malformed as error:
            log.warning("log.malformed", tx=item.log.tx_hash, reason=str(error))
            return
        if isinstance(event, DealCommitted):
            self._remember(event.lock)
        to = _TRANSITIONS.get(type(event))
        if event is None or to is None:
            return
        named = self._burned(engine, event) if isinstance(event, RunBurned) else (_deal_of(event),)
        known = engine.view(lambda state: tuple(one for one in named if one in state.durable.deals))
        if not known:
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
                )
            )

    async def _time_of(self, number: int) -> UnixSeconds:
        """When a block was made. A log whose block no endpoint shows yet is not lost: the feed waits for it."""
        while True:
            try:
                block = await self.eth.block(number)
                if block is not None:
                    return block.timestamp
                reason = "no endpoint has it yet"
            except ChainError as error:
                reason = str(error)
            log.info("block.awaited", number=number, reason=reason)
            await trio.sleep(BLOCK_RETRY_S)

    def _burned(self, engine: Engine, event: RunBurned) -> tuple[DealId, ...]:
        """A burn names no deal: it ends every one of ours in that slot."""
        if event.client != self.submitter.address:
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
        if move is None:
            return
        self._moves_changed = True
        for deal_id in move.deal_ids:
            at = self._clock.monotonic_ms()
            await engine.post(ev.DealRetractedOnChain(at=at, deal_id=deal_id, was=move.to, tx=ref.tx_hash))

    def _remember(self, lock: Lock) -> None:
        self._locks.pop(lock.deal_id, None)
        self._locks[lock.deal_id] = lock
        while len(self._locks) > MAX_LOCKS:
            del self._locks[next(iter(self._locks))]

    # --- asking --------------------------------------------------------------------------------------------------

    async def account(self, operator: Address) -> tuple[Tokens, Tokens]:
        """(free, unlocked stake) of the operator's owner. Raises ``ChainError``."""
        found = await self.contracts.account(await self.contracts.owner_of(operator))
        return found.free, found.stake

    def now_ms(self) -> Millis:
        """The monotonic clock, for events about money."""
        return self._clock.monotonic_ms()

    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Which RPC endpoint serves, and how each fares."""
        found = self.rpc.statistics()
        return tuple(
            EndpointInfo(
                url=one.name,
                serving=one.name == found.serving,
                state=one.state,
                calls=one.calls,
                failures=one.failures,
                head_block=one.head_number,
            )
            for one in found.endpoints
        )

    # --- posting -------------------------------------------------------------------------------------------------

    async def post(self, tx: PostTx) -> None:
        """Get one escrow call onto the chain, exactly once per key. Raises ``TxRejected`` when it can never succeed."""
        while True:
            try:
                outcome = await self.submitter.submit(tx.key, await self._call(tx))
            except (InsufficientFunds, FeeAboveCap) as error:
                log.warning("tx.waits", effect=tx.key, reason=str(error))
                await trio.sleep(RETRY_S)
                continue
            except ChainError as error:
                log.warning("tx.retried", effect=tx.key, reason=str(error))
                await trio.sleep(RETRY_S)
                continue
            match outcome:
                case Confirmed(tx_hash=tx_hash, gas_used=gas):
                    log.info("tx.confirmed", effect=tx.key, tx="0x" + tx_hash.hex(), gas=gas)
                    return
                case Reverted(reason=reason):
                    raise TxRejected(str(reason))
                case Dropped():
                    await self.submitter.release(tx.key)

    async def release(self, key: str) -> None:
        """The outcome of a transaction is durable elsewhere: its key may be forgotten."""
        await self.submitter.release(key)

    async def _call(self, tx: PostTx) -> TxCall:
        deal, escrow = tx.deal, self.contracts
        match tx.purpose:
            case "commit":
                return escrow.commit(deal, tx.signature)
            case "burn":
                return escrow.burn_run(deal.run_nonce, deal.index)
            case "settle":
                return escrow.settle(await self._lock(tx), tx.amount, tx.signature, tx.result_hash)
            case "cancel":
                return escrow.cancel(await self._lock(tx), tx.amount, tx.signature)
            case "claim":
                return escrow.claim(await self._lock(tx), tx.result_hash)
            case "finalize":
                return escrow.finalize(await self._lock(tx), tx.result_hash)
            case "expire":
                return escrow.expire(await self._lock(tx))
            case _:
                raise TxRejected(f"no escrow call is named {tx.purpose}")

    async def _lock(self, tx: PostTx) -> Lock:
        """The deal's Lock, as its commitment logged it.

        A node that has forgotten it builds it from the owners of today and asks the escrow whether that is the one; only
        when an owner has changed since is the whole chain searched, which public endpoints may refuse.
        """
        known = self._locks.get(tx.deal_id)
        if known is not None:
            return known
        client = await self.contracts.owner_of(tx.deal.client)
        provider = await self.contracts.owner_of(tx.deal.provider)
        lock = Lock.of(self._domain, tx.deal, client_owner=client, provider_owner=provider)
        slot = await self.contracts.deal(tx.deal.client, tx.deal.run_nonce, tx.deal.index)
        if slot.identity not in (lock.identity(), lock.identity(tx.result_hash)):
            head = await self.eth.head()
            query = LogQuery((self.params.escrow,), ((Hash32(COMMITTED_TOPIC),), (Hash32(tx.deal_id),)))
            found = await self.eth.logs(query, self._deploy_block, head.number)
            lock = Lock.from_log(found[-1].topics, found[-1].data) if found else lock
        self._remember(lock)
        return lock


_TRANSITIONS: Final[dict[type, str]] = {
    on_chain.DealCommitted: "committed",
    on_chain.DealClaimed: "claimed",
    on_chain.DealSettled: "settled",
    on_chain.DealFinalized: "finalized",
    on_chain.DealExpired: "expired",
    on_chain.DealCancelled: "cancelled",
    on_chain.RunBurned: "burned",
}
DEAL_TOPICS: Final = tuple(map(topic_of, _TRANSITIONS))


def _deal_of(event: on_chain.EscrowEvent) -> DealId:
    """The one deal that a log about a deal names."""
    return event.lock.deal_id if isinstance(event, DealCommitted) else DealId(getattr(event, "deal_id", b""))


@asynccontextmanager
async def open_ledger(
    config: Config, key: NodeKey, store: Store, clock: Clock, entropy: Entropy
) -> AsyncIterator[Ledger]:
    """The configured escrow over the configured endpoints. Raises ``ConfigError`` when either is missing."""
    params = network_params(config)
    chain = config.chain
    jitter = lambda: int.from_bytes(entropy.bytes(4), "big") / (1 << 32)  # noqa: E731
    wall = None if params.name == "devnet" else lambda: float(clock.unix_s())
    async with open_rpc((*chain.rpc, *chain.public_rpc), params.chain_id, jitter=jitter, wall=wall) as rpc:
        reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MeshToken"))
        settings = SubmitterSettings(fee_cap=int(chain.max_fee_gwei * 10**9))
        submitter = Submitter(Eth(rpc), key, store.journal, reverts, settings)
        yield Ledger(params, rpc, submitter, store, clock, chain.deploy_block)

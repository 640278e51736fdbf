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
from mesh.chain.contracts import Contracts
from mesh.chain.errors import ChainError, FeeAboveCap, InsufficientFunds
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.events import (
    DealCancelled,
    DealClaimed,
    DealCommitted,
    DealExpired,
    DealFinalized,
    DealSettled,
    EscrowEvent,
    read_event,
    topic_of,
)
from mesh.chain.feed import Cursor, HeadMoved, LogRef, LogRetracted, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.outcomes import Confirmed, Dropped, Reverted, SubmitterSettings
from mesh.chain.presets import chain_preset
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from mesh.chain.wire import Malformed
from mesh.effects import TxRejected
from mesh.engine import Engine
from mesh.store import Store
from protocols import events as ev
from protocols.contracts import artifact
from protocols.contracts.lock import COMMITTED_TOPIC, Lock
from protocols.deals.eip712 import Domain
from protocols.effects import PostTx
from protocols.limits import NetworkParams
from protocols.units import Address, DealId, Hash32, Millis, Tokens

__all__ = ["Ledger", "network_params", "open_ledger"]

CURSOR: Final = "escrow"
MAX_LOCKS: Final = 20_000
"""Locks of deals remembered: twice the deals a node may have open."""
RETRY_S: Final = 2.0
"""Between tries when the account lacks gas or the fee is above the cap: both mend themselves or are mended by hand."""

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
        self._moves: dict[LogRef, tuple[DealId, str]] = {}

    # --- following -----------------------------------------------------------------------------------------------

    async def follow(self, engine: Engine, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Turn the chain into events until cancelled; started when the first head is known."""
        stored = await self._store.cursor(CURSOR)
        cursor = msgspec.msgpack.decode(stored, type=Cursor) if stored else None
        query = LogQuery((self.params.escrow,), (DEAL_TOPICS,))
        follower = Follower(
            self.eth,
            query,
            jitter=random.random,
            cursor=cursor,
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
                    moved = ev.ChainTimeMoved(
                        at=self._clock.monotonic_ms(), block=item.number, timestamp=item.timestamp
                    )
                    await engine.post(moved)
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    await self._keep_cursor(item.cursor)
                case _:
                    await self._keep_cursor(item.cursor)

    async def _keep_cursor(self, cursor: Cursor) -> None:
        """Logs up to it were durable before: a restart reads the last ones once more at most."""
        await self._store.set_cursor(CURSOR, msgspec.msgpack.encode(cursor))

    async def _seen(self, engine: Engine, item: LogSeen) -> None:
        try:
            event = read_event(item.log)
        except Malformed as error:
            log.warning("log.malformed", tx=item.log.tx_hash, reason=str(error))
            return
        if isinstance(event, DealCommitted):
            self._remember(event.lock)
        move = _move_of(event)
        if move is None:
            return
        deal_id, to, paid = move
        if not engine.view(lambda state: deal_id in state.durable.deals):
            return
        block = await self.eth.block(item.log.block_number)
        if block is None:
            return
        self._moves[item.ref] = (deal_id, to)
        await engine.post(
            ev.DealMovedOnChain(
                at=self._clock.monotonic_ms(),
                deal_id=deal_id,
                to=to,
                tx=item.log.tx_hash,
                block=item.log.block_number,
                timestamp=block.timestamp,
                paid=paid,
            )
        )

    async def _retracted(self, engine: Engine, ref: LogRef) -> None:
        move = self._moves.pop(ref, None)
        if move is not None:
            deal_id, was = move
            at = self._clock.monotonic_ms()
            await engine.post(ev.DealRetractedOnChain(at=at, deal_id=deal_id, was=was, tx=ref.tx_hash))

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
        """The deal's Lock: as its commitment logged it, read again from the chain when this node has forgotten."""
        known = self._locks.get(tx.deal_id)
        if known is not None:
            return known
        head = await self.eth.head()
        query = LogQuery((self.params.escrow,), ((Hash32(COMMITTED_TOPIC),), (Hash32(tx.deal_id),)))
        found = await self.eth.logs(query, self._deploy_block, head.number)
        if found:
            lock = Lock.from_log(found[-1].topics, found[-1].data)
            self._remember(lock)
            return lock
        client = await self.contracts.owner_of(tx.deal.client)
        provider = await self.contracts.owner_of(tx.deal.provider)
        return Lock.of(self._domain, tx.deal, client_owner=client, provider_owner=provider)


_PAYING: Final[dict[type, str]] = {DealSettled: "settled", DealFinalized: "finalized", DealCancelled: "cancelled"}
DEAL_TOPICS: Final = tuple(topic_of(kind) for kind in (DealCommitted, DealClaimed, DealExpired, *_PAYING))


def _move_of(event: EscrowEvent | None) -> tuple[DealId, str, Tokens] | None:
    """(deal, transition, paid) of a log that moves a deal."""
    match event:
        case DealCommitted(lock=lock):
            return lock.deal_id, "committed", Tokens(0)
        case DealClaimed(deal_id=deal_id):
            return deal_id, "claimed", Tokens(0)
        case DealExpired(deal_id=deal_id):
            return deal_id, "expired", Tokens(0)
        case DealSettled() | DealFinalized() | DealCancelled():
            return event.deal_id, _PAYING[type(event)], event.paid
        case _:
            return None


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

"""Which blocks does the pip-only development chain have, and which transactions wait?

A chain of one: no consensus, one branch. A reorg is a rollback (``evm_revert``, ``anvil_rollback``) followed by other
blocks. Timestamps never fall but may repeat, as on Arbitrum: with strictly rising ones 20 transactions per second would
carry the chain's clock away from the wall's, and with it every deadline.

Not thread-safe: one caller at a time. The wall clock is injected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from devnet.chain.evm import BadTransaction, BlockEnv, CallRequest, Evm, Executed, SealedHeader, SignedTx
from devnet.chain.pool import Pool

__all__ = ["Block", "ChainFault", "Included", "Ledger"]

MAX_BLOCKS: Final = 200_000
"""Blocks kept (about 1.5 kB each when empty): 55 hours of one block per second. Older ones are forgotten."""
MAX_SNAPSHOTS: Final = 256
"""Live snapshots; each is two integers, the bound is against a client in a loop."""
MAX_MINE: Final = 10_000
"""Blocks that one call may mine: half a second of work."""
_ANCESTORS: Final = 256
"""Hashes that the BLOCKHASH opcode can see (yellow paper 9.4)."""
BASE_FEE_WEI: Final = 20_000_000
"""0.02 gwei: the floor of Arbitrum One since ArbOS 51. Constant here: congestion is not simulated, set it by RPC."""


class ChainFault(Exception):
    """A request that the chain cannot serve, with a JSON-RPC error code."""

    def __init__(self, message: str, code: int = -32000, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


@dataclass(frozen=True, slots=True)
class Included:
    """A transaction in a block: position, what it did, gas and logs before it in the block."""

    tx: SignedTx
    done: Executed
    index: int
    cumulative_gas: int
    first_log: int


@dataclass(frozen=True, slots=True)
class Block:
    """A mined block."""

    env: BlockEnv
    parent: bytes
    sealed: SealedHeader
    txs: tuple[Included, ...]

    @property
    def number(self) -> int:
        """Height; genesis is 0."""
        return self.env.number


@dataclass(frozen=True, slots=True)
class _Snapshot:
    height: int
    time_offset: int


class Ledger:
    """The chain and its pool. ``wall`` answers Unix seconds."""

    def __init__(self, evm: Evm, balances: Mapping[bytes, int], wall: Callable[[], float]) -> None:
        self.evm = evm
        self.pool = Pool()
        self.automine = True
        self.base_fee = BASE_FEE_WEI
        self._wall = wall
        self._time_offset = 0
        self._next_timestamp: int | None = None
        self._salt = 0
        self._refusal = ""
        self._first = 0
        self._snapshots: dict[int, _Snapshot] = {}
        self._next_snapshot = 1
        self._where: dict[bytes, tuple[int, int]] = {}
        self._heights: dict[bytes, int] = {}
        root = evm.genesis(balances)
        env = BlockEnv(0, int(wall()), self.base_fee)
        genesis = Block(env, bytes(32), evm.seal(bytes(32), env, root, (), 0), ())
        self._blocks = [genesis]
        self._heights[genesis.sealed.hash] = 0

    # reading

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def block(self, number: int) -> Block | None:
        """By height, None where unknown or forgotten."""
        index = number - self._first
        return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        """By hash, None where unknown or rolled back."""
        height = self._heights.get(block_hash)
        return None if height is None else self.block(height)

    def find(self, tx_hash: bytes) -> tuple[Block, Included] | None:
        """A mined transaction with its block."""
        at = self._where.get(tx_hash)
        if at is None:
            return None
        block = self.block(at[0])
        return None if block is None else (block, block.txs[at[1]])

    def pending_env(self) -> BlockEnv:
        """The environment of the block that would be mined now."""
        head = self.head
        timestamp = self._next_timestamp
        if timestamp is None:
            timestamp = max(head.env.timestamp, int(self._wall()) + self._time_offset)
        return BlockEnv(head.number + 1, timestamp, self.base_fee, self._ancestors())

    def env_of(self, block: Block) -> BlockEnv:
        """The environment that a call at this block sees."""
        return BlockEnv(block.env.number, block.env.timestamp, block.env.base_fee, self._ancestors(block.number))

    def pending_nonce(self, sender: bytes) -> int:
        """The nonce that the sender's next transaction needs, waiting ones counted."""
        return self.pool.next_nonce(sender, self.evm.nonce(self.head.sealed.state_root, sender))

    # writing

    def submit(self, raw: bytes) -> bytes:
        """Accept a signed transaction and, when mining by itself, mine it. Answers its hash; raises ``ChainFault``."""
        tx = self._admit(raw)
        if self.automine:
            self.mine_ready()
            if tx.hash not in self._where and tx.hash not in self.pool:
                raise ChainFault(f"the transaction cannot be included: {self._refusal}")
        return tx.hash

    def _admit(self, raw: bytes) -> SignedTx:
        try:
            tx = self.evm.decode(raw)
        except BadTransaction as error:
            raise ChainFault(str(error), -32602) from error
        if tx.hash in self._where or tx.hash in self.pool:
            raise ChainFault("already known")
        root = self.head.sealed.state_root
        nonce = self.evm.nonce(root, tx.sender)
        if tx.nonce < nonce:
            raise ChainFault(f"nonce too low: next nonce {nonce}, tx nonce {tx.nonce}")
        worst = tx.gas * tx.max_fee + tx.value
        balance = self.evm.balance(root, tx.sender)
        if balance < worst:
            raise ChainFault(f"insufficient funds for gas * price + value: balance {balance}, tx cost {worst}")
        intrinsic = tx.body.intrinsic_gas
        if tx.gas < intrinsic:
            raise ChainFault(f"intrinsic gas too low: gas {tx.gas}, minimum needed {intrinsic}")
        try:
            self.pool.add(tx, nonce)
        except ValueError as error:
            raise ChainFault(str(error)) from error
        return tx

    def mine_ready(self) -> None:
        """Mine blocks while the pool holds transactions that can be included."""
        while self._ready():
            before = len(self.pool)
            self.mine()
            if len(self.pool) >= before:
                return

    def mine(self, timestamp: int | None = None) -> Block:
        """Mine one block with every waiting transaction that can be included; an empty one if there is none."""
        env = self.pending_env()
        if timestamp is not None:
            if timestamp < self.head.env.timestamp:
                raise ChainFault(f"timestamp {timestamp} is before the head's {self.head.env.timestamp}", -32602)
            env = BlockEnv(env.number, timestamp, env.base_fee, env.ancestors)
        parent = self.head
        txs = self._ready()
        root, outcomes = self.evm.execute(parent.sealed.state_root, env, txs) if txs else (parent.sealed.state_root, [])
        included: list[tuple[SignedTx, Executed]] = []
        for tx, outcome in zip(txs, outcomes, strict=True):
            if isinstance(outcome, Executed):
                included.append((tx, outcome))
                self.pool.discard(tx)
            elif str(outcome) != "exceeds block gas limit":
                self._refusal = str(outcome)
                self.pool.discard(tx)
        self._append(parent, env, root, included)
        self._next_timestamp = None
        for sender in {tx.sender for tx, _ in included}:
            self.pool.forget_below(sender, self.evm.nonce(root, sender))
        return self.head

    def set_balance(self, address: bytes, amount: int) -> None:
        """Replace a balance (wei) in a new block."""
        parent = self.head
        root = self.evm.set_balances(parent.sealed.state_root, {address: amount})
        self._append(parent, self.pending_env(), root, [])

    # time, snapshots

    def increase_time(self, seconds: int) -> int:
        """Move the clock of later blocks; answers the whole offset to the wall clock in seconds."""
        self._time_offset += seconds
        return self._time_offset

    def set_next_timestamp(self, timestamp: int) -> None:
        """The timestamp of the next block; the clock runs on from there."""
        if timestamp < self.head.env.timestamp:
            raise ChainFault(f"timestamp {timestamp} is before the head's {self.head.env.timestamp}", -32602)
        self._next_timestamp = timestamp
        self._time_offset = timestamp - int(self._wall())

    def snapshot(self) -> int:
        """Remember this point; answers an id for ``revert``."""
        if len(self._snapshots) >= MAX_SNAPSHOTS:
            self._snapshots.pop(next(iter(self._snapshots)))
        self._snapshots[self._next_snapshot] = _Snapshot(self.head.number, self._time_offset)
        self._next_snapshot += 1
        return self._next_snapshot - 1

    def revert(self, snapshot_id: int) -> bool:
        """Return to a snapshot, which with every later one is used up. False for an unknown id."""
        snapshot = self._snapshots.get(snapshot_id)
        if snapshot is None or snapshot.height > self.head.number:
            return False
        self._snapshots = {key: kept for key, kept in self._snapshots.items() if key < snapshot_id}
        self._time_offset = snapshot.time_offset
        self._next_timestamp = None
        self.pool.clear()
        self._cut(snapshot.height)
        return True

    def rollback(self, depth: int) -> None:
        """Forget the newest ``depth`` blocks and their transactions, which do not return to the pool."""
        if not 0 < depth < len(self._blocks):
            raise ChainFault(f"cannot roll back {depth} of {len(self._blocks)} blocks", -32602)
        self._cut(self.head.number - depth)

    def reorg(self, depth: int, txs: Sequence[tuple[bytes, int]]) -> None:
        """Replace the newest ``depth`` blocks by as many others. ``txs``: raw, and in which of them, from 0."""
        self.rollback(depth)
        for place in range(depth):
            for raw, block in txs:
                if block == place:
                    self._admit(raw)
            self.mine()

    def call(self, request: CallRequest, at: Block | None) -> Executed:
        """``eth_call`` at a block, or on the next block's environment for None. Raises ``ChainFault``."""
        block = at or self.head
        env = self.pending_env() if at is None else self.env_of(at)
        try:
            return self.evm.call(block.sealed.state_root, env, request)
        except BadTransaction as error:
            raise ChainFault(str(error)) from error

    # inside

    def _ready(self) -> list[SignedTx]:
        root = self.head.sealed.state_root
        return self.pool.ready(self.base_fee, lambda sender: self.evm.nonce(root, sender))

    def _ancestors(self, below: int | None = None) -> tuple[bytes, ...]:
        top = self.head.number if below is None else below - 1
        index = top - self._first
        return tuple(block.sealed.hash for block in reversed(self._blocks[max(0, index - _ANCESTORS + 1) : index + 1]))

    def _append(self, parent: Block, env: BlockEnv, root: bytes, included: list[tuple[SignedTx, Executed]]) -> None:
        self._salt += 1
        sealed = self.evm.seal(parent.sealed.hash, env, root, included, self._salt)
        rows: list[Included] = []
        gas = logs = 0
        for index, (tx, done) in enumerate(included):
            gas += done.gas_used
            rows.append(Included(tx, done, index, gas, logs))
            logs += len(done.logs)
            self._where[tx.hash] = (env.number, index)
        slim = BlockEnv(env.number, env.timestamp, env.base_fee)
        self._blocks.append(Block(slim, parent.sealed.hash, sealed, tuple(rows)))
        self._heights[sealed.hash] = env.number
        if len(self._blocks) > MAX_BLOCKS:
            self._forget(self._blocks.pop(0))
            self._first += 1

    def _cut(self, height: int) -> None:
        while self.head.number > height:
            self._forget(self._blocks.pop())

    def _forget(self, block: Block) -> None:
        self._heights.pop(block.sealed.hash, None)
        for row in block.txs:
            self._where.pop(row.tx.hash, None)

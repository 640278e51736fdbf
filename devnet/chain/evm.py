"""How does the pip-only development chain execute transactions?

The only file that knows py-evm. It runs Prague rules (as the anvil flags do) on states named by their root, keeps every
state of the chain's life, and knows nothing of blocks beyond the environment that a transaction sees.

``prevrandao`` is 1 and ``block.difficulty`` with it, as on Arbitrum. Nodes of the trie are never pruned: a chain of an
hour with 10,000 transactions holds some 40 MB.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from eth._utils.address import generate_contract_address
from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS
from eth.db.atomic import AtomicDB
from eth.db.trie import make_trie_root_and_nodes
from eth.exceptions import Revert, VMError
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_bloom.bloom import BloomFilter
from eth_utils.exceptions import ValidationError

__all__ = [
    "BLOCK_GAS_LIMIT",
    "BadTransaction",
    "BlockEnv",
    "CallRequest",
    "Evm",
    "Executed",
    "LogEntry",
    "SealedHeader",
    "SignedTx",
]

BLOCK_GAS_LIMIT: Final = 32_000_000
"""Gas per block and per transaction: Arbitrum's limits."""
_PREVRANDAO: Final = (1).to_bytes(32, "big")


class BadTransaction(Exception):
    """A transaction that cannot enter a block: undecodable, unaffordable, wrong chain, wrong nonce."""


@dataclass(frozen=True, slots=True)
class BlockEnv:
    """What a transaction can see of the block that it runs in. ``ancestors``: hashes, the parent's first."""

    number: int
    timestamp: int
    base_fee: int
    ancestors: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One log: 20-byte address, 32-byte topics, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """What a transaction or call did. ``revert`` is None on success, else the revert data (b"" for other failures)."""

    gas_used: int
    output: bytes
    logs: tuple[LogEntry, ...]
    created: bytes | None
    revert: bytes | None
    error: str


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """The fields of a block that only its execution can tell."""

    hash: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: int
    gas_used: int
    extra: bytes


@dataclass(frozen=True, slots=True)
class SignedTx:
    """A decoded transaction. ``body`` is py-evm's own object, which only this module reads."""

    hash: bytes
    sender: bytes
    to: bytes | None
    nonce: int
    value: int
    gas: int
    max_fee: int
    priority_fee: int
    data: bytes
    type_id: int
    y_parity: int
    r: int
    s: int
    raw: bytes
    body: Any


@dataclass(frozen=True, slots=True)
class CallRequest:
    """The arguments of ``eth_call`` and ``eth_estimateGas``."""

    sender: bytes
    to: bytes | None
    data: bytes
    value: int
    gas: int = BLOCK_GAS_LIMIT


class Evm:
    """Executes against any state root that it has produced. Not thread-safe: its owner serialises the calls."""

    def __init__(self, chain_id: int) -> None:
        self.chain_id = chain_id
        self._db = AtomicDB()

    def genesis(self, balances: Mapping[bytes, int]) -> bytes:
        """The root of a fresh state with these balances (wei)."""
        return self.set_balances(BLANK_ROOT_HASH, balances)

    def set_balances(self, root: bytes, balances: Mapping[bytes, int]) -> bytes:
        """A copy of the state with some balances (wei) replaced; answers its root."""
        state = self._state(root, BlockEnv(0, 0, 0))
        for address, amount in balances.items():
            state.set_balance(address, amount)
        state.persist()
        return cast(bytes, state.state_root)

    def decode(self, raw: bytes) -> SignedTx:
        """Parse a signed transaction and recover its sender. Raises ``BadTransaction``."""
        try:
            body = PragueTransactionBuilder().decode(raw)
            body.validate()
            sender = bytes(body.sender)
        except Exception as error:  # rlp, eth_keys and py-evm each raise their own family on strangers' bytes
            raise BadTransaction(f"not a valid signed transaction: {type(error).__name__}: {error}"[:300]) from error
        if getattr(body, "type_id", None) not in (None, 1, 2, 4):
            raise BadTransaction("only transaction types 0, 1, 2 and 4 are accepted here, as on Arbitrum")
        if body.chain_id not in (None, self.chain_id):
            raise BadTransaction(
                f"the transaction is signed for chain id {body.chain_id}, this chain is {self.chain_id}"
            )
        return SignedTx(
            hash=bytes(body.hash),
            sender=sender,
            to=bytes(body.to) or None,
            nonce=body.nonce,
            value=body.value,
            gas=body.gas,
            max_fee=body.max_fee_per_gas,
            priority_fee=body.max_priority_fee_per_gas,
            data=bytes(body.data),
            type_id=getattr(body, "type_id", None) or 0,
            y_parity=body.y_parity,
            r=body.r,
            s=body.s,
            raw=raw,
            body=body,
        )

    def execute(
        self, root: bytes, env: BlockEnv, txs: Sequence[SignedTx]
    ) -> tuple[bytes, list[Executed | BadTransaction]]:
        """Run the transactions in order. Answers the new root and what each did, or why it cannot be included."""
        state = self._state(root, env)
        outcomes: list[Executed | BadTransaction] = []
        gas_left = BLOCK_GAS_LIMIT
        for tx in txs:
            if tx.gas > gas_left:
                outcomes.append(BadTransaction("exceeds block gas limit"))
                continue
            state.lock_changes()
            try:
                computation = state.apply_transaction(tx.body)
            except ValidationError as error:
                outcomes.append(BadTransaction(str(error)))
                continue
            done = _executed(tx.body, computation)
            gas_left -= done.gas_used
            outcomes.append(done)
        state.persist()
        return state.state_root, outcomes

    def seal(
        self, parent: bytes, env: BlockEnv, root: bytes, included: Sequence[tuple[SignedTx, Executed]], salt: int
    ) -> SealedHeader:
        """Roots, bloom and hash of a block. ``salt`` makes two blocks with equal contents differ, as real forks do."""
        bloom = BloomFilter()
        receipts = []
        cumulative = 0
        for tx, done in included:
            cumulative += done.gas_used
            entries = [(log.address, [int.from_bytes(t, "big") for t in log.topics], log.data) for log in done.logs]
            receipt = tx.body.make_receipt(b"" if done.revert is not None else b"\x01", cumulative, entries)
            receipts.append(receipt)
            bloom |= BloomFilter(receipt.bloom)
        transactions_root, _ = make_trie_root_and_nodes([tx.body for tx, _ in included])
        receipts_root, _ = make_trie_root_and_nodes(receipts)
        header = PragueBlockHeader(
            difficulty=0,
            block_number=cast(Any, env.number),
            gas_limit=BLOCK_GAS_LIMIT,
            timestamp=env.timestamp,
            parent_hash=cast(Any, parent),
            state_root=cast(Any, root),
            transaction_root=transactions_root,
            receipt_root=receipts_root,
            bloom=int(bloom),
            gas_used=cumulative,
            extra_data=salt.to_bytes(8, "big"),
            mix_hash=cast(Any, _PREVRANDAO),
            base_fee_per_gas=env.base_fee,
        )
        extra = bytes(header.extra_data)
        return SealedHeader(bytes(header.hash), root, transactions_root, receipts_root, int(bloom), cumulative, extra)

    def call(self, root: bytes, env: BlockEnv, request: CallRequest) -> Executed:
        """Run a message without keeping its effects; gas is free. Raises ``BadTransaction``."""
        state = self._state(root, BlockEnv(env.number, env.timestamp, 0, env.ancestors))
        body = PragueTransactionBuilder().new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=state.get_nonce(cast(Any, request.sender)),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=request.gas,
            to=cast(Any, request.to or b""),
            value=request.value,
            data=request.data,
            access_list=(),
        )
        spoofed: Any = SpoofTransaction(body, from_=request.sender)
        try:
            computation = state.apply_transaction(spoofed)
        except ValidationError as error:
            raise BadTransaction(str(error)) from error
        return _executed(spoofed, computation)

    def estimate(self, root: bytes, env: BlockEnv, request: CallRequest) -> tuple[int, Executed]:
        """The least gas limit, within 1 %, at which the call succeeds, and the run that proves it (or failed)."""
        widest = self.call(root, env, request)
        if widest.revert is not None:
            return 0, widest
        low, high = widest.gas_used - 1, request.gas
        # A call without refunds and without 63/64 stipends succeeds with exactly what it used: two runs, not twenty.
        for guess in (widest.gas_used, widest.gas_used * 64 // 63 + 2300):
            if low < guess < high and self._succeeds(root, env, request, guess):
                high = guess
                break
            low = max(low, guess)
        while high - low > max(1, high // 100):
            middle = (low + high) // 2
            if self._succeeds(root, env, request, middle):
                high = middle
            else:
                low = middle
        return high, widest

    def _succeeds(self, root: bytes, env: BlockEnv, request: CallRequest, gas: int) -> bool:
        attempt = CallRequest(request.sender, request.to, request.data, request.value, gas)
        try:
            return self.call(root, env, attempt).revert is None
        except BadTransaction:
            return False

    def nonce(self, root: bytes, address: bytes) -> int:
        """Transactions sent by the account."""
        return cast(int, self._at(root).get_nonce(address))

    def balance(self, root: bytes, address: bytes) -> int:
        """Balance in wei."""
        return cast(int, self._at(root).get_balance(address))

    def code(self, root: bytes, address: bytes) -> bytes:
        """Deployed code, b"" where there is none."""
        return cast(bytes, self._at(root).get_code(address))

    def storage(self, root: bytes, address: bytes, slot: int) -> int:
        """One storage word."""
        return cast(int, self._at(root).get_storage(address, slot))

    def _at(self, root: bytes) -> Any:
        return self._state(root, BlockEnv(0, 0, 0))

    def _state(self, root: bytes, env: BlockEnv) -> Any:
        context = ExecutionContext(
            coinbase=ZERO_ADDRESS,
            timestamp=env.timestamp,
            block_number=cast(Any, env.number),
            difficulty=0,
            mix_hash=cast(Any, _PREVRANDAO),
            gas_limit=BLOCK_GAS_LIMIT,
            prev_hashes=cast(Iterable[Any], env.ancestors),
            chain_id=self.chain_id,
            base_fee_per_gas=env.base_fee,
            excess_blob_gas=0,
        )
        return PragueVM.get_state_class()(self._db, context, cast(Any, root))


def _executed(body: Any, computation: Any) -> Executed:
    failed = computation.is_error
    created = None
    if not body.to and not failed:
        created = bytes(generate_contract_address(body.sender, body.nonce))
    logs = tuple(
        LogEntry(bytes(address), tuple(int(topic).to_bytes(32, "big") for topic in topics), bytes(data))
        for address, topics, data in computation.get_log_entries()
    )
    cause: VMError | None = computation.error if failed else None
    return Executed(
        gas_used=PragueVM.finalize_gas_used(body, computation),
        output=b"" if failed else bytes(computation.output),
        logs=logs,
        created=created,
        revert=None if cause is None else bytes(computation.output) if isinstance(cause, Revert) else b"",
        error="" if cause is None else type(cause).__name__,
    )

"""Which JSON-RPC methods does the pip-only development chain answer?

The part of the Ethereum execution API that web3 and our own client use, and the control methods that anvil and hardhat
share (``evm_*``, ``anvil_*``). Everything is synchronous and runs in the one thread that owns the ledger.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from devnet.chain.evm import BLOCK_GAS_LIMIT, CallRequest, Executed
from devnet.chain.ledger import MAX_MINE, Block, ChainFault, Ledger
from devnet.chain.params import address, block_tag, byte_string, hash32, integer, topics_filter
from devnet.chain.render import block_json, data, logs_of, quantity, receipt_json, transaction_json

__all__ = ["MAX_LOGS", "Methods"]

MAX_LOGS: Final = 10_000
"""Logs in one answer; public endpoints refuse at the same number, so that clients must halve their windows here too."""
MAX_FEE_HISTORY: Final = 1024

Handler = Callable[[list[Any]], object]


class Methods:
    """One ledger behind a table of method names.

    ``epoch_blocks``: how far the tag ``safe`` is behind the head, and half of how far ``finalized`` is, as anvil shows
    them with ``--slots-in-an-epoch``. ``block_time_s``: seconds between empty blocks, 0 for none.
    """

    def __init__(
        self, ledger: Ledger, accounts: tuple[bytes, ...], *, epoch_blocks: int = 1, block_time_s: float = 0.0
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._epoch_blocks = epoch_blocks
        self.block_time_s = block_time_s
        self._table: dict[str, Handler] = self._reads() | self._calls() | self._controls()

    def answer(self, method: str, params: list[Any]) -> object:
        """The result of one call. Raises ``ChainFault``."""
        handler = self._table.get(method)
        if handler is None:
            raise ChainFault(f"the method {method[:64]} does not exist on this development chain", -32601)
        try:
            return handler(params)
        except IndexError as error:
            raise ChainFault(f"{method}: a parameter is missing", -32602) from error

    def _reads(self) -> dict[str, Handler]:
        ledger = self._ledger
        chain_id = ledger.evm.chain_id
        return {
            "web3_clientVersion": lambda p: "mesh-devnet/py-evm",
            "net_version": lambda p: str(chain_id),
            "net_listening": lambda p: True,
            "eth_chainId": lambda p: quantity(chain_id),
            "eth_syncing": lambda p: False,
            "eth_accounts": lambda p: [data(account) for account in self._accounts],
            "eth_blockNumber": lambda p: quantity(ledger.head.number),
            "eth_gasPrice": lambda p: quantity(ledger.base_fee),
            "eth_maxPriorityFeePerGas": lambda p: "0x0",
            "eth_feeHistory": self._fee_history,
            "eth_getBlockByNumber": lambda p: self._show(self._numbered(p[0]), p),
            "eth_getBlockByHash": lambda p: self._show(ledger.block_by_hash(hash32(p[0])), p),
            "eth_getTransactionByHash": self._transaction,
            "eth_getRawTransactionByHash": self._raw,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionCount": self._count,
            "eth_getBalance": lambda p: quantity(ledger.evm.balance(self._root(p, 1), address(p[0]))),
            "eth_getCode": lambda p: data(ledger.evm.code(self._root(p, 1), address(p[0]))),
            "eth_getStorageAt": self._storage,
            "eth_getLogs": self._logs,
        }

    def _calls(self) -> dict[str, Handler]:
        return {
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": lambda p: data(self._ledger.submit(byte_string(p[0]))),
        }

    def _controls(self) -> dict[str, Handler]:
        ledger = self._ledger
        return {
            "evm_mine": self._mine_one,
            "anvil_mine": self._mine_many,
            "hardhat_mine": self._mine_many,
            "evm_snapshot": lambda p: quantity(ledger.snapshot()),
            "evm_revert": lambda p: ledger.revert(integer(p[0])),
            "anvil_rollback": lambda p: ledger.rollback(integer(p[0]) if p else 1),
            "anvil_reorg": self._reorg,
            "evm_increaseTime": lambda p: ledger.increase_time(integer(p[0])),
            "evm_setNextBlockTimestamp": lambda p: ledger.set_next_timestamp(integer(p[0])),
            "evm_setAutomine": self._set_automine,
            "evm_setIntervalMining": self._set_interval,
            "anvil_setNextBlockBaseFeePerGas": self._set_base_fee,
            "anvil_setBalance": lambda p: ledger.set_balance(address(p[0]), integer(p[1])),
            "hardhat_setBalance": lambda p: ledger.set_balance(address(p[0]), integer(p[1])),
        }

    # blocks and transactions

    def _numbered(self, tag: object) -> Block | None:
        """A block by tag or number; None where there is none. ``pending`` answers the head."""
        ledger = self._ledger
        head = ledger.head.number
        name = block_tag(tag)
        if isinstance(name, int):
            return ledger.block(name)
        if isinstance(name, bytes):
            return ledger.block_by_hash(name)
        behind = {"safe": self._epoch_blocks, "finalized": 2 * self._epoch_blocks, "earliest": head}
        height = head - behind.get(str(name), 0)
        return ledger.block(max(0, height))

    def _known(self, tag: object) -> Block:
        block = self._numbered(tag)
        if block is None:
            raise ChainFault("header not found")
        return block

    def _root(self, params: list[Any], place: int) -> bytes:
        return self._known(params[place] if len(params) > place else "latest").sealed.state_root

    @staticmethod
    def _show(block: Block | None, params: list[Any]) -> object:
        return None if block is None else block_json(block, full=bool(params[1:2] and params[1]))

    def _transaction(self, params: list[Any]) -> object:
        wanted = hash32(params[0])
        found = self._ledger.find(wanted)
        if found is not None:
            return transaction_json(found[1].tx, found[0], found[1].index)
        waiting = self._ledger.pool.get(wanted)
        return None if waiting is None else transaction_json(waiting, None, 0)

    def _raw(self, params: list[Any]) -> object:
        wanted = hash32(params[0])
        found = self._ledger.find(wanted)
        tx = self._ledger.pool.get(wanted) if found is None else found[1].tx
        return None if tx is None else data(tx.raw)

    def _receipt(self, params: list[Any]) -> object:
        found = self._ledger.find(hash32(params[0]))
        return None if found is None else receipt_json(*found)

    def _count(self, params: list[Any]) -> object:
        sender = address(params[0])
        if len(params) > 1 and params[1] == "pending":
            return quantity(self._ledger.pending_nonce(sender))
        return quantity(self._ledger.evm.nonce(self._root(params, 1), sender))

    def _storage(self, params: list[Any]) -> object:
        word = self._ledger.evm.storage(self._root(params, 2), address(params[0]), integer(params[1]))
        return data(word.to_bytes(32, "big"))

    def _logs(self, params: list[Any]) -> object:
        wanted: Mapping[str, Any] = params[0] if isinstance(params[0], dict) else {}
        addresses, topics = topics_filter(wanted)
        if "blockHash" in wanted:
            block = self._ledger.block_by_hash(hash32(wanted["blockHash"]))
            if block is None:
                raise ChainFault("unknown block")
            blocks = [block]
        else:
            low = self._known(wanted.get("fromBlock", "latest")).number
            high = self._numbered(wanted.get("toBlock", "latest"))
            top = self._ledger.head.number if high is None else high.number
            if low > top:
                raise ChainFault("invalid block range params", -32602)
            blocks = [found for n in range(low, top + 1) if (found := self._ledger.block(n)) is not None]
        rows: list[object] = []
        for block in blocks:
            rows.extend(logs_of(block, addresses, topics))
            if len(rows) > MAX_LOGS:
                raise ChainFault(f"query returned more than {MAX_LOGS} results", -32005)
        return rows

    def _fee_history(self, params: list[Any]) -> object:
        count = min(max(1, integer(params[0])), MAX_FEE_HISTORY)
        newest = self._known(params[1] if len(params) > 1 else "latest").number
        oldest = max(0, newest - count + 1)
        blocks = [found for n in range(oldest, newest + 1) if (found := self._ledger.block(n)) is not None]
        shown: dict[str, object] = {
            "oldestBlock": quantity(oldest),
            "baseFeePerGas": [quantity(b.env.base_fee) for b in blocks] + [quantity(self._ledger.base_fee)],
            "gasUsedRatio": [b.sealed.gas_used / BLOCK_GAS_LIMIT for b in blocks],
        }
        percentiles = params[2] if len(params) > 2 and isinstance(params[2], list) else []
        if percentiles:
            shown["reward"] = [["0x0"] * len(percentiles) for _ in blocks]
        return shown

    # calls

    def _call(self, params: list[Any]) -> object:
        tag = params[1] if len(params) > 1 else "latest"
        done = self._ledger.call(_request(params[0]), None if tag == "pending" else self._known(tag))
        _raise_if_failed(done)
        return data(done.output)

    def _estimate(self, params: list[Any]) -> object:
        ledger = self._ledger
        request = _request(params[0])
        value = ledger.evm.balance(ledger.head.sealed.state_root, request.sender)
        if request.value > value:
            raise ChainFault(f"insufficient funds for transfer: balance {value}, value {request.value}")
        gas, done = ledger.evm.estimate(ledger.head.sealed.state_root, ledger.pending_env(), request)
        _raise_if_failed(done)
        return quantity(gas)

    # control

    def _mine_one(self, params: list[Any]) -> object:
        given = params[0] if params else None
        if isinstance(given, dict):
            given = given.get("timestamp")
        self._ledger.mine(None if given is None else integer(given))
        return "0x0"

    def _mine_many(self, params: list[Any]) -> object:
        count = integer(params[0]) if params else 1
        interval = integer(params[1]) if len(params) > 1 else 0
        if not 0 < count <= MAX_MINE:
            raise ChainFault(f"can mine 1 to {MAX_MINE} blocks per call, not {count}", -32602)
        for done in range(count):
            if interval and done:
                self._ledger.increase_time(interval)
            self._ledger.mine()
        return None

    def _set_automine(self, params: list[Any]) -> object:
        self._ledger.automine = bool(params[0])
        if self._ledger.automine:
            self._ledger.mine_ready()
        return None

    def _set_interval(self, params: list[Any]) -> object:
        self.block_time_s = float(integer(params[0]))
        return None

    def _reorg(self, params: list[Any]) -> object:
        pairs = params[1] if len(params) > 1 else []
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise ChainFault("anvil_reorg wants a depth and a list of [raw transaction, block] pairs", -32602)
        self._ledger.reorg(integer(params[0]), [(byte_string(raw), integer(block)) for raw, block in pairs])
        return None

    def _set_base_fee(self, params: list[Any]) -> object:
        self._ledger.base_fee = integer(params[0])
        if self._ledger.automine:
            self._ledger.mine_ready()
        return None


def _request(given: object) -> CallRequest:
    if not isinstance(given, dict):
        raise ChainFault("the call must be an object", -32602)
    body = given.get("input", given.get("data")) or "0x"
    gas = integer(given["gas"]) if given.get("gas") is not None else BLOCK_GAS_LIMIT
    return CallRequest(
        sender=address(given["from"]) if given.get("from") else bytes(20),
        to=address(given["to"]) if given.get("to") else None,
        data=byte_string(body),
        value=integer(given["value"]) if given.get("value") is not None else 0,
        gas=min(gas, BLOCK_GAS_LIMIT),
    )


def _raise_if_failed(done: Executed) -> None:
    if done.revert is None:
        return
    if done.error == "Revert":
        raise ChainFault("execution reverted", 3, data(done.revert))
    raise ChainFault(f"execution failed: {done.error}", -32000)

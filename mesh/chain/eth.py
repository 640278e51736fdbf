"""What can be read from the chain, and how is a signed transaction handed in? Typed calls over ``Rpc``.

Every method raises ``ChainUnreachable`` when no endpoint helps and ``RpcError`` when the chain's node declines.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeVar

import msgspec
import trio

from mesh.chain import wire
from mesh.chain.agreement import agreed
from mesh.chain.endpoint import Endpoint
from mesh.chain.errors import Unconfirmed
from mesh.chain.questions import receipt_question, value_question, window_question
from mesh.chain.rpc import Rpc
from mesh.chain.wire import Head, Log, Receipt, SeenTx, hex_data, hex_quantity
from protocols.units import Address, Hash32

__all__ = ["MAX_GAS", "SURE_PAUSE_S", "SURE_S", "BlockTag", "Eth", "LogQuery", "TxCall", "surely"]

BlockTag = int | Literal["latest", "safe", "finalized", "pending", "earliest"]
"""A height, or a name that the endpoint resolves."""

MAX_GAS: Final = 32_000_000
"""Gas of one transaction on Arbitrum; an estimate above it is a lie or a defect."""


SURE_S: Final = 5.0
"""How long a value of the newest state is asked for again while endpoints are some blocks apart."""
SURE_PAUSE_S: Final = 0.25

_Value = TypeVar("_Value")


class TxCall(msgspec.Struct, frozen=True):
    """What a transaction shall do. ``to`` is None to create a contract; ``value`` in wei; ``gas`` None to estimate."""

    to: Address | None
    data: bytes = b""
    value: int = 0
    gas: int | None = None
    spare: int = 0
    """Gas on top of the estimate: what others' transactions may add between the estimate and the block."""


class LogQuery(msgspec.Struct, frozen=True):
    """Which logs: any of these addresses and, per topic position, any of these values (None: whatever)."""

    addresses: tuple[Address, ...]
    topics: tuple[tuple[Hash32, ...] | None, ...] = ()

    def wants(self, log: Log) -> bool:
        """Whether a log is one of those."""
        if log.address not in self.addresses or len(log.topics) < len(self.topics):
            return False
        return all(any_of is None or topic in any_of for topic, any_of in zip(log.topics, self.topics, strict=False))


class Eth:
    """Typed JSON-RPC."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    async def head(self) -> Head:
        """The newest block."""
        return await self.rpc.call("eth_getBlockByNumber", ["latest", False], wire.head)

    async def head_of(self, endpoint: Endpoint) -> Head:
        """The newest block of one endpoint."""
        return await self.rpc.ask(endpoint, "eth_getBlockByNumber", ["latest", False], wire.head)

    async def block(self, tag: BlockTag) -> Head | None:
        """A block, None where the endpoint has none of that height or name."""
        return await self.rpc.call(*_block(tag))

    async def logs(self, query: LogQuery, first: int, last: int) -> tuple[Log, ...]:
        """The logs of blocks ``first`` to ``last``, both included, in chain order."""
        return await self.rpc.call(*_logs(query, first, last))

    async def agreed_logs(self, query: LogQuery, first: int, last: int) -> tuple[Head, tuple[Log, ...]] | None:
        """The block ``last`` and the logs up to it, as a second endpoint confirms them (`agreement.agreed`); None where there
        is no such block yet. Raises ``Unconfirmed`` and ``EndpointsDisagree`` too."""
        question = window_question(
            self.rpc,
            last,
            lambda one: self.rpc.ask(one, *_block(last)),
            lambda one: self.rpc.ask(one, *_logs(query, first, last)),
            query.wants,
        )
        return await agreed(self.rpc, question)

    async def receipt(self, tx_hash: Hash32) -> Receipt | None:
        """The receipt of a mined transaction, None while it is not mined (or dropped, or unknown)."""
        return await self.rpc.call(*_receipt(tx_hash))

    async def agreed_receipt(self, tx_hash: Hash32, *, anywhere: bool = False) -> Receipt | None:
        """The same, as a second endpoint confirms it. Raises ``Unconfirmed`` and ``EndpointsDisagree`` too.

        ``anywhere``: None only if no endpoint has it; the one that serves may keep it to itself.
        """
        ask = lambda one: self.rpc.ask(one, *_receipt(tx_hash))  # noqa: E731
        return await agreed(self.rpc, receipt_question(self.rpc, tx_hash, ask, anywhere=anywhere))

    async def transaction(self, tx_hash: Hash32) -> SeenTx | None:
        """A transaction that the endpoint knows, mined or waiting."""
        read = wire.matching(wire.seen_tx_or_none, lambda tx: tx is None or tx.hash == tx_hash, "transaction")
        return await self.rpc.call("eth_getTransactionByHash", [hex_data(tx_hash)], read)

    async def nonce(self, account: Address, tag: BlockTag = "latest") -> int:
        """How many transactions the account has in blocks up to ``tag``."""
        return await self.rpc.call(*_nonce(account, tag))

    async def nonce_of(self, account: Address, endpoint: Endpoint) -> int:
        """The same up to the newest block, as one endpoint tells it."""
        return await self.rpc.ask(endpoint, *_nonce(account, "latest"))

    async def balance(self, account: Address) -> int:
        """Ether of the account, in wei."""
        return await self.rpc.call("eth_getBalance", [hex_data(account), "latest"], wire.quantity)

    async def code(self, account: Address) -> bytes:
        """The contract at the address, b"" where there is none."""
        return await self.rpc.call("eth_getCode", [hex_data(account), "latest"], wire.data)

    async def call(self, call: TxCall, sender: Address, tag: BlockTag = "latest") -> bytes:
        """Run a call without sending it. A revert is ``RpcError`` with its data."""
        return await self.rpc.call("eth_call", [_call(call, sender), _tag(tag)], wire.data)

    async def estimate_gas(self, call: TxCall, sender: Address) -> int:
        """Gas that the call would need now. A revert is ``RpcError`` with its data."""
        return await self.rpc.call(*_estimate(call, sender))

    async def estimate_of(self, endpoint: Endpoint, call: TxCall, sender: Address) -> int:
        """The same, as one endpoint tells it."""
        return await self.rpc.ask(endpoint, *_estimate(call, sender))

    async def send_raw(self, raw: bytes, tx_hash: Hash32) -> None:
        """Hand in a signed transaction whose hash is ``tx_hash``. Doing so twice is harmless."""
        read = wire.matching(wire.hash32, lambda told: told == tx_hash, "transaction")
        await self.rpc.call("eth_sendRawTransaction", [hex_data(raw)], read)

    async def spread_raw(self, raw: bytes) -> None:
        """Hand a signed transaction to every endpoint: for one that was taken and is nowhere."""
        await self.rpc.spread("eth_sendRawTransaction", [hex_data(raw)])


async def surely(
    rpc: Rpc, about: str, method: str, params: Sequence[object], read: Callable[[object], _Value]
) -> _Value:
    """A value of the newest state that a second endpoint confirms. Raises ``ChainUnreachable`` when none does in time."""
    question = value_question(rpc, about, method, params, read)
    until = trio.current_time() + SURE_S
    while True:
        try:
            value = await agreed(rpc, question)
        except Unconfirmed:
            if trio.current_time() >= until:
                raise
            await trio.sleep(SURE_PAUSE_S)
        else:
            assert value is not None
            return value


def _block(tag: BlockTag) -> tuple[str, list[object], Callable[[object], Head | None]]:
    read: Callable[[object], Head | None] = wire.head_or_none
    if isinstance(tag, int):
        read = wire.matching(wire.head_or_none, lambda head: head is None or head.number == tag, "block")
    return "eth_getBlockByNumber", [_tag(tag), False], read


def _logs(query: LogQuery, first: int, last: int) -> tuple[str, list[object], Callable[[object], tuple[Log, ...]]]:
    wanted: dict[str, object] = {
        "fromBlock": hex_quantity(first),
        "toBlock": hex_quantity(last),
        "address": [hex_data(address) for address in query.addresses],
        "topics": [None if any_of is None else [hex_data(t) for t in any_of] for any_of in query.topics],
    }
    asked = frozenset(query.addresses)

    def fits(found: tuple[Log, ...]) -> bool:
        return all(first <= log.block_number <= last and log.address in asked for log in found)

    return "eth_getLogs", [wanted], wire.matching(wire.logs, fits, "range or address")


def _receipt(tx_hash: Hash32) -> tuple[str, list[object], Callable[[object], Receipt | None]]:
    read = wire.matching(
        wire.receipt_or_none, lambda receipt: receipt is None or receipt.tx_hash == tx_hash, "transaction"
    )
    return "eth_getTransactionReceipt", [hex_data(tx_hash)], read


def _nonce(account: Address, tag: BlockTag) -> tuple[str, list[object], Callable[[object], int]]:
    read = lambda value: wire.quantity(value, "nonce", 1 << 64)  # noqa: E731
    return "eth_getTransactionCount", [hex_data(account), _tag(tag)], read


def _estimate(call: TxCall, sender: Address) -> tuple[str, list[object], Callable[[object], int]]:
    read = lambda value: wire.quantity(value, "gas estimate", MAX_GAS + 1)  # noqa: E731
    return "eth_estimateGas", [_call(call, sender)], read


def _call(call: TxCall, sender: Address) -> dict[str, object]:
    shown: dict[str, object] = {
        "from": hex_data(sender),
        "data": hex_data(call.data),
        "value": hex_quantity(call.value),
    }
    if call.to is not None:
        shown["to"] = hex_data(call.to)
    if call.gas is not None:
        shown["gas"] = hex_quantity(call.gas)
    return shown


def _tag(tag: BlockTag) -> str:
    return hex_quantity(tag) if isinstance(tag, int) else tag

"""What does an RPC answer have to look like before we believe it?

Strict readers of JSON-RPC results: each answers a typed value or raises ``Malformed`` saying which field is wrong. An
endpoint is a stranger: negative, huge or missing values are refused here, before anything is computed from them.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from protocols.units import Address, Hash32, UnixSeconds

__all__ = [
    "MAX_DATA_BYTES",
    "Head",
    "Log",
    "Malformed",
    "Receipt",
    "SeenTx",
    "address",
    "data",
    "hash32",
    "head",
    "head_or_none",
    "hex_data",
    "hex_quantity",
    "logs",
    "matching",
    "quantity",
    "receipt_or_none",
    "seen_tx_or_none",
]

MAX_HEIGHT: Final = 1 << 53
"""Block numbers: 2**53 blocks of 250 ms are 71 million years."""
MAX_TIMESTAMP: Final = 1 << 40
"""Seconds: the year 36,812."""
MAX_DATA_BYTES: Final = 1 << 20
"""One log's data, one call's result, one contract's code: the largest honest ones are below 100 kB."""
MAX_LOGS: Final = 20_000
"""Logs in one answer: public endpoints stop at 10,000."""
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")

_Value = TypeVar("_Value")


class Malformed(ValueError):
    """A result that no honest endpoint sends. The text names the field."""


class Head(msgspec.Struct, frozen=True):
    """A block's header, as much of it as a node uses. ``base_fee`` in wei."""

    number: int
    hash: Hash32
    parent: Hash32
    timestamp: UnixSeconds
    base_fee: int


class Log(msgspec.Struct, frozen=True):
    """One log of a mined transaction."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    block_number: int
    block_hash: Hash32
    tx_hash: Hash32
    index: int


class Receipt(msgspec.Struct, frozen=True):
    """What a mined transaction did. ``status``: True if it was not reverted."""

    tx_hash: Hash32
    block_number: int
    block_hash: Hash32
    status: bool
    gas_used: int
    created: Address | None
    logs: tuple[Log, ...]
    gas_price: int = 0
    """What each unit of gas cost, in wei; 0 from an endpoint that does not say."""


class SeenTx(msgspec.Struct, frozen=True):
    """A transaction that the endpoint knows. ``block_number`` is None while it waits."""

    hash: Hash32
    nonce: int
    sender: Address
    block_number: int | None


def quantity(value: object, name: str = "result", below: int = 1 << 256) -> int:
    """A 0x-hex quantity, 0 <= n < ``below``."""
    if (
        not isinstance(value, str)
        or value[:2] != "0x"
        or not 0 < len(value) - 2 <= 64
        or not set(value[2:]) <= _HEX_DIGITS
    ):
        raise Malformed(f"{name} should be a 0x-hex quantity, got {_short(value)}")
    number = int(value, 16)
    if number >= below:
        raise Malformed(f"{name} is absurd: {_short(value)}")
    return number


def data(value: object, name: str = "result", size: int | None = None) -> bytes:
    """0x-hex bytes, of exactly ``size`` where given, else at most ``MAX_DATA_BYTES``."""
    if not isinstance(value, str) or value[:2] != "0x" or len(value) > 2 * MAX_DATA_BYTES + 2:
        raise Malformed(f"{name} should be 0x-hex data, got {_short(value)}")
    if not set(value[2:]) <= _HEX_DIGITS or len(value) % 2:
        raise Malformed(f"{name} is not hex: {_short(value)}")
    raw = bytes.fromhex(value[2:])
    if size is not None and len(raw) != size:
        raise Malformed(f"{name} should have {size} bytes, has {len(raw)}")
    return raw


def hash32(value: object, name: str = "result") -> Hash32:
    """A 32-byte hash."""
    return Hash32(data(value, name, 32))


def address(value: object, name: str = "result") -> Address:
    """A 20-byte address in any case."""
    return Address(data(value, name, 20))


def head(value: object) -> Head:
    """A block."""
    block = _fields(value, "block")
    fee = block.get("baseFeePerGas")
    return Head(
        number=quantity(block.get("number"), "block.number", MAX_HEIGHT),
        hash=hash32(block.get("hash"), "block.hash"),
        parent=hash32(block.get("parentHash"), "block.parentHash"),
        timestamp=UnixSeconds(quantity(block.get("timestamp"), "block.timestamp", MAX_TIMESTAMP)),
        base_fee=0 if fee is None else quantity(fee, "block.baseFeePerGas", 1 << 128),
    )


def head_or_none(value: object) -> Head | None:
    """A block, or null for one that the endpoint does not have."""
    return None if value is None else head(value)


def logs(value: object) -> tuple[Log, ...]:
    """The answer of ``eth_getLogs``, in chain order. Logs marked as removed are left out."""
    if not isinstance(value, list) or len(value) > MAX_LOGS:
        raise Malformed(f"logs should be a list of at most {MAX_LOGS}, got {_short(value)}")
    found = [_log(item) for item in value if not (isinstance(item, dict) and item.get("removed") is True)]
    order = [(log.block_number, log.index) for log in found]
    if any(a >= b for a, b in itertools.pairwise(order)):
        found.sort(key=lambda log: (log.block_number, log.index))
        if len(set(order)) != len(order):
            raise Malformed("logs name the same place twice")
    return tuple(found)


def receipt_or_none(value: object) -> Receipt | None:
    """A receipt, or null while the transaction is not mined."""
    if value is None:
        return None
    receipt = _fields(value, "receipt")
    created = receipt.get("contractAddress")
    return Receipt(
        tx_hash=hash32(receipt.get("transactionHash"), "receipt.transactionHash"),
        block_number=quantity(receipt.get("blockNumber"), "receipt.blockNumber", MAX_HEIGHT),
        block_hash=hash32(receipt.get("blockHash"), "receipt.blockHash"),
        status=quantity(receipt.get("status"), "receipt.status", 2) == 1,
        gas_used=quantity(receipt.get("gasUsed"), "receipt.gasUsed", 1 << 64),
        created=None if created is None else address(created, "receipt.contractAddress"),
        logs=logs(receipt.get("logs")),
        gas_price=quantity(receipt.get("effectiveGasPrice", "0x0"), "receipt.effectiveGasPrice"),
    )


def seen_tx_or_none(value: object) -> SeenTx | None:
    """A transaction by hash, or null where the endpoint has not seen it."""
    if value is None:
        return None
    tx = _fields(value, "transaction")
    block = tx.get("blockNumber")
    return SeenTx(
        hash=hash32(tx.get("hash"), "transaction.hash"),
        nonce=quantity(tx.get("nonce"), "transaction.nonce", 1 << 64),
        sender=address(tx.get("from"), "transaction.from"),
        block_number=None if block is None else quantity(block, "transaction.blockNumber", MAX_HEIGHT),
    )


def hex_quantity(value: int) -> str:
    """An integer as JSON-RPC writes it."""
    return hex(value)


def hex_data(value: bytes) -> str:
    """Bytes as JSON-RPC writes them."""
    return "0x" + value.hex()


def matching(read: Callable[[object], _Value], fits: Callable[[_Value], bool], what: str) -> Callable[[object], _Value]:
    """A reader that also refuses a well-formed answer to some other question."""

    def checked(value: object) -> _Value:
        result = read(value)
        if not fits(result):
            raise Malformed(f"the answer is about another {what}")
        return result

    return checked


def _log(value: object) -> Log:
    log = _fields(value, "log")
    topics = log.get("topics")
    if not isinstance(topics, list) or len(topics) > 4:
        raise Malformed(f"log.topics should be a list of at most 4, got {_short(topics)}")
    return Log(
        address=address(log.get("address"), "log.address"),
        topics=tuple(hash32(topic, "log.topics") for topic in topics),
        data=data(log.get("data"), "log.data"),
        block_number=quantity(log.get("blockNumber"), "log.blockNumber", MAX_HEIGHT),
        block_hash=hash32(log.get("blockHash"), "log.blockHash"),
        tx_hash=hash32(log.get("transactionHash"), "log.transactionHash"),
        index=quantity(log.get("logIndex"), "log.logIndex", 1 << 32),
    )


def _fields(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{name} should be an object, got {_short(value)}")
    return value


def _short(value: object) -> str:
    shown = repr(value if not isinstance(value, (list, dict)) else type(value).__name__)
    return shown if len(shown) <= 60 else shown[:57] + "..."

"""How does a log become a proof that needs no chain? Header and receipts are fetched once, and the trie is rebuilt here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from mesh.chain import wire
from mesh.chain.errors import RpcError
from mesh.chain.rpc import Rpc
from mesh.chain.wire import Head, Malformed, Receipt
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32
from protocols.verify.inclusion import LogProof, prove_log, receipts_root
from protocols.verify.rlp import encode_rlp, integer

__all__ = ["MAX_TRANSACTIONS", "Ask", "block_proven", "log_proofs"]

MAX_TRANSACTIONS: Final = 512
"""Receipts fetched one by one where an endpoint has no `eth_getBlockReceipts`; Arbitrum's blocks hold a few dozen."""

_HASH, _NUMBER, _BYTES = range(3)
_HEADER: Final = (
    ("parentHash", _HASH), ("sha3Uncles", _HASH), ("miner", _BYTES), ("stateRoot", _HASH), ("transactionsRoot", _HASH),
    ("receiptsRoot", _HASH), ("logsBloom", _BYTES), ("difficulty", _NUMBER), ("number", _NUMBER), ("gasLimit", _NUMBER),
    ("gasUsed", _NUMBER), ("timestamp", _NUMBER), ("extraData", _BYTES), ("mixHash", _HASH), ("nonce", _BYTES),
)  # fmt: skip
_LATER: Final = (
    ("baseFeePerGas", _NUMBER), ("withdrawalsRoot", _HASH), ("blobGasUsed", _NUMBER), ("excessBlobGas", _NUMBER),
    ("parentBeaconBlockRoot", _HASH), ("requestsHash", _HASH),
)  # fmt: skip
"""Added by one fork after the other: a chain has them up to some point. Source: EIPs 1559, 4895, 4844, 4788, 7685."""

Fields = Mapping[str, Any]
_Value = TypeVar("_Value")


class Ask(Protocol):
    """``Rpc.call``, of all endpoints or of one."""

    async def __call__(self, method: str, params: Sequence[object], read: Callable[[object], _Value]) -> _Value:
        """One question."""


async def block_proven(ask: Ask, number: int) -> tuple[Head, tuple[Receipt, ...]] | None:
    """A block that hashes to its hash, with the receipts that its header names; None where what is told does not add up.

    That is a proof of the receipts to whoever knows the hash from elsewhere; alone it shows that a lie was made with care.
    Raises what ``ask`` raises.
    """
    block = await ask("eth_getBlockByNumber", [wire.hex_quantity(number), False], _maybe)
    if block is None:
        return None
    try:
        _header(block)
        found = await _receipts(ask, block)
        if receipts_root([_receipt(one) for one in found]) != wire.hash32(block.get("receiptsRoot"), "receiptsRoot"):
            return None
        receipts = tuple(one for one in map(wire.receipt_or_none, found) if one is not None)
        return wire.head(block), receipts
    except (Malformed, LocalProtocolError, RemoteProtocolError):
        return None


async def log_proofs(
    rpc: Rpc, tx: Hash32, about: Callable[[Address, tuple[Hash32, ...]], bool]
) -> tuple[LogProof, ...]:
    """A proof for each log of a transaction that ``about(address, topics)`` wants.

    Empty when the transaction is not (or no longer) mined, when its block is too large, or when its header has fields that
    this version does not know. Raises ``ChainUnreachable``, and ``RpcError`` where an endpoint declines.
    """
    receipt = await rpc.call("eth_getTransactionReceipt", [wire.hex_data(tx)], _maybe)
    if receipt is None:
        return ()
    block = await rpc.call("eth_getBlockByHash", [receipt.get("blockHash"), False], _maybe)
    if block is None:
        return ()
    try:
        header = _header(block)
        receipts = [_receipt(one) for one in await _receipts(rpc.call, block)]
        place = wire.quantity(receipt.get("transactionIndex"), "transactionIndex", len(receipts) or 1)
        wanted = [i for i, log in enumerate(_list(receipt, "logs")) if about(*_what(log))]
        return tuple(prove_log(header, receipts, place, i) for i in wanted)
    except (Malformed, LocalProtocolError, RemoteProtocolError):
        return ()  # whoever reads the dossier is told that this proof is missing, and can look it up


async def _receipts(ask: Ask, block: Fields) -> list[Fields]:
    """Every receipt of the block."""
    hashes = [wire.hash32(one, "transaction") for one in _list(block, "transactions")]
    if len(hashes) > MAX_TRANSACTIONS:
        raise Malformed(f"a block of {len(hashes)} transactions, at most {MAX_TRANSACTIONS} are fetched")
    try:
        return await ask("eth_getBlockReceipts", [block.get("hash")], _all)
    except RpcError:
        return [await ask("eth_getTransactionReceipt", [wire.hex_data(one)], _one) for one in hashes]


def _header(block: Fields) -> bytes:
    """The header, which must hash to what the endpoint calls the block. Raises ``Malformed``."""
    rows = [*_HEADER, *_LATER[: sum(name in block for name, _ in _LATER)]]
    header = encode_rlp([_field(block.get(name), name, kind) for name, kind in rows])
    if keccak256(header) != wire.hash32(block.get("hash"), "hash"):
        raise Malformed("this block's header has another form, or another hash")
    return header


def _field(value: object, name: str, kind: int) -> bytes:
    if kind == _NUMBER:
        return integer(wire.quantity(value, name))
    return wire.data(value, name, 32 if kind == _HASH else None)


def _receipt(receipt: Fields) -> bytes:
    """Type, status, gas, bloom and logs. The bloom is computed: an endpoint may show the block's instead."""
    logs = [(*_what(log), wire.data(log.get("data"), "data")) for log in _list(receipt, "logs")]
    fields = [
        integer(wire.quantity(receipt.get("status"), "status", 2)),
        integer(wire.quantity(receipt.get("cumulativeGasUsed"), "cumulativeGasUsed")),
        _bloom([part for address, topics, _ in logs for part in (address, *topics)]),
        [[address, list(topics), data] for address, topics, data in logs],
    ]
    kind = wire.quantity(receipt.get("type", "0x0"), "type", 0x80)
    return (bytes([kind]) if kind else b"") + encode_rlp(fields)


def _bloom(entries: list[bytes]) -> bytes:
    """Three bits of 2048 for each address and topic. Source: Ethereum yellow paper 4.3.1."""
    bits = 0
    for entry in entries:
        digest = keccak256(entry)
        for at in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[at : at + 2]) & 2047)
    return bits.to_bytes(256)


def _what(log: Fields) -> tuple[Address, tuple[Hash32, ...]]:
    topics = tuple(wire.hash32(topic, "topic") for topic in _list(log, "topics"))
    return wire.address(log.get("address"), "address"), topics


def _list(fields: Fields, name: str) -> list[Any]:
    found = fields.get(name)
    if not isinstance(found, list) or len(found) > wire.MAX_LOGS:
        raise Malformed(f"{name} should be a list")
    return found


def _one(value: object) -> Fields:
    if not isinstance(value, Mapping):
        raise Malformed("the result should be an object")
    return value


def _maybe(value: object) -> Fields | None:
    return None if value is None else _one(value)


def _all(value: object) -> list[Fields]:
    if not isinstance(value, list) or len(value) > MAX_TRANSACTIONS:
        raise Malformed("the result should be a list of receipts")
    return [_one(one) for one in value]

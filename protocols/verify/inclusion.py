"""Did a contract write this log into that block? A proof that needs no chain, only the block's hash.

A block's header names the root of a trie of its receipts; a path of nodes from that root to one receipt proves the receipt,
and the receipt holds the logs. Whoever knows the block's hash from anywhere (an explorer, an own node, a newspaper) needs
nothing else. Sources: Ethereum yellow paper 4.3 and appendix D; EIP-2718 (typed receipts).
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, UnixSeconds
from protocols.verify.rlp import Item, decode_rlp, encode_rlp, integer

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_NODE_BYTES",
    "MAX_PATH",
    "LogProof",
    "ProvenLog",
    "prove_log",
    "receipts_root",
    "verify_log",
]

MAX_HEADER_BYTES: Final = 4_096
"""Headers have 500 to 700 bytes; extra data is 32."""
MAX_NODE_BYTES: Final = 64 * 1024
"""A trie node: the leaf is a whole receipt, and ours have a handful of logs."""
MAX_PATH: Final = 8
"""Nodes from root to leaf: the key is an encoded index, six half bytes for 65,535 receipts."""
MAX_RECEIPTS: Final = 10_000
"""Receipts of a block that a proof is made of."""

_RECEIPTS_ROOT, _NUMBER, _TIMESTAMP = 5, 8, 11


class LogProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One log of one block."""

    header: Annotated[bytes, Meta(max_length=MAX_HEADER_BYTES)]
    transaction: Annotated[int, Meta(ge=0, le=(1 << 16) - 1)]
    """Its place in the block."""
    log: Annotated[int, Meta(ge=0, le=(1 << 16) - 1)]
    """The log's place in its receipt."""
    path: Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_NODE_BYTES)], ...], Meta(max_length=MAX_PATH)]
    """Trie nodes from the root to the receipt."""


class ProvenLog(msgspec.Struct, frozen=True):
    """What a proof shows, if the block is in the chain."""

    block_hash: Hash32
    block: int
    at: UnixSeconds
    address: Address
    topics: tuple[Hash32, ...]
    data: bytes


def verify_log(proof: LogProof) -> ProvenLog:
    """What the proof shows. Raises RemoteProtocolError(code="bad_proof") when it does not hold together."""
    header = _items(decode_rlp(proof.header), "a header", 15)
    root, number, timestamp = (_text(header[i]) for i in (_RECEIPTS_ROOT, _NUMBER, _TIMESTAMP))
    receipt = _receipt(_value_at(root, _key(proof.transaction), proof.path))
    if receipt[0] != b"\x01":
        raise _bad("the transaction was reverted")
    logs = _items(receipt[3], "a receipt's logs", 0)
    if proof.log >= len(logs):
        raise _bad("the receipt has fewer logs")
    address, topics, data = _items(logs[proof.log], "a log", 3)[:3]
    return ProvenLog(
        block_hash=keccak256(proof.header),
        block=_number(number),
        at=UnixSeconds(_number(timestamp)),
        address=Address(_sized(address, 20)),
        topics=tuple(Hash32(_sized(topic, 32)) for topic in _items(topics, "topics", 0)),
        data=_text(data),
    )


def prove_log(header: bytes, receipts: Sequence[bytes], transaction: int, log: int) -> LogProof:
    """The proof of a log, from the block's header and all its receipts, both as the chain encodes them.

    Raises LocalProtocolError when the receipts are not those that the header names, or one of them is too large.
    """
    if not 0 <= transaction < len(receipts) <= MAX_RECEIPTS:
        raise LocalProtocolError(f"a proof of transaction {transaction} out of {len(receipts)}")
    pairs = sorted((_nibbles(_key(i)), receipt) for i, receipt in enumerate(receipts))
    nodes: list[bytes] = []
    root = _build(pairs, 0, _nibbles(_key(transaction)), nodes)
    named = _items(decode_rlp(header), "a header", 15)[_RECEIPTS_ROOT]
    if keccak256(root) != named:
        raise LocalProtocolError("these receipts are not those of the block")
    proof = LogProof(header, transaction, log, (root, *reversed(nodes)))
    verify_log(proof)
    return proof


def receipts_root(receipts: Sequence[bytes]) -> Hash32:
    """What a header names as the root of these receipts, each as the chain encodes it.

    Raises LocalProtocolError for more of them than a block can have.
    """
    if len(receipts) > MAX_RECEIPTS:
        raise LocalProtocolError(f"{len(receipts)} receipts, at most {MAX_RECEIPTS} are hashed")
    if not receipts:
        return keccak256(encode_rlp(b""))
    pairs = sorted((_nibbles(_key(i)), receipt) for i, receipt in enumerate(receipts))
    return keccak256(_build(pairs, 0, _nibbles(_key(0)), []))


def _key(index: int) -> bytes:
    """The key of the ``index``-th receipt."""
    return encode_rlp(integer(index))


# --- the trie -----------------------------------------------------------------------------------------------------


def _value_at(root: bytes, key: bytes, path: Sequence[bytes]) -> bytes:
    """The value under ``key``, walked along the nodes of ``path``, every one of them checked by its hash."""
    expected, rest = root, _nibbles(key)
    for place, node in enumerate(path, start=1):
        if keccak256(node) != expected:
            raise _bad("a node is not the one that its parent names")
        items = decode_rlp(node)
        if not isinstance(items, list) or len(items) not in (2, 17):
            raise _bad("a node is neither a branch nor a leaf")
        if len(items) == 17:
            if not rest:
                raise _bad("a receipt inside a branch")
            expected, rest = _text(items[rest[0]]), rest[1:]
            continue
        prefix, is_leaf = _prefix(_text(items[0]))
        if rest[: len(prefix)] != prefix:
            raise _bad("the path leads elsewhere")
        rest = rest[len(prefix) :]
        if is_leaf:
            if rest or place < len(path):
                raise _bad("the path goes on behind a leaf")
            return _text(items[1])
        expected = _text(items[1])
    raise _bad("the path ends before a receipt")


def _build(pairs: list[tuple[tuple[int, ...], bytes]], depth: int, wanted: tuple[int, ...], path: list[bytes]) -> bytes:
    """The node over ``pairs``, whose keys agree up to ``depth``; nodes below it towards ``wanted`` go to ``path``, deepest
    first. Receipts are far longer than 32 bytes, so a node is always named by its hash."""
    if len(pairs) == 1:
        return encode_rlp([_packed(pairs[0][0][depth:], leaf=True), pairs[0][1]])
    shared = depth
    while pairs[0][0][shared] == pairs[-1][0][shared]:
        shared += 1
    if shared > depth:
        below = _build(pairs, shared, wanted, path)
        if wanted[:shared] == pairs[0][0][:shared]:
            path.append(below)
        return encode_rlp([_packed(pairs[0][0][depth:shared], leaf=False), keccak256(below)])
    children = [b""] * 17
    for nibble in range(16):
        group = [pair for pair in pairs if pair[0][depth] == nibble]
        if group:
            child = _build(group, depth + 1, wanted, path)
            children[nibble] = keccak256(child)
            if wanted[: depth + 1] == group[0][0][: depth + 1]:
                path.append(child)
    return encode_rlp(children)


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(half for byte in key for half in (byte >> 4, byte & 15))


def _packed(nibbles: tuple[int, ...], *, leaf: bool) -> bytes:
    """Hex-prefix encoding."""
    flag = 2 * leaf + len(nibbles) % 2
    halves = (flag, *nibbles) if len(nibbles) % 2 else (flag, 0, *nibbles)
    return bytes(16 * high + low for high, low in zip(halves[::2], halves[1::2], strict=True))


def _prefix(packed: bytes) -> tuple[tuple[int, ...], bool]:
    """(nibbles, is a leaf) of a hex-prefix."""
    halves = _nibbles(packed)
    if not halves or halves[0] > 3 or (halves[0] % 2 == 0 and halves[1] != 0):
        raise _bad("a node has no proper prefix")
    return (halves[1:] if halves[0] % 2 else halves[2:]), halves[0] >= 2


# --- reading ------------------------------------------------------------------------------------------------------


def _receipt(data: bytes) -> list[Item]:
    """Status, gas, bloom, logs; a typed receipt has its type in front."""
    body = data[1:] if data[:1] and data[0] < 0x80 else data
    return _items(decode_rlp(body), "a receipt", 4)


def _items(item: Item, what: str, least: int) -> list[Item]:
    if not isinstance(item, list) or len(item) < least:
        raise _bad(f"{what} is not one")
    return item


def _text(item: Item) -> bytes:
    if not isinstance(item, bytes):
        raise _bad("a list where bytes belong")
    return item


def _sized(item: Item, size: int) -> bytes:
    found = _text(item)
    if len(found) != size:
        raise _bad(f"{len(found)} bytes where {size} belong")
    return found


def _number(text: bytes) -> int:
    if len(text) > 8:
        raise _bad("a number of more than 8 bytes")
    return int.from_bytes(text)


def _bad(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the proof does not hold: {why}", code="bad_proof")

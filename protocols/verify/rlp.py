"""How does Ethereum write lists and strings as bytes (RLP), and what do strangers' bytes say, strictly read?

Source: Ethereum yellow paper, appendix B. Only what headers, receipts and trie nodes need.
"""

from collections.abc import Sequence
from typing import Final

from protocols.errors import RemoteProtocolError

__all__ = ["MAX_DEPTH", "Item", "decode_rlp", "encode_rlp", "integer"]

Item = bytes | list["Item"]
"""A string or a list of items."""

MAX_DEPTH: Final = 8
"""Lists in lists: a receipt has four levels (receipt, logs, log, topics)."""


def encode_rlp(item: bytes | Sequence[object]) -> bytes:
    """The one encoding of a string or of nested sequences of strings."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _head(len(item), 0x80) + item
    body = b"".join(encode_rlp(one) for one in item)  # type: ignore[arg-type]
    return _head(len(body), 0xC0) + body


def integer(value: int) -> bytes:
    """An integer as RLP writes it: big-endian without leading zeros, zero as the empty string."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def decode_rlp(data: bytes) -> Item:
    """The item that ``data`` is the one encoding of. Raises RemoteProtocolError(code="bad_proof")."""
    item, end = _item(data, 0, len(data), 0)
    if end != len(data):
        raise _bad("bytes after its end")
    return item


def _head(length: int, base: int) -> bytes:
    if length <= 55:
        return bytes([base + length])
    size = integer(length)
    return bytes([base + 55 + len(size)]) + size


def _item(data: bytes, at: int, end: int, depth: int) -> tuple[Item, int]:
    if at >= end:
        raise _bad("it ends too early")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    start, stop = _span(data, at, end, 0x80 if first < 0xC0 else 0xC0)
    if first < 0xC0:
        if stop - start == 1 and data[start] < 0x80:
            raise _bad("a byte is written in two")
        return data[start:stop], stop
    if depth >= MAX_DEPTH:
        raise _bad(f"more than {MAX_DEPTH} lists in lists")
    items: list[Item] = []
    while start < stop:
        item, start = _item(data, start, stop, depth + 1)
        items.append(item)
    return items, stop


def _span(data: bytes, at: int, end: int, base: int) -> tuple[int, int]:
    """Where the payload of the string or list at ``at`` begins and ends."""
    length, start = data[at] - base, at + 1
    if length > 55:
        size = length - 55
        digits = data[start : start + size]
        length, start = int.from_bytes(digits), start + size
        if start > end or digits[:1] == b"\x00" or length <= 55:
            raise _bad("a length is not in its shortest form")
    if start + length > end:
        raise _bad("it ends too early")
    return start, start + length


def _bad(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not RLP: {why}", code="bad_proof")

"""How are JSON-RPC parameters read at the development chain's edge?

Each reader answers a typed value or raises ``ChainFault`` with code -32602 (invalid params) naming what it got.
"""

from collections.abc import Mapping
from typing import Any, Final

from devnet.chain.ledger import ChainFault

__all__ = ["address", "block_tag", "byte_string", "hash32", "integer", "topics_filter"]

_TAGS: Final = frozenset({"latest", "pending", "safe", "finalized", "earliest"})
MAX_FILTER_TERMS: Final = 1024
"""Addresses or alternatives of one topic in a log filter: the bound of public endpoints."""


def integer(value: object) -> int:
    """A quantity: 0x-hex text or a JSON integer, 0 <= n < 2**256."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = value if isinstance(value, int) else int(str(value), 16 if str(value).startswith("0x") else 10)
        if not 0 <= number < 1 << 256:
            raise ValueError
    except ValueError as error:
        raise _bad("a number", value) from error
    return number


def byte_string(value: object, size: int | None = None) -> bytes:
    """0x-hex data, of ``size`` bytes where given."""
    try:
        if not isinstance(value, str) or not value.startswith("0x"):
            raise ValueError
        raw = bytes.fromhex(value[2:])
        if size is not None and len(raw) != size:
            raise ValueError
    except ValueError as error:
        raise _bad("0x-hex" if size is None else f"0x-hex of {size} bytes", value) from error
    return raw


def address(value: object) -> bytes:
    """A 20-byte address; its checksum is not looked at."""
    return byte_string(value, 20)


def hash32(value: object) -> bytes:
    """A 32-byte hash."""
    return byte_string(value, 32)


def block_tag(value: object) -> int | bytes | str:
    """A height, a block hash (EIP-1898 object) or one of the five tags."""
    if isinstance(value, dict):
        if "blockHash" in value:
            return hash32(value["blockHash"])
        return integer(value.get("blockNumber"))
    if isinstance(value, str) and value in _TAGS:
        return value
    return integer(value)


def topics_filter(
    wanted: Mapping[str, Any],
) -> tuple[frozenset[bytes] | None, tuple[frozenset[bytes] | None, ...]]:
    """The address and topic sets of an ``eth_getLogs`` filter; None matches anything."""
    given = wanted.get("address")
    addresses = None if given is None else frozenset(address(item) for item in _terms(given))
    topics = wanted.get("topics") or []
    if not isinstance(topics, list) or len(topics) > 4:
        raise _bad("a list of at most 4 topics", topics)
    sets = tuple(None if term is None else frozenset(hash32(item) for item in _terms(term)) for term in topics)
    return addresses, sets


def _terms(given: object) -> list[object]:
    terms = given if isinstance(given, list) else [given]
    if len(terms) > MAX_FILTER_TERMS:
        raise ChainFault(f"a filter may name {MAX_FILTER_TERMS} alternatives, not {len(terms)}", -32602)
    return terms


def _bad(wanted: str, got: object) -> ChainFault:
    return ChainFault(f"invalid params: expected {wanted}, got {str(got)[:80]!r}", -32602)

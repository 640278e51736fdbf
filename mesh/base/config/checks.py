"""Is a value of the right type also one that can be used?

Each check returns what is wrong in words, or an empty string. They take ``object`` because they stand in one table.
"""

import re
from decimal import Decimal
from typing import Final, cast

from protocols.hashing import keccak256

__all__ = [
    "check_address",
    "check_fee",
    "check_gpus",
    "check_listen",
    "check_network",
    "check_peers",
    "check_unique",
    "check_urls",
]

MAX_ENTRIES: Final = 64
"""Entries of a list: bootstrap lists and endpoint lists in use have 3 to 20."""
MAX_FEE_GWEI: Final = 100_000
"""A fee above this is a mistake in units (wei for gwei): Arbitrum's floor is 0.02, its worst hours a few hundred."""
_HOSTS: Final = ("ip4", "ip6", "dns", "dns4", "dns6")


def check_listen(value: object) -> str:
    """Multiaddrs of the form /ip4/HOST/tcp/PORT."""
    for entry in _entries(value):
        parts = entry.split("/")
        if len(parts) < 5 or parts[0] or parts[1] not in _HOSTS or parts[3] != "tcp" or not _is_port(parts[4]):
            return f"{entry!r} is not a multiaddr such as /ip4/0.0.0.0/tcp/4021"
    return _too_many(value)


def check_peers(value: object) -> str:
    """Multiaddrs that also name the peer."""
    for entry in _entries(value):
        address, found, peer = entry.partition("/p2p/")
        if not found or not peer or check_listen((address,)):
            return f"{entry!r} is not a peer's multiaddr such as /ip4/203.0.113.7/tcp/4021/p2p/16Uiu2HAm..."
    return _too_many(value)


def check_urls(value: object) -> str:
    """HTTP endpoints."""
    for entry in _entries(value):
        scheme, found, rest = entry.partition("://")
        if scheme not in ("http", "https") or not found or not rest or any(c.isspace() for c in entry):
            return f"{entry!r} is not an http:// or https:// address"
    return _too_many(value)


def check_address(value: object) -> str:
    """An Ethereum address; one in mixed case must carry the right EIP-55 checksum, which catches typing errors."""
    text = cast(str, value)
    if not text:
        return ""
    digits = text[2:]
    if not text.startswith("0x") or len(digits) != 40 or not set(digits.lower()) <= set("0123456789abcdef"):
        return f"{text!r} is not an address: 0x and 40 hex digits"
    if digits in (digits.lower(), digits.upper()):
        return ""
    nibbles = keccak256(digits.lower().encode()).hex()
    right = "".join(c.upper() if int(n, 16) >= 8 else c for c, n in zip(digits.lower(), nibbles[:40], strict=True))
    return "" if right == digits else f"{text!r} has a wrong checksum: a digit is mistyped"


def check_fee(value: object) -> str:
    """A gas price in gwei."""
    fee = cast(Decimal, value)
    if not fee.is_finite() or not 0 < fee <= MAX_FEE_GWEI:
        return f"a fee lies above 0 and at or below {MAX_FEE_GWEI} gwei, got {fee}"
    return ""


def check_unique(value: object) -> str:
    """A list that is not empty and names nothing twice."""
    entries = _entries(value)
    if not entries:
        return "the list is empty"
    return "" if len(set(entries)) == len(entries) else f"named twice in {', '.join(entries)}"


def check_network(value: object) -> str:
    """A network's name, which becomes part of topics and protocol ids."""
    text = cast(str, value)
    return "" if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", text) else f"{text!r} is not 1-32 of a-z, 0-9 and -"


def check_gpus(value: object) -> str:
    """Which GPUs: all, none or their indices."""
    text = cast(str, value)
    return "" if re.fullmatch(r"all|none|\d+(,\d+)*", text) else f"{text!r} is not all, none or indices such as 0,2"


def _entries(value: object) -> tuple[str, ...]:
    return cast(tuple[str, ...], value)


def _too_many(value: object) -> str:
    count = len(_entries(value))
    return f"at most {MAX_ENTRIES} entries, got {count}" if count > MAX_ENTRIES else ""


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 65_536

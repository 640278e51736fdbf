"""Why did a call revert, in the contract's own words?

Custom errors are found by their selector among the errors of the known ABIs; ``Error(string)`` and ``Panic(uint256)``
are Solidity's own. What nobody knows is shown as its selector.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import eth_abi.exceptions
import msgspec
from eth_abi.abi import decode

from protocols.hashing import keccak256

__all__ = ["NO_REASON", "RevertReason", "Reverts"]

MAX_TEXT: Final = 200
"""Characters of one argument that are kept: a contract may revert with anything."""
_BUILT_IN: Final = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


class RevertReason(msgspec.Struct, frozen=True):
    """The name of the error ("" when unknown), its arguments as text by name, and the raw data."""

    name: str
    args: dict[str, str] = {}
    data: bytes = b""

    def __str__(self) -> str:
        """``ClaimTooLate(deadline=1700000000)``."""
        if not self.name:
            return f"unknown error 0x{self.data[:4].hex()}" if self.data else "reverted without a reason"
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in self.args.items())})"


NO_REASON: Final = RevertReason("")


class Reverts:
    """The errors of some contracts, by selector."""

    def __init__(self, abis: Iterable[Iterable[Mapping[str, Any]]] = ()) -> None:
        self._errors: dict[bytes, tuple[str, list[str], list[str]]] = {}
        for abi in ((*_BUILT_IN,), *abis):
            for item in abi:
                if item.get("type") == "error":
                    self._learn(item)

    def _learn(self, item: Mapping[str, Any]) -> None:
        types = [given["type"] for given in item["inputs"]]
        names = [given["name"] or str(place) for place, given in enumerate(item["inputs"])]
        selector = keccak256(f"{item['name']}({','.join(types)})".encode())[:4]
        self._errors[selector] = (item["name"], types, names)

    def read(self, data: bytes) -> RevertReason:
        """The reason in revert data. Never fails: a contract may write anything there."""
        known = self._errors.get(data[:4]) if len(data) >= 4 else None
        if known is None:
            return RevertReason("", {}, data)
        name, types, names = known
        try:
            values = decode(types, data[4:])
        except (eth_abi.exceptions.DecodingError, OverflowError, ValueError):
            return RevertReason("", {}, data)
        return RevertReason(name, {key: _text(value) for key, value in zip(names, values, strict=True)}, data)


def _text(value: object) -> str:
    """bytes32 that hold a short name (``BadTerm(bytes32 field ...)``) are shown as that name."""
    if isinstance(value, bytes):
        trimmed = value.rstrip(b"\0")
        if trimmed and trimmed.isascii() and trimmed.decode().isprintable():
            return trimmed.decode()[:MAX_TEXT]
        return "0x" + value.hex()[:MAX_TEXT]
    return str(value)[:MAX_TEXT]

"""How is a PeerId written as text?"""

from functools import lru_cache
from typing import Final

from protocols.job.problems import BadValue, shown
from protocols.units import PeerId

__all__ = ["peer_from_text", "peer_to_text"]

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SECP256K1_PREFIX: Final = bytes.fromhex("002508021221")
_PEER_BYTES: Final = 39
_MAX_CHARS: Final = 64
"""Characters of a base58 PeerId: 53 for a secp256k1 key."""
_REMEMBERED: Final = 4_096
"""Texts that are kept, 200 bytes each: a search writes down every provider that it looks at, and there are as many offers."""


def peer_from_text(value: object) -> PeerId:
    """The PeerId of base58 text such as ``16Uiu2HAm...``. Raises ``BadValue``."""
    advice = "copy it from `mesh peers`; it begins with 16Uiu2H"
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_CHARS or any(c not in _ALPHABET for c in value):
        raise BadValue(f"{shown(value)} is not a PeerId", advice)
    number = 0
    for char in value:
        number = number * 58 + _ALPHABET.index(char)
    zeros = len(value) - len(value.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) != _PEER_BYTES or not raw.startswith(_SECP256K1_PREFIX):
        raise BadValue(f"{shown(value)} is not a PeerId of this network", advice)
    return PeerId(raw)


@lru_cache(maxsize=_REMEMBERED)
def peer_to_text(peer: PeerId) -> str:
    """The base58 text of a PeerId."""
    number = int.from_bytes(peer, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(peer) - len(peer.lstrip(b"\x00"))) + digits

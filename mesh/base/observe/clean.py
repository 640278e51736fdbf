"""What may stand in a log? Nothing secret, nothing that moves a terminal's cursor, nothing without end."""

import re
from collections.abc import Mapping
from typing import Final, cast

__all__ = ["MAX_BYTES", "MAX_CHARS", "MAX_ITEMS", "REDACTED", "clean", "clean_fields"]

MAX_CHARS: Final = 2_000
"""Characters of one text; a peer's sentence has at most 400, a path 4,096 in theory and 200 in practice."""
MAX_TRACE_CHARS: Final = 16_000
"""Characters of a traceback: 100 frames."""
MAX_BYTES: Final = 72
"""Bytes shown of a binary value: a signature with its recovery byte fits."""
MAX_ITEMS: Final = 64
"""Fields of an event, and items of a list or mapping in one."""
MAX_DEPTH: Final = 4
REDACTED: Final = "[redacted]"
_SECRET: Final = re.compile(r"secret|passphrase|password|mnemonic|key", re.IGNORECASE)
_HARMLESS: Final = frozenset({"public_key", "pubkey", "outbox_key", "idempotency_key", "key_file"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_CONTROL_BUT_LINES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_URL: Final = re.compile(r"(https?|wss?)://(?:[^\s/@'\"]*@)?([^\s/'\"?#]+)[^\s'\"]*")


def clean_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Every field cleaned, at most ``MAX_ITEMS`` of them; those with a secret's name redacted."""
    return cast(dict[str, object], clean(dict(fields)))


def clean(value: object, *, depth: int = 0, name: str = "") -> object:
    """``value`` made of JSON's types, bounded, without control characters.

    Binary becomes ``0x`` hex. Of a web address only scheme and host stay: the rest is where endpoints carry their
    access key.
    """
    if name and _SECRET.search(name) and name not in _HARMLESS:
        return REDACTED
    if isinstance(value, str):  # most are, and asking whether it is a mapping takes longer than all else
        return _text(value, lines=name == "exception")
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _hex(bytes(value))
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        shown = list(value.items())[:MAX_ITEMS]
        return {_text(str(key)): clean(item, depth=depth + 1, name=str(key)) for key, item in shown}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < MAX_DEPTH:
        return [clean(item, depth=depth + 1) for item in list(value)[:MAX_ITEMS]]
    return _text(repr(value), lines=name == "exception")


def _text(text: str, *, lines: bool = False) -> str:
    limit = MAX_TRACE_CHARS if lines else MAX_CHARS
    if len(text) > limit:
        text = f"{text[:limit]}...({len(text)} characters)"
    if "://" in text:
        text = _URL.sub(r"\1://\2/...", text)
    if text.isascii() and text.isprintable():
        return text
    control = _CONTROL_BUT_LINES if lines else _CONTROL
    return control.sub(lambda found: f"\\x{ord(found[0]):02x}", text).encode(errors="backslashreplace").decode()


def _hex(value: bytes) -> str:
    return f"0x{value[:MAX_BYTES].hex()}" + (f"...({len(value)} bytes)" if len(value) > MAX_BYTES else "")

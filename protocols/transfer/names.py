"""Which names may a file have, so that it lands safely on every machine that materialises it?

Decoding a directory refuses what is never legitimate (``/``, NUL, ``.``, ``..``, empty, over 255 bytes). Writing one
to a disk refuses more: two names that some file system cannot tell apart.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

from protocols.errors import RemoteProtocolError

__all__ = ["MAX_NAME_BYTES", "check_name", "check_portable"]

MAX_NAME_BYTES: Final = 255
"""NAME_MAX of every common file system."""


def check_name(raw: bytes) -> str:
    """The name as text. Raises ``RemoteProtocolError`` (``bad_name``) for one that could leave its directory."""
    if not 1 <= len(raw) <= MAX_NAME_BYTES:
        raise _bad(raw, f"has {len(raw)} bytes, expected 1 to {MAX_NAME_BYTES}")
    if b"/" in raw or b"\x00" in raw:
        raise _bad(raw, "holds '/' or NUL")
    if raw in (b".", b".."):
        raise _bad(raw, "names a directory relative to itself")
    try:
        return raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise _bad(raw, "is not UTF-8") from None


def check_portable(names: Iterable[str]) -> None:
    """Whether the names of one directory stay apart on every file system.

    Each must be in Unicode form NFC, and no two may differ by case alone. Raises ``RemoteProtocolError``
    (``bad_name``).
    """
    seen: dict[str, str] = {}
    for name in names:
        if not name.isascii() and not unicodedata.is_normalized("NFC", name):
            raise _bad(name.encode(), "is not in Unicode form NFC")
        folded = name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())
        if folded in seen:
            raise _bad(name.encode(), f"and {seen[folded][:40]!r} differ by case alone")
        seen[folded] = name


def _bad(raw: bytes, why: str) -> RemoteProtocolError:
    shown = raw[:40].decode("utf-8", "backslashreplace")
    return RemoteProtocolError(f"the file name {shown!r} {why}", code="bad_name", penalty=20)

"""Where may a job's module, inputs and outputs come from and lie: which paths, content ids and addresses are legal?"""

import base64
import binascii
import re
from typing import Final

import msgspec

from protocols.job.problems import BadValue, shown
from protocols.units import Cid

__all__ = [
    "CID_BYTES",
    "MAX_PATH_CHARS",
    "Held",
    "LocalPath",
    "Remote",
    "Source",
    "cid_from_text",
    "cid_to_text",
    "digest_of",
    "guest_path",
    "is_binary_cid",
    "is_cid",
    "nested",
    "source_of",
]

MAX_PATH_CHARS: Final = 255
"""Characters of a guest path: what every file system allows for one name, and enough for a mount point."""
MAX_SOURCE_CHARS: Final = 2048
"""Characters of a source: the longest address that browsers and servers agree on."""
CID_BYTES: Final = 36
_CID_PREFIXES: Final = (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20")  # CIDv1, raw or dag-pb, sha2-256, 32 bytes
_REMOTE: Final = ("https://", "s3://", "hf://", "ipfs://")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class LocalPath(msgspec.Struct, frozen=True, tag=True):
    """A file or folder on the client's machine, relative to the job file."""

    path: str


class Held(msgspec.Struct, frozen=True, tag=True):
    """Content that some peer holds, by its id."""

    cid: Cid


class Remote(msgspec.Struct, frozen=True, tag=True):
    """An address that the provider fetches from: https, s3, hf or ipfs."""

    url: str


Source = LocalPath | Held | Remote


def cid_from_text(text: str) -> Cid:
    """The binary form of a CIDv1 in base32 (``bafy..``, ``bafk..``). Raises ``BadValue``."""
    if text.startswith("Qm") and len(text) == 46:
        raise BadValue(f"{shown(text)} is a version 0 content id", "convert it: `ipfs cid base32 CID`")
    body = text[1:].upper()
    try:
        raw = base64.b32decode(body + "=" * (-len(body) % 8)) if text[:1] == "b" and text == text.lower() else b""
    except binascii.Error:
        raw = b""
    if not is_binary_cid(raw) or cid_to_text(Cid(raw)) != text:
        raise BadValue(
            f"{shown(text)} is not a content id", "write a base32 CIDv1 with sha2-256, such as bafy... or bafk..."
        )
    return Cid(raw)


def cid_to_text(cid: Cid) -> str:
    """The base32 form of a binary CID."""
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def is_binary_cid(raw: bytes) -> bool:
    """Whether these are the bytes of a content id this network uses."""
    return len(raw) == CID_BYTES and raw[:4] in _CID_PREFIXES


def is_cid(text: str) -> bool:
    """Whether a text was meant as a content id rather than as a path."""
    return (
        "/" not in text
        and "." not in text
        and ((len(text) == 59 and text[0] == "b") or (len(text) == 46 and text[:2] == "Qm"))
    )


def source_of(value: object) -> Source:
    """Read a source: a content id, an address with a known scheme, else a path."""
    if not isinstance(value, str) or not value.strip():
        raise BadValue(f"{shown(value)} is not a source", "write a path, a CID or an address such as https://...")
    if len(value) > MAX_SOURCE_CHARS or not value.isprintable():
        raise BadValue(
            f"{shown(value)} is too long or holds control characters",
            f"write at most {MAX_SOURCE_CHARS} printable characters",
        )
    if is_cid(value):
        return Held(cid_from_text(value))
    if _SCHEME.match(value):
        if not value.startswith(_REMOTE):
            raise BadValue(
                f"{shown(value)} has a scheme that is not known", f"use one of {', '.join(_REMOTE)}, a CID or a path"
            )
        return Remote(value)
    return LocalPath(value)


def digest_of(value: object) -> str:
    """A digest ``sha256:<64 hex digits>``."""
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise BadValue(f"{shown(value)} is not a digest", "write sha256: and 64 lower-case hex digits")
    return value


def guest_path(value: object) -> str:
    """A path inside the sandbox: absolute, in its only spelling, not the root itself."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise BadValue(
            f"{shown(value)} is not an absolute path",
            f"write /{value.strip('./') or 'in'}" if isinstance(value, str) else "write /in",
        )
    parts = value[1:].split("/")
    if len(value) > MAX_PATH_CHARS or len(parts) > 16 or not value.isprintable():
        raise BadValue(
            f"{shown(value)} is too long, too deep or holds control characters", "write a short path such as /in/data"
        )
    if any(part in ("", ".", "..") for part in parts):
        tidy = "/" + "/".join(part for part in parts if part not in ("", ".", ".."))
        raise BadValue(f"{shown(value)} holds an empty part, '.' or '..'", f"write {tidy if len(tidy) > 1 else '/in'}")
    return value


def nested(one: str, other: str) -> bool:
    """Whether two guest paths are the same or one lies inside the other."""
    short, long = sorted((one, other), key=len)
    return long == short or long.startswith(short + "/")

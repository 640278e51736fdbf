"""How does content get a name? By CIDv1 with a sha2-256 multihash: the names that IPFS uses.

Two codecs only: ``raw`` (a file's bytes) and ``dag-pb`` (a node that lists children). Binary inside, base32 text at
the edge. Source: the multiformats CID specification.
"""

import base64
import binascii
from typing import Final

from protocols.errors import RemoteProtocolError
from protocols.hashing import sha256
from protocols.units import Cid

__all__ = [
    "CID_BYTES",
    "DAG_PB",
    "RAW",
    "check_cid",
    "cid_text",
    "digest_of",
    "is_raw",
    "node_cid",
    "parse_cid",
    "raw_cid",
    "verify_cid",
]

RAW: Final = 0x55
DAG_PB: Final = 0x70
CID_BYTES: Final = 36
"""Version, codec, hash function, digest length, 32 bytes of digest."""

_RAW_PREFIX: Final = bytes((1, RAW, 0x12, 0x20))
_NODE_PREFIX: Final = bytes((1, DAG_PB, 0x12, 0x20))
_TEXT_CHARS: Final = 59
"""``b`` for base32, then ceil(36 * 8 / 5) characters."""


def raw_cid(block: bytes) -> Cid:
    """The CID of a raw leaf."""
    return Cid(_RAW_PREFIX + sha256(block))


def node_cid(block: bytes) -> Cid:
    """The CID of a dag-pb node."""
    return Cid(_NODE_PREFIX + sha256(block))


def is_raw(cid: Cid) -> bool:
    """Whether the name is that of a raw leaf; otherwise it is a dag-pb node's."""
    return cid[1] == RAW


def digest_of(cid: Cid) -> bytes:
    """The sha2-256 digest inside, 32 bytes."""
    return cid[4:]


def check_cid(cid: bytes) -> Cid:
    """The same bytes, known to be a CID of ours. Raises ``RemoteProtocolError`` (``bad_cid``) otherwise."""
    if len(cid) != CID_BYTES or cid[:4] not in (_RAW_PREFIX, _NODE_PREFIX):
        raise RemoteProtocolError(
            f"{cid[:CID_BYTES].hex()} is no CIDv1 of raw or dag-pb with sha2-256", code="bad_cid", penalty=10
        )
    return Cid(cid)


def verify_cid(cid: Cid, block: bytes) -> None:
    """Whether the block is the one its name says. Raises ``RemoteProtocolError`` (``bad_block``) if not.

    Takes about 1 ms per MiB.
    """
    if sha256(block) != cid[4:]:
        raise RemoteProtocolError(f"the bytes sent as {cid_text(cid)} have another hash", code="bad_block", penalty=50)


def cid_text(cid: Cid) -> str:
    """``bafy...`` or ``bafk...``: base32, lower case, no padding, 59 characters."""
    return "b" + base64.b32encode(cid).decode("ascii").lower().rstrip("=")


def parse_cid(text: str) -> Cid:
    """The CID that a person or a file wrote. Raises ``ValueError`` that says what is wrong and what to write."""
    if text.startswith("Qm") and len(text) == 46:
        raise ValueError(f"{text} is a CIDv0; add the file with --cid-version=1 --raw-leaves and use that name")
    if len(text) != _TEXT_CHARS or not text.startswith("b"):
        raise ValueError(f"{text[:80]!r} is no CID: expected 59 characters that begin with bafy or bafk")
    try:
        cid = base64.b32decode(text[1:].upper() + "======", casefold=False)
        found = check_cid(cid)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text} is no CID: a character is not one of a-z, 2-7") from None
    except RemoteProtocolError:
        raise ValueError(f"{text} is a CID of another kind: only raw and dag-pb with sha2-256 are spoken") from None
    if cid_text(found) != text:
        raise ValueError(f"{text} is no CID: write it in lower case, as `mesh` prints it")
    return found

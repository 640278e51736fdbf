"""What do two peers say to each other on ``/mesh/blob/1``?

The puller opens a stream and sends ``WantBlocks``, or ``WantTree`` for a root; the server answers each wanted CID once, in
any order, with ``Block``, ``Missing`` or ``Denied``. Before it answers a tree it may send the few small blocks below
it, so that a small result takes one round trip and not one for each level of its folders. Each frame is a 4-byte big-endian
length and a canonical msgpack array whose first item is the type tag. A puller never wants more than it can take: the flow
is its own.
"""

from typing import Final

from msgspec import Struct

from protocols.canonical import decode_strict, encode
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.transfer.cid import CID_BYTES, check_cid
from protocols.transfer.dagpb import MAX_BLOCK_BYTES
from protocols.units import Cid, DealId

__all__ = [
    "BLOB_PROTOCOL",
    "LENGTH_BYTES",
    "MAX_AHEAD_BLOCKS",
    "MAX_AHEAD_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_WANTS",
    "MAX_WANT_FRAME_BYTES",
    "BlockFrame",
    "Denied",
    "Frame",
    "Missing",
    "WantBlocks",
    "WantTree",
    "block_header",
    "decode_answer",
    "decode_want",
    "encode_frame",
    "frame_bytes",
]

BLOB_PROTOCOL: Final = "/mesh/blob/1"
LENGTH_BYTES: Final = 4
MAX_WANTS: Final = 64
"""CIDs in one frame: 16 MiB of leaves, more than any window."""
MAX_WANT_FRAME_BYTES: Final = 4096
"""Body of a want, a missing or a denied frame: 64 CIDs take 2.5 KiB."""
MAX_FRAME_BYTES: Final = MAX_BLOCK_BYTES + 128
"""Body of a block frame: the largest block, its name and the msgpack headers."""
MAX_AHEAD_BLOCKS: Final = 16
"""Sent ahead of a tree's root, at most: the folders of a result with a few small files."""
MAX_AHEAD_BYTES: Final = 64 * 1024
"""Of all of them together: what a puller that holds them already receives in vain."""

_DEAL_ID_BYTES: Final = 32


class WantBlocks(Struct, frozen=True, array_like=True, tag="want/1"):
    """Send me these, under this deal."""

    deal_id: DealId
    cids: tuple[Cid, ...]


class WantTree(Struct, frozen=True, array_like=True, tag="tree/1"):
    """Send me this, under this deal, and before it what is below it, where that is within the bounds and at hand."""

    deal_id: DealId
    cid: Cid

    @property
    def cids(self) -> tuple[Cid, ...]:
        """What is to be answered."""
        return (self.cid,)


class BlockFrame(Struct, frozen=True, array_like=True, tag="block/1"):
    """Here is one; the receiver checks it against its name."""

    cid: Cid
    block: bytes


class Missing(Struct, frozen=True, array_like=True, tag="missing/1"):
    """You may have these, but I do not hold them now."""

    cids: tuple[Cid, ...]


class Denied(Struct, frozen=True, array_like=True, tag="denied/1"):
    """These are not among what this deal lets you have (or the deal is not known here)."""

    cids: tuple[Cid, ...]


Frame = WantBlocks | WantTree | BlockFrame | Missing | Denied
Answer = BlockFrame | Missing | Denied


def _tag_prefix(kind: type[Struct], items: int) -> bytes:
    tag = str(kind.__struct_config__.tag).encode()
    return bytes((0x90 | items, 0xA0 | len(tag))) + tag


_BLOCK_PREFIX: Final = _tag_prefix(BlockFrame, 3) + bytes((0xC4, CID_BYTES))
_MISSING_PREFIX: Final = _tag_prefix(Missing, 2)
_TREE_PREFIX: Final = _tag_prefix(WantTree, 3)


def _bin_header(size: int) -> bytes:
    if size < 1 << 8:
        return bytes((0xC4, size))
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def block_header(cid: Cid, block_bytes: int) -> bytes:
    """Length, tag and headers of a block frame: send it, then the block itself, and nothing was copied."""
    body = _BLOCK_PREFIX + cid + _bin_header(block_bytes)
    return (len(body) + block_bytes).to_bytes(LENGTH_BYTES, "big") + body


def encode_frame(frame: Frame) -> bytes:
    """Length and body. Raises ``LocalProtocolError`` above the bounds."""
    body = encode(frame)
    limit = MAX_FRAME_BYTES if isinstance(frame, BlockFrame) else MAX_WANT_FRAME_BYTES
    if len(body) > limit:
        raise LocalProtocolError(f"a {type(frame).__name__} of {len(body)} bytes, at most {limit}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def frame_bytes(length: bytes, limit: int) -> int:
    """The size of the body that follows. Raises ``RemoteProtocolError`` (``too_large``) above ``limit``."""
    size = int.from_bytes(length, "big")
    if not 1 <= size <= limit:
        raise RemoteProtocolError(f"a frame of {size} bytes, expected 1 to {limit}", code="too_large", penalty=20)
    return size


def decode_want(body: bytes) -> WantBlocks | WantTree:
    """What a puller sent. Raises ``RemoteProtocolError``."""
    want: WantBlocks | WantTree
    if body.startswith(_TREE_PREFIX):
        want = decode_strict(WantTree, body, max_bytes=MAX_WANT_FRAME_BYTES)
    else:
        want = decode_strict(WantBlocks, body, max_bytes=MAX_WANT_FRAME_BYTES)
    if len(want.deal_id) != _DEAL_ID_BYTES:
        raise RemoteProtocolError(f"a deal id of {len(want.deal_id)} bytes, expected 32", code="malformed")
    _check_cids(want.cids)
    return want


def decode_answer(body: bytes) -> Answer:
    """What a server sent. The block is not verified yet. Raises ``RemoteProtocolError``."""
    if body.startswith(_BLOCK_PREFIX):
        return _decode_block(body)
    answer: Missing | Denied
    if body.startswith(_MISSING_PREFIX):
        answer = decode_strict(Missing, body, max_bytes=MAX_WANT_FRAME_BYTES)
    else:
        answer = decode_strict(Denied, body, max_bytes=MAX_WANT_FRAME_BYTES)
    _check_cids(answer.cids)
    return answer


def _decode_block(body: bytes) -> BlockFrame:
    """As ``decode_strict`` would, in one copy instead of three: the canonical form of a block is its header."""
    start = len(_BLOCK_PREFIX)
    cid = check_cid(body[start : start + CID_BYTES])
    at = start + CID_BYTES
    for header_bytes in (2, 3, 5):
        size = len(body) - at - header_bytes
        if 0 <= size <= MAX_BLOCK_BYTES and body[at : at + header_bytes] == _bin_header(size):
            return BlockFrame(cid, body[at + header_bytes :])
    raise RemoteProtocolError("a block frame whose length is not that of its bytes", code="malformed", penalty=20)


def _check_cids(cids: tuple[Cid, ...]) -> None:
    if not 1 <= len(cids) <= MAX_WANTS:
        raise RemoteProtocolError(f"{len(cids)} CIDs in one frame, expected 1 to {MAX_WANTS}", code="malformed")
    for cid in cids:
        check_cid(cid)
    if len(set(cids)) != len(cids):
        raise RemoteProtocolError("a CID twice in one frame", code="malformed")

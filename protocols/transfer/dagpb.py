"""What may a node of a file tree look like, byte for byte?

dag-pb (two fixed protobuf messages) holding UnixFS data: files of raw leaves, and directories. One value has one form:
links before data, fields in order, shortest varints, directory names strictly ascending by bytes, nothing unknown.
``encode(decode(b)) == b`` for every ``b`` that decodes. Sources: the IPLD dag-pb and the UnixFS specifications; checked
against npm ``ipfs-unixfs-importer``.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.transfer.cid import CID_BYTES, check_cid, is_raw
from protocols.transfer.names import check_name
from protocols.units import Cid

__all__ = [
    "MAX_BLOCK_BYTES",
    "MAX_DIRECTORY_ENTRIES",
    "MAX_FILE_LINKS",
    "MAX_LEAF_BYTES",
    "Child",
    "DirectoryNode",
    "FileNode",
    "Node",
    "children_of",
    "decode_node",
    "encode_directory",
    "encode_file",
]

MAX_LEAF_BYTES: Final = 1024 * 1024
"""Largest raw leaf taken from a peer, bytes: IPFS's unixfs-v1-2025 profile. Ours are 256 KiB."""
MAX_FILE_LINKS: Final = 1024
"""Children of one file node, at most: the same profile. Ours have 174."""
MAX_DIRECTORY_ENTRIES: Final = 5000
"""Entries of one directory: it stays one block, since sharded directories are not spoken."""
MAX_BLOCK_BYTES: Final = 2 * 1024 * 1024
"""Largest block of any kind: 5,000 entries with names of 255 bytes take 1.5 MiB; bitswap's bound is 2 MiB too."""

_MAX_SIZE: Final = 1 << 62
"""Sizes in bytes stay below this, so that sums of them are no surprise to anybody's 64-bit integers."""
_DIRECTORY: Final = b"\x08\x01"
_FILE: Final = b"\x08\x02\x18"


class Child(Struct, frozen=True):
    """One link."""

    cid: Cid
    name: str
    """Empty in a file node."""
    tree_bytes: int
    """``Tsize``: all blocks below the link, repeated ones counted each time."""
    content_bytes: int = -1
    """File bytes below the link; -1 where the node does not say it (directories)."""


class FileNode(Struct, frozen=True):
    """A part of a file: its children's content in order."""

    children: tuple[Child, ...]
    content_bytes: int


class DirectoryNode(Struct, frozen=True):
    """A directory: children in byte order of their names."""

    children: tuple[Child, ...]


Node = FileNode | DirectoryNode


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(body)) + body


def _encode(children: Iterable[Child], unixfs: bytes) -> bytes:
    parts = [
        _field(0x12, _field(0x0A, c.cid) + _field(0x12, c.name.encode()) + b"\x18" + _varint(c.tree_bytes))
        for c in children
    ]
    parts.append(_field(0x0A, unixfs))
    return b"".join(parts)


def encode_file(children: tuple[Child, ...]) -> bytes:
    """The block of a file node over these children, each with its ``content_bytes``."""
    sizes = [child.content_bytes for child in children]
    unixfs = _FILE + _varint(sum(sizes)) + b"".join(b"\x20" + _varint(size) for size in sizes)
    return _encode(children, unixfs)


def encode_directory(children: Iterable[Child]) -> bytes:
    """The block of a directory; sorts by name. Raises ``LocalProtocolError`` for too many or repeated names."""
    ordered = sorted(children, key=lambda child: child.name.encode())
    if len(ordered) > MAX_DIRECTORY_ENTRIES:
        raise LocalProtocolError(f"{len(ordered)} entries in one directory, at most {MAX_DIRECTORY_ENTRIES} fit")
    if len({child.name for child in ordered}) != len(ordered):
        raise LocalProtocolError("a name occurs twice in one directory")
    return _encode(ordered, _DIRECTORY)


def decode_node(block: bytes) -> Node:
    """The node that the block encodes, its sizes consistent with each other.

    Raises ``RemoteProtocolError``: ``too_large``, ``unsupported_node`` (a kind of UnixFS we do not speak),
    ``bad_node`` (not the one form), ``bad_name``, ``bad_cid``. Takes about 2 us per link: 10 ms for a full directory.
    """
    if len(block) > MAX_BLOCK_BYTES:
        raise RemoteProtocolError(f"a node of {len(block)} bytes, at most {MAX_BLOCK_BYTES}", code="too_large")
    links: list[tuple[Cid, bytes, int]] = []
    at = 0
    while at < len(block) and block[at] == 0x12:
        at, link = _link(block, at)
        links.append(link)
        if len(links) > MAX_DIRECTORY_ENTRIES:
            raise _bad(f"more than {MAX_DIRECTORY_ENTRIES} links")
    if at >= len(block) or block[at] != 0x0A:
        raise _bad("no UnixFS data after the links")
    start, size = _varint_at(block, at + 1)
    if start + size != len(block):
        raise _bad("bytes after the UnixFS data, or too few")
    unixfs = block[start:]
    if unixfs == _DIRECTORY:
        return _directory(links)
    if unixfs.startswith(_FILE):
        return _file(links, unixfs, len(block))
    raise RemoteProtocolError(
        "a UnixFS node that is neither a plain file nor a plain directory (symbolic link, shard, inline data, mode)",
        code="unsupported_node",
    )


def children_of(cid: Cid, block: bytes) -> tuple[Cid, ...]:
    """The names that a block links to, in order; a raw leaf links to none. Raises as ``decode_node``."""
    if is_raw(cid):
        return ()
    return tuple(child.cid for child in decode_node(block).children)


def _directory(links: list[tuple[Cid, bytes, int]]) -> DirectoryNode:
    children = []
    last = b""
    for cid, raw, tree_bytes in links:
        name = check_name(raw)
        if raw <= last:
            raise _bad("directory names are not strictly ascending")
        last = raw
        if is_raw(cid) and tree_bytes > MAX_LEAF_BYTES:
            raise _bad("a raw leaf larger than a block may be")
        children.append(Child(cid, name, tree_bytes, tree_bytes if is_raw(cid) else -1))
    return DirectoryNode(tuple(children))


def _file(links: list[tuple[Cid, bytes, int]], unixfs: bytes, block_bytes: int) -> FileNode:
    if not 1 <= len(links) <= MAX_FILE_LINKS:
        raise _bad(f"a file node with {len(links)} links, expected 1 to {MAX_FILE_LINKS}")
    at, total = _varint_at(unixfs, len(_FILE))
    children = []
    for cid, raw, tree_bytes in links:
        if raw:
            raise _bad("a named link in a file node")
        if at >= len(unixfs) or unixfs[at] != 0x20:
            raise _bad("fewer block sizes than links")
        at, size = _varint_at(unixfs, at + 1)
        if size < 1:
            raise _bad("an empty part of a file")
        if is_raw(cid) and (tree_bytes != size or size > MAX_LEAF_BYTES):
            raise _bad("a raw leaf whose sizes disagree or exceed a block")
        if not is_raw(cid) and tree_bytes <= size:
            raise _bad("a subtree smaller than its content")
        children.append(Child(cid, "", tree_bytes, size))
    if at != len(unixfs):
        raise _bad("unknown UnixFS fields, or more block sizes than links")
    if sum(child.content_bytes for child in children) != total:
        raise _bad("the file size is not the sum of its parts")
    return FileNode(tuple(children), total)


def _link(block: bytes, at: int) -> tuple[int, tuple[Cid, bytes, int]]:
    start, size = _varint_at(block, at + 1)
    end = start + size
    if end > len(block) or block[start : start + 2] != b"\x0a\x24":
        raise _bad("a link without a 36-byte CID first")
    at = start + 2 + CID_BYTES
    if at >= end or block[at] != 0x12:
        raise _bad("a link without a name field")
    cid = check_cid(block[start + 2 : at])
    at, size = _varint_at(block, at + 1)
    name = block[at : at + size]
    at += size
    if at >= end or block[at] != 0x18:
        raise _bad("a link without a size")
    at, tree_bytes = _varint_at(block, at + 1)
    if at != end:
        raise _bad("a link with unknown fields")
    return at, (cid, name, tree_bytes)


def _varint_at(block: bytes, at: int) -> tuple[int, int]:
    """Position after a shortest-form varint, and its value."""
    value = shift = 0
    while True:
        if at >= len(block) or shift > 56:
            raise _bad("a varint that does not end")
        byte = block[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if byte == 0 and shift:
        raise _bad("a varint with leading zeros")
    if value >= _MAX_SIZE:
        raise _bad("a size beyond 2**62")
    return at, value


def _bad(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a canonical dag-pb node: {why}", code="bad_node", penalty=20)

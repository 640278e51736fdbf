"""Which name does a file or a directory have?

The UnixFS layout that ``ipfs add --cid-version=1 --raw-leaves`` makes: raw leaves of 256 KiB, balanced nodes of 174
links, directories of at most 5,000 entries. Equal bytes have equal names on every machine.
"""

from typing import Final

from msgspec import Struct

from protocols.errors import LocalProtocolError
from protocols.transfer.cid import cid_text, node_cid, parse_cid, raw_cid
from protocols.transfer.dagpb import Child, decode_node, encode_directory, encode_file
from protocols.transfer.names import check_name, check_portable
from protocols.units import Cid

__all__ = [
    "CHUNK_BYTES",
    "EMPTY_DIRECTORY",
    "EMPTY_FILE",
    "WIDTH",
    "Block",
    "Importer",
    "Root",
    "cid_text",
    "decode_node",
    "directory",
    "parse_cid",
]

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of a leaf: IPFS's default, and 0.3 ms of hashing."""
WIDTH: Final = 174
"""Links of a file node: IPFS's default, which keeps a node under 10 KiB."""

Block = tuple[Cid, bytes]
"""A block and its name."""


class Root(Struct, frozen=True):
    """What a file or directory came to."""

    cid: Cid
    content_bytes: int
    """File bytes below it."""
    tree_bytes: int
    """All its blocks, repeated ones counted each time (``Tsize``)."""


class Importer:
    """A file's bytes in, its blocks out; holds at most one leaf and ``width`` links per level.

    ``feed`` any pieces in order, then ``finish``; both return the blocks that became complete, leaves before the
    nodes over them. ``chunk_bytes`` and ``width`` differ from the defaults in tests alone.
    """

    def __init__(self, *, chunk_bytes: int = CHUNK_BYTES, width: int = WIDTH) -> None:
        self._chunk_bytes = chunk_bytes
        self._width = width
        self._partial = bytearray()
        self._levels: list[list[Child]] = [[]]
        self._any_leaf = False
        self._root: Root | None = None

    @property
    def root(self) -> Root:
        """The file's name and sizes. Raises ``LocalProtocolError`` before ``finish``."""
        if self._root is None:
            raise LocalProtocolError("the importer was asked for its root before finish()")
        return self._root

    def feed(self, data: bytes | bytearray | memoryview) -> list[Block]:
        """Takes the next bytes. The result holds about as many bytes as came in: feed pieces you can afford twice."""
        if self._root is not None:
            raise LocalProtocolError("the importer was fed after finish()")
        view = memoryview(data)
        blocks: list[Block] = []
        if self._partial:
            taken = min(self._chunk_bytes - len(self._partial), len(view))
            self._partial += view[:taken]
            view = view[taken:]
            if len(self._partial) == self._chunk_bytes:
                self._leaf(bytes(self._partial), blocks)
                self._partial.clear()
        whole = len(view) - len(view) % self._chunk_bytes
        for at in range(0, whole, self._chunk_bytes):
            self._leaf(bytes(view[at : at + self._chunk_bytes]), blocks)
        self._partial += view[whole:]
        return blocks

    def finish(self) -> list[Block]:
        """Ends the file: the last leaf and the nodes up to the root, which is the last block."""
        blocks: list[Block] = []
        if self._partial or not self._any_leaf:
            self._leaf(bytes(self._partial), blocks)
            self._partial.clear()
        level = 0
        while level < len(self._levels):
            group = self._levels[level]
            is_top = level == len(self._levels) - 1
            if group and not (is_top and len(group) == 1):
                self._node(level, blocks)
            level += 1
        top = self._levels[-1][0]
        self._root = Root(top.cid, top.content_bytes, top.tree_bytes)
        return blocks

    def _leaf(self, block: bytes, blocks: list[Block]) -> None:
        self._any_leaf = True
        cid = raw_cid(block)
        blocks.append((cid, block))
        self._push(0, Child(cid, "", len(block), len(block)), blocks)

    def _push(self, level: int, child: Child, blocks: list[Block]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(child)
        if len(self._levels[level]) == self._width:
            self._node(level, blocks)

    def _node(self, level: int, blocks: list[Block]) -> None:
        children = tuple(self._levels[level])
        self._levels[level] = []
        block = encode_file(children)
        cid = node_cid(block)
        blocks.append((cid, block))
        tree_bytes = len(block) + sum(child.tree_bytes for child in children)
        self._push(level + 1, Child(cid, "", tree_bytes, sum(child.content_bytes for child in children)), blocks)


def directory(entries: dict[str, Root]) -> tuple[Root, bytes]:
    """A directory over finished roots, and its block.

    Raises ``RemoteProtocolError`` (``bad_name``) for names that could not be written back to every disk, and
    ``LocalProtocolError`` above 5,000 entries.
    """
    for name in entries:
        check_name(name.encode("utf-8", "surrogateescape"))
    check_portable(entries)
    block = encode_directory(Child(root.cid, name, root.tree_bytes) for name, root in entries.items())
    cid = node_cid(block)
    content = sum(root.content_bytes for root in entries.values())
    return Root(cid, content, len(block) + sum(root.tree_bytes for root in entries.values())), block


EMPTY_FILE: Final = raw_cid(b"")
EMPTY_DIRECTORY: Final = node_cid(encode_directory(()))

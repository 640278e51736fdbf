"""Is a tree within its limits, and which block comes next?

A tree from a stranger may be deep, endless by repetition, or lie about sizes. ``Walk`` visits it top-down, each
occurrence of a block once, and refuses it at the first node that breaks a bound or contradicts what its parent said.
A *survey* visits directories and the first node of each file only: it learns the exact content size from the sizes
that nodes state, before any leaf is asked for. The full walk visits everything.
"""

from typing import Final, Self

from msgspec import Struct

from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import cid_text, is_raw
from protocols.transfer.dagpb import MAX_BLOCK_BYTES, MAX_LEAF_BYTES, Child, DirectoryNode, FileNode, Node
from protocols.units import Cid

__all__ = ["MAX_DIRECTORY_DEPTH", "MAX_ENTRIES", "MAX_FILE_DEPTH", "MAX_TREE_BLOCKS", "Limits", "Visit", "Walk"]

MAX_FILE_DEPTH: Final = 8
"""Levels of nodes over a leaf: 4 already hold 200 TiB."""
MAX_DIRECTORY_DEPTH: Final = 32
"""Directories inside directories: the bound of the output collector too."""
MAX_ENTRIES: Final = 10_000
"""Files and directories of one tree: the bound of the output collector too."""
MAX_TREE_BLOCKS: Final = 4 * 1024 * 1024
"""Blocks of one tree, repeated ones counted: 1 TiB in 256 KiB leaves."""

_SMALLEST_AVERAGE_LEAF: Final = 16 * 1024
"""Bytes a leaf has on average, at least, for ``Limits.for_content``: a tree of one-byte leaves is an attack."""
_NODE_RESERVE_BYTES: Final = 16 * 1024
"""What a node of unknown size is counted as while in flight: a full file node of ours has 9.4 KiB."""
_LEAST_RESERVE_BYTES: Final = 128
"""What the smallest block is counted as: its frame's overhead."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a tree may cost, at most."""

    max_content_bytes: int
    max_entries: int = MAX_ENTRIES
    max_blocks: int = MAX_TREE_BLOCKS
    max_file_depth: int = MAX_FILE_DEPTH
    max_directory_depth: int = MAX_DIRECTORY_DEPTH

    @classmethod
    def for_content(cls, content_bytes: int, *, max_entries: int = MAX_ENTRIES) -> Self:
        """Limits for a tree that is announced to hold so many bytes of files."""
        blocks = 2 * content_bytes // _SMALLEST_AVERAGE_LEAF + 2 * max_entries + 64
        return cls(max_content_bytes=content_bytes, max_entries=max_entries, max_blocks=min(blocks, MAX_TREE_BLOCKS))


class Visit(Struct, frozen=True):
    """One occurrence of a block in the tree, and what its parent said of it (-1: nothing)."""

    cid: Cid
    tree_bytes: int
    content_bytes: int
    file_depth: int
    """0 outside a file or at its first node, then one more per level."""
    directory_depth: int

    @property
    def inside_file(self) -> bool:
        """Whether the parent is a file node."""
        return self.file_depth > 0

    @property
    def max_bytes(self) -> int:
        """The largest block that may answer to it."""
        if is_raw(self.cid):
            return self.content_bytes if self.content_bytes >= 0 else MAX_LEAF_BYTES
        return min(self.tree_bytes, MAX_BLOCK_BYTES) if self.tree_bytes >= 0 else MAX_BLOCK_BYTES

    @property
    def reserve_bytes(self) -> int:
        """What it is counted as while in flight."""
        bound = self.max_bytes if is_raw(self.cid) else min(self.max_bytes, _NODE_RESERVE_BYTES)
        return max(bound, _LEAST_RESERVE_BYTES)


class Walk:
    """A depth-first walk. ``pop`` a visit, give its block back with ``leaf`` or ``node``; order is free in between.

    Every method raises ``RemoteProtocolError``: ``too_large`` for a bound, ``lying_size`` or ``bad_node`` for a tree
    that contradicts itself.
    """

    def __init__(self, root: Cid, limits: Limits, *, survey: bool) -> None:
        self._limits = limits
        self._survey = survey
        self._stack = [Visit(root, -1, -1, 0, 0)]
        self.visits = 0
        """Popped so far."""
        self._entries = 0
        self.content_bytes = 0
        """File bytes found so far: in a survey those that nodes state, in a full walk those of leaves given back."""

    @property
    def exhausted(self) -> bool:
        """Whether no visit is waiting to be popped (those popped may still bring more)."""
        return not self._stack

    def peek(self) -> Visit | None:
        """The next visit, left in place."""
        return self._stack[-1] if self._stack else None

    def pop(self) -> Visit:
        """The next visit."""
        self.visits += 1
        if self.visits > self._limits.max_blocks:
            raise _too_large(f"more than {self._limits.max_blocks} blocks")
        return self._stack.pop()

    def leaf(self, visit: Visit, block_bytes: int) -> None:
        """A leaf of this size is there."""
        if visit.content_bytes not in (-1, block_bytes):
            raise _lying(visit, f"{visit.content_bytes} bytes of content", block_bytes)
        self._count(block_bytes)

    def node(self, visit: Visit, node: Node, block_bytes: int) -> None:
        """A node is there; its children wait to be popped."""
        if visit.tree_bytes >= 0:
            tree_bytes = block_bytes + sum(child.tree_bytes for child in node.children)
            if tree_bytes != visit.tree_bytes:
                raise _lying(visit, f"{visit.tree_bytes} bytes of blocks", tree_bytes)
        if isinstance(node, FileNode):
            self._file(visit, node)
        else:
            self._directory(visit, node)

    def _file(self, visit: Visit, node: FileNode) -> None:
        if visit.inside_file and node.content_bytes != visit.content_bytes:
            raise _lying(visit, f"{visit.content_bytes} bytes of content", node.content_bytes)
        depth = visit.file_depth + 1
        if depth > self._limits.max_file_depth:
            raise _too_large(f"a file of more than {self._limits.max_file_depth} levels")
        if self._survey:
            self._count(node.content_bytes)
            return
        self._push(node.children, depth, visit.directory_depth)

    def _directory(self, visit: Visit, node: DirectoryNode) -> None:
        if visit.inside_file:
            raise RemoteProtocolError("a directory inside a file", code="bad_node", penalty=20)
        depth = visit.directory_depth + 1
        if depth > self._limits.max_directory_depth:
            raise _too_large(f"directories nested more than {self._limits.max_directory_depth} deep")
        self._entries += len(node.children)
        if self._entries > self._limits.max_entries:
            raise _too_large(f"more than {self._limits.max_entries} files and directories")
        if not self._survey:
            self._push(node.children, 0, depth)
            return
        self._count(sum(child.content_bytes for child in node.children if is_raw(child.cid)))
        self._push(tuple(child for child in node.children if not is_raw(child.cid)), 0, depth)

    def _push(self, children: tuple[Child, ...], file_depth: int, directory_depth: int) -> None:
        self._stack.extend(
            Visit(child.cid, child.tree_bytes, child.content_bytes, file_depth, directory_depth)
            for child in reversed(children)
        )

    def _count(self, content_bytes: int) -> None:
        self.content_bytes += content_bytes
        if self.content_bytes > self._limits.max_content_bytes:
            raise _too_large(f"more than {self._limits.max_content_bytes} bytes of files")


def _too_large(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the tree has {what}", code="too_large", penalty=10)


def _lying(visit: Visit, said: str, found: int) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"a parent of {cid_text(visit.cid)} promised {said}, there are {found}", code="lying_size", penalty=50
    )

"""How does a tree of blocks become files on this machine, when whoever made it may be hostile?

Every file and directory is created by us, new, through the descriptor of its directory; no link is made or followed,
no name leaves its directory, no bound is passed. The tree appears under its name only when it is whole.
"""

import contextlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from mesh.store.blobs.disk import BlobDisk
from mesh.store.blobs.errors import BlobAbsent, DestinationRefused
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import cid_text, is_raw
from protocols.transfer.dagpb import DirectoryNode, Node, decode_node
from protocols.transfer.names import check_portable
from protocols.transfer.walk import Limits, Walk
from protocols.units import Cid

__all__ = ["Materialised", "file_leaves", "materialise_steps"]

_STEP_BYTES: Final = 4 * 1024 * 1024
"""Written between two yields: about 10 ms."""
_ENTRY_COST_BYTES: Final = 64 * 1024
"""What creating an entry counts as in a step: 64 entries are a step too."""
_NODES_PER_STEP: Final = 64
"""Surveyed between two yields: 10 ms of directories."""
_NUMBERS: Final = itertools.count()


class Materialised(Struct):
    """What was written; final when the steps are through."""

    files: int = 0
    directories: int = 0
    content_bytes: int = 0


def materialise_steps(
    disk: BlobDisk, root: Cid, destination: Path, limits: Limits, result: Materialised
) -> Iterator[None]:
    """Writes the tree at ``destination``, which must not exist, or be an empty directory if the tree is one.

    Blocks: run each step in a thread. Raises ``DestinationRefused``, ``BlobAbsent``, ``RemoteProtocolError`` (the tree
    breaks a limit or lies). After an error or ``close`` nothing of it is left.
    """
    destination = destination.absolute()
    yield from _survey_steps(disk, root, limits)
    try:
        parent = os.open(destination.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(destination, str(error.strerror), f"mkdir -p {destination.parent}") from None
    partial = f".mesh-partial-{os.getpid()}-{next(_NUMBERS)}"
    try:
        yield from _Writer(disk, limits, result).entry(root, parent, partial, 0)
        _put_in_place(parent, partial, destination)
    finally:
        _clear(parent, partial)
        os.close(parent)


def file_leaves(disk: BlobDisk, cid: Cid, limits: Limits) -> Iterator[bytes]:
    """A file's bytes in order, leaf by leaf. Raises ``BlobAbsent``, ``RemoteProtocolError`` as for a fetch."""
    stack: list[tuple[Cid, int, int]] = [(cid, -1, 0)]
    total = 0
    while stack:
        at, promised, depth = stack.pop()
        block = _held(disk, at)
        if is_raw(at):
            if promised not in (-1, len(block)):
                raise RemoteProtocolError(f"{cid_text(at)} is not as long as its parent says", code="lying_size")
            total += len(block)
            if total > limits.max_content_bytes:
                raise RemoteProtocolError(f"a file beyond {limits.max_content_bytes} bytes", code="too_large")
            yield block
            continue
        node = decode_node(block)
        if isinstance(node, DirectoryNode):
            raise RemoteProtocolError(f"{cid_text(cid)} is a directory, not a file", code="bad_node")
        if promised not in (-1, node.content_bytes):
            raise RemoteProtocolError(f"{cid_text(at)} is not as long as its parent says", code="lying_size")
        if depth >= limits.max_file_depth or total + node.content_bytes > limits.max_content_bytes:
            raise RemoteProtocolError("a file beyond the limits", code="too_large")
        stack += [(child.cid, child.content_bytes, depth + 1) for child in reversed(node.children)]


def _survey_steps(disk: BlobDisk, root: Cid, limits: Limits) -> Iterator[None]:
    """Whether the tree is within its limits, before the first file of it is made."""
    walk = Walk(root, limits, survey=True)
    while not walk.exhausted:
        visit = walk.pop()
        block = _held(disk, visit.cid)
        if is_raw(visit.cid):
            walk.leaf(visit, len(block))
        else:
            walk.node(visit, decode_node(block), len(block))
        if walk.visits % _NODES_PER_STEP == 0:
            yield


class _Writer:
    def __init__(self, disk: BlobDisk, limits: Limits, result: Materialised) -> None:
        self._disk = disk
        self._limits = limits
        self._result = result
        self._entries = 0
        self._since_step = 0

    def entry(self, cid: Cid, parent: int, name: str, depth: int) -> Iterator[None]:
        """One name in an open directory of ours."""
        node = None if is_raw(cid) else self._node(cid)
        if isinstance(node, DirectoryNode):
            yield from self._directory(node, parent, name, depth)
        else:
            yield from self._file(cid, parent, name)
        yield from self._spend(_ENTRY_COST_BYTES)

    def _node(self, cid: Cid) -> Node:
        return decode_node(_held(self._disk, cid))

    def _directory(self, node: DirectoryNode, parent: int, name: str, depth: int) -> Iterator[None]:
        self._entries += len(node.children)
        if depth >= self._limits.max_directory_depth or self._entries > self._limits.max_entries:
            raise RemoteProtocolError("a tree with more or deeper directories than allowed", code="too_large")
        check_portable(child.name for child in node.children)
        os.mkdir(name, 0o755, dir_fd=parent)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            for child in node.children:
                yield from self.entry(child.cid, fd, child.name, depth + 1)
        finally:
            os.close(fd)
        self._result.directories += 1

    def _file(self, cid: Cid, parent: int, name: str) -> Iterator[None]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o644, dir_fd=parent)
        try:
            for leaf in file_leaves(self._disk, cid, self._limits):
                self._result.content_bytes += len(leaf)
                if self._result.content_bytes > self._limits.max_content_bytes:
                    raise RemoteProtocolError("a tree with more bytes than allowed", code="too_large")
                view = memoryview(leaf)
                while view:
                    view = view[os.write(fd, view) :]
                yield from self._spend(len(leaf))
        finally:
            os.close(fd)
        self._result.files += 1

    def _spend(self, cost: int) -> Iterator[None]:
        self._since_step += cost
        if self._since_step >= _STEP_BYTES:
            self._since_step = 0
            yield


def _held(disk: BlobDisk, cid: Cid) -> bytes:
    block = disk.read(cid)
    if block is None:
        raise BlobAbsent(f"the block {cid_text(cid)} is not here", why="it was never fetched whole, or was damaged")
    return block


def _put_in_place(parent: int, partial: str, destination: Path) -> None:
    """Never replaces anything: linking fails if the name exists, renaming a directory if one with entries does."""
    try:
        if _is_directory(parent, partial):
            os.rename(partial, destination.name, src_dir_fd=parent, dst_dir_fd=parent)
        else:
            os.link(partial, destination.name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise _refused(destination, str(error.strerror), "name a path that does not exist yet") from None


def _clear(parent: int, partial: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if _is_directory(parent, partial):
            shutil.rmtree(partial, dir_fd=parent)
        else:
            os.unlink(partial, dir_fd=parent)


def _is_directory(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _refused(destination: Path, why: str, fix: str) -> DestinationRefused:
    return DestinationRefused(f"cannot write to {destination}", why=why, fix=fix)

"""How does a file or directory of this machine become blocks, when whoever wrote it may be hostile?

Walked with directory descriptors, no link followed, read through the descriptor that was checked. Regular files and
directories only; a job's output may hold anything else on purpose.
"""

import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Final

from msgspec import Struct

from mesh.store.blobs.errors import ImportRefused
from protocols.errors import RemoteProtocolError
from protocols.transfer.dagpb import MAX_DIRECTORY_ENTRIES
from protocols.transfer.names import check_name, check_portable
from protocols.transfer.unixfs import Block, Importer, Root, directory
from protocols.transfer.walk import MAX_DIRECTORY_DEPTH, MAX_ENTRIES

__all__ = ["BATCH_BYTES", "ImportRules", "import_steps", "is_last"]

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Blocks handed on at once: 15 ms of hashing, and few enough to hold."""
_READ_BYTES: Final = 1024 * 1024
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ImportRules(Struct, frozen=True, kw_only=True):
    """What may be imported."""

    max_content_bytes: int
    max_entries: int = MAX_ENTRIES
    max_depth: int = MAX_DIRECTORY_DEPTH
    hard_links: bool = True
    """False for what a job wrote: a second name of a file may lie outside."""


def import_steps(path: Path, rules: ImportRules) -> Generator[list[Block], None, Root]:
    """Yields blocks, children before parents, in batches of about 4 MiB; returns the root.

    Blocks while reading: run each step in a thread. Raises ``ImportRefused``. Closing it early closes every
    descriptor.
    """
    path = path.absolute()
    work = _Import(rules)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        root = yield from work.entry(parent, path.name, path, 0)
    finally:
        os.close(parent)
    yield work.batch
    return root


def is_last(batch: list[Block]) -> bool:
    """Whether the root follows this batch: all before it are full."""
    return _counted(batch) < BATCH_BYTES


def _counted(blocks: list[Block]) -> int:
    return sum(len(block) + 1024 for _, block in blocks)


class _Import:
    def __init__(self, rules: ImportRules) -> None:
        self.batch: list[Block] = []
        self._rules = rules
        self._batch_bytes = 0
        self._entries = 0
        self._content_bytes = 0

    def entry(self, parent: int, name: str, shown: Path, depth: int) -> Generator[list[Block], None, Root]:
        """One name in an open directory."""
        found = self._status(parent, name, shown)
        if stat.S_ISLNK(found.st_mode):
            raise _refused(shown, "it is a symbolic link", "name what it points to, or copy it in its place")
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise _refused(shown, "it is neither a file nor a directory", "remove it, or leave it out by .meshignore")
        fd = self._open(parent, name, shown)
        try:
            checked = os.fstat(fd)
            if (checked.st_dev, checked.st_ino, checked.st_mode) != (found.st_dev, found.st_ino, found.st_mode):
                raise _refused(shown, "it was replaced while it was read", "wait until nobody writes there")
            if stat.S_ISDIR(checked.st_mode):
                return (yield from self._directory(fd, shown, depth))
            return (yield from self._file(fd, checked, shown))
        finally:
            os.close(fd)

    def _status(self, parent: int, name: str, shown: Path) -> os.stat_result:
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise _refused(shown, "there is no such file or directory", f"ls {shown.parent}") from None

    def _open(self, parent: int, name: str, shown: Path) -> int:
        try:
            return os.open(name, _OPEN_FLAGS, dir_fd=parent)
        except OSError as error:
            raise _refused(shown, str(error.strerror), f"ls -l {shown}") from None

    def _directory(self, fd: int, shown: Path, depth: int) -> Generator[list[Block], None, Root]:
        if depth >= self._rules.max_depth:
            raise _refused(shown, f"it lies more than {self._rules.max_depth} directories deep", "flatten the tree")
        entries: dict[str, Root] = {}
        for name in self._names(fd, shown):
            entries[name] = yield from self.entry(fd, name, shown / name, depth + 1)
        root, block = directory(entries)
        if self._add([(root.cid, block)]):
            yield self._take()
        return root

    def _names(self, fd: int, shown: Path) -> list[str]:
        names: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._entries += 1
                if len(names) == MAX_DIRECTORY_ENTRIES:
                    raise _refused(shown, f"it has more than {MAX_DIRECTORY_ENTRIES} entries", "use subdirectories")
                if self._entries > self._rules.max_entries:
                    raise _refused(
                        shown, f"the tree has more than {self._rules.max_entries} entries", "pack small files"
                    )
                names.append(entry.name)
        try:
            for name in names:
                check_name(os.fsencode(name))
            check_portable(names)
        except RemoteProtocolError as error:
            raise _refused(shown, str(error), "rename it") from None
        return names

    def _file(self, fd: int, checked: os.stat_result, shown: Path) -> Generator[list[Block], None, Root]:
        if checked.st_nlink != 1 and not self._rules.hard_links:
            raise _refused(shown, "it has a second name (a hard link)", "write a copy instead")
        self._content_bytes += checked.st_size
        if self._content_bytes > self._rules.max_content_bytes:
            raise _refused(shown, f"the files exceed {self._rules.max_content_bytes} bytes", "raise max_bytes")
        importer = Importer()
        left = checked.st_size
        while left and (piece := os.read(fd, min(_READ_BYTES, left))):
            left -= len(piece)
            if self._add(importer.feed(piece)):
                yield self._take()
        if left or os.read(fd, 1):
            raise _refused(shown, "its size changed while it was read", "wait until nobody writes there")
        if self._add(importer.finish()):
            yield self._take()
        return importer.root

    def _add(self, blocks: list[Block]) -> bool:
        """Whether the batch is full."""
        self.batch += blocks
        self._batch_bytes += _counted(blocks)
        return self._batch_bytes >= BATCH_BYTES

    def _take(self) -> list[Block]:
        batch, self.batch, self._batch_bytes = self.batch, [], 0
        return batch


def _refused(shown: Path, why: str, fix: str) -> ImportRefused:
    return ImportRefused(f"{shown} cannot be imported", why=why, fix=fix)

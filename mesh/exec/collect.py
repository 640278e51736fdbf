"""Which files did a job leave, and may they be taken?

The folder was written by a stranger's program, so nothing about it is believed: it is walked by directory descriptors,
never by paths, and only plain files with plain names come out.
"""

import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from mesh.exec.executor import ExecError

__all__ = ["CollectCaps", "CollectError", "CollectedFile", "Collection", "collect"]

MAX_NAME_BYTES: Final = 255
"""One name: every host filesystem holds it."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class CollectError(ExecError):
    """The output folder holds something that is not taken.

    ``code``: ``not_a_file``, ``hard_link``, ``sparse``, ``bad_name``, ``name_clash``, ``too_many``, ``too_deep``,
    ``too_large``, ``changed``. ``path`` is relative to the folder, with unprintable characters escaped.
    """

    def __init__(self, code: str, path: str, message: str) -> None:
        super().__init__(f"output {path!a} is refused: {message}")
        self.code = code
        self.path = path


class CollectCaps(Struct, frozen=True, kw_only=True):
    """Bounds of one collection."""

    max_bytes: int
    """Sum of logical sizes."""
    max_files: int = 10_000
    """Files and folders."""
    max_depth: int = 32
    """Folders inside folders."""


class CollectedFile(Struct, frozen=True):
    """One file: its path relative to the folder, ``/`` between NFC names, and its size in bytes."""

    path: str
    size_bytes: int
    device: int
    inode: int
    changed_ns: int


class Collection(Struct, frozen=True):
    """What was found: files by the bytes of their paths, folders (parents before children) likewise."""

    folder: Path
    files: tuple[CollectedFile, ...]
    folders: tuple[str, ...]

    @contextmanager
    def open(self, file: CollectedFile) -> Iterator[int]:
        """A descriptor for the very file that was checked. Blocking.

        Raises:
            CollectError: ``changed``; the file is not the one that was checked, or became one that is not taken.
        """
        parent = os.open(self.folder, _FOLDER)
        try:
            *folders, name = file.path.split("/")
            for part in folders:
                child = os.open(part, _FOLDER, dir_fd=parent)
                os.close(parent)
                parent = child
            fd = os.open(name, _FILE, dir_fd=parent)
        except OSError as error:
            raise CollectError("changed", file.path, f"it cannot be opened any more ({error.strerror})") from error
        finally:
            os.close(parent)
        try:
            found = os.fstat(fd)
            identity = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
            if identity != (file.device, file.inode, file.size_bytes, file.changed_ns):
                raise CollectError("changed", file.path, "it changed after it was checked")
            yield fd
        finally:
            os.close(fd)


class _Walk:
    """One pass over a folder; raises at the first thing that is not taken."""

    def __init__(self, caps: CollectCaps) -> None:
        self._caps = caps
        self._left_bytes = caps.max_bytes
        self._left_files = caps.max_files
        self.files: list[CollectedFile] = []
        self.folders: list[str] = []

    def visit(self, fd: int, path: str, depth: int) -> None:
        """Everything below an open folder; recursion is bounded by ``max_depth``."""
        if depth > self._caps.max_depth:
            raise CollectError("too_deep", path, f"more than {self._caps.max_depth} folders deep")
        seen: dict[str, str] = {}
        for name in self._names(fd, path):
            here = f"{path}/{name}" if path else name
            _check_name(name, here)
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
            if folded in seen:
                raise CollectError(
                    "name_clash", here, f"it differs from {seen[folded]!a} only in letter case or accents"
                )
            seen[folded] = name
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                self._folder(fd, name, here, depth)
            elif stat.S_ISREG(mode):
                self._file(fd, name, here)
            else:
                raise CollectError("not_a_file", here, f"it is a {_kind(mode)}; only files and folders are taken")

    def _names(self, fd: int, path: str) -> list[str]:
        names: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._left_files -= 1
                if self._left_files < 0:
                    raise CollectError("too_many", path or ".", f"more than {self._caps.max_files} files and folders")
                names.append(entry.name)
        return sorted(names, key=os.fsencode)

    def _folder(self, fd: int, name: str, here: str, depth: int) -> None:
        try:
            child = os.open(name, _FOLDER, dir_fd=fd)
        except OSError as error:
            raise CollectError("changed", here, f"it stopped being a folder ({error.strerror})") from error
        try:
            self.folders.append(here)
            self.visit(child, here, depth + 1)
        finally:
            os.close(child)

    def _file(self, fd: int, name: str, here: str) -> None:
        try:
            opened = os.open(name, _FILE, dir_fd=fd)
        except OSError as error:
            raise CollectError("changed", here, f"it stopped being a file ({error.strerror})") from error
        try:
            found = os.fstat(opened)
        finally:
            os.close(opened)
        if not stat.S_ISREG(found.st_mode):
            raise CollectError("not_a_file", here, f"it is a {_kind(found.st_mode)}; only files and folders are taken")
        if found.st_nlink != 1:
            raise CollectError("hard_link", here, "it has a second name, which may lie outside the folder")
        self._left_bytes -= found.st_size
        if self._left_bytes < 0:
            raise CollectError("too_large", here, f"more than {self._caps.max_bytes} bytes in all")
        if found.st_size > _SPARSE_FROM_BYTES and found.st_blocks * 512 * _SPARSE_RATIO < found.st_size:
            raise CollectError("sparse", here, f"{found.st_size} bytes that occupy {found.st_blocks * 512} on disk")
        self.files.append(CollectedFile(here, found.st_size, found.st_dev, found.st_ino, found.st_ctime_ns))


_SPARSE_FROM_BYTES: Final = 1 << 20
"""A hole this small costs nobody anything, and a filesystem may keep a small file inside its inode."""

_SPARSE_RATIO: Final = 128
"""Filesystems that compress reach 10 to 30 on text; a file with 128 times more size than blocks is a hole."""


def collect(folder: Path, caps: CollectCaps) -> Collection:
    """Check everything below ``folder`` and list it. Blocking; holds at most ``max_depth`` descriptors.

    The job must be dead: what changes afterwards is caught by ``Collection.open``. The folder itself is trusted to be
    one.

    Raises:
        CollectError: at the first thing that is not taken; then nothing is.
    """
    walk = _Walk(caps)
    fd = os.open(folder, _FOLDER)
    try:
        walk.visit(fd, "", 0)
    finally:
        os.close(fd)
    return Collection(
        folder,
        tuple(sorted(walk.files, key=lambda file: file.path.encode())),
        tuple(sorted(walk.folders, key=str.encode)),
    )


def _check_name(name: str, path: str) -> None:
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise CollectError("bad_name", path, "its name is not UTF-8") from None
    if len(raw) > MAX_NAME_BYTES or text in (".", "..") or "\\" in text:
        raise CollectError("bad_name", path, "its name is too long or holds a backslash")
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in text):
        raise CollectError("bad_name", path, "its name holds a control character")
    if unicodedata.normalize("NFC", text) != text:
        raise CollectError("bad_name", path, "its name is not in Unicode form NFC")


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISLNK, "symbolic link"),
        (stat.S_ISFIFO, "named pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    ):
        if test(mode):
            return word
    return "strange thing"

"""Which files does a job see, and how do they map to the host?

Names, order, inode numbers and times live in memory and follow from the job alone; only contents come from the host,
through a directory fd that was opened before the sandbox closed. A path is resolved here and never by the kernel, and
no symbolic link exists on either side, so ``..`` and absolute paths have nothing to escape to.
"""

import os
import stat

from mesh.exec.wasm.lean import Final, Iterator
from mesh.exec.wasm.wasi.abi import Errno, FileType, WasiError
from mesh.exec.wasm.wasi.quota import Quota

__all__ = ["MAX_DEPTH", "MAX_INPUT_NODES", "Directory", "File", "InodeCounter", "Node", "Tree", "TreeRefused"]

MAX_DEPTH: Final = 32
"""Folders inside folders: what the collector accepts."""

MAX_NAME_BYTES: Final = 255
"""One name: the limit of every host filesystem."""

MAX_PATH_BYTES: Final = 4000
"""One path: below PATH_MAX of 4096, because the host path is passed whole to ``*at`` calls."""

MAX_INPUT_NODES: Final = 100_000
"""Input files and folders held in memory: about 30 MB."""

_OPEN: Final = os.O_NOFOLLOW | os.O_CLOEXEC


class TreeRefused(Exception):
    """The inputs hold too many files, too deep a folder, a bad name, or something that is neither file
    nor folder.
    """


class InodeCounter:
    """Hands out inode numbers in the order of creation."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """The next number, from 1."""
        self._last += 1
        return self._last


class Node:
    """What files and folders share. ``times_ns`` are (access, modification, change)."""

    __slots__ = ("ino", "name", "parent", "times_ns", "tree")
    filetype = FileType.UNKNOWN

    def __init__(self, tree: "Tree", parent: "Directory | None", name: str, now_ns: int) -> None:
        self.tree = tree
        self.parent = parent
        self.name = name
        self.ino = tree.inodes.next()
        self.times_ns = (now_ns, now_ns, now_ns)

    def move(self, folder: "Directory", name: str) -> None:
        """Become an entry of another folder."""
        self.parent, self.name = folder, name

    def host_path(self) -> str:
        """The path below ``tree.root_fd``; ``.`` for the root."""
        names: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        return "/".join(reversed(names)) or "."

    def depth(self) -> int:
        """0 for the root of a tree."""
        return 0 if self.parent is None else self.parent.depth() + 1

    def size_bytes(self) -> int:
        """Logical size; 0 for a folder, whatever the host's filesystem says."""
        return 0


class File(Node):
    """A regular file. While ``linked`` is False only open descriptors keep it; its bytes stay charged until they
    close.
    """

    __slots__ = ("held_fd", "linked", "open_count", "size")
    filetype = FileType.REGULAR_FILE

    def __init__(self, tree: "Tree", parent: "Directory | None", name: str, now_ns: int, size: int = 0) -> None:
        super().__init__(tree, parent, name, now_ns)
        self.size = size
        self.linked = True
        self.open_count = 0
        self.held_fd = -1

    def size_bytes(self) -> int:
        """Logical size."""
        return self.size

    def open_host(self, flags: int) -> int:
        """A host descriptor for the contents; the caller closes it."""
        if self.held_fd >= 0:
            return os.dup(self.held_fd)
        return os.open(self.host_path(), flags | _OPEN, 0o600, dir_fd=self.tree.root_fd)

    def release(self) -> None:
        """One descriptor closed: an unlinked file gives its bytes back with the last one."""
        self.open_count -= 1
        if not self.linked and self.open_count == 0:
            self.tree.charge(-self.size, 0)


class Directory(Node):
    """A folder and its entries; change them by ``put`` and ``drop`` alone."""

    __slots__ = ("_listing", "entries")
    filetype = FileType.DIRECTORY

    def __init__(self, tree: "Tree", parent: "Directory | None", name: str, now_ns: int) -> None:
        super().__init__(tree, parent, name, now_ns)
        self.entries: dict[str, Node] = {}
        self._listing: tuple[tuple[bytes, Node], ...] = ()

    def put(self, name: str, node: Node) -> None:
        """Add or replace one."""
        self.entries[name] = node
        self._listing = ()

    def drop(self, name: str) -> None:
        """Remove one."""
        del self.entries[name]
        self._listing = ()

    def move(self, folder: "Directory", name: str) -> None:
        """Become an entry of another folder."""
        self.parent, self.name = folder, name
        self._listing = ()

    def listing(self) -> tuple[tuple[bytes, Node], ...]:
        """``.``, ``..`` and the entries by the bytes of their names: the order that never depends on the host.

        Made once per change and shared: a guest that lists one folder through many descriptors holds one list.
        """
        if not self._listing:
            named = sorted((name.encode(), node) for name, node in self.entries.items())
            self._listing = ((b".", self), (b"..", self.parent or self), *named)
        return self._listing


class Tree:
    """One mounted folder: read-only with an empty ``quotas``, writable otherwise."""

    def __init__(
        self, root_fd: int, inodes: InodeCounter, now_ns: int, *, writable: bool, quotas: tuple[Quota, ...]
    ) -> None:
        self.root_fd = root_fd
        self.inodes = inodes
        self.writable = writable
        self._quotas = quotas
        self.root = Directory(self, None, "", now_ns)

    def charge(self, size_bytes: int, files: int) -> None:
        """Account for a change in all quotas of this tree, or for none."""
        done = 0
        try:
            for quota in self._quotas:
                quota.charge(size_bytes, files)
                done += 1
        finally:
            if done < len(self._quotas):
                for quota in self._quotas[:done]:
                    quota.charge(-size_bytes, -files)

    def load(self, now_ns: int) -> None:
        """Read the folder's names and sizes from the host. Called once, before the job starts.

        Raises:
            TreeRefused: see ``MAX_INPUT_NODES`` and ``MAX_DEPTH``, or an entry that is neither file nor folder.
        """
        budget = MAX_INPUT_NODES
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            if folder.depth() > MAX_DEPTH:
                raise TreeRefused(f"inputs nest deeper than {MAX_DEPTH} folders at {folder.host_path()!r}")
            children = list(self._scan(folder))
            budget -= len(children)
            if budget < 0:
                raise TreeRefused(f"inputs hold more than {MAX_INPUT_NODES} files")
            for name, mode, size in sorted(children, key=lambda child: child[0].encode()):
                if stat.S_ISDIR(mode):
                    child: Node = Directory(self, folder, name, now_ns)
                elif stat.S_ISREG(mode):
                    child = File(self, folder, name, now_ns, size)
                else:
                    raise TreeRefused(f"{name!r} is neither a file nor a folder; inputs may hold nothing else")
                folder.put(name, child)
                if isinstance(child, Directory):
                    waiting.append(child)

    def _scan(self, folder: Directory) -> Iterator[tuple[str, int, int]]:
        fd = os.open(folder.host_path(), os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=self.root_fd)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    yield _input_name(entry.name), found.st_mode, found.st_size
        finally:
            os.close(fd)

    def files(self) -> Iterator[File]:
        """Every file, in no particular order."""
        waiting: list[Directory] = [self.root]
        while waiting:
            for node in waiting.pop().entries.values():
                if isinstance(node, File):
                    yield node
                elif isinstance(node, Directory):
                    waiting.append(node)

    def resolve(self, start: Directory, path: str) -> tuple[Directory, str, bool]:
        """Walk ``path`` from ``start``: (folder, last name, must it be a folder). The last name is "" for the folder
        itself.

        Raises:
            WasiError: NOTCAPABLE for an absolute path or one that leaves the tree, NOENT, NOTDIR, NAMETOOLONG.
        """
        if path.startswith("/"):
            raise WasiError(Errno.NOTCAPABLE)
        if not path:
            raise WasiError(Errno.NOENT)
        if len(path.encode()) > MAX_PATH_BYTES:
            raise WasiError(Errno.NAMETOOLONG)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        must_be_folder = path.endswith(("/", "/.", "/..")) or path in (".", "..")
        here = start
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            if part == "..":
                if here is start or here.parent is None:
                    raise WasiError(Errno.NOTCAPABLE)
                here = here.parent
            elif last:
                return here, checked_name(part), must_be_folder
            else:
                found = here.entries.get(checked_name(part))
                if found is None:
                    raise WasiError(Errno.NOENT)
                if not isinstance(found, Directory):
                    raise WasiError(Errno.NOTDIR)
                here = found
        return here, "", True


def _input_name(name: str) -> str:
    try:
        return checked_name(name)
    except WasiError:
        raise TreeRefused(f"the input name {name!r} is no valid UTF-8 or too long") from None


def checked_name(name: str) -> str:
    """A name that any host can hold, or an error. UTF-8 was checked where the bytes came in."""
    if "\0" in name:
        raise WasiError(Errno.INVAL)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise WasiError(Errno.ILSEQ) from None
    if size > MAX_NAME_BYTES:
        raise WasiError(Errno.NAMETOOLONG)
    return name

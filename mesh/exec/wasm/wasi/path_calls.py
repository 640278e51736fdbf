"""What do the ``path_*`` calls of WASI preview 1 do?

The tree in memory decides; the host repeats. Links of both kinds are refused: an output may not hold them.
"""

import os

from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.abi import ALL_FLAGS, Errno, OpenFlag, WasiError, pack_filestat
from mesh.exec.wasm.wasi.descriptors import OpenDirectory, OpenFile
from mesh.exec.wasm.wasi.fd_calls import new_times
from mesh.exec.wasm.wasi.tree import MAX_DEPTH, MAX_PATH_BYTES, Directory, File, Node
from mesh.exec.wasm.wasi.world import World

__all__ = ["PathCalls"]

_RIGHT_READ: Final = 1 << 1
_RIGHT_WRITE: Final = 1 << 6


class PathCalls:
    """One method per call, named as in WASI; each raises ``WasiError`` or returns nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._memory = world.memory
        self._descriptors = world.descriptors

    def _locate(self, fd: int, pointer: int, length: int) -> tuple[Directory, str, bool]:
        start = self._descriptors.directory(fd).node
        if length > MAX_PATH_BYTES:
            raise WasiError(Errno.NAMETOOLONG)
        try:
            path = self._memory.read(pointer, length).decode()
        except UnicodeDecodeError:
            raise WasiError(Errno.ILSEQ) from None
        if "\0" in path:
            raise WasiError(Errno.INVAL)
        return start.tree.resolve(start, path)

    def _find(self, fd: int, pointer: int, length: int) -> Node:
        folder, name, must_be_folder = self._locate(fd, pointer, length)
        if not name:
            return folder
        found = folder.entries.get(name)
        if found is None:
            raise WasiError(Errno.NOENT)
        if must_be_folder and not isinstance(found, Directory):
            raise WasiError(Errno.NOTDIR)
        return found

    def _writable(self, fd: int, pointer: int, length: int) -> tuple[Directory, str, bool]:
        folder, name, must_be_folder = self._locate(fd, pointer, length)
        if not folder.tree.writable:
            raise WasiError(Errno.ROFS)
        return folder, name, must_be_folder

    def path_create_directory(self, fd: int, pointer: int, length: int) -> None:
        folder, name, _ = self._writable(fd, pointer, length)
        if not name or name in folder.entries:
            raise WasiError(Errno.EXIST)
        if folder.depth() + 1 > MAX_DEPTH:
            raise WasiError(Errno.NAMETOOLONG)
        made = Directory(folder.tree, folder, name, self._world.clock.stamp_ns())
        _check_host_path(made)
        folder.tree.charge(0, 1)
        os.mkdir(made.host_path(), 0o700, dir_fd=folder.tree.root_fd)
        folder.put(name, made)

    def path_filestat_get(self, fd: int, _flags: int, pointer: int, length: int, result: int) -> None:
        node = self._find(fd, pointer, length)
        self._memory.write(result, pack_filestat(node.ino, node.filetype, node.size_bytes(), node.times_ns))

    def path_filestat_set_times(
        self, fd: int, _lookup: int, pointer: int, length: int, atim: int, mtim: int, flags: int
    ) -> None:
        node = self._find(fd, pointer, length)
        if not node.tree.writable:
            raise WasiError(Errno.ROFS)
        node.times_ns = new_times(node.times_ns, self._world.clock.stamp_ns(), atim, mtim, flags)

    def path_link(self, _fd: int, _flags: int, _a: int, _an: int, _to: int, _b: int, _bn: int) -> None:
        raise WasiError(Errno.NOTSUP)

    def path_symlink(self, _a: int, _an: int, _fd: int, _b: int, _bn: int) -> None:
        raise WasiError(Errno.NOTSUP)

    def path_readlink(self, fd: int, pointer: int, length: int, _buf: int, _buf_len: int, _result: int) -> None:
        self._find(fd, pointer, length)
        raise WasiError(Errno.INVAL)  # POSIX: not a symbolic link, and none exists here

    def path_open(
        self,
        fd: int,
        _lookup: int,
        pointer: int,
        length: int,
        oflags: int,
        rights: int,
        _inheriting: int,
        fdflags: int,
        result: int,
    ) -> None:
        if self._descriptors.full():
            raise WasiError(Errno.NFILE)
        folder, name, must_be_folder = self._locate(fd, pointer, length)
        node = folder.entries.get(name) if name else folder
        made = node is None
        if node is None:
            node = self._create(folder, name, must_be_folder, oflags)
        elif oflags & OpenFlag.CREAT and oflags & OpenFlag.EXCL:
            raise WasiError(Errno.EXIST)
        if isinstance(node, Directory):
            opened: OpenDirectory | OpenFile = self._open_directory(node, oflags, rights)
        elif isinstance(node, File):
            if must_be_folder or oflags & OpenFlag.DIRECTORY:
                raise WasiError(Errno.NOTDIR)
            opened = self._open_file(node, oflags, rights, fdflags & ALL_FLAGS, made)
        else:
            raise WasiError(Errno.INVAL)
        self._memory.write_u32(result, self._descriptors.add(opened))

    def _create(self, folder: Directory, name: str, must_be_folder: bool, oflags: int) -> File:
        if not oflags & OpenFlag.CREAT:
            raise WasiError(Errno.NOENT)
        if must_be_folder or oflags & OpenFlag.DIRECTORY:
            raise WasiError(Errno.INVAL)
        if not folder.tree.writable:
            raise WasiError(Errno.ROFS)
        file = File(folder.tree, folder, name, self._world.clock.stamp_ns())
        _check_host_path(file)
        folder.tree.charge(0, 1)
        return file

    def _open_directory(self, node: Directory, oflags: int, rights: int) -> OpenDirectory:
        if oflags & OpenFlag.TRUNC or (rights & _RIGHT_WRITE and not oflags & OpenFlag.DIRECTORY):
            raise WasiError(Errno.ISDIR)
        return OpenDirectory(node)

    def _open_file(self, node: File, oflags: int, rights: int, flags: int, made: bool) -> OpenFile:
        writable = bool(rights & _RIGHT_WRITE) or bool(oflags & OpenFlag.TRUNC) or made
        if writable and not node.tree.writable:
            raise WasiError(Errno.ROFS)
        host_flags = os.O_RDWR if node.tree.writable else os.O_RDONLY
        host_fd = node.open_host(host_flags | (os.O_CREAT | os.O_EXCL if made else 0))
        if made and node.parent is not None:
            node.parent.put(node.name, node)
        readable = bool(rights & _RIGHT_READ) or not rights & _RIGHT_WRITE
        opened = OpenFile(node, host_fd, flags, readable=readable, writable=writable)
        if oflags & OpenFlag.TRUNC and node.size:
            opened.truncate(0, self._world.clock.stamp_ns())
        return opened

    def path_remove_directory(self, fd: int, pointer: int, length: int) -> None:
        folder, name, _ = self._writable(fd, pointer, length)
        node = folder.entries.get(name)
        if not name:
            raise WasiError(Errno.INVAL)
        if node is None:
            raise WasiError(Errno.NOENT)
        if not isinstance(node, Directory):
            raise WasiError(Errno.NOTDIR)
        if node.entries:
            raise WasiError(Errno.NOTEMPTY)
        os.rmdir(node.host_path(), dir_fd=folder.tree.root_fd)
        folder.drop(name)
        folder.tree.charge(0, -1)

    def path_unlink_file(self, fd: int, pointer: int, length: int) -> None:
        folder, name, must_be_folder = self._writable(fd, pointer, length)
        node = folder.entries.get(name) if name else folder
        if node is None:
            raise WasiError(Errno.NOENT)
        if not isinstance(node, File):
            raise WasiError(Errno.ISDIR)
        if must_be_folder:
            raise WasiError(Errno.NOTDIR)
        os.unlink(node.host_path(), dir_fd=folder.tree.root_fd)
        folder.drop(name)
        _forget(node)

    def path_rename(self, fd: int, pointer: int, length: int, to_fd: int, to_pointer: int, to_length: int) -> None:
        source_folder, source_name, _ = self._writable(fd, pointer, length)
        folder, name, _ = self._writable(to_fd, to_pointer, to_length)
        node = source_folder.entries.get(source_name)
        if node is None:
            raise WasiError(Errno.NOENT)
        if not name:
            raise WasiError(Errno.INVAL)
        if folder.tree is not source_folder.tree:
            raise WasiError(Errno.XDEV)
        target = folder.entries.get(name)
        if target is node:
            return
        _check_rename(node, folder, target)
        old_path = node.host_path()
        new_path = f"{folder.host_path()}/{name}"
        if len(new_path.encode()) > MAX_PATH_BYTES:
            raise WasiError(Errno.NAMETOOLONG)
        os.rename(old_path, new_path, src_dir_fd=folder.tree.root_fd, dst_dir_fd=folder.tree.root_fd)
        if isinstance(target, File):
            _forget(target)
        elif target is not None:
            folder.tree.charge(0, -1)
        source_folder.drop(source_name)
        node.move(folder, name)
        folder.put(name, node)


def _check_rename(node: Node, folder: Directory, target: Node | None) -> None:
    """The rules of POSIX rename, and the depth that the collector accepts."""
    if isinstance(node, Directory):
        above: Directory | None = folder
        while above is not None:
            if above is node:
                raise WasiError(Errno.INVAL)
            above = above.parent
        if target is not None and not isinstance(target, Directory):
            raise WasiError(Errno.NOTDIR)
        if isinstance(target, Directory) and target.entries:
            raise WasiError(Errno.NOTEMPTY)
        if folder.depth() + 1 + _height(node) > MAX_DEPTH:
            raise WasiError(Errno.NAMETOOLONG)
    elif isinstance(target, Directory):
        raise WasiError(Errno.ISDIR)


def _height(folder: Directory) -> int:
    """Levels of folders below this one."""
    return max((1 + _height(child) for child in folder.entries.values() if isinstance(child, Directory)), default=0)


def _check_host_path(node: Node) -> None:
    if len(node.host_path().encode()) > MAX_PATH_BYTES:
        raise WasiError(Errno.NAMETOOLONG)


def _forget(node: File) -> None:
    """The last name of a file is gone."""
    node.linked = False
    node.tree.charge(0, -1)
    if node.open_count == 0:
        node.tree.charge(-node.size, 0)

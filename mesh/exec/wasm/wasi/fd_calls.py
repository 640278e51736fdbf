"""What do the ``fd_*`` calls of WASI preview 1 do?"""

from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.abi import (
    ALL_FLAGS,
    ALL_RIGHTS,
    RIGHT_SEEK_TELL,
    Errno,
    FdFlag,
    FileType,
    SetTimes,
    WasiError,
    Whence,
    pack_dirent,
    pack_fdstat,
    pack_filestat,
    pack_prestat,
)
from mesh.exec.wasm.wasi.descriptors import LogStream, OpenDirectory, OpenFile, Stdin
from mesh.exec.wasm.wasi.world import World

__all__ = ["MAX_IO_BYTES", "FdCalls", "new_times"]

MAX_IO_BYTES: Final = 1 << 20
"""Bytes moved by one call: a longer read or write is short, which POSIX allows, so the host copies at most this much.
"""

_OFFSET_LIMIT: Final = 1 << 62
"""Beyond it a file position would overflow the host's signed 64 bits."""


def new_times(old: tuple[int, int, int], now_ns: int, atim: int, mtim: int, flags: int) -> tuple[int, int, int]:
    """``fstflags`` applied to (access, modification, change)."""
    if (flags & SetTimes.ATIM and flags & SetTimes.ATIM_NOW) or (flags & SetTimes.MTIM and flags & SetTimes.MTIM_NOW):
        raise WasiError(Errno.INVAL)
    access = atim if flags & SetTimes.ATIM else now_ns if flags & SetTimes.ATIM_NOW else old[0]
    change = mtim if flags & SetTimes.MTIM else now_ns if flags & SetTimes.MTIM_NOW else old[1]
    return access, change, now_ns


class FdCalls:
    """One method per call, named as in WASI; each raises ``WasiError`` or returns nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._memory = world.memory
        self._descriptors = world.descriptors

    def fd_advise(self, fd: int, _offset: int, _length: int, _advice: int) -> None:
        self._descriptors.file(fd)

    def fd_allocate(self, fd: int, offset: int, length: int) -> None:
        file = self._descriptors.file(fd)
        if not length or offset + length >= _OFFSET_LIMIT:
            raise WasiError(Errno.INVAL)
        if offset + length > file.node.size:
            file.truncate(offset + length, self._world.clock.stamp_ns())

    def fd_close(self, fd: int) -> None:
        self._descriptors.close(fd)

    def fd_sync(self, fd: int) -> None:
        """A job's outputs are collected after it ended, by the machine it ran on: there is no crash to survive."""
        self._descriptors.get(fd)

    fd_datasync = fd_sync

    def fd_fdstat_get(self, fd: int, result: int) -> None:
        match self._descriptors.get(fd):
            case OpenFile() as file:
                packed = pack_fdstat(FileType.REGULAR_FILE, file.flags, ALL_RIGHTS)
            case OpenDirectory():
                packed = pack_fdstat(FileType.DIRECTORY, 0, ALL_RIGHTS)
            case _:
                packed = pack_fdstat(FileType.CHARACTER_DEVICE, 0, ALL_RIGHTS | RIGHT_SEEK_TELL)
        self._memory.write(result, packed)

    def fd_fdstat_set_flags(self, fd: int, flags: int) -> None:
        file = self._descriptors.file(fd)
        file.flags = flags & ALL_FLAGS

    def fd_fdstat_set_rights(self, fd: int, _base: int, _inheriting: int) -> None:
        self._descriptors.get(fd)

    def fd_filestat_get(self, fd: int, result: int) -> None:
        match self._descriptors.get(fd):
            case OpenFile(node=node) | OpenDirectory(node=node):
                packed = pack_filestat(node.ino, node.filetype, node.size_bytes(), node.times_ns)
            case _:
                packed = pack_filestat(0, FileType.CHARACTER_DEVICE, 0, (0, 0, 0))
        self._memory.write(result, packed)

    def fd_filestat_set_size(self, fd: int, size: int) -> None:
        file = self._descriptors.file(fd)
        if size >= _OFFSET_LIMIT:
            raise WasiError(Errno.INVAL)
        file.truncate(size, self._world.clock.stamp_ns())

    def fd_filestat_set_times(self, fd: int, atim: int, mtim: int, flags: int) -> None:
        match self._descriptors.get(fd):
            case OpenFile(node=node) | OpenDirectory(node=node):
                node.times_ns = new_times(node.times_ns, self._world.clock.stamp_ns(), atim, mtim, flags)
            case _:
                raise WasiError(Errno.INVAL)

    def fd_pread(self, fd: int, iovs: int, count: int, offset: int, result: int) -> None:
        file = self._descriptors.file(fd)
        self._read_at(file, iovs, count, offset, result)

    def _read_at(self, file: OpenFile, iovs: int, count: int, offset: int, result: int) -> int:
        pairs = self._memory.iovecs(iovs, count)
        wanted = min(MAX_IO_BYTES, sum(length for _, length in pairs))
        data = file.pread(offset, wanted)
        self._memory.scatter(pairs, data)
        self._memory.write_u32(result, len(data))
        return len(data)

    def fd_read(self, fd: int, iovs: int, count: int, result: int) -> None:
        found = self._descriptors.get(fd)
        match found:
            case OpenFile():
                found.offset += self._read_at(found, iovs, count, found.offset, result)
            case Stdin():
                self._memory.iovecs(iovs, count)
                self._memory.write_u32(result, 0)
            case OpenDirectory():
                raise WasiError(Errno.ISDIR)
            case LogStream():
                raise WasiError(Errno.BADF)

    def fd_write(self, fd: int, iovs: int, count: int, result: int) -> None:
        found = self._descriptors.get(fd)
        data = self._memory.gather(iovs, count, MAX_IO_BYTES)
        match found:
            case LogStream():
                found.write(data)
            case OpenFile():
                if found.flags & FdFlag.APPEND:
                    found.offset = found.node.size
                self._write_at(found, found.offset, data)
                found.offset += len(data)
            case OpenDirectory():
                raise WasiError(Errno.ISDIR)
            case Stdin():
                raise WasiError(Errno.BADF)
        self._memory.write_u32(result, len(data))

    def _write_at(self, file: OpenFile, offset: int, data: bytes) -> None:
        if offset + len(data) >= _OFFSET_LIMIT:
            raise WasiError(Errno.INVAL)
        file.pwrite(offset, data, self._world.clock.stamp_ns())

    def fd_pwrite(self, fd: int, iovs: int, count: int, offset: int, result: int) -> None:
        file = self._descriptors.file(fd)
        data = self._memory.gather(iovs, count, MAX_IO_BYTES)
        self._write_at(file, offset, data)
        self._memory.write_u32(result, len(data))

    def fd_prestat_get(self, fd: int, result: int) -> None:
        self._memory.write(result, pack_prestat(len(self._preopened(fd))))

    def fd_prestat_dir_name(self, fd: int, pointer: int, length: int) -> None:
        path = self._preopened(fd)
        if length < len(path):
            raise WasiError(Errno.NAMETOOLONG)
        self._memory.write(pointer, path)

    def _preopened(self, fd: int) -> bytes:
        found = self._descriptors.get(fd)
        if not isinstance(found, OpenDirectory) or found.guest_path is None:
            raise WasiError(Errno.BADF)
        return found.guest_path

    def fd_readdir(self, fd: int, pointer: int, length: int, cookie: int, result: int) -> None:
        folder = self._descriptors.directory(fd)
        if cookie == 0 or not folder.listing:
            folder.listing = folder.node.listing()
        out = bytearray()
        for index in range(cookie, len(folder.listing)):
            name, child = folder.listing[index]
            out += pack_dirent(index + 1, child.ino, child.filetype, name)
            if len(out) >= length:
                break
        self._memory.write(pointer, bytes(out[:length]))
        self._memory.write_u32(result, min(len(out), length))

    def fd_renumber(self, source: int, target: int) -> None:
        self._descriptors.renumber(source, target)

    def fd_seek(self, fd: int, delta: int, whence: int, result: int) -> None:
        file = self._descriptors.file(fd)
        match whence:
            case Whence.SET:
                base = 0
            case Whence.CUR:
                base = file.offset
            case Whence.END:
                base = file.node.size
            case _:
                raise WasiError(Errno.INVAL)
        if not 0 <= base + delta < _OFFSET_LIMIT:
            raise WasiError(Errno.INVAL)
        file.offset = base + delta
        self._memory.write_u64(result, file.offset)

    def fd_tell(self, fd: int, result: int) -> None:
        self._memory.write_u64(result, self._descriptors.file(fd).offset)

"""What do a job's file descriptors stand for?"""

import os

from mesh.exec.wasm.lean import Callable, Final
from mesh.exec.wasm.wasi.abi import Errno, WasiError
from mesh.exec.wasm.wasi.quota import EndKind, JobEnded
from mesh.exec.wasm.wasi.tree import Directory, File, Node

__all__ = ["MAX_OPEN", "Descriptor", "DescriptorTable", "LogStream", "OpenDirectory", "OpenFile", "Stdin"]

MAX_OPEN: Final = 256
"""Descriptors a job may hold, preopened folders included; below the 1,024 that the process may hold."""


class Stdin:
    """Always at its end."""


class LogStream:
    """stdout or stderr: at most ``limit_bytes`` pass, the first byte beyond ends the job."""

    def __init__(self, name: str, limit_bytes: int, emit: Callable[[bytes], None]) -> None:
        self._name = name
        self._left_bytes = limit_bytes
        self._limit_bytes = limit_bytes
        self._emit = emit
        self.truncated = False

    def write(self, data: bytes) -> None:
        """Pass on what fits."""
        fits = data[: self._left_bytes]
        if fits:
            self._left_bytes -= len(fits)
            self._emit(fits)
        if len(fits) < len(data):
            self.truncated = True
            raise JobEnded(EndKind.OUTPUT_LIMIT, detail=f"more than {self._limit_bytes} bytes on {self._name}")


class OpenFile:
    """An open regular file: host descriptor, position, flags."""

    def __init__(self, node: File, host_fd: int, flags: int, *, readable: bool, writable: bool) -> None:
        self.node = node
        self.host_fd = host_fd
        self.flags = flags
        self.readable = readable
        self.writable = writable
        self.offset = 0
        node.open_count += 1

    def pread(self, offset: int, length: int) -> bytes:
        """Bytes at ``offset``; short at the end of the file."""
        if not self.readable:
            raise WasiError(Errno.BADF)
        parts: list[bytes] = []
        left = max(0, min(length, self.node.size - offset))
        while left:
            part = os.pread(self.host_fd, left, offset)
            if not part:
                raise OSError("an input file shrank while the job ran")
            parts.append(part)
            left -= len(part)
            offset += len(part)
        return b"".join(parts)

    def pwrite(self, offset: int, data: bytes, now_ns: int) -> None:
        """Write at ``offset``, charging growth before any byte lands."""
        if not self.writable:
            raise WasiError(Errno.BADF)
        if not data:
            return
        self.resize_charge(max(self.node.size, offset + len(data)))
        view = memoryview(data)
        while view:
            done = os.pwrite(self.host_fd, view, offset)
            view = view[done:]
            offset += done
        self.touch(now_ns)

    def truncate(self, size: int, now_ns: int) -> None:
        """Set the logical size."""
        if not self.writable:
            raise WasiError(Errno.BADF)
        self.resize_charge(size)
        os.ftruncate(self.host_fd, size)
        self.touch(now_ns)

    def resize_charge(self, size: int) -> None:
        """Account for the file having ``size`` bytes from now on."""
        self.node.tree.charge(size - self.node.size, 0)
        self.node.size = size

    def touch(self, now_ns: int) -> None:
        """Contents changed."""
        self.node.times_ns = (self.node.times_ns[0], now_ns, now_ns)

    def close(self) -> None:
        """Give the host descriptor back."""
        os.close(self.host_fd)
        self.node.release()


class OpenDirectory:
    """An open folder; ``guest_path`` is set for a preopened one. A listing is frozen when read from its start."""

    def __init__(self, node: Directory, guest_path: bytes | None = None) -> None:
        self.node = node
        self.guest_path = guest_path
        self.listing: tuple[tuple[bytes, Node], ...] = ()


Descriptor = Stdin | LogStream | OpenFile | OpenDirectory


class DescriptorTable:
    """Numbers for descriptors; always the lowest free one, as POSIX does."""

    def __init__(self) -> None:
        self._open: dict[int, Descriptor] = {}

    def add(self, descriptor: Descriptor) -> int:
        """Give it the lowest free number, or NFILE."""
        if len(self._open) >= MAX_OPEN:
            raise WasiError(Errno.NFILE)
        number = 0
        while number in self._open:
            number += 1
        self._open[number] = descriptor
        return number

    def full(self) -> bool:
        """Whether ``add`` would fail."""
        return len(self._open) >= MAX_OPEN

    def get(self, number: int) -> Descriptor:
        """Whatever it is, or BADF."""
        found = self._open.get(number)
        if found is None:
            raise WasiError(Errno.BADF)
        return found

    def file(self, number: int) -> OpenFile:
        """A regular file, or BADF (SPIPE for a log, ISDIR for a folder)."""
        match self.get(number):
            case OpenFile() as found:
                return found
            case OpenDirectory():
                raise WasiError(Errno.ISDIR)
            case _:
                raise WasiError(Errno.SPIPE)

    def directory(self, number: int) -> OpenDirectory:
        """A folder, or NOTDIR."""
        found = self.get(number)
        if not isinstance(found, OpenDirectory):
            raise WasiError(Errno.NOTDIR)
        return found

    def close(self, number: int) -> None:
        """Close one; BADF when it is not open."""
        found = self._open.pop(number, None)
        if found is None:
            raise WasiError(Errno.BADF)
        if isinstance(found, OpenFile):
            found.close()

    def renumber(self, source: int, target: int) -> None:
        """``fd_renumber``: ``target`` must be open and is replaced."""
        self.get(source)
        self.get(target)
        if source != target:
            self.close(target)
            self._open[target] = self._open.pop(source)

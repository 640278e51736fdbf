"""How does the host read and write a guest's memory without trusting a single pointer?"""

import ctypes
import struct

from mesh.exec.wasm import capi
from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.abi import Errno, WasiError

__all__ = ["MAX_IOVECS", "GuestMemory"]

MAX_IOVECS: Final = 1024
"""Buffers in one scatter or gather call: POSIX's IOV_MAX on Linux."""


class GuestMemory:
    """The linear memory of the running instance. Every access is checked against its size now; outside it: ``FAULT``.

    ``attach`` must be called once the instance exists. Before that (a ``start`` function that calls WASI) it has size
    0.
    """

    def __init__(self) -> None:
        self._context = 0
        self._memory = 0
        self._base = 0
        self._size_bytes = 0

    def attach(self, context: int, memory: int) -> None:
        """Use the memory that the instance exports: addresses of its store's context and its ``wasmtime_memory_t``."""
        self._context, self._memory = context, memory

    def size_bytes(self) -> int:
        """Linear memory now. It never shrinks."""
        if not self._memory:
            return 0
        size = int(capi.memory_data_size(self._context, self._memory))
        if size != self._size_bytes:
            self._size_bytes = size
            self._base = capi.memory_data(self._context, self._memory) or 0
        return size

    def read(self, pointer: int, length: int) -> bytes:
        """Copy out ``length`` bytes."""
        if pointer + length > self.size_bytes():
            raise WasiError(Errno.FAULT)
        return ctypes.string_at(self._base + pointer, length) if length else b""

    def write(self, pointer: int, data: bytes) -> None:
        """Copy ``data`` in."""
        if pointer + len(data) > self.size_bytes():
            raise WasiError(Errno.FAULT)
        ctypes.memmove(self._base + pointer, data, len(data))

    def write_u32(self, pointer: int, value: int) -> None:
        """A little-endian u32."""
        self.write(pointer, value.to_bytes(4, "little"))

    def write_u64(self, pointer: int, value: int) -> None:
        """A little-endian u64."""
        self.write(pointer, value.to_bytes(8, "little"))

    def iovecs(self, pointer: int, count: int) -> list[tuple[int, int]]:
        """``count`` pairs of (pointer, length), each inside the memory."""
        if count > MAX_IOVECS:
            raise WasiError(Errno.INVAL)
        pairs = list(struct.iter_unpack("<II", self.read(pointer, 8 * count)))
        size = self._size_bytes
        if any(start + length > size for start, length in pairs):
            raise WasiError(Errno.FAULT)
        return pairs

    def gather(self, pointer: int, count: int, limit_bytes: int) -> bytes:
        """The bytes of an iovec list, at most ``limit_bytes`` of them."""
        parts: list[bytes] = []
        left = limit_bytes
        for start, length in self.iovecs(pointer, count):
            take = min(length, left)
            parts.append(self.read(start, take))
            left -= take
            if not left:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def scatter(self, pairs: list[tuple[int, int]], data: bytes) -> None:
        """Write ``data`` over an iovec list."""
        offset = 0
        for start, length in pairs:
            if offset >= len(data):
                return
            self.write(start, data[offset : offset + length])
            offset += length

"""What do the calls of WASI preview 1 do that concern neither files nor folders?"""

import struct

from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.abi import CLOCK_ABSTIME, Errno, WasiError, pack_event
from mesh.exec.wasm.wasi.clock import TICK_NS
from mesh.exec.wasm.wasi.descriptors import OpenFile
from mesh.exec.wasm.wasi.quota import EndKind, JobEnded
from mesh.exec.wasm.wasi.world import World

__all__ = ["MAX_SUBSCRIPTIONS", "SystemCalls"]

MAX_SUBSCRIPTIONS: Final = 1024
"""Events in one ``poll_oneoff``: more than any libc asks for."""

_RANDOM_CHUNK_BYTES: Final = 65_536
_TAG_CLOCK: Final = 0
_SUBSCRIPTION_BYTES: Final = 48


class SystemCalls:
    """One method per call, named as in WASI; each raises ``WasiError`` or returns nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._memory = world.memory

    def args_get(self, pointers: int, buffer: int) -> None:
        self._strings(self._world.argv, pointers, buffer)

    def args_sizes_get(self, count: int, size: int) -> None:
        self._sizes(self._world.argv, count, size)

    def environ_get(self, pointers: int, buffer: int) -> None:
        self._strings(self._world.env, pointers, buffer)

    def environ_sizes_get(self, count: int, size: int) -> None:
        self._sizes(self._world.env, count, size)

    def _strings(self, strings: list[bytes], pointers: int, buffer: int) -> None:
        for item in strings:
            self._memory.write_u32(pointers, buffer)
            self._memory.write(buffer, item + b"\0")
            pointers += 4
            buffer += len(item) + 1

    def _sizes(self, strings: list[bytes], count: int, size: int) -> None:
        self._memory.write_u32(count, len(strings))
        self._memory.write_u32(size, sum(len(item) + 1 for item in strings))

    def clock_res_get(self, clock: int, result: int) -> None:
        self._world.clock.deadline_ns(clock, 0, absolute=True)  # refuses an unknown clock
        self._memory.write_u64(result, TICK_NS)

    def clock_time_get(self, clock: int, _precision: int, result: int) -> None:
        self._memory.write_u64(result, self._world.clock.read_ns(clock))

    def random_get(self, pointer: int, length: int) -> None:
        if pointer + length > self._memory.size_bytes():
            raise WasiError(Errno.FAULT)
        while length:
            take = min(length, _RANDOM_CHUNK_BYTES)
            self._memory.write(pointer, self._world.random.draw(take))
            pointer += take
            length -= take

    def sched_yield(self) -> None:
        """One thread: nobody to yield to."""

    def proc_exit(self, code: int) -> None:
        raise JobEnded(EndKind.EXIT, exit_code=code - (1 << 32) if code >> 31 else code)

    def proc_raise(self, _signal: int) -> None:
        raise WasiError(Errno.NOTSUP)

    def sock_accept(self, _fd: int, _flags: int, _result: int) -> None:
        raise WasiError(Errno.NOTSOCK)

    def sock_recv(self, _fd: int, _iovs: int, _count: int, _flags: int, _size: int, _out: int) -> None:
        raise WasiError(Errno.NOTSOCK)

    def sock_send(self, _fd: int, _iovs: int, _count: int, _flags: int, _size: int) -> None:
        raise WasiError(Errno.NOTSOCK)

    def sock_shutdown(self, _fd: int, _how: int) -> None:
        raise WasiError(Errno.NOTSOCK)

    def poll_oneoff(self, subscriptions: int, events: int, count: int, result: int) -> None:
        """Files and logs are always ready; when only clocks are asked for, time jumps to the earliest of them."""
        if not 0 < count <= MAX_SUBSCRIPTIONS:
            raise WasiError(Errno.INVAL)
        raw = self._memory.read(subscriptions, count * _SUBSCRIPTION_BYTES)
        ready: list[bytes] = []
        sleeps: list[tuple[int, bytes]] = []
        for start in range(0, len(raw), _SUBSCRIPTION_BYTES):
            item = raw[start : start + _SUBSCRIPTION_BYTES]
            userdata, tag = item[:8], item[8]
            if tag == _TAG_CLOCK:
                clock, timeout, _precision, flags = struct.unpack_from("<I4xQQH", item, 16)
                deadline = self._world.clock.deadline_ns(clock, timeout, bool(flags & CLOCK_ABSTIME))
                sleeps.append((deadline, pack_event(userdata, Errno.SUCCESS, tag, 0)))
            else:
                ready.append(self._fd_event(userdata, tag, int.from_bytes(item[16:20], "little")))
        if not ready:
            earliest = min(deadline for deadline, _ in sleeps)
            self._world.clock.advance_to(earliest)
            ready = [event for deadline, event in sleeps if deadline <= earliest]
        self._memory.write(events, b"".join(ready))
        self._memory.write_u32(result, len(ready))

    def _fd_event(self, userdata: bytes, tag: int, fd: int) -> bytes:
        try:
            found = self._world.descriptors.get(fd)
        except WasiError as refusal:
            return pack_event(userdata, refusal.errno, tag, 0)
        available = found.node.size - found.offset if isinstance(found, OpenFile) else 0
        return pack_event(userdata, Errno.SUCCESS, tag, max(0, available))

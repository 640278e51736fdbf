"""How does the node talk to its zygote, and how is everything that it started dead before a call returns?"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from mesh.exec.executor import ExecutorUnavailable
from mesh.exec.wasm.pin import check_installed
from mesh.exec.wasm.verdicts import ChildLied, Ended
from mesh.exec.wasm.wire import (
    FRAME_HEADER,
    KILL,
    MAX_DATAGRAM_BYTES,
    MAX_FRAME_BYTES,
    READY,
    FrameType,
    Start,
    pack_start,
)

__all__ = ["Child", "Zygote"]

START_TIMEOUT_S: Final = 30.0
"""A zygote imports wasmtime and is ready in 0.2 s; a loaded machine takes ten times that."""

KILL_GRACE_S: Final = 1.0
"""From asking the zygote for a kill to killing the zygote itself, which takes every child with it."""

_FRAME_TYPES: Final = frozenset({FrameType.STDOUT, FrameType.STDERR, FrameType.RESULT, FrameType.ERROR})

_READ_BYTES: Final = 65_536
"""One read of a report pipe: the size of a Linux pipe."""

_BOOT: Final = "import sys; sys.path[:] = {path!r}; from mesh.exec.wasm.zygote import main; main({fd}, {pid})"


class Child:
    """One forked child as the node sees it."""

    def __init__(self, status: socket.socket, report_fd: int, kill_zygote: Callable[[], None]) -> None:
        status.setblocking(False)
        os.set_blocking(report_fd, False)
        self._status = status
        self._report_fd = report_fd
        self._kill_zygote = kill_zygote
        self._ended: Ended | None = None
        self._done = False
        self.killed = False

    def kill(self) -> None:
        """Ask for SIGKILL; returns at once. Harmless when it is dead, and said only once."""
        if self.killed:
            return
        self.killed = True
        with suppress(OSError):
            self._status.send(KILL)

    async def frames(self, take: Callable[[int, bytes], None]) -> None:
        """Hand every frame to ``take`` until the child closes its pipe, which it does by dying.

        Raises:
            ChildLied: a frame that is too large or of no known type; also whatever ``take`` raises.
        """
        buffer = bytearray()
        while data := await self._receive():
            buffer += data
            while len(buffer) >= FRAME_HEADER.size:
                kind, length = FRAME_HEADER.unpack_from(buffer)
                if length > MAX_FRAME_BYTES or kind not in _FRAME_TYPES:
                    raise ChildLied("a report frame that we never write")
                end = FRAME_HEADER.size + length
                if len(buffer) < end:
                    break
                take(kind, bytes(buffer[FRAME_HEADER.size : end]))
                del buffer[:end]

    async def ended(self) -> Ended | None:
        """Wait until it is dead and reaped; None when the zygote died and took it along."""
        while not self._done:
            try:
                data = self._status.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._status.fileno())
                continue
            except ConnectionError:
                data = b""
            self._ended = Ended.read(data) if data else None
            self._done = True
        return self._ended

    async def close(self) -> None:
        """Make sure it is dead, then close both channels. Shielded; bounded by ``KILL_GRACE_S`` and a killed zygote."""
        try:
            if not self._done:
                self.kill()
                with trio.CancelScope(shield=True):
                    await self._wait_or_escalate()
        finally:
            self._status.close()
            os.close(self._report_fd)

    async def _wait_or_escalate(self) -> None:
        with trio.move_on_after(KILL_GRACE_S) as patience:
            await self._drain()
        if patience.cancelled_caught:
            self._kill_zygote()
            await self._drain()

    async def _drain(self) -> None:
        """Until the pipe closes (no process holds it) and the zygote said its word."""
        while await self._receive():
            continue
        await self.ended()

    async def _receive(self) -> bytes:
        """Some bytes of the report, or none at its end. Every call lets other tasks run."""
        while True:
            await trio.lowlevel.wait_readable(self._report_fd)
            try:
                return os.read(self._report_fd, _READ_BYTES)
            except BlockingIOError:
                continue


class Zygote:
    """A running zygote process. Made by ``start``; ``kill`` and ``close`` end it and every child."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        control.setblocking(False)
        self._process = process
        self._control = control

    @classmethod
    async def start(cls) -> "Zygote":
        """Start one and wait until it is ready.

        The process is started by the calling thread and not by a worker: the kernel ends it when that thread ends, and
        trio's workers come and go.

        Raises:
            ExecutorUnavailable: it did not come up; the message holds its reason.
        """
        wrong = check_installed()
        if wrong:
            raise ExecutorUnavailable(wrong)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [entry for entry in sys.path if entry]
        boot = _BOOT.format(path=path, fd=theirs.fileno(), pid=os.getpid())
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - vfork, about 1 ms, and it must be this thread
                [sys.executable, "-I", "-S", "-c", boot],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
            )
        zygote = cls(process, ours)
        ready = False
        try:
            with trio.move_on_after(START_TIMEOUT_S), suppress(ConnectionError):
                await trio.lowlevel.wait_readable(ours.fileno())
                ready = ours.recv(MAX_DATAGRAM_BYTES) == READY
        finally:
            if not ready:
                zygote.kill()
                ours.close()
        if not ready:
            raise ExecutorUnavailable("the wasm zygote did not start: run `mesh doctor` to see what is missing")
        return zygote

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still runs; reaps it when it does not."""
        return self._process.poll() is None

    async def launch(self, spec: Start, fds: list[int]) -> Child:
        """Start a child. ``fds`` stay open here; the child gets its own copies.

        Raises:
            ExecutorUnavailable: the zygote is gone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        child = Child(ours, report_read, self.kill)
        try:
            with theirs, suppress(ConnectionError):
                await self._send(pack_start(spec), [theirs.fileno(), report_write, *fds])
                return child
        except BaseException:
            os.close(report_write)
            report_write = -1
            await child.close()
            raise
        finally:
            if report_write >= 0:
                os.close(report_write)
        await child.close()
        raise ExecutorUnavailable("the wasm zygote ended; the next call starts a new one")

    async def _send(self, data: bytes, fds: list[int]) -> None:
        """One datagram; a full socket waits. Datagrams are whole, so senders need no turn."""
        while True:
            try:
                socket.send_fds(self._control, [data], fds)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._control.fileno())
            else:
                return

    def kill(self) -> None:
        """SIGKILL the zygote; the kernel does the same to its children. Reaps it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    async def close(self) -> None:
        """End it and every child, and wait for that. Shielded, a second at most."""
        with trio.CancelScope(shield=True):
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
            with trio.move_on_after(KILL_GRACE_S), suppress(OSError):
                await trio.lowlevel.wait_readable(
                    self._control.fileno()
                )  # its end closes when it exits, after its children
            self._control.close()
            self.kill()

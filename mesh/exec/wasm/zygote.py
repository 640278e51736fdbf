"""Which process forks the jobs?  One thread, no keys, no environment, wasmtime loaded once.

The node starts it early, so that a job costs a fork and not an interpreter; one child is forked ahead and waits, so that
the next job does not even wait for that. It answers to one control socket; when that closes, however the node ended, it
kills every child and ends. It never reads a byte of a job: only children do, locked in, and each only of one job.
"""

import gc
import os
import select
import time
from _signal import SIG_IGN, SIGINT, SIGKILL, SIGPIPE, signal  # type: ignore[import-not-found]  # without `enum`
from _socket import (  # without `selectors` and `enum`
    AF_UNIX,
    CMSG_LEN,
    MSG_DONTWAIT,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)
from struct import Struct

from mesh.exec.wasm.check_child import check_sandbox
from mesh.exec.wasm.compile_child import compile_module
from mesh.exec.wasm.engine import build_engine
from mesh.exec.wasm.guest import Guest
from mesh.exec.wasm.job_child import run_job
from mesh.exec.wasm.lean import Final, NoReturn
from mesh.exec.wasm.rehearsal import rehearse
from mesh.exec.wasm.report import Reporter
from mesh.exec.wasm.sandbox import die_with_parent, name_process
from mesh.exec.wasm.wasi.preview1 import Preview1
from mesh.exec.wasm.wire import (
    JOB_NAME,
    KILL,
    MAX_DATAGRAM_BYTES,
    MAX_PASSED_FDS,
    READY,
    START,
    ZYGOTE_NAME,
    CheckSpec,
    CompileSpec,
    EndReason,
    FrameType,
    RunSpec,
    Start,
    pack_ended,
    unpack_start,
)

__all__ = ["Zygote", "main"]

_ERROR_EXIT: Final = 70
"""Exit status of a child that failed before or beside its job; the text is in its last report frame."""

_MAX_DETAIL: Final = 300
"""Characters of an error that travel."""

_QUIET_MS: Final = 20
"""Beside a job that runs, a fork ahead waits for this long without news: a job has just started and is to come first."""

_NICENESS: Final = 5
"""Added to a child's: a machine full of spinning jobs must still hear that one of them is to be killed."""

_FD_BYTES: Final = 4


class _Child:
    """One forked child and what the node is still owed about it."""

    def __init__(self, pid: int, pidfd: int, status: socket, wall_ms: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.status = status
        self.started = time.monotonic()
        self.deadline = self.started + wall_ms / 1000
        self.reason: int = EndReason.BY_ITSELF

    def kill(self, reason: int) -> None:
        """SIGKILL; the first reason counts. It is ours and not yet reaped, so the pid is still its own."""
        if self.reason == EndReason.BY_ITSELF:
            self.reason = reason
            os.kill(self.pid, SIGKILL)


class _Spare:
    """A child that was forked ahead and waits for its one start."""

    def __init__(self, pid: int, channel: socket) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self._channel = channel

    def take(self, data: bytes, fds: list[int]) -> bool:
        """Hand it a start. False when it is dead: then it is reaped."""
        try:
            _send_fds(self._channel, data, fds)
        except OSError:
            self.discard()
            return False
        self._channel.close()
        return True

    def discard(self) -> None:
        """End and reap it."""
        self._channel.close()
        os.kill(self.pid, SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


class Zygote:
    """The loop: take starts, watch children, report ends, and keep one child in hand when there is nothing to do."""

    def __init__(self, control: socket, engine: int, preview: Preview1) -> None:
        self._pid = os.getpid()
        self._control = control
        self._engine = engine
        self._preview = preview
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._children: dict[int, _Child] = {}
        """By status descriptor and again by pidfd."""
        self._spare: _Spare | None = None
        self._wants_spare = True
        """False after a fork ahead that failed, until the next start: a machine without room is not asked in a circle."""

    def serve(self) -> None:
        """Until the node closes the control socket."""
        while True:
            news = self._poll.poll(self._timeout_ms())
            if not news and self._wants_spare:
                self._fork_ahead()
            for fd, _ in news:
                if fd == self._control.fileno():
                    if not self._take_start():
                        return
                elif fd in self._children:
                    self._attend(self._children[fd], fd)
            now = time.monotonic()
            for child in {id(item): item for item in self._children.values()}.values():
                if now >= child.deadline:
                    child.kill(EndReason.WALL)

    def kill_all(self) -> None:
        """SIGKILL to every child, then reap them."""
        if self._spare:
            self._spare.discard()
            self._spare = None
        for child in list(self._children.values()):
            child.kill(EndReason.KILLED)
        for child in {item.pid: item for item in self._children.values()}.values():
            os.waitpid(child.pid, 0)

    def _timeout_ms(self) -> int | None:
        """Until the next deadline, or until it is quiet enough to fork ahead: at once when no job wants the processor."""
        if self._wants_spare:
            return _QUIET_MS if self._children else 0
        waiting = [child.deadline for child in self._children.values() if child.reason == EndReason.BY_ITSELF]
        return max(0, int((min(waiting) - time.monotonic()) * 1000) + 1) if waiting else None

    def _take_start(self) -> bool:
        data, fds = _receive(self._control)
        if not data:
            return False
        _, wall_ms = START.unpack_from(data)
        status = socket(fileno=fds[0])
        spare, self._spare, self._wants_spare = self._spare, None, True
        if spare and spare.take(data, fds[1:]):
            self._watch(_Child(spare.pid, spare.pidfd, status, wall_ms))
        else:
            self._fork(data, wall_ms, status, fds)
        for fd in fds[1:]:
            os.close(fd)
        return True

    def _fork(self, data: bytes, wall_ms: int, status: socket, fds: list[int]) -> None:
        """A child that was not forked ahead: the second of two jobs that start at once."""
        try:
            pid = os.fork()
        except OSError as error:
            status.send(pack_ended(0, EndReason.NOT_STARTED, detail=f"cannot fork: {error}"))
            status.close()
            return
        if pid == 0:
            self.become_child(data, fds)
        self._watch(_Child(pid, os.pidfd_open(pid), status, wall_ms))

    def _fork_ahead(self) -> None:
        """The next job's child. A machine that has no room for it now will say so when there is a job."""
        self._wants_spare = False
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError:
            ours.close()
        else:
            if pid == 0:
                self._await_start(theirs)
            self._spare = _Spare(pid, ours)
        theirs.close()

    def _await_start(self, channel: socket) -> NoReturn:
        """In a fork ahead of its job: all that does not depend on the job, then wait for it. No start is an end."""
        try:
            _detach(self._pid, [channel.fileno()])
            guest = Guest(self._engine, self._preview)
            data, fds = _receive(channel)
            channel.close()
            if data:
                self._do(data, fds, guest)
        finally:
            os._exit(_ERROR_EXIT)

    def _watch(self, child: _Child) -> None:
        for fd in (child.status.fileno(), child.pidfd):
            self._children[fd] = child
            self._poll.register(fd, select.POLLIN)

    def _attend(self, child: _Child, fd: int) -> None:
        if fd == child.pidfd:
            self._report_end(child)
        elif child.reason == EndReason.BY_ITSELF:
            child.kill(EndReason.KILLED)  # a word on this socket, or its end, means one thing
            self._poll.unregister(fd)

    def _report_end(self, child: _Child) -> None:
        _, status, usage = os.wait4(child.pid, 0)
        wall_ms = int((time.monotonic() - child.started) * 1000)
        cpu_ms = int((usage.ru_utime + usage.ru_stime) * 1000)
        for fd in (child.status.fileno(), child.pidfd):
            del self._children[fd]
        self._poll.unregister(child.pidfd)
        if child.reason == EndReason.BY_ITSELF or child.reason == EndReason.WALL:
            self._poll.unregister(child.status)
        os.close(child.pidfd)
        _say_last(child.status, pack_ended(status, child.reason, wall_ms, cpu_ms, usage.ru_maxrss * 1024))

    def become_child(self, data: bytes, fds: list[int]) -> NoReturn:
        """In the fork: drop everything but our own descriptors, do the one thing, end.

        ``fds``: status socket (the zygote's), report pipe, then what the start names.
        """
        try:
            _detach(self._pid, fds[1:])
            self._do(data, fds[1:], Guest(self._engine, self._preview))
        finally:
            os._exit(_ERROR_EXIT)

    def _do(self, data: bytes, fds: list[int], guest: Guest) -> NoReturn:
        """The one thing that this child is for. ``fds``: report pipe, then what the start names."""
        code = _ERROR_EXIT
        name_process(JOB_NAME)
        try:
            self._serve_start(unpack_start(data), fds[0], fds[1:], guest)
            code = 0
        except Exception as error:  # our own fault, whatever it is: the node hears it and calls it infra_error
            text = f"{type(error).__name__}: {error}"[:_MAX_DETAIL]
            Reporter(fds[0]).send(FrameType.ERROR, text.encode())
        finally:
            os._exit(code)

    def _serve_start(self, spec: Start, report_fd: int, fds: list[int], guest: Guest) -> None:
        match spec:
            case RunSpec():
                run_job(spec, fds, report_fd, guest, self._preview, self._pid)
            case CompileSpec():
                compile_module(spec, fds, report_fd, self._engine, self._preview, self._pid)
            case CheckSpec():
                check_sandbox(report_fd, self._pid)


def _say_last(status: socket, word: bytes) -> None:
    """One word, unless the node closed its end: then nobody waits for it."""
    try:
        status.send(word, MSG_DONTWAIT)
        status.recv(len(KILL), MSG_DONTWAIT)  # closing over an unread word would reset the node's end and lose ours
    except OSError:
        return
    finally:
        status.close()


def _send_fds(channel: socket, data: bytes, fds: list[int]) -> None:
    channel.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, Struct(f"{len(fds)}i").pack(*fds))])


def _receive(channel: socket) -> tuple[bytes, list[int]]:
    """One datagram and its descriptors; no bytes at the end."""
    data, passed, _, _ = channel.recvmsg(MAX_DATAGRAM_BYTES, CMSG_LEN(MAX_PASSED_FDS * _FD_BYTES))
    fds: list[int] = []
    for _, _, packed in passed:
        fds += Struct(f"{len(packed) // _FD_BYTES}i").unpack(packed)
    return data, fds


def _detach(parent_pid: int, keep: list[int]) -> None:
    """A session of its own, less urgent than the zygote, dead when that dies, holding ``keep`` and nothing else."""
    os.setsid()
    os.nice(_NICENESS)
    die_with_parent(parent_pid)
    _close_all_but(keep)


def _close_all_but(keep: list[int]) -> None:
    """Descriptors 0, 1 and 2 are /dev/null and stay."""
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)


def main(control_fd: int, node_pid: int) -> None:
    """Serve the control socket with this number until it closes."""
    name_process(ZYGOTE_NAME)
    die_with_parent(node_pid)
    signal(SIGINT, SIG_IGN)
    signal(SIGPIPE, SIG_IGN)
    control = socket(fileno=control_fd)
    engine = build_engine()
    preview = Preview1(engine)
    rehearse(engine, preview)
    zygote = Zygote(control, engine, preview)
    gc.collect()
    gc.freeze()  # so that a collection in a child does not copy every page of ours
    control.send(READY)
    try:
        zygote.serve()
    finally:
        zygote.kill_all()
        os._exit(0)  # nothing to tidy up, and a node is waiting

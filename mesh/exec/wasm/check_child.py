"""Does the sandbox of a job hold?  A child enters it and tries what must not work."""

import ctypes
import os
from _socket import socket

from mesh.exec.wasm.lean import Callable, Final
from mesh.exec.wasm.report import Reporter
from mesh.exec.wasm.sandbox import Confinement, confine
from mesh.exec.wasm.wire import FrameType, pack_check

__all__ = ["check_sandbox"]

_SIGCONT: Final = 18
"""It would do nothing to a process that runs."""


def check_sandbox(report_fd: int, parent_pid: int) -> None:
    """Lock ourselves in like a job without files, try every way out, report what opened."""
    uid, abi, seccomp = confine(Confinement(cpu_s=10, data_bytes=64 << 20, file_bytes=0, open_files=64), parent_pid)
    attempts: list[tuple[str, Callable[[], object]]] = []
    if abi:
        attempts += [
            ("read a file of the host", lambda: os.open("/etc/passwd", os.O_RDONLY)),
            ("list a folder of the host", lambda: os.listdir("/")),
            ("create a file", lambda: os.open("mesh-sandbox-check", os.O_CREAT | os.O_WRONLY, 0o600)),
        ]
    if seccomp:
        attempts += [
            ("open a socket", lambda: socket()),
            ("start a process", _fork),
            ("become another program", _exec),
            ("signal its parent", lambda: os.kill(parent_pid, _SIGCONT)),
            ("trace another process", _trace),
        ]
    leaks = tuple(name for name, attempt in attempts if _succeeds(attempt))
    Reporter(report_fd).send(FrameType.RESULT, pack_check(abi, seccomp, uid, leaks))


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _exec() -> None:
    os.execv("/bin/true", ["true"])  # noqa: S606 - that it fails is the point


def _trace() -> None:
    if ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0) != 0:  # PTRACE_ATTACH
        raise OSError("refused")

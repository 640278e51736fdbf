"""Which kernel numbers does the sandbox need?  Landlock, prctl, and the system calls a running job may make.

Sources: linux/landlock.h, linux/seccomp.h, linux/filter.h, asm/unistd.h of Linux 6.x.
"""

import os

from mesh.exec.wasm.lean import Final

__all__ = ["ARCHES", "Arch", "this_arch"]


class Arch:
    """One CPU architecture: its seccomp audit number and the allowed system calls."""

    def __init__(self, audit: int, allowed: tuple[int, ...]) -> None:
        self.audit = audit
        self.allowed = allowed


_X86_64: Final = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "poll": 7,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "pread64": 17,
    "pwrite64": 18,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "dup": 32,
    "getpid": 39,
    "exit": 60,
    "fcntl": 72,
    "ftruncate": 77,
    "sigaltstack": 131,
    "gettid": 186,
    "futex": 202,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "exit_group": 231,
    "openat": 257,
    "mkdirat": 258,
    "newfstatat": 262,
    "unlinkat": 263,
    "renameat": 264,
    "set_robust_list": 273,
    "renameat2": 316,
    "getrandom": 318,
    "membarrier": 324,
    "rseq": 334,
}

_AARCH64: Final = {
    "dup": 23,
    "fcntl": 25,
    "mkdirat": 34,
    "unlinkat": 35,
    "renameat": 38,
    "ftruncate": 46,
    "openat": 56,
    "close": 57,
    "lseek": 62,
    "read": 63,
    "write": 64,
    "pread64": 67,
    "pwrite64": 68,
    "ppoll": 73,
    "newfstatat": 79,
    "fstat": 80,
    "exit": 93,
    "exit_group": 94,
    "futex": 98,
    "set_robust_list": 99,
    "clock_gettime": 113,
    "sched_yield": 124,
    "restart_syscall": 128,
    "sigaltstack": 132,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigreturn": 139,
    "getpid": 172,
    "gettid": 178,
    "brk": 214,
    "munmap": 215,
    "mremap": 216,
    "mmap": 222,
    "mprotect": 226,
    "madvise": 233,
    "renameat2": 276,
    "getrandom": 278,
    "membarrier": 283,
    "rseq": 293,
}

ARCHES: Final[dict[str, Arch]] = {
    "x86_64": Arch(0xC000003E, tuple(sorted(_X86_64.values()))),
    "aarch64": Arch(0xC00000B7, tuple(sorted(_AARCH64.values()))),
}
"""What a job's process does after the sandbox closed: move bytes on open descriptors, work in its output folder,
manage its own memory, handle its own faults, end. Nothing that makes a process, a socket or a signal to somebody
else.
"""


def this_arch() -> Arch | None:
    """The table of this machine, or None: then there is no seccomp filter and the level is L1."""
    return ARCHES.get(os.uname().machine)

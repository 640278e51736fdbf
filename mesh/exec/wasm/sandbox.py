"""How does a child process lock itself in before it touches a stranger's bytes?

Order matters: limits, then the uid, then the death signal (a change of uid clears it), then Landlock, then seccomp.
Each step is one-way. Pure ctypes: no package and no privilege is needed.
"""

import ctypes
import os
import resource
import struct

from mesh.exec.wasm.kernel import Arch, this_arch
from mesh.exec.wasm.lean import Final, Iterable

__all__ = ["NOBODY", "Confinement", "SandboxBroken", "confine", "die_with_parent", "landlock_abi", "name_process"]

NOBODY: Final = 65534
"""The uid and gid that a job gets where we are root: it owns nothing."""

MIN_LANDLOCK_ABI: Final = 2
"""ABI 1 forbids every rename between folders, which would make jobs behave differently; we take 2 (Linux 5.19) or
none.
"""

_SIGKILL: Final = 9
"""The module `signal` would bring `enum` along."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_NR_LANDLOCK_CREATE: Final = 444
_NR_LANDLOCK_ADD: Final = 445
_NR_LANDLOCK_RESTRICT: Final = 446
_LANDLOCK_VERSION: Final = 1
_LANDLOCK_PATH_BENEATH: Final = 1

_READ: Final = (1 << 2) | (1 << 3)
"""Read file, read folder."""
_WRITE: Final = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8)
"""Write, remove folder, remove file, make folder, make file."""
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14

_EPERM: Final = 1
_PAGE_BYTES: Final = resource.getpagesize()

_libc = ctypes.CDLL(None, use_errno=True)

_ARCH: Final = this_arch()


class SandboxBroken(OSError):
    """The kernel offers a protection and then refused it. The job must not start."""


class Confinement:
    """What one child may use. Descriptors name folders that were opened before.

    ``data_bytes`` is writable private memory beyond what the process holds now (RLIMIT_DATA): a second wall behind
    wasmtime's own limit.
    """

    __slots__ = ("cpu_s", "data_bytes", "file_bytes", "open_files", "readable_fds", "writable_fds")

    def __init__(
        self,
        *,
        cpu_s: int,
        data_bytes: int,
        file_bytes: int,
        open_files: int,
        readable_fds: tuple[int, ...] = (),
        writable_fds: tuple[int, ...] = (),
    ) -> None:
        self.cpu_s = cpu_s
        self.data_bytes = data_bytes
        self.file_bytes = file_bytes
        self.open_files = open_files
        self.readable_fds = readable_fds
        self.writable_fds = writable_fds


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL when the parent's thread dies; also when it died already."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def name_process(name: str) -> None:
    """What `ps` and `top` call this process: at most 15 ASCII characters."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def confine(limits: Confinement, parent_pid: int) -> tuple[int, int, bool]:
    """Lock this process in for good. Answers (uid, Landlock ABI in force or 0, is seccomp in force).

    Raises:
        SandboxBroken: a protection that the kernel has could not be put in place.
    """
    _limit_resources(limits)
    if os.geteuid() == 0:
        _drop_root(limits.writable_fds)
    die_with_parent(parent_pid)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    abi = _LANDLOCK_ABI
    if abi:
        _landlock(abi, limits.readable_fds, limits.writable_fds)
    uid = os.getuid()
    return uid, abi, _seccomp()


def landlock_abi() -> int:
    """The kernel's Landlock version, or 0 when it has none that serves (see ``MIN_LANDLOCK_ABI``)."""
    version = int(_libc.syscall(_NR_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION))
    return version if version >= MIN_LANDLOCK_ABI else 0


_LANDLOCK_ABI: Final = landlock_abi()


def _held_bytes() -> int:
    """Writable private memory of this process now."""
    statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(statm, 100).split()[5]) * _PAGE_BYTES
    finally:
        os.close(statm)


_HARD: Final = {
    name: resource.getrlimit(name)[1]
    for name in (
        resource.RLIMIT_CPU,
        resource.RLIMIT_DATA,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_NOFILE,
        resource.RLIMIT_CORE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
    )
}
"""What the machine allows: asked once, in the zygote, which never changes its own."""


def _limit_resources(limits: Confinement) -> None:
    data_bytes = _held_bytes() + limits.data_bytes
    values = (limits.cpu_s, data_bytes, limits.file_bytes, limits.open_files, 0, 0, 0)
    for (name, hard), value in zip(_HARD.items(), values, strict=True):
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (wanted, wanted))


def _drop_root(owned_fds: Iterable[int]) -> None:
    """Become nobody, who owns the output folders from now on. A root without that privilege stays and is reported."""
    try:
        for fd in owned_fds:
            os.fchown(fd, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except PermissionError:
        return
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _ruleset(abi: int) -> bytes:
    """``struct landlock_ruleset_attr`` that handles everything this ABI knows."""
    bits = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    attributes = struct.pack("=Q", (1 << bits) - 1)
    if abi >= 4:
        attributes += struct.pack("=Q", 0b11)
    if abi >= 6:
        attributes += struct.pack("=Q", 0b11)
    return attributes


def _landlock(abi: int, readable: Iterable[int], writable: Iterable[int]) -> None:
    """Deny every file, every TCP port, every abstract socket and every signal out, but for the named folders."""
    attributes = _ruleset(abi)
    ruleset = _syscall(_NR_LANDLOCK_CREATE, attributes, len(attributes), 0)
    extra = _REFER | (_TRUNCATE if abi >= 3 else 0)
    rules = [(fd, _READ) for fd in readable] + [(fd, _READ | _WRITE | extra) for fd in writable]
    for fd, access in rules:
        _syscall(_NR_LANDLOCK_ADD, ruleset, _LANDLOCK_PATH_BENEATH, struct.pack("=Qi", access, fd), 0)
    _syscall(_NR_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _seccomp_code(arch: Arch) -> bytes:
    """Allow the table, answer EPERM to the rest, kill on another architecture's calls."""
    load, jump_equal, answer = 0x20, 0x15, 0x06
    allow, errno_eperm, kill = 0x7FFF0000, 0x00050000 | _EPERM, 0x80000000
    program = [(load, 0, 0, 4), (jump_equal, 1, 0, arch.audit), (answer, 0, 0, kill), (load, 0, 0, 0)]
    count = len(arch.allowed)
    program += [(jump_equal, count - index, 0, number) for index, number in enumerate(arch.allowed)]
    program += [(answer, 0, 0, errno_eperm), (answer, 0, 0, allow)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_CODE: Final = _seccomp_code(_ARCH) if _ARCH is not None else b""
_FILTER: Final = ctypes.create_string_buffer(_CODE)
_PROGRAM: Final = _Program(len(_CODE) // 8, ctypes.addressof(_FILTER))
"""Made once, before any fork: a child pays for it with one system call."""


def _seccomp() -> bool:
    """Close the door. False where there is no table for this CPU or the kernel has no filters."""
    if _ARCH is None:
        return False
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_PROGRAM), 0, 0) == 0:
        return True
    if ctypes.get_errno() == 22:  # EINVAL: built without filters
        return False
    raise SandboxBroken(ctypes.get_errno(), "seccomp refused the filter")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise SandboxBroken(ctypes.get_errno(), f"prctl {option} was refused")


def _syscall(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise SandboxBroken(code, f"system call {number}: {os.strerror(code)}")
    return result

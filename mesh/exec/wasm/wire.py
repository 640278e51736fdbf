"""What do the node and its zygote say to each other?

One datagram per message on a SOCK_SEQPACKET pair, msgpack inside, descriptors beside it. The first two descriptors of a
start are the status socket (the zygote's end) and the write end of the report pipe (the child's). On the status
socket the node sends ``KILL`` or just closes; the zygote answers once, with ``Ended``, when the child is dead and
reaped, then closes. The child writes frames to the report pipe: one type byte, u32 little-endian length, payload.
"""

import enum
import struct
from typing import Final

from msgspec import Struct

__all__ = [
    "FRAME_HEADER",
    "JOB_NAME",
    "KILL",
    "MAX_DATAGRAM_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_PASSED_FDS",
    "ZYGOTE_NAME",
    "CheckSpec",
    "CompileResult",
    "CompileSpec",
    "EndReason",
    "Ended",
    "FrameType",
    "JobResult",
    "OutputSpec",
    "Ready",
    "RunSpec",
    "SandboxReport",
    "Start",
]

ZYGOTE_NAME: Final = "mesh-zygote"
"""What `ps` calls the zygote, and the one child that it holds ready: that is named like a job when it becomes one."""

JOB_NAME: Final = "mesh-job"

KILL: Final = b"K"

MAX_DATAGRAM_BYTES: Final = 160 * 1024
"""One message: below Linux's default socket buffer of 208 KiB, above the 128 KiB of arguments that a job may have."""

MAX_PASSED_FDS: Final = 128
"""Descriptors beside one message; the kernel takes 253."""

MAX_FRAME_BYTES: Final = (1 << 20) + 4096
"""One report frame: a WASI write moves at most 1 MiB."""

FRAME_HEADER: Final = struct.Struct("<BI")


class FrameType(enum.IntEnum):
    """First byte of a report frame."""

    STDOUT = 1
    STDERR = 2
    RESULT = 3
    ERROR = 4
    """The child could not do its work, by our fault; the payload says why."""


class OutputSpec(Struct, frozen=True):
    """One writable folder: where the guest sees it and what it may hold."""

    guest_path: str
    max_bytes: int
    max_files: int


class RunSpec(Struct, frozen=True, kw_only=True, tag="run"):
    """Run a compiled module. Descriptors after the first two: the artifact, one per input, one per output folder.

    ``inputs`` are pairs of (guest path, is it a folder).
    """

    wall_ms: int
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    seed: bytes
    epoch_s: int
    inputs: tuple[tuple[str, bool], ...]
    outputs: tuple[OutputSpec, ...]
    fuel: int
    memory_bytes: int
    disk_bytes: int
    max_files: int
    stdout_bytes: int


class CompileSpec(Struct, frozen=True, kw_only=True, tag="compile"):
    """Compile a module. Descriptors after the first two: the module, the empty file for the artifact."""

    wall_ms: int
    cpu_s: int
    data_bytes: int
    text: bool
    """The module is WAT, as the self-test's are."""


class CheckSpec(Struct, frozen=True, kw_only=True, tag="check"):
    """Enter the sandbox of a job and try what must not work there."""

    wall_ms: int


Start = RunSpec | CompileSpec | CheckSpec


class Ready(Struct, frozen=True):
    """The zygote's first word."""

    pid: int


class EndReason(enum.IntEnum):
    """Why the zygote killed a child, if it did."""

    BY_ITSELF = 0
    WALL = 1
    KILLED = 2
    NOT_STARTED = 3


class Ended(Struct, frozen=True):
    """A child is dead and reaped. ``status`` is what wait(2) gave."""

    status: int
    reason: EndReason
    wall_ms: int
    cpu_ms: int
    max_rss_bytes: int
    detail: str = ""


class JobResult(Struct, frozen=True, kw_only=True):
    """The child's own account of a run. ``state`` is the number of an ``OutcomeState``."""

    state: int
    exit_code: int
    fuel: int
    memory_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool
    detail: str
    artifact_refused: bool = False
    """wasmtime would not load the artifact: the node throws it away and compiles anew."""


class CompileResult(Struct, frozen=True):
    """``code`` is empty for success, else a ``JobRefused`` code."""

    code: str
    detail: str


class SandboxReport(Struct, frozen=True, kw_only=True):
    """What the sandbox check saw. ``leaks`` names what was possible and should not have been."""

    landlock_abi: int
    seccomp: bool
    uid: int
    leaks: tuple[str, ...]
    detail: str

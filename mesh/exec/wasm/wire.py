"""What do the node and its zygote say to each other?

One datagram per message on a SOCK_SEQPACKET pair, descriptors beside it. The first two descriptors of a start are the
status socket (the zygote's end) and the write end of the report pipe (the child's). On the status socket the node sends
``KILL`` or just closes; the zygote answers once, with ``pack_ended``, when the child is dead and reaped, then closes. The
child writes frames to the report pipe: one type byte, u32 little-endian length, payload.

A start is (kind, wall_ms) and then its fields, in the interpreter's own format: the node writes them and nobody else can.
What comes back from a child may be a stranger's, so it is read by ``verdicts.py``, in the node. Loaded by the zygote: no
package, no enumeration.
"""

import marshal
import struct

from mesh.exec.wasm.lean import Final

__all__ = [
    "ENDED",
    "FRAME_HEADER",
    "JOB_NAME",
    "KILL",
    "MAX_DATAGRAM_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_PASSED_FDS",
    "READY",
    "RESULT",
    "START",
    "ZYGOTE_NAME",
    "CheckSpec",
    "CompileSpec",
    "EndReason",
    "FrameType",
    "RunSpec",
    "Start",
    "pack_check",
    "pack_compiled",
    "pack_ended",
    "pack_result",
    "pack_start",
    "unpack_start",
]

ZYGOTE_NAME: Final = "mesh-zygote"
"""What `ps` calls the zygote, and the one child that it holds ready: that is named like a job when it becomes one."""

JOB_NAME: Final = "mesh-job"

KILL: Final = b"K"

READY: Final = b"ready"
"""The zygote's first word."""

MAX_DATAGRAM_BYTES: Final = 160 * 1024
"""One message: below Linux's default socket buffer of 208 KiB, above the 128 KiB of arguments that a job may have."""

MAX_PASSED_FDS: Final = 128
"""Descriptors beside one message; the kernel takes 253."""

MAX_FRAME_BYTES: Final = (1 << 20) + 4096
"""One report frame: a WASI write moves at most 1 MiB."""

FRAME_HEADER: Final = struct.Struct("<BI")

START: Final = struct.Struct("<BQ")
"""Kind and wall_ms: all that the zygote reads of a start."""

ENDED: Final = struct.Struct("<iBQQQ")
"""What wait(2) gave, ``EndReason``, wall_ms, cpu_ms, max_rss_bytes; then a text."""

RESULT: Final = struct.Struct("<BiqqBBB")
"""A job's own account: state, exit code, fuel, memory_bytes, stdout and stderr truncated, artifact refused; then a text."""


class FrameType:
    """First byte of a report frame."""

    STDOUT: Final = 1
    STDERR: Final = 2
    RESULT: Final = 3
    ERROR: Final = 4
    """The child could not do its work, by our fault; the payload says why."""


class EndReason:
    """Why the zygote killed a child, if it did."""

    BY_ITSELF: Final = 0
    WALL: Final = 1
    KILLED: Final = 2
    NOT_STARTED: Final = 3


class RunSpec:
    """Run a compiled module. Descriptors after the first two: the artifact, one per input, one per output folder.

    ``inputs`` are pairs of (guest path, is it a folder), ``outputs`` are (guest path, most bytes, most files).
    """

    KIND: Final = 1
    __slots__ = (
        "argv",
        "disk_bytes",
        "env",
        "epoch_s",
        "fuel",
        "inputs",
        "max_files",
        "memory_bytes",
        "outputs",
        "seed",
        "stdout_bytes",
        "wall_ms",
    )

    def __init__(
        self,
        *,
        wall_ms: int,
        argv: tuple[str, ...],
        env: tuple[tuple[str, str], ...],
        seed: bytes,
        epoch_s: int,
        inputs: tuple[tuple[str, bool], ...],
        outputs: tuple[tuple[str, int, int], ...],
        fuel: int,
        memory_bytes: int,
        disk_bytes: int,
        max_files: int,
        stdout_bytes: int,
    ) -> None:
        self.wall_ms = wall_ms
        self.argv = argv
        self.env = env
        self.seed = seed
        self.epoch_s = epoch_s
        self.inputs = inputs
        self.outputs = outputs
        self.fuel = fuel
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self.max_files = max_files
        self.stdout_bytes = stdout_bytes


class CompileSpec:
    """Compile a module. Descriptors after the first two: the module, the empty file for the artifact."""

    KIND: Final = 2
    __slots__ = ("cpu_s", "data_bytes", "text", "wall_ms")

    def __init__(self, *, wall_ms: int, cpu_s: int, data_bytes: int, text: bool) -> None:
        self.wall_ms = wall_ms
        self.cpu_s = cpu_s
        self.data_bytes = data_bytes
        self.text = text
        """The module is WAT, as the self-test's are."""


class CheckSpec:
    """Enter the sandbox of a job and try what must not work there."""

    KIND: Final = 3
    __slots__ = ("wall_ms",)

    def __init__(self, *, wall_ms: int) -> None:
        self.wall_ms = wall_ms


Start = RunSpec | CompileSpec | CheckSpec

_KINDS: Final = {RunSpec.KIND: RunSpec, CompileSpec.KIND: CompileSpec, CheckSpec.KIND: CheckSpec}


def pack_start(spec: Start) -> bytes:
    """One datagram."""
    fields = {name: getattr(spec, name) for name in spec.__slots__}
    return START.pack(spec.KIND, spec.wall_ms) + marshal.dumps(fields)


def unpack_start(data: bytes) -> Start:
    """What ``pack_start`` packed."""
    kind, _ = START.unpack_from(data)
    made: Start = _KINDS[kind](**marshal.loads(memoryview(data)[START.size :]))  # noqa: S302 - written by our own node
    return made


def pack_ended(
    status: int, reason: int, wall_ms: int = 0, cpu_ms: int = 0, max_rss_bytes: int = 0, detail: str = ""
) -> bytes:
    """A child is dead and reaped: the zygote's one word about it."""
    return ENDED.pack(status, reason, wall_ms, cpu_ms, max_rss_bytes) + detail.encode(errors="replace")


def pack_compiled(code: str, detail: str) -> bytes:
    """How compiling ended: a code of ``JobRefused``, or none, and a text."""
    return f"{code}\0{detail}".encode(errors="replace")


def pack_check(landlock_abi: int, seccomp: bool, uid: int, leaks: tuple[str, ...]) -> bytes:
    """What the sandbox check saw; see ``SandboxReport``."""
    return "\0".join((str(landlock_abi), str(int(seccomp)), str(uid), *leaks)).encode()


def pack_result(
    state: int,
    exit_code: int,
    fuel: int,
    memory_bytes: int,
    truncated: tuple[bool, bool],
    detail: str,
    *,
    artifact_refused: bool = False,
) -> bytes:
    """A child's account of its run. ``state`` is the number of an ``OutcomeState``; ``truncated``: stdout, stderr."""
    fixed = RESULT.pack(state, exit_code, fuel, memory_bytes, *truncated, artifact_refused)
    return fixed + detail.encode(errors="replace")

"""What must every executor offer, and in which words does it report?

The seam between the node and a sandbox. ``wasm`` is the default; ``oci`` and ``process`` stand behind the same
Protocol. Nothing here starts a process or opens a file.
"""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio
from msgspec import Struct

__all__ = [
    "NO_OUTPUTS",
    "Capability",
    "ExecError",
    "Executor",
    "ExecutorUnavailable",
    "IsolationLevel",
    "JobRefused",
    "JobRequest",
    "Leftover",
    "Limits",
    "LogChunk",
    "LogSink",
    "Outcome",
    "OutcomeState",
    "OutputRule",
    "Prepared",
    "SelfTest",
    "Stream",
    "ignore_log",
]

NO_OUTPUTS: Final = ()


class ExecError(Exception):
    """Base of every error an executor raises. A job that runs and goes wrong is an ``Outcome``, never an exception."""


class JobRefused(ExecError):
    """This job cannot run here, and it is the job's own fault; nothing was started.

    ``code`` is a stable word: ``not_wasm``, ``module_too_large``, ``compile_limit``, ``unknown_import``, ``no_entry``,
    ``no_memory``, ``bad_request``, ``input_missing``. The message says what was found and what to change.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class ExecutorUnavailable(ExecError):
    """This executor cannot run anything now (its worker died, or the machine lacks something). Our fault, not the
    job's.
    """


class OutcomeState(enum.IntEnum):
    """How a run ended (PROTOCOL.md 7). The numbers are those signed in a ResultCommit; the names are on the wire."""

    EXITED = 0
    """Exit code 0."""
    FAILED = 1
    """The job itself chose a non-zero exit code."""
    TRAPPED = 2
    """Illegal instruction, memory out of bounds, stack overflow: ``detail`` names the trap."""
    FUEL = 3
    """The fuel limit was used up. Reproducible."""
    OOM = 4
    """It failed with its memory at the limit."""
    TIMEOUT = 5
    """The wall clock limit passed. Depends on the machine, so nobody can verify it."""
    OUTPUT_LIMIT = 6
    """A byte more than ``stdout_bytes`` on stdout or on stderr; what fitted is kept. Reproducible."""
    DISK_LIMIT = 7
    """A byte or a file more than the outputs may hold. Reproducible."""
    CANCELLED = 8
    """Its owner asked for it."""
    INFRA_ERROR = 9
    """Our fault. Never blamed on the client, never proof of anything."""

    @property
    def word(self) -> str:
        """The name used on the wire and in print, for example ``output_limit``."""
        return self.name.lower()


class IsolationLevel(enum.IntEnum):
    """What stands between a job and the machine, as the probe found it (research: exec.md 8)."""

    L0 = 0
    """Nothing."""
    L1 = 1
    """WebAssembly alone."""
    L2 = 2
    """WebAssembly inside Landlock and seccomp, as an unprivileged user where we are root."""
    L3 = 3
    """Namespaces, cgroups, own seccomp filter."""
    L4 = 4
    """gVisor or a virtual machine."""


class Stream(enum.IntEnum):
    """Which log of the job."""

    STDOUT = 1
    STDERR = 2


class LogChunk(Struct, frozen=True):
    """Bytes the job just wrote. ``offset`` counts from the start of that stream; chunks of one stream never overlap
    or skip.
    """

    stream: Stream
    offset: int
    data: bytes


LogSink = Callable[[LogChunk], None]
"""Called in the event loop as chunks arrive; must return at once and never block.

A slow reader keeps its own place and reads ``Outcome.stdout_path`` from that offset: the file is written before the
sink is called, so a sink may drop chunks.
"""


def ignore_log(chunk: LogChunk) -> None:
    """The sink for whom the files suffice."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one run may use. Every field is enforced, or the probe withdraws the executor."""

    wall_ms: int
    """Monotonic milliseconds from process start; then SIGKILL."""
    fuel: int
    """Executor-defined steps, 1 <= fuel < 2**63. Only wasm counts them: one unit is about one instruction."""
    memory_mib: int
    """Linear memory of the job."""
    disk_mib: int
    """Sum of the logical sizes of all output files (holes count in full)."""
    stdout_bytes: int
    """Kept bytes of stdout, and again of stderr."""
    max_files: int
    """Files and folders that all outputs together may hold."""
    pids: int = 1
    """Tasks of the job. wasm always has exactly one."""


class OutputRule(Struct, frozen=True):
    """One folder that the job may write to. ``path`` is the guest's absolute path, ``name`` the folder under
    ``Outcome.outputs_dir``.
    """

    path: str
    name: str
    max_bytes: int
    max_files: int


class JobRequest(Struct, frozen=True, kw_only=True):
    """What to run. ``inputs`` are pairs of (guest path, host file or folder), shown read-only; the job sees no other
    host path.

    ``seed`` feeds the job's random source, ``epoch`` (unix seconds) is where its clock starts: with the module, argv,
    env, inputs, outputs and limits they determine every byte it can produce.
    """

    module_path: Path
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    inputs: tuple[tuple[str, Path], ...] = ()
    outputs: tuple[OutputRule, ...] = NO_OUTPUTS
    seed: bytes = b""
    epoch: int = 0


class Prepared(Struct, frozen=True, kw_only=True):
    """A job that was checked and compiled and can run any number of times, each with its own empty ``work_dir``."""

    job: JobRequest
    module_sha256: bytes
    artifact: Path
    """Executor-private: the compiled module."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one run.

    ``exit_code`` is the job's own (0 for ``exited``), else -1. ``fuel`` is what was used; -1 when unknown (the run was
    killed). ``peak_bytes`` is linear memory at the end (it never shrinks), -1 when unknown. ``log_head``: see
    ``logs.py``.
    """

    state: OutcomeState
    exit_code: int
    fuel: int
    wall_ms: int
    cpu_ms: int
    peak_bytes: int
    stdout_path: Path
    stderr_path: Path
    stdout_truncated: bool
    stderr_truncated: bool
    outputs_dir: Path
    log_head: bytes
    detail: str


class SelfTest(Struct, frozen=True):
    """One line of a probe: the limit that was tried, whether it held, and what was seen."""

    name: str
    ok: bool
    seen: str


class Capability(Struct, frozen=True, kw_only=True):
    """What the probe found. ``available`` is False as soon as one limit is not enforced; ``reason`` then says which
    and what to do.

    ``determinism`` names the class inside which results are bit-equal, for example ``wasm/wasmtime-50.0.1``.
    """

    kind: str
    available: bool
    isolation_level: IsolationLevel
    determinism: str
    reason: str
    self_test: tuple[SelfTest, ...]


class Leftover(Struct, frozen=True):
    """Something that an earlier crash left behind, and what ``reap`` did about it."""

    kind: str
    name: str
    action: str


class Executor(Protocol):
    """A sandbox. All methods may be called concurrently; cancelling any of them leaves no process and no file but in
    ``work_dir``.
    """

    @property
    def kind(self) -> str:
        """``wasm``, ``oci`` or ``process``."""

    async def probe(self) -> Capability:
        """Run the self-test jobs. Never raises for a weak machine: it answers ``available=False``."""

    async def prepare(self, job: JobRequest) -> Prepared:
        """Check and compile. Bounded in size and time.

        Raises:
            JobRefused: the job is at fault.
            ExecutorUnavailable: we are.
        """

    async def run(
        self,
        prepared: Prepared,
        work_dir: Path,
        limits: Limits,
        events: LogSink = ignore_log,
        cancel: trio.Event | None = None,
    ) -> Outcome:
        """Run once; ``stdout``, ``stderr`` and ``outputs/NAME/`` appear in ``work_dir``, which must be empty or absent.

        Returns only when everything it started is dead. Setting ``cancel`` kills the job and returns ``cancelled``
        with its logs; cancelling the surrounding scope kills it too (within a second, shielded) and raises
        ``trio.Cancelled``.

        Raises:
            JobRefused: an input is gone, or ``work_dir`` is not empty.
            ExecutorUnavailable: nothing could be started.
        """

    async def reap(self) -> tuple[Leftover, ...]:
        """At start: end what an earlier crash left behind, and say what it was."""

"""Does this machine really enforce what the executor promises?  One small job per limit, judged by how it ended."""

import shutil
import tempfile
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from mesh.exec.executor import (
    Capability,
    ExecError,
    IsolationLevel,
    JobRequest,
    Limits,
    Outcome,
    OutcomeState,
    OutputRule,
    Prepared,
    SelfTest,
)
from mesh.exec.wasm.artifacts import ArtifactCache, Launcher
from mesh.exec.wasm.pin import DETERMINISM, check_installed
from mesh.exec.wasm.verdicts import ChildLied, SandboxReport
from mesh.exec.wasm.wire import CheckSpec, FrameType

__all__ = ["Runner", "probe"]

PROBE_TIMEOUT_S: Final = 60.0
"""A probe takes half a second; one that takes a minute found a machine that cannot run jobs."""

_LIMITS: Final = Limits(wall_ms=20_000, fuel=50_000_000, memory_mib=2, disk_mib=1, stdout_bytes=4096, max_files=4)
_LITTLE_FUEL: Final = 1_000_000
"""Of the job that burns all it gets: a probe every few seconds is not to cost what a job does."""
_LITTLE_WALL_MS: Final = 20
"""Of the job that goes on for ever."""
_RULE: Final = OutputRule("/out", "out", 1 << 20, 4)

_WRITE: Final = """
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\40\\00\\00\\00")
  (data (i32.const 16) "0123456789012345678901234567890123456789012345678901234567890123")"""

_JOBS: Final[tuple[tuple[str, OutcomeState, str], ...]] = (
    (
        "runs",
        OutcomeState.EXITED,
        f"""(module {_WRITE} (func (export "_start") (drop (call $write
          (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))""",
    ),
    ("fuel", OutcomeState.FUEL, '(module (func (export "_start") (loop $again (br $again))))'),
    ("wall", OutcomeState.TIMEOUT, '(module (func (export "_start") (loop $again (br $again))))'),
    (
        "memory",
        OutcomeState.OOM,
        """(module (memory (export "memory") 1) (func (export "_start")
          (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))""",
    ),
    (
        "stdout",
        OutcomeState.OUTPUT_LIMIT,
        f"""(module {_WRITE} (func (export "_start") (loop $again (drop (call $write
          (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $again))))""",
    ),
    (
        "disk",
        OutcomeState.DISK_LIMIT,
        """(module
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))
          (memory (export "memory") 1) (data (i32.const 0) "big")
          (func (export "_start")
            (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1)
              (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 8)) (then unreachable))
            (drop (call $resize (i32.load (i32.const 8)) (i64.const 1048577)))))""",
    ),
)


class Runner(Protocol):
    """The part of the executor that a probe needs."""

    async def run(self, prepared: Prepared, work_dir: Path, limits: Limits) -> Outcome:
        """See ``Executor.run``."""


async def probe(runner: Runner, artifacts: ArtifactCache, launch: Launcher, scratch: Path) -> Capability:
    """Run every self-test. Answers, never raises: ``available`` is False as soon as one does not hold."""
    missing = check_installed()
    if missing:
        return _capability(missing, IsolationLevel.L0, ())
    tests: list[SelfTest] = []
    level, why = IsolationLevel.L1, ""
    with trio.move_on_after(PROBE_TIMEOUT_S) as patience:
        try:
            for name, expected, text in _JOBS:
                tests.append(await _one_job(runner, artifacts, scratch, name, expected, text))
            sandbox, level, why = await _sandbox(launch)
            tests.append(sandbox)
        except (ExecError, OSError) as error:
            return _capability(f"no job could be run: {error}", IsolationLevel.L0, tuple(tests))
    if patience.cancelled_caught:
        return _capability(f"the self-test took longer than {PROBE_TIMEOUT_S:.0f} s", IsolationLevel.L0, tuple(tests))
    broken = [f"{test.name}: {test.seen}" for test in tests if not test.ok]
    if broken:
        return _capability("not enforced here: " + "; ".join(broken), IsolationLevel.L0, tuple(tests))
    return Capability(
        kind="wasm",
        available=True,
        isolation_level=level,
        determinism=DETERMINISM,
        reason=why,
        self_test=tuple(tests),
    )


def _capability(reason: str, level: IsolationLevel, tests: tuple[SelfTest, ...]) -> Capability:
    return Capability(
        kind="wasm",
        available=False,
        isolation_level=level,
        determinism=DETERMINISM,
        reason=reason,
        self_test=tests,
    )


async def _one_job(
    runner: Runner, artifacts: ArtifactCache, scratch: Path, name: str, expected: OutcomeState, text: str
) -> SelfTest:
    artifact = await artifacts.get(text.encode(), text=True)
    job = JobRequest(module_path=artifact, outputs=(_RULE,))
    limits = _LIMITS
    if name == "wall":
        limits = msgspec.structs.replace(limits, wall_ms=_LITTLE_WALL_MS, fuel=(1 << 63) - 1)
    elif name == "fuel":
        limits = msgspec.structs.replace(limits, fuel=_LITTLE_FUEL)
    work_dir = Path(tempfile.mkdtemp(dir=scratch))
    try:
        prepared = Prepared(job=job, module_sha256=bytes(32), artifact=artifact)
        outcome = await runner.run(prepared, work_dir, limits)
        kept = outcome.stdout_path.stat().st_size
    finally:
        shutil.rmtree(work_dir)
    ok = outcome.state is expected and kept <= limits.stdout_bytes and (name != "runs" or kept == 64)
    return SelfTest(name, ok, f"{outcome.state.word} {outcome.detail}".strip())


async def _sandbox(launch: Launcher) -> tuple[SelfTest, IsolationLevel, str]:
    """(test, level, what is weaker than it could be)."""
    child = await launch(CheckSpec(wall_ms=10_000), [])
    reports: list[SandboxReport] = []
    errors: list[str] = []

    def take(kind: int, payload: bytes) -> None:
        if kind == FrameType.RESULT:
            reports.append(SandboxReport.read(payload))
        else:
            errors.append(payload.decode(errors="replace"))

    try:
        await child.frames(take)
    except ChildLied as lie:
        errors.append(str(lie))
    finally:
        await child.close()
    if not reports:
        return SelfTest("sandbox", False, errors[0] if errors else "no report"), IsolationLevel.L0, ""
    report = reports[0]
    missing = [
        text
        for present, text in (
            (report.landlock_abi > 0, "the kernel offers no Landlock (Linux 5.19 or newer, `lsm=landlock`)"),
            (report.seccomp, "no seccomp filter for this kernel or CPU"),
            (report.uid != 0, "jobs run as root because this root cannot change its uid: run the node as a user"),
        )
        if not present
    ]
    level = IsolationLevel.L1 if missing else IsolationLevel.L2
    seen = f"landlock {report.landlock_abi}, seccomp {report.seccomp}, uid {report.uid}"
    if report.leaks:
        seen += "; possible inside: " + ", ".join(report.leaks)
    return SelfTest("sandbox", not report.leaks, seen), level, "; ".join(missing)

"""How does the default executor run a job?  In a locked-in child of a zygote, under wasmtime, in a world of its own."""

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import trio

from mesh.exec.executor import (
    Capability,
    ExecutorUnavailable,
    JobRequest,
    Leftover,
    Limits,
    LogSink,
    Outcome,
    OutcomeState,
    Prepared,
    Stream,
    ignore_log,
)
from mesh.exec.wasm.artifacts import ArtifactCache, CompileLimits
from mesh.exec.wasm.client import Child, Zygote
from mesh.exec.wasm.probe import probe
from mesh.exec.wasm.request import check_limits, check_request, read_module, read_module_at_once
from mesh.exec.wasm.verdicts import ChildLied, Ended, JobResult
from mesh.exec.wasm.wire import EndReason, FrameType, RunSpec, Start
from mesh.exec.wasm.work_dir import LogFiles, close_all, open_inputs, open_outputs, prepare_work_dir

__all__ = ["MAX_RUNNING", "WasmExecutor", "believable", "open_wasm_executor"]

MAX_RUNNING: Final = 128
"""Jobs at once: each holds two descriptors here and two in the zygote, and a machine has fewer cores than this."""


_MAX_DETAIL: Final = 500
"""Characters of a child's text that are kept."""

_REPORTED_STATES: Final = frozenset(OutcomeState) - {OutcomeState.TIMEOUT, OutcomeState.CANCELLED}
"""Only the zygote's word makes a run a timeout, and only the owner's a cancelled one."""


class _Verdict(msgspec.Struct):
    """What the child said while it ran."""

    result: JobResult | None = None
    error: str = ""


class WasmExecutor:
    """``Executor`` of kind ``wasm``. Made by ``open_wasm_executor``, which ends its processes."""

    kind = "wasm"

    def __init__(self, state_dir: Path, compile_limits: CompileLimits | None = None) -> None:
        self._state_dir = state_dir
        self._zygote: Zygote | None = None
        self._starting = trio.Lock()
        self._running = 0
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._artifacts = ArtifactCache(state_dir / "compiled", self.launch, limits=compile_limits)

    async def probe(self) -> Capability:
        """See ``Executor.probe``: one job per limit, and a child that tries to leave the sandbox."""
        return await probe(self, self._artifacts, self.launch, self._state_dir)

    async def prepare(self, job: JobRequest) -> Prepared:
        """See ``Executor.prepare``. Compiling is cached; a known module takes a read and a hash."""
        check_request(job)
        module = read_module_at_once(job.module_path)
        if module is None:
            module = await trio.to_thread.run_sync(read_module, job.module_path)
        artifact = await self._artifacts.get(module)
        return Prepared(job=job, module_sha256=sha256(module).digest(), artifact=artifact)

    async def run(
        self,
        prepared: Prepared,
        work_dir: Path,
        limits: Limits,
        events: LogSink = ignore_log,
        cancel: trio.Event | None = None,
    ) -> Outcome:
        """See ``Executor.run``."""
        check_limits(limits)
        if self._running >= MAX_RUNNING:
            raise ExecutorUnavailable(f"{MAX_RUNNING} jobs are running: wait for one to end")
        prepare_work_dir(work_dir, prepared.job)
        self._running += 1
        verdict = _Verdict()
        try:
            child = await self._start_job(prepared, work_dir, limits)
            try:
                with LogFiles(work_dir, limits.stdout_bytes, events) as logs:  # made while the child gets going
                    await _follow(child, verdict, logs, limits, cancel)
                    ended = await child.ended()
            finally:
                await child.close()
        finally:
            self._running -= 1
        if verdict.result is not None and verdict.result.artifact_refused:
            self._artifacts.forget(prepared.artifact)
        return _outcome(verdict, ended, child.killed, logs, work_dir)

    async def reap(self) -> tuple[Leftover, ...]:
        """See ``Executor.reap``: a zygote that outlived its node, and half-written artifacts."""
        found = [Leftover("file", name, "removed") for name in self._artifacts.sweep()]
        record = self._state_dir / "zygote.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            written = json.loads(record.read_text())
            pid, started = int(written["pid"]), int(written["start_ticks"])
            if (self._zygote is None or self._zygote.pid != pid) and _start_ticks(pid) == started:
                os.kill(pid, signal.SIGKILL)
                found.append(Leftover("process", f"zygote {pid}", "killed"))
        return tuple(found)

    async def close(self) -> None:
        """End the zygote and with it every job."""
        if self._zygote is not None:
            await self._zygote.close()
            self._zygote = None
        (self._state_dir / "zygote.json").unlink(missing_ok=True)

    async def start(self) -> None:
        """Have the zygote running before the first job asks for it.

        Raises:
            ExecutorUnavailable: see ``Zygote.start``.
        """
        async with self._starting:
            if self._zygote is not None:
                if self._zygote.alive():
                    return
                await self._zygote.close()
                self._zygote = None
            self._zygote = await Zygote.start()
            record = {"pid": self._zygote.pid, "start_ticks": _start_ticks(self._zygote.pid)}
            (self._state_dir / "zygote.json").write_text(json.dumps(record))

    async def launch(self, spec: Start, fds: list[int]) -> Child:
        """A child of the zygote, which is started anew if it died. For the cache, the probe and measurements.

        Raises:
            ExecutorUnavailable: see ``Zygote.start`` and ``Zygote.launch``.
        """
        if self._zygote is None or not self._zygote.alive():
            await self.start()
        assert self._zygote is not None
        return await self._zygote.launch(spec, fds)

    async def _start_job(self, prepared: Prepared, work_dir: Path, limits: Limits) -> Child:
        job = prepared.job
        input_fds, folders = open_inputs(job)
        fds = list(input_fds)
        try:
            fds += open_outputs(work_dir, job)
            artifact_fd = await self._open_artifact(prepared)
            fds.insert(0, artifact_fd)
            spec = RunSpec(
                wall_ms=limits.wall_ms,
                argv=job.argv,
                env=job.env,
                seed=job.seed,
                epoch_s=job.epoch,
                inputs=tuple((path, folder) for (path, _), folder in zip(job.inputs, folders, strict=True)),
                outputs=tuple((rule.path, rule.max_bytes, rule.max_files) for rule in job.outputs),
                fuel=limits.fuel,
                memory_bytes=limits.memory_mib << 20,
                disk_bytes=limits.disk_mib << 20,
                max_files=limits.max_files,
                stdout_bytes=limits.stdout_bytes,
            )
            return await self.launch(spec, fds)
        finally:
            close_all(fds)

    async def _open_artifact(self, prepared: Prepared) -> int:
        """The compiled module; compiled again when the cache dropped it meanwhile."""
        try:
            return os.open(prepared.artifact, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            again = await self.prepare(prepared.job)
            if again.module_sha256 != prepared.module_sha256:
                raise ExecutorUnavailable("the module file changed after it was prepared") from None
            return os.open(again.artifact, os.O_RDONLY | os.O_CLOEXEC)


async def _follow(child: Child, verdict: _Verdict, logs: LogFiles, limits: Limits, cancel: trio.Event | None) -> None:
    """Until the child's pipe closes. A child that lies is killed and keeps no verdict."""

    def take(kind: int, payload: bytes) -> None:
        match kind:
            case FrameType.STDOUT | FrameType.STDERR:
                logs.append(Stream(kind), payload)
            case FrameType.RESULT:
                verdict.result = believable(JobResult.read(payload), limits)
            case _:
                verdict.error = payload.decode(errors="replace")[:_MAX_DETAIL]

    if cancel is None:
        await _listen(child, take, verdict)
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_kill_when, cancel, child)
        await _listen(child, take, verdict)
        nursery.cancel_scope.cancel()


async def _listen(child: Child, take: Callable[[int, bytes], None], verdict: _Verdict) -> None:
    try:
        await child.frames(take)
    except ChildLied as lie:
        child.kill()
        verdict.result = None
        verdict.error = f"the job's process broke its own protocol: {lie}"


def believable(result: JobResult, limits: Limits) -> JobResult:
    """What our own code could have said. Anything else comes from a child that is no longer ours."""
    if result.state not in _REPORTED_STATES or not -1 <= result.fuel <= limits.fuel:
        raise ChildLied("a state or an amount of fuel that cannot be")
    if not -(1 << 31) <= result.exit_code < 1 << 31 or not -1 <= result.memory_bytes <= limits.memory_mib << 20:
        raise ChildLied("an exit code or an amount of memory that cannot be")
    return msgspec.structs.replace(result, detail=result.detail[:_MAX_DETAIL])


async def _kill_when(cancel: trio.Event, child: Child) -> None:
    await cancel.wait()
    child.kill()


def _outcome(verdict: _Verdict, ended: Ended | None, killed: bool, logs: LogFiles, work_dir: Path) -> Outcome:
    result = verdict.result
    if result is None or verdict.error:
        state, detail = _unfinished(verdict.error, ended, killed)
    else:
        state, detail = OutcomeState(result.state), result.detail
    return Outcome(
        state=state,
        exit_code=result.exit_code if result is not None and not verdict.error else -1,
        fuel=result.fuel if result is not None else -1,
        wall_ms=ended.wall_ms if ended else 0,
        cpu_ms=ended.cpu_ms if ended else 0,
        peak_bytes=result.memory_bytes if result is not None else -1,
        stdout_path=logs.paths[Stream.STDOUT],
        stderr_path=logs.paths[Stream.STDERR],
        stdout_truncated=result is not None and result.stdout_truncated,
        stderr_truncated=result is not None and result.stderr_truncated,
        outputs_dir=work_dir / "outputs",
        log_head=logs.head(),
        detail=detail,
    )


def _unfinished(error: str, ended: Ended | None, killed: bool) -> tuple[OutcomeState, str]:
    """Why there is no result. Only the wall clock and the owner's wish are the job's; anything else is ours."""
    if error:
        return OutcomeState.INFRA_ERROR, error
    if ended is None:
        return OutcomeState.INFRA_ERROR, "the process that starts jobs ended while this one ran"
    match ended.reason:
        case EndReason.WALL:
            return OutcomeState.TIMEOUT, f"stopped after {ended.wall_ms} ms"
        case EndReason.KILLED if killed:
            return OutcomeState.CANCELLED, "cancelled"
        case EndReason.NOT_STARTED:
            return OutcomeState.INFRA_ERROR, ended.detail
        case _:
            number = os.waitstatus_to_exitcode(ended.status)
            why = f"signal {-number}" if number < 0 else f"exit status {number}"
            hint = "; the machine may have run out of memory" if number == -signal.SIGKILL else ""
            return OutcomeState.INFRA_ERROR, f"the job's process ended with {why} before its report{hint}"


def _start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid this names it for good. -1 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return -1


@asynccontextmanager
async def open_wasm_executor(
    state_dir: Path, compile_limits: CompileLimits | None = None
) -> AsyncIterator[WasmExecutor]:
    """A ``WasmExecutor`` whose zygote and jobs end with the block. ``state_dir`` is its own (compiled modules, a pid).

    The zygote starts with the first use, or with ``start``. Cancelling leaves no process; compiled modules stay.
    """
    executor = WasmExecutor(state_dir, compile_limits)
    try:
        yield executor
    finally:
        await executor.close()

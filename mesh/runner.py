"""How does a job become an outcome? Materialise its inputs, execute it, and name the outcome folder by content.

The outcome folder is the same for the provider and for a client that re-executes: ``stdout``, ``stderr``, ``exitCode``
and ``outputs/NAME/...``, nothing that depends on time or machine. So equal results have equal root CIDs.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from mesh.base.observe import get_log
from mesh.exec.executor import (
    Executor,
    ExecutorUnavailable,
    JobRefused,
    JobRequest,
    Limits,
    Outcome,
    OutcomeState,
    OutputRule,
    ignore_log,
)
from mesh.exec.logs import log_head_of
from protocols.canonical import tagged_digest
from protocols.deals.states import LocalResult
from protocols.job.canonical import CanonicalJob
from protocols.units import ZERO_HASH, Cid, DealId

__all__ = ["BlobFolder", "JobRunner"]

JOB_EPOCH: Final = 1_704_067_200
"""Where every job's clock starts, Unix seconds: 2024-01-01T00:00:00Z, the same on every machine (research: exec.md 8)."""

log = get_log("runner")


class BlobFolder(Protocol):
    """The part of the blob store a runner needs."""

    async def export(self, root: Cid, destination: Path) -> None:
        """Write what a root names to a path that does not exist yet."""
        ...

    async def add(self, path: Path, owner: bytes) -> tuple[Cid, int]:
        """Import a file or folder under a pin; (root, bytes)."""
        ...


class JobRunner:
    """Runs the jobs of deals and audits, each in a folder of its own that is gone afterwards."""

    def __init__(self, executor: Executor, blobs: BlobFolder, scratch: Path) -> None:
        self._executor = executor
        self._blobs = blobs
        self._scratch = scratch

    async def run(self, deal_id: DealId, job: bytes, *, audit: bool, cancel: trio.Event) -> LocalResult:
        """Run once. Our own failures are an outcome too (``infra_error``); cancelling leaves no process and no file."""
        canonical = CanonicalJob.decode(job)
        work = self._folder(deal_id, audit)
        await _remove(work)
        try:
            return await self._run(deal_id, canonical, work, cancel)
        except (ExecutorUnavailable, OSError) as error:
            log.error("job.infra_error", deal=deal_id.hex()[:12], reason=str(error))
            return _infra_error(str(error))
        finally:
            with trio.CancelScope(shield=True):
                await _remove(work)

    async def _run(self, deal_id: DealId, job: CanonicalJob, work: Path, cancel: trio.Event) -> LocalResult:
        await trio.to_thread.run_sync(partial(work.mkdir, mode=0o755, parents=True))
        request = await self._materialise(deal_id, job, work)
        folder = work / "result"
        try:
            prepared = await self._executor.prepare(request)
            outcome = await self._executor.run(prepared, folder, _limits(job), ignore_log, cancel)
        except JobRefused as refused:
            return await self._refused(deal_id, folder, refused)
        return await self._named(deal_id, folder, outcome)

    def log_path(self, deal_id: DealId, stream: str) -> Path:
        """Where the running job of a deal writes ``stdout`` or ``stderr``; absent before it starts and after it ends."""
        return self._folder(deal_id, audit=False) / "result" / stream

    def _folder(self, deal_id: DealId, audit: bool) -> Path:
        return self._scratch / f"{deal_id.hex()}-{'audit' if audit else 'run'}"

    async def _materialise(self, deal_id: DealId, job: CanonicalJob, work: Path) -> JobRequest:
        module = work / "module.wasm"
        await self._blobs.export(job.module, module)
        inputs = []
        for number, one in enumerate(job.inputs):
            place = work / f"in{number}"
            await self._blobs.export(one.cid, place)
            inputs.append((one.path, place))
        seed = tagged_digest("seed/1", deal_id if job.seed is None else job.seed.to_bytes(8, "big"))
        return JobRequest(
            module_path=module,
            argv=job.command,
            env=job.env,
            inputs=tuple(inputs),
            outputs=tuple(OutputRule(o.path, o.name, o.max_bytes, o.max_files) for o in job.outputs),
            seed=seed,
            epoch=JOB_EPOCH,
        )

    async def _refused(self, deal_id: DealId, folder: Path, refused: JobRefused) -> LocalResult:
        """The job's own fault, found before it ran: a trap without logs, the same on every machine."""
        await _remove(folder)
        await trio.to_thread.run_sync(partial(_write_empty, folder, f"mesh: {refused.code}\n".encode()))
        root, size = await self._blobs.add(folder, deal_id)
        head = log_head_of(b"", f"mesh: {refused.code}\n".encode())
        return LocalResult(
            outcome=OutcomeState.TRAPPED,
            exit_code=-1,
            fuel=0,
            wall_ms=0,
            root=root,
            size=size,
            log_head=head,
            detail=str(refused),
        )

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        if outcome.state is OutcomeState.INFRA_ERROR:
            return _infra_error(outcome.detail)
        await trio.to_thread.run_sync((folder / "exitCode").write_text, f"{outcome.exit_code}\n")
        root, size = await self._blobs.add(folder, deal_id)
        return LocalResult(
            outcome=int(outcome.state),
            exit_code=outcome.exit_code,
            fuel=max(outcome.fuel, 0),
            wall_ms=outcome.wall_ms,
            root=root,
            size=size,
            log_head=outcome.log_head,  # type: ignore[arg-type]  # 32 bytes: mesh.exec.logs
            detail=outcome.detail,
        )


def _limits(job: CanonicalJob) -> Limits:
    return Limits(
        wall_ms=job.limits.wall_s * 1000,
        fuel=job.limits.fuel,
        memory_mib=job.resources.memory_mib[0],
        disk_mib=job.resources.disk_mib[0],
        stdout_bytes=job.limits.stdout_bytes,
        max_files=sum(one.max_files for one in job.outputs),
        pids=job.limits.pids,
    )


def _write_empty(folder: Path, stderr: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "stdout").write_bytes(b"")
    (folder / "stderr").write_bytes(stderr)
    (folder / "exitCode").write_text("-1\n")


async def _remove(folder: Path) -> None:
    await trio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))


def _infra_error(detail: str) -> LocalResult:
    return LocalResult(
        outcome=OutcomeState.INFRA_ERROR,
        exit_code=-1,
        fuel=0,
        wall_ms=0,
        root=Cid(b""),
        size=0,
        log_head=ZERO_HASH,
        detail=detail,
    )

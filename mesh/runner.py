"""How does a job become an outcome? Materialise its inputs, execute it, and name the outcome folder by content.

The outcome folder is the same for the provider and for a client that re-executes: ``stdout``, ``stderr``, ``exitCode``
and ``outputs/NAME/...``, nothing that depends on time or machine. So equal results have equal root CIDs.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from mesh.base.errors import MeshError
from mesh.base.observe import get_log
from mesh.exec.comparing import End, Uncomparable, compare_folders, mark_folder
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
from mesh.exec.tidying import remove
from mesh.ports import FetchGaveUp, Report
from mesh.sealing import NotSealed, SealedResults
from mesh.store.blobs.errors import ImportRefused
from protocols.canonical import tagged_digest
from protocols.deals.states import LocalResult, Ran
from protocols.errors import RemoteProtocolError
from protocols.job.canonical import CanonicalJob, CanonicalVerify
from protocols.units import ZERO_HASH, Cid, DealId, Hash32, RunId
from protocols.verify.comparators import Comparison

__all__ = ["BlobFolder", "JobRunner"]

JOB_EPOCH: Final = 1_704_067_200
"""Where every job's clock starts, Unix seconds: 2024-01-01T00:00:00Z, the same on every machine (research: exec.md 8)."""

_OUR_FAULT: Final = frozenset(("input_missing",))
"""Refusals that are about files which this node itself laid out."""

_SAME_WORDS: Final = frozenset(("not_wasm", "module_too_large", "unknown_import", "no_entry", "no_memory"))
"""Refusals whose words depend on the module and the pinned wasmtime alone: a result may hold them, audits find the same."""
_PLAIN_WORDS: Final = {
    "compile_limit": "compiling this module needs more time or memory than a job may take",
    "bad_outputs": "the job gave its files names or shapes that no tree can hold: symbolic links, names that clash, too many",
    "bad_request": "the job asks for what this executor cannot do",
}
"""What is said where the executor's own words name this machine's paths or limits."""

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

    def __init__(
        self, executor: Executor, blobs: BlobFolder, scratch: Path, sealed: SealedResults | None = None
    ) -> None:
        """``sealed`` seals and opens results of the same blobs; without it none can be asked for."""
        self._executor = executor
        self._sealed = sealed
        self._blobs = blobs
        self._scratch = scratch
        self._turns: dict[Path, trio.Lock] = {}
        """One per folder in use."""

    async def clear(self) -> None:
        """Remove what an earlier process left in the scratch folder. At start, before any job runs."""
        await remove(self._scratch)

    async def run(
        self,
        deal_id: DealId,
        run_id: RunId,
        job: bytes,
        report: Report,
        *,
        audit: bool,
        cancel: trio.Event,
        seal: bytes = b"",
    ) -> None:
        """Run once. Our own failures are an outcome too (``infra_error``); cancelling leaves no process and no file.

        ``seal``: a key to seal the result under as well. ``report`` is awaited before the folder is removed, which nobody
        has to wait for; what it raises ends the run likewise.
        """
        canonical = CanonicalJob.decode(job)
        result: LocalResult | None = None
        async with self._own_folder(self._folder(deal_id, "audit" if audit else "run")) as work:
            try:
                result = await self._run(deal_id, run_id, canonical, work, cancel)
                if seal and self._sealed is not None and result.root:
                    sealed = await self._sealed.seal(deal_id, result.root, seal, work / "sealed")
                    result = msgspec.structs.replace(result, sealed=sealed)
            except* (ExecutorUnavailable, MeshError, OSError, RemoteProtocolError) as group:
                reason = str(_first(group))
                log.error("job.infra_error", deal=deal_id.hex()[:12], reason=reason)
                result = _infra_error(reason)
            assert result is not None
            await report(result)

    @asynccontextmanager
    async def _own_folder(self, work: Path) -> AsyncIterator[Path]:
        """A place that does not exist yet and is gone afterwards; a run of the same deal that is being ended comes first."""
        turn = self._turns.setdefault(work, trio.Lock())
        try:
            async with turn:
                if os.path.lexists(work):  # hardly ever: one stat instead of a thread
                    await remove(work)
                try:
                    yield work
                finally:
                    with trio.CancelScope(shield=True):
                        await remove(work)
        finally:
            if not turn.locked():
                self._turns.pop(work, None)

    async def _run(
        self, deal_id: DealId, run_id: RunId, job: CanonicalJob, work: Path, cancel: trio.Event
    ) -> LocalResult:
        work.mkdir(
            mode=0o755, parents=True
        )  # here and below: 50 us that wait for no disk, a thread costs ten times that
        request = await self._materialise(run_id, job, work)
        folder = work / "result"
        try:
            prepared = await self._executor.prepare(request)
            outcome = await self._executor.run(prepared, folder, _limits(job), ignore_log, cancel)
        except JobRefused as refused:
            if refused.code in _OUR_FAULT:
                return _infra_error(str(refused))
            return await self._refused(deal_id, folder, refused.code, str(refused))
        try:
            return await self._named(deal_id, folder, outcome)
        except ImportRefused as refused:  # the job gave its files names or shapes that no tree can hold
            return await self._refused(deal_id, folder, "bad_outputs", refused.what)

    async def unseal(self, deal_id: DealId, root: Cid, size: int, key: Hash32) -> tuple[Cid, int]:
        """Open a sealed result that this node holds, and keep it; (root, content bytes). Raises ``FetchGaveUp`` when the
        bytes are not sealed under the key or hold no result."""
        opened: tuple[Cid, int] | None = None
        async with self._own_folder(self._folder(deal_id, "unseal")) as work:
            await trio.to_thread.run_sync(partial(work.mkdir, mode=0o700, parents=True))
            try:
                if self._sealed is None:
                    raise NotSealed("this node opens no sealed results")
                opened = await self._sealed.unseal(deal_id, root, size, key, work)
            except* NotSealed as group:
                raise FetchGaveUp("malformed", str(_first(group))) from None
        assert opened is not None
        return opened

    def log_path(self, deal_id: DealId, stream: str) -> Path:
        """Where the running job of a deal writes ``stdout`` or ``stderr``; absent before it starts and after it ends."""
        return self._folder(deal_id, "run") / "result" / stream

    async def compare(
        self, deal_id: DealId, job: bytes, ran: Ran, others: tuple[Ran, ...]
    ) -> tuple[tuple[bool, ...], str]:
        """Compare a result with each of the others, all of them in the blob store, at the job's level.

        Answers one bool for each and what was found about the first. One that cannot be compared, where ``ran`` can, is
        another result: else its maker would choose whether it is checked. No bools when ``ran`` itself cannot be compared.
        Raises ``MeshError``: this machine failed, and another try may do. Cancelled: no process and no file is left.
        """
        verify = CanonicalJob.decode(job).verify
        found: list[Comparison] = []
        problem = ""
        async with self._own_folder(self._folder(deal_id, "compare")) as work:
            await trio.to_thread.run_sync(partial(work.mkdir, mode=0o755, parents=True))
            mine = work / "mine"
            try:
                await self._blobs.export(ran.root, mine)
            except* RemoteProtocolError as group:
                problem = str(_first(group))
            for number, other in enumerate(() if problem else others):
                compared, why = await self._compared(verify, mine, ran, work / f"{number}", other)
                if compared is None:
                    problem = await self._incomparable(verify, mine, ran)
                    if problem:
                        break
                    # Once more: what was short of memory may have been this machine.
                    compared, why = await self._compared(verify, mine, ran, work / f"{number}-again", other)
                found.append(compared or Comparison(False, f"it cannot be compared, what was run again can: {why}"))
        return ((), problem) if problem else (tuple(one.same for one in found), found[0].detail)

    async def _compared(
        self, verify: CanonicalVerify, mine: Path, ran: Ran, place: Path, other: Ran
    ) -> tuple[Comparison | None, str]:
        """What was found, or None and why no verdict can rest on the two."""
        compared: Comparison | None = None
        why = ""
        try:
            await self._blobs.export(other.root, place)
            compared = await compare_folders(verify, mine, _end_of(ran), place, _end_of(other))
        except* (Uncomparable, RemoteProtocolError) as group:
            why = str(_first(group))
        return compared, why

    async def _incomparable(self, verify: CanonicalVerify, place: Path, ran: Ran) -> str:
        """Why a result cannot be compared even with itself; empty when it can."""
        why = ""
        try:
            await compare_folders(verify, place, _end_of(ran), place, _end_of(ran), whole=True)
        except* Uncomparable as group:
            why = str(_first(group))
        return why

    async def mark(
        self, deal_id: DealId, job: bytes, ran: Ran, keys: tuple[Hash32, ...]
    ) -> tuple[tuple[Hash32, ...], str]:
        """The fingerprints of a result in the blob store under these keys, at the job's level.

        Answers one for each key; none when the result cannot be read, and why. Raises and ends as `compare`.
        """
        verify = CanonicalJob.decode(job).verify
        marks: tuple[Hash32, ...] = ()
        problem = ""
        async with self._own_folder(self._folder(deal_id, "mark")) as work:
            await trio.to_thread.run_sync(partial(work.mkdir, mode=0o755, parents=True))
            place = work / "output"
            try:
                await self._blobs.export(ran.root, place)
                size = await trio.to_thread.run_sync(_bytes_below, place)
                marks = await mark_folder(verify, place, _end_of(ran), keys, size)
            except* (Uncomparable, RemoteProtocolError) as group:
                problem = str(_first(group))
        return marks, problem

    def _folder(self, deal_id: DealId, purpose: str) -> Path:
        return self._scratch / f"{deal_id.hex()}-{purpose}"

    async def _materialise(self, run_id: RunId, job: CanonicalJob, work: Path) -> JobRequest:
        module = work / "module.wasm"
        await self._blobs.export(job.module, module)
        inputs = []
        for number, one in enumerate(job.inputs):
            place = work / f"in{number}"
            await self._blobs.export(one.cid, place)
            inputs.append((one.path, place))
        # Not of the deal: whoever computes the result again, under a deal of the same run, must get the same.
        seed = tagged_digest("seed/1", run_id if job.seed is None else job.seed.to_bytes(8, "big"))
        return JobRequest(
            module_path=module,
            argv=job.command,
            env=job.env,
            inputs=tuple(inputs),
            outputs=tuple(OutputRule(o.path, o.name, o.max_bytes, o.max_files) for o in job.outputs),
            seed=seed,
            epoch=JOB_EPOCH,
        )

    async def _refused(self, deal_id: DealId, folder: Path, code: str, detail: str) -> LocalResult:
        """The job's own fault, found before or after it ran: a trap whose only log says why, alike on every machine."""
        reason = detail if code in _SAME_WORDS else _PLAIN_WORDS.get(code, "")
        said = (f"mesh: {code}: {reason}" if reason else f"mesh: {code}").encode() + b"\n"
        await remove(folder)
        await trio.to_thread.run_sync(partial(_write_empty, folder, said))
        root, size = await self._blobs.add(folder, deal_id)
        head = log_head_of(b"", said)
        return LocalResult(
            outcome=OutcomeState.TRAPPED,
            exit_code=-1,
            fuel=0,
            wall_ms=0,
            root=root,
            size=size,
            log_head=head,
            detail=detail,
        )

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        if outcome.state is OutcomeState.INFRA_ERROR:
            return _infra_error(outcome.detail)
        (folder / "exitCode").write_text(f"{outcome.exit_code}\n")
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


def _end_of(ran: Ran) -> End:
    return End(ran.outcome, ran.exit_code, ran.fuel, ran.root)


def _bytes_below(folder: Path) -> int:
    return sum(one.lstat().st_size for one in folder.rglob("*"))


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


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """The first leaf: what to tell people."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


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

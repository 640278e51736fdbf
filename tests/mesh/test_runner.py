"""Does a run leave the same folder for provider and auditor, and nothing on this machine?"""

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import trio

from devnet.sim.memory_link import MemoryHub
from mesh.artifacts import Blobs
from mesh.exec.executor import ExecutorUnavailable, JobRequest, Limits, Outcome, OutcomeState, Prepared
from mesh.exec.wasm.executor import WasmExecutor, open_wasm_executor
from mesh.runner import JobRunner
from mesh.store.blobs import BlobStore, open_blobs
from mesh.transfer import BlobFetcher, BlobServer
from protocols.deals.states import LocalResult, Ran
from protocols.job.canonical import (
    CanonicalGpus,
    CanonicalInput,
    CanonicalJob,
    CanonicalLimits,
    CanonicalOutput,
    CanonicalResources,
    CanonicalVerify,
)
from protocols.units import Address, Cid, DealId, Hash32, RunId

if TYPE_CHECKING:
    from devnet.sim.signer import KeyRing

MICROPYTHON: Final = Path(__file__).parents[2] / "devnet/jobs/words/micropython.wasm"
QUOTA: Final = 64 << 20
_NUMBERS: Final = itertools.count(1)
RUN: Final = RunId(b"\xbb" * 32)


class Rig:
    """A runner over real parts, and jobs for it."""

    def __init__(self, executor: Any, store: BlobStore, blobs: Blobs, scratch: Path) -> None:
        self.executor, self.store, self.blobs, self.scratch = executor, store, blobs, scratch
        self.runner = JobRunner(executor, blobs, scratch)

    async def job(self, module: bytes, *command: str, inputs: tuple[tuple[str, Path], ...] = ()) -> bytes:
        root = await self.store.add_bytes(module, key=b"module")
        given = []
        for path, source in inputs:
            cid, size = await self.blobs.add(source, b"input")
            given.append(CanonicalInput(path, cid, size))
        return CanonicalJob(
            version=1,
            name="test",
            executor="wasm",
            module=root.cid,
            module_size=len(module),
            command=command,
            env=(),
            inputs=tuple(given),
            outputs=(CanonicalOutput("/out", "out", 8 << 20, 100, False),),
            resources=CanonicalResources((1000, 0), (64, 0), (64, 0), 0, CanonicalGpus(0, (0, 0), (0, 0), (), False)),
            limits=CanonicalLimits(60, 10**11, 1, 65_536),
            runtime="any",
            network=(),
            verify=CanonicalVerify("exact"),
            seed=5,
            constraints=(),
        ).encode()

    async def python(self, script: str, **options: Any) -> bytes:
        return await self.job(MICROPYTHON.read_bytes(), "-c", script, **options)

    async def run(self, job: bytes, *, audit: bool = False, cancel: trio.Event | None = None) -> LocalResult:
        deal_id = DealId(next(_NUMBERS).to_bytes(32, "big"))
        return await self.run_as(deal_id, job, audit=audit, cancel=cancel)

    async def run_as(
        self, deal_id: DealId, job: bytes, *, audit: bool = False, cancel: trio.Event | None = None
    ) -> LocalResult:
        told: list[LocalResult] = []

        async def report(result: LocalResult) -> None:
            told.append(result)

        stop = cancel if cancel is not None else trio.Event()
        await self.runner.run(deal_id, RUN, job, report, audit=audit, cancel=stop)
        (result,) = told
        return result

    def left(self) -> list[str]:
        return sorted(os.listdir(self.scratch)) if self.scratch.exists() else []

    async def tree(self, root: Cid, to: Path) -> dict[str, bytes]:
        await self.blobs.export(root, to)
        return {str(one.relative_to(to)): one.read_bytes() for one in sorted(to.rglob("*")) if one.is_file()}


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One compile cache for all tests."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
async def rig(modules: Path, tmp_path: Path, hub: MemoryHub, ring: "KeyRing") -> AsyncIterator[Rig]:
    async with (
        open_blobs(tmp_path / "blobs", quota_bytes=QUOTA, sync=False) as store,
        open_wasm_executor(modules) as wasm,
    ):
        link = hub.link(ring.signer().peer_id)
        yield Rig(wasm, store, Blobs(store, BlobFetcher(store, link), BlobServer(store, link)), tmp_path / "runs")


async def test_provider_and_auditor_name_the_same_folder(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir(mode=0o700)
    (tmp_path / "in" / "wörds.txt").write_text("größe")
    (tmp_path / "one").write_text("1")
    script = """
import os, sys
os.mkdir('/out/deep'); os.mkdir('/out/deep/ünter')
open('/out/deep/ünter/näme.txt', 'w').write(open('/in/wörds.txt').read())
open('/out/x', 'w').write(open('/one').read())
print('hello'); sys.exit(3)
"""
    job = await rig.python(script, inputs=(("/in", tmp_path / "in"), ("/one", tmp_path / "one")))
    first, audit = await rig.run(job), await rig.run(job, audit=True)
    assert (first.outcome, first.exit_code, first.detail) == (OutcomeState.FAILED, 3, first.detail)
    assert (first.root, first.fuel, first.log_head) == (audit.root, audit.fuel, audit.log_head)
    assert await rig.tree(first.root, tmp_path / "result") == {
        "exitCode": b"3\n",
        "outputs/out/deep/ünter/näme.txt": "größe".encode(),
        "outputs/out/x": b"1",
        "stderr": b"",
        "stdout": b"hello\n",
    }
    assert rig.left() == []


class Looking(WasmExecutor):
    """Looks at what was laid out before it runs it."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.modes: dict[str, int] = {}

    async def prepare(self, job: JobRequest) -> Prepared:
        for path, place in job.inputs:
            for one in (place, *place.rglob("*")):
                self.modes[path + str(one).removeprefix(str(place))] = one.stat().st_mode & 0o777
        return await super().prepare(job)


async def test_inputs_are_readable_and_no_more(rig: Rig, tmp_path: Path, modules: Path) -> None:
    (tmp_path / "in" / "dir").mkdir(parents=True)
    (tmp_path / "in" / "dir" / "f").write_text("x")
    (tmp_path / "in" / "dir" / "f").chmod(0o777)
    looking = Looking(modules)
    job = await rig.python("1", inputs=(("/f", tmp_path / "in" / "dir" / "f"), ("/in", tmp_path / "in")))
    try:
        result = await Rig(looking, rig.store, rig.blobs, rig.scratch).run(job)
    finally:
        await looking.close()
    assert result.outcome == OutcomeState.EXITED
    assert looking.modes == {"/in": 0o755, "/in/dir": 0o755, "/in/dir/f": 0o644, "/f": 0o644}


NOT_WASM = b"mesh: not_wasm: this module cannot run here: the file is no WebAssembly\n"


async def test_a_module_that_is_none_is_a_trap_with_one_name(rig: Rig, tmp_path: Path) -> None:
    job = await rig.job(b"no module at all")
    first, audit = await rig.run(job), await rig.run(job, audit=True)
    assert first.outcome == audit.outcome == OutcomeState.TRAPPED
    assert (first.root, first.log_head, first.exit_code, first.fuel) == (audit.root, audit.log_head, -1, 0)
    found = await rig.tree(first.root, tmp_path / "result")
    assert found == {"exitCode": b"-1\n", "stderr": NOT_WASM, "stdout": b""}


@pytest.mark.parametrize("names", [("A", "a"), ("e\u0301",)])
async def test_outputs_that_no_tree_can_hold_are_the_jobs_fault(
    rig: Rig, names: tuple[str, ...], tmp_path: Path
) -> None:
    job = await rig.python(f"for name in {names!r}: open('/out/' + name, 'w').write('x')")
    first, audit = await rig.run(job), await rig.run(job, audit=True)
    assert first.outcome == audit.outcome == OutcomeState.TRAPPED
    assert first.root == audit.root
    assert (await rig.tree(first.root, tmp_path / "result"))["stderr"].startswith(b"mesh: bad_outputs: ")
    assert rig.left() == []


async def test_a_blob_that_is_gone_and_a_full_store_are_our_fault(rig: Rig, tmp_path: Path) -> None:
    job = await rig.python("open('/out/x', 'w').write('x' * 1000000)")
    module = CanonicalJob.decode(job).module
    await rig.store.unpin(b"module")
    await rig.store.collect(0)
    gone = await rig.run(job)
    assert gone.outcome == OutcomeState.INFRA_ERROR
    assert gone.detail
    assert not await rig.store.has(module)
    async with open_blobs(tmp_path / "small", quota_bytes=1 << 20, sync=False) as small:
        link_free = Blobs(small, rig.blobs._fetcher, rig.blobs._server)
        filled = Rig(rig.executor, small, link_free, rig.scratch)
        job = await filled.python("f = open('/out/x', 'w')\nfor i in range(300): f.write(str(i) * 4000)")
        full = await filled.run(job)
    assert (full.outcome, full.root) == (OutcomeState.INFRA_ERROR, b"")
    assert "quota" in full.detail or "room" in full.detail
    assert rig.left() == []


class Broken:
    """An executor whose nursery reports a full disk, or whose worker is gone, or that loses its inputs."""

    kind = "wasm"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def prepare(self, job: JobRequest) -> Prepared:
        return Prepared(job=job, module_sha256=b"", artifact=Path("none"))

    async def run(self, prepared: Prepared, work_dir: Path, limits: Limits, *_: Any) -> Outcome:
        work_dir.mkdir()
        raise self.error


@pytest.mark.parametrize(
    "error", [ExecutorUnavailable("the worker died"), ExceptionGroup("nursery", [OSError(28, "No space left")])]
)
async def test_what_the_executor_cannot_do_is_our_fault(rig: Rig, error: Exception) -> None:
    broken = Rig(Broken(error), rig.store, rig.blobs, rig.scratch)
    result = await broken.run(await rig.python("1"))
    assert result.outcome == OutcomeState.INFRA_ERROR
    assert result.detail in ("the worker died", "[Errno 28] No space left")
    assert rig.left() == []


async def test_logs_are_there_while_it_runs_and_a_cancel_leaves_nothing(rig: Rig, eventually: Any) -> None:
    job = await rig.python("print('begun')\nwhile True: pass")
    deal_id = DealId(b"\x99" * 32)
    stop, results = trio.Event(), list[LocalResult]()

    async def go() -> None:
        results.append(await rig.run_as(deal_id, job, cancel=stop))

    path = rig.runner.log_path(deal_id, "stdout")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        await eventually(lambda: path.exists() and path.read_bytes() == b"begun\n")
        stop.set()
    assert results[0].outcome == OutcomeState.CANCELLED
    assert rig.left() == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run, job)
        await eventually(lambda: rig.left() != [])
        nursery.cancel_scope.cancel()
    assert rig.left() == []


async def test_a_result_is_told_before_its_folder_is_removed(rig: Rig) -> None:
    held: list[list[str]] = []

    async def report(result: LocalResult) -> None:
        assert await rig.store.has(result.root)
        held.append(rig.left())

    job, stop = await rig.python("1"), trio.Event()
    await rig.runner.run(DealId(b"\x97" * 32), RUN, job, report, audit=False, cancel=stop)
    assert held == [[f"{'97' * 32}-run"]]
    assert rig.left() == []


async def test_a_cancel_during_preparation_is_not_lost(rig: Rig) -> None:
    stop = trio.Event()
    stop.set()
    result = await rig.run(await rig.python("while True: pass"), cancel=stop)
    assert result.outcome == OutcomeState.CANCELLED


async def test_a_run_that_comes_again_waits_for_the_one_that_ends(rig: Rig, eventually: Any) -> None:
    job = await rig.python("print('x' * 100)")
    slow = await rig.python("print('slow')\nwhile True: pass")
    deal_id = DealId(b"\x98" * 32)
    scope = trio.CancelScope()

    async def dropped() -> None:
        with scope:
            await rig.run_as(deal_id, slow)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dropped)
        await eventually(lambda: rig.runner.log_path(deal_id, "stdout").exists())
        scope.cancel()
        result = await rig.run_as(deal_id, job)
    assert result.outcome == OutcomeState.EXITED, result.detail
    assert rig.left() == []
    assert rig.runner._turns == {}


async def test_a_start_clears_what_a_crash_left(rig: Rig) -> None:
    (rig.scratch / "aa-run" / "result").mkdir(parents=True)
    await rig.runner.clear()
    assert rig.left() == []


async def test_results_are_compared_at_the_level_of_their_job(rig: Rig) -> None:
    """Two machines whose JSON has another order, and a third that has another value."""

    async def ran(written: str) -> Ran:
        result = await rig.run(await rig.python(f"open('/out/r.json', 'w').write('{written}')"))
        return Ran(Address(bytes(20)), result.outcome, result.exit_code, result.fuel, result.root)

    one, other, wrong = await ran('{"a": 1, "b": 2}'), await ran('{"b": 2, "a": 1}'), await ran('{"a": 1, "b": 3}')
    assert one.root != other.root
    job = CanonicalJob.decode(await rig.python(""))
    sorting = msgspec.structs.replace(job, verify=CanonicalVerify("canonical", canonicalisers=("sort-json",)))
    deal_id = DealId(b"\x07" * 32)
    same, detail = await rig.runner.compare(deal_id, sorting.encode(), one, (other, wrong, one))
    assert same == (True, False, True)
    assert "the same normal form" in detail
    assert (await rig.runner.compare(deal_id, job.encode(), one, (other, one)))[0] == (False, True)
    keys = (Hash32(b"\x01" * 32), Hash32(b"\x02" * 32))
    marked = [await rig.runner.mark(deal_id, sorting.encode(), ran, keys) for ran in (one, other, wrong)]
    assert marked[0] == marked[1] != marked[2]
    assert [(len(set(marks)), problem) for marks, problem in marked] == [(2, "")] * 3
    exact = [await rig.runner.mark(deal_id, job.encode(), ran, keys) for ran in (one, other)]
    assert exact[0] != exact[1]
    assert rig.left() == []


async def test_an_output_that_cannot_be_compared_is_another_one_where_ours_can(rig: Rig) -> None:
    """A provider does not choose whether it is checked; where the job itself gives what cannot be compared, nobody knows."""
    job = CanonicalJob.decode(await rig.python("print('right')"))
    result = await rig.run(job.encode())
    numeric = msgspec.structs.replace(job, verify=CanonicalVerify("numeric", rtol_e12=1)).encode()
    ours = Ran(Address(bytes(20)), result.outcome, result.exit_code, result.fuel, result.root)
    no_folder = await rig.store.add_bytes(b"no outcome", key=b"theirs")
    theirs = msgspec.structs.replace(ours, root=no_folder.cid)
    deal_id = DealId(b"\x08" * 32)
    same, detail = await rig.runner.compare(deal_id, numeric, ours, (theirs, ours))
    assert same == (False, True)
    assert "cannot be compared" in detail
    same, detail = await rig.runner.compare(deal_id, numeric, theirs, (ours, theirs))
    assert (same, "no folder" in detail) == ((), True)
    assert rig.left() == []

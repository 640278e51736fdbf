"""Is everything that was started dead, whatever happens: cancelled, killed, crashed, 200 hostile jobs?"""

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from mesh.exec.executor import ExecutorUnavailable, JobRequest, LogChunk, OutcomeState
from mesh.exec.wasm.executor import MAX_RUNNING, open_wasm_executor
from mesh.exec.wasm.wire import ZYGOTE_NAME

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

ENDLESS = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 5))) (loop $a (br $a))"
FOREVER: dict[str, Any] = {"fuel": (1 << 63) - 1, "wall_ms": 600_000}
HOSTILE: list[tuple[str, OutcomeState]] = [
    ("(loop $a (br $a))", OutcomeState.FUEL),
    ("(loop $a (br_if $a (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable", OutcomeState.OOM),
    ("(drop (i32.load (i32.const -4)))", OutcomeState.TRAPPED),
    ("(loop $a (drop (call $write (i32.const 1) (i32.const 0) (i32.const 60000))) (br $a))", OutcomeState.OUTPUT_LIMIT),
    ("(loop $a (drop (call $write (i32.const 2) (i32.const 0) (i32.const 60000))) (br $a))", OutcomeState.OUTPUT_LIMIT),
    ("(call $exit (i32.const 3))", OutcomeState.FAILED),
]

Descendants = Callable[[int], set[int]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_cancelling_the_scope_leaves_nothing(rig: "Rig", descendants: Descendants) -> None:
    begun = trio.Event()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await rig.run(rig.program(ENDLESS, data="begun"), events=lambda chunk: begun.set(), **FOREVER)

        nursery.start_soon(run)
        await begun.wait()
        assert len(descendants(os.getpid())) == 2
        nursery.cancel_scope.cancel()
    assert len(descendants(os.getpid())) == 1  # the zygote


async def test_cancelling_while_it_compiles_leaves_nothing(rig: "Rig", descendants: Descendants, until: Until) -> None:
    chain = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 3)) (i32.const 5)))" * 300
    module = rig.module("(module " + f"(func (param i32) {chain})" * 500 + '(func (export "_start")))')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.executor.prepare, JobRequest(module_path=module))
        await until(lambda: len(descendants(os.getpid())) == 2)
        nursery.cancel_scope.cancel()
    assert len(descendants(os.getpid())) == 1
    await rig.executor.prepare(JobRequest(module_path=module))


async def test_a_killed_zygote_takes_its_jobs_and_is_replaced(
    rig: "Rig", descendants: Descendants, until: Until
) -> None:
    begun = trio.Event()
    states: list[OutcomeState] = []

    async def run() -> None:
        outcome = await rig.run(rig.program(ENDLESS, data="begun"), events=lambda chunk: begun.set(), **FOREVER)
        states.append(outcome.state)
        assert outcome.stdout_path.read_bytes() == b"begun"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await begun.wait()
        before = descendants(os.getpid())
        (zygote,) = (pid for pid in before if descendants(pid))
        os.kill(zygote, signal.SIGKILL)
    assert states == [OutcomeState.INFRA_ERROR]
    await until(lambda: not before & descendants(1))
    assert (await rig.run(rig.program("(call $exit (i32.const 5))"))).exit_code == 5


async def test_a_child_waits_for_the_next_job_and_a_dead_one_is_no_loss(rig: "Rig", until: Until) -> None:
    module = rig.program("(call $exit (i32.const 5))")
    for _ in range(3):
        await until(lambda: len(ready()) == 1)
        (waiting,) = ready()
        os.kill(waiting, signal.SIGKILL)
        await until(lambda: not ready())
        assert (await rig.run(module)).exit_code == 5


async def test_jobs_that_start_at_once_each_have_a_process_of_their_own(rig: "Rig") -> None:
    module = rig.program("(call $exit (i32.const 5))")
    codes: list[int] = []

    async def run() -> None:
        codes.append((await rig.run(module)).exit_code)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(run)
    assert codes == [5] * 12


def ready() -> list[int]:
    """The living children that zygotes of this process hold ready: not named like a job yet."""
    found = []
    for pid in [child for zygote in _children(os.getpid()) for child in _children(zygote)]:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        if name == ZYGOTE_NAME and rest.split()[0] != "Z":
            found.append(pid)
    return found


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


LATE_CHILD = """
import os, socket, sys
from mesh.exec.wasm.engine import build_engine
from mesh.exec.wasm.wasi.preview1 import Preview1
from mesh.exec.wasm.wire import CheckSpec, pack_start
from mesh.exec.wasm.zygote import Zygote
engine = build_engine()
zygote = Zygote(socket.socketpair()[0], engine, Preview1(engine))
me = os.getpid()
if os.fork() == 0:
    while os.getppid() == me:
        os.sched_yield()
    zygote.become_child(pack_start(CheckSpec(wall_ms=60_000)), [0, int(sys.argv[1])])
"""


async def test_a_child_that_outlived_its_zygote_starts_nothing() -> None:
    """A child knows its parent from before the fork: one that asked after it would take an adoptive one for it."""
    read, write = os.pipe()
    process = await trio.run_process([sys.executable, "-c", LATE_CHILD, str(write)], pass_fds=[write], check=True)
    assert process.returncode == 0
    os.close(write)
    with trio.fail_after(60):
        await trio.lowlevel.wait_readable(read)
    assert os.read(read, 1) == b""
    os.close(read)


async def test_a_job_killed_from_outside_is_our_error(rig: "Rig", descendants: Descendants) -> None:
    def kill_it(chunk: LogChunk) -> None:
        (job,) = (pid for pid in descendants(os.getpid()) if not descendants(pid))
        os.kill(job, signal.SIGKILL)

    outcome = await rig.run(rig.program(ENDLESS, data="begun"), events=kill_it, **FOREVER)
    assert outcome.state is OutcomeState.INFRA_ERROR
    assert "signal 9" in outcome.detail


async def test_a_job_that_ends_as_it_is_cancelled_keeps_its_result(rig: "Rig") -> None:
    stop = trio.Event()
    stop.set()
    states = {(await rig.run(rig.program(""), cancel=stop)).state for _ in range(5)}
    assert states <= {OutcomeState.EXITED, OutcomeState.CANCELLED}


NODE = """
import sys, trio
sys.path[:] = {path!r}
from pathlib import Path
from mesh.exec.executor import JobRequest, Limits
from mesh.exec.wasm.executor import open_wasm_executor

async def main():
    async with open_wasm_executor(Path({state!r})) as executor:
        prepared = await executor.prepare(JobRequest(module_path=Path({module!r})))
        limits = Limits(wall_ms=600000, fuel=1 << 62, memory_mib=16, disk_mib=1, stdout_bytes=100, max_files=1)
        await executor.run(prepared, Path({work!r}), limits, lambda chunk: print("begun", flush=True))

trio.run(main)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_dead_node_leaves_nothing(
    rig: "Rig", tmp_path: Path, descendants: Descendants, is_alive: Callable[[int], bool], until: Until, how: int
) -> None:
    code = NODE.format(
        path=[entry for entry in sys.path if entry],
        state=str(tmp_path / "state"),
        module=str(rig.module(rig.program(ENDLESS, data="begun"))),
        work=str(tmp_path / "work"),
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        assert await trio.to_thread.run_sync(node.stdout.readline) == b"begun\n"
        started = descendants(node.pid)
        assert len(started) == 2
        node.send_signal(how)
        await trio.to_thread.run_sync(node.wait)
        await until(lambda: not any(is_alive(pid) for pid in started))


async def test_reap_ends_what_a_crash_left(tmp_path: Path, is_alive: Callable[[int], bool], until: Until) -> None:
    state = tmp_path / "state"
    async with open_wasm_executor(state) as first:
        await first.start()
        (state / "compiled" / "half.part").write_bytes(b"")
        async with open_wasm_executor(state) as second:
            found = await second.reap()
        assert {item.kind for item in found} == {"process", "file"}
        pid = int(next(item.name for item in found if item.kind == "process").split()[1])
        await until(lambda: not is_alive(pid))
        assert await first.reap() == ()


async def test_reap_spares_a_stranger_with_the_same_pid(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with open_wasm_executor(state) as executor:
        (state / "zygote.json").write_text(f'{{"pid": {os.getpid()}, "start_ticks": 1}}')
        assert await executor.reap() == ()
        (state / "zygote.json").write_text("no json")
        assert await executor.reap() == ()


async def test_two_hundred_hostile_jobs(rig: "Rig", descendants: Descendants) -> None:
    modules = [(rig.module(rig.program(body)), state) for body, state in HOSTILE]
    found: list[tuple[OutcomeState, OutcomeState]] = []
    limiter = trio.CapacityLimiter(8)

    async def one(number: int) -> None:
        module, expected = modules[number % len(modules)]
        async with limiter:
            outcome = await rig.run(module, fuel=1_000_000, memory_mib=4)
        found.append((outcome.state, expected))

    before = set(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(one, number)
    assert len(found) == 200
    assert [pair for pair in found if pair[0] is not pair[1]] == []
    assert len(descendants(os.getpid())) == 1
    assert set(os.listdir("/proc/self/fd")) <= before


async def test_the_number_of_running_jobs_is_bounded(rig: "Rig") -> None:
    module = rig.module(rig.program(ENDLESS, data="begun"))
    refusals: list[ExecutorUnavailable] = []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            try:
                await rig.run(module, **FOREVER)
            except ExecutorUnavailable as refusal:
                refusals.append(refusal)
                nursery.cancel_scope.cancel()

        for _ in range(MAX_RUNNING + 1):
            nursery.start_soon(run)
    assert [str(refusal) for refusal in refusals] == [f"{MAX_RUNNING} jobs are running: wait for one to end"]


async def test_jobs_run_side_by_side(rig: "Rig") -> None:
    """Neither is stopped before both have spoken: they cannot have run one after the other."""
    module = rig.module(rig.program(ENDLESS, data="begun"))
    begun, stop = trio.Semaphore(0), trio.Event()
    states: list[OutcomeState] = []

    async def run() -> None:
        outcome = await rig.run(module, events=lambda chunk: begun.release(), cancel=stop, **FOREVER)
        states.append(outcome.state)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(run)
        for _ in range(2):
            await begun.acquire()
        stop.set()
    assert states == [OutcomeState.CANCELLED] * 2

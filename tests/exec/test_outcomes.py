"""Does every way a job can end give its own state, with what it said before kept?"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from mesh.exec.executor import JobRefused, JobRequest, LogChunk, OutcomeState, OutputRule, Stream
from mesh.exec.logs import log_head_of
from mesh.exec.wasm.artifacts import CompileLimits
from mesh.exec.wasm.executor import open_wasm_executor
from mesh.exec.wasm.request import MAX_ARGUMENT_BYTES, MAX_OUTPUTS

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

HELLO = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 6)))"
START = '(module (func (export "_start")))'


async def test_exited(rig: "Rig") -> None:
    outcome = await rig.run(rig.program(HELLO, data="hello\\0a"))
    assert (outcome.state, outcome.exit_code, outcome.detail) == (OutcomeState.EXITED, 0, "")
    assert outcome.stdout_path.read_bytes() == b"hello\n"
    assert outcome.stderr_path.read_bytes() == b""
    assert outcome.fuel > 0
    assert outcome.peak_bytes == 65_536


async def test_proc_exit_zero_is_exited(rig: "Rig") -> None:
    outcome = await rig.run(rig.program("(call $exit (i32.const 0)) unreachable"))
    assert (outcome.state, outcome.exit_code) == (OutcomeState.EXITED, 0)


@pytest.mark.parametrize("code", [1, 7, 255, 70_000])
async def test_failed_keeps_the_exit_code(rig: "Rig", code: int) -> None:
    outcome = await rig.run(rig.program(f"(call $exit (i32.const {code}))"))
    assert (outcome.state, outcome.exit_code) == (OutcomeState.FAILED, code)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const 0x7fffffff)))", "memory out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (local.get $i)))", "integer division by zero"),
    ],
)
async def test_trapped_names_the_trap(rig: "Rig", body: str, says: str) -> None:
    outcome = await rig.run(rig.program(body))
    assert (outcome.state, outcome.exit_code, outcome.detail) == (OutcomeState.TRAPPED, -1, says)


async def test_endless_recursion_is_a_trap(rig: "Rig") -> None:
    outcome = await rig.run('(module (func $f (export "_start") (call $f)))')
    assert (outcome.state, outcome.detail) == (OutcomeState.TRAPPED, "stack overflow")


async def test_an_uncaught_wasm_exception_is_a_trap(rig: "Rig") -> None:
    outcome = await rig.run('(module (tag $t) (func (export "_start") (throw $t)))')
    assert outcome.state is OutcomeState.TRAPPED


async def test_fuel_is_used_up_exactly(rig: "Rig") -> None:
    outcome = await rig.run(rig.program("(loop $again (br $again))"), fuel=1_000_000)
    assert (outcome.state, outcome.exit_code) == (OutcomeState.FUEL, -1)
    assert 999_990 <= outcome.fuel <= 1_000_000


async def test_timeout_keeps_the_log(rig: "Rig") -> None:
    program = rig.program(
        "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 5))) (loop $a (br $a))", data="begun"
    )
    for wall_ms in (200, 2_000, 20_000):  # until this machine lets it say something before its time is over
        said: list[LogChunk] = []
        outcome = await rig.run(program, wall_ms=wall_ms, fuel=(1 << 63) - 1, events=said.append)
        assert (outcome.state, outcome.fuel) == (OutcomeState.TIMEOUT, -1)
        assert outcome.wall_ms >= wall_ms
        if said:
            break
    assert [chunk.data for chunk in said] == [b"begun"]
    assert outcome.stdout_path.read_bytes() == b"begun"


GROW = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))"


@pytest.mark.parametrize("after", ["unreachable", "(call $exit (i32.const 1))"])
async def test_oom_when_it_fails_with_its_memory_full(rig: "Rig", after: str) -> None:
    outcome = await rig.run(rig.program(GROW.replace("16", "1") + after), memory_mib=4)
    assert (outcome.state, outcome.exit_code, outcome.peak_bytes) == (OutcomeState.OOM, -1, 4 << 20)


async def test_full_memory_alone_is_no_failure(rig: "Rig") -> None:
    outcome = await rig.run(rig.program(GROW.replace("16", "1")), memory_mib=4)
    assert outcome.state is OutcomeState.EXITED


async def test_a_module_that_starts_too_large_is_oom(rig: "Rig") -> None:
    outcome = await rig.run('(module (memory (export "memory") 65536) (func (export "_start")))', memory_mib=4)
    assert outcome.state is OutcomeState.OOM


@pytest.mark.parametrize(("fd", "stream"), [(1, Stream.STDOUT), (2, Stream.STDERR)])
async def test_output_limit_keeps_what_fitted(rig: "Rig", fd: int, stream: Stream) -> None:
    chunks: list[LogChunk] = []
    outcome = await rig.run(
        rig.program(
            f"(loop $a (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 7))) (br $a))", data="0123456"
        ),
        stdout_bytes=1000,
        events=chunks.append,
    )
    kept = (b"0123456" * 143)[:1000]
    assert outcome.state is OutcomeState.OUTPUT_LIMIT
    assert (outcome.stdout_truncated, outcome.stderr_truncated) == (fd == 1, fd == 2)
    path = outcome.stdout_path if fd == 1 else outcome.stderr_path
    assert path.read_bytes() == kept
    assert b"".join(chunk.data for chunk in chunks) == kept
    assert {chunk.stream for chunk in chunks} == {stream}
    assert [chunk.offset for chunk in chunks] == [sum(len(c.data) for c in chunks[:i]) for i in range(len(chunks))]
    assert outcome.log_head == (log_head_of(kept, b"") if fd == 1 else log_head_of(b"", kept))


OPEN = """(if (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const {length}) (i32.const 1)
    (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 64000)) (then (call $exit (i32.const 99))))
    (local.set $fd (i32.load (i32.const 64000)))"""


async def test_disk_limit_on_bytes(rig: "Rig") -> None:
    body = (
        OPEN.format(length=3) + "(loop $a (drop (call $write (local.get $fd) (i32.const 0) (i32.const 60000))) (br $a))"
    )
    outcome = await rig.run(rig.program(body, data="big"), outputs=(rig.out,), disk_mib=1)
    assert outcome.state is OutcomeState.DISK_LIMIT
    size = (outcome.outputs_dir / "out/big").stat().st_size
    assert 1 << 20 >= size > (1 << 20) - 60_000


async def test_disk_limit_on_one_folder(rig: "Rig") -> None:
    body = (
        OPEN.format(length=3) + "(loop $a (drop (call $write (local.get $fd) (i32.const 0) (i32.const 60000))) (br $a))"
    )
    outcome = await rig.run(rig.program(body, data="big"), outputs=(OutputRule("/out", "out", 200_000, 10),))
    assert outcome.state is OutcomeState.DISK_LIMIT
    assert (outcome.outputs_dir / "out/big").stat().st_size == 180_000


async def test_a_sparse_file_costs_its_whole_size(rig: "Rig") -> None:
    resize = '(import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))'
    body = OPEN.format(length=3) + "(drop (call $resize (local.get $fd) (i64.const 0x10000000000)))"
    outcome = await rig.run(rig.program(body, imports=resize, data="big"), outputs=(rig.out,))
    assert outcome.state is OutcomeState.DISK_LIMIT
    assert (outcome.outputs_dir / "out/big").stat().st_size == 0


async def test_a_hundred_thousand_files(rig: "Rig") -> None:
    script = "for i in range(100000):\n  f=open('/out/%d'%i,'w'); f.close()"
    outcome = await rig.python(script, outputs=(rig.out,), max_files=50)
    assert outcome.state is OutcomeState.DISK_LIMIT
    assert len(list((outcome.outputs_dir / "out").iterdir())) == 50


async def test_cancelled_by_its_owner(rig: "Rig") -> None:
    begun, stop = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:

        async def stop_it() -> None:
            await begun.wait()
            stop.set()

        nursery.start_soon(stop_it)
        outcome = await rig.run(
            rig.program(
                "(drop (call $write (i32.const 2) (i32.const 0) (i32.const 5))) (loop $a (br $a))", data="begun"
            ),
            fuel=(1 << 63) - 1,
            cancel=stop,
            events=lambda chunk: begun.set(),
        )
    assert (outcome.state, outcome.fuel, outcome.detail) == (OutcomeState.CANCELLED, -1, "cancelled")
    assert outcome.stderr_path.read_bytes() == b"begun"


def wide(functions: int) -> bytes:
    """A module that takes long to compile: many functions, each a long chain of arithmetic. In bytes, for speed."""

    def number(value: int) -> bytes:
        low, high = value & 0x7F, value >> 7
        return bytes([low | 0x80]) + number(high) if high else bytes([low])

    def section(kind: int, content: bytes) -> bytes:
        return bytes([kind]) + number(len(content)) + content

    step = b"\x20\x00\x41\x03\x6a\x41\x05\x6c\x21\x00"  # local 0 = (local 0 + 3) * 5
    body = b"\x01\x01\x7f" + step * 500 + b"\x0b"
    count = number(functions)
    return (
        b"\0asm\1\0\0\0"
        + section(1, b"\x01\x60\x00\x00")
        + section(3, count + bytes(functions))
        + section(7, b"\x01\x06_start\x00\x00")
        + section(10, count + (number(len(body)) + body) * functions)
    )


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        (b"not wasm at all", "not_wasm", "no WebAssembly"),
        (b'(module (func (export "_start")))', "not_wasm", "no WebAssembly"),
        (b"\0asm\1\0\0\0junk", "not_wasm", "failed to parse"),
        (b"\0asm\x0d\0\x01\0", "not_wasm", "component"),
        (
            '(module (import "env" "system" (func (param i32))) (func (export "_start")))',
            "unknown_import",
            "env.system",
        ),
        (
            '(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64))) '
            '(memory (export "memory") 1) (func (export "_start")))',
            "unknown_import",
            "fd_write",
        ),
        ('(module (func (export "run")))', "no_entry", "_start"),
        ('(module (func (export "_start") (param i32)))', "no_entry", "_start"),
        (
            '(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (func (export "_start")))',
            "no_memory",
            "memory",
        ),
        ('(module (memory 1 1 shared) (func (export "_start")))', "not_wasm", "threads"),
    ],
)
async def test_a_module_that_cannot_run_is_refused(rig: "Rig", source: str | bytes, code: str, says: str) -> None:
    with pytest.raises(JobRefused, match=says) as refused:
        await rig.executor.prepare(JobRequest(module_path=rig.module(source)))
    assert refused.value.code == code


async def test_a_module_that_is_too_large(rig: "Rig", tmp_path: Path) -> None:
    path = tmp_path / "large.wasm"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(JobRefused, match="64 MiB") as refused:
        await rig.executor.prepare(JobRequest(module_path=path))
    assert refused.value.code == "module_too_large"


async def test_a_compile_bomb_meets_its_limit(rig: "Rig", tmp_path: Path) -> None:
    async with open_wasm_executor(tmp_path / "state", CompileLimits(cpu_s=1)) as executor:
        with pytest.raises(JobRefused, match="takes more than 1 s") as refused:
            await executor.prepare(JobRequest(module_path=rig.module(wide(4000))))
        assert refused.value.code == "compile_limit"
        assert os.listdir(tmp_path / "state/compiled") == []
        await executor.prepare(JobRequest(module_path=rig.module(START)))


async def test_compiling_meets_its_memory_limit(rig: "Rig", tmp_path: Path) -> None:
    async with open_wasm_executor(tmp_path / "state", CompileLimits(data_bytes=4 << 20)) as executor:
        with pytest.raises(JobRefused) as refused:
            await executor.prepare(JobRequest(module_path=rig.module(wide(1000))))
        assert refused.value.code == "compile_limit"


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"argv": ("a\0b",)}, "NUL"),
        ({"argv": ("x" * MAX_ARGUMENT_BYTES,)}, "at most"),
        ({"argv": ("\ud800",)}, "Unicode"),
        ({"env": (("A=B", "c"),)}, "variable name"),
        ({"inputs": (("in", Path("/tmp")),)}, "absolute"),
        ({"inputs": (("/in/../etc", Path("/tmp")),)}, "absolute"),
        ({"inputs": (("/in/", Path("/tmp")),)}, "absolute"),
        ({"inputs": (("//in", Path("/tmp")),)}, "two slashes"),
        ({"inputs": (("/in", Path("/tmp")), ("/in", Path("/tmp")))}, "twice"),
        ({"outputs": (OutputRule("/out", "../up", 1, 1),)}, "file name"),
        ({"outputs": (OutputRule("/a", "x", 1, 1), OutputRule("/b", "X", 1, 1))}, "twice"),
        ({"outputs": tuple(OutputRule(f"/{i}", str(i), 1, 1) for i in range(MAX_OUTPUTS + 1))}, "at most 64 inputs"),
        ({"seed": bytes(65)}, "seed"),
        ({"epoch": -1}, "epoch"),
    ],
)
async def test_a_malformed_request_names_the_field(rig: "Rig", job: dict[str, object], says: str) -> None:
    with pytest.raises(JobRefused, match=says) as refused:
        await rig.run(START, **job)
    assert refused.value.code == "bad_request"


@pytest.mark.parametrize("limit", ["wall_ms", "fuel", "memory_mib", "pids"])
async def test_a_limit_that_cannot_be_enforced_is_refused(rig: "Rig", limit: str) -> None:
    with pytest.raises(JobRefused, match=f"limits.{limit}"):
        await rig.run(START, **{limit: 0})


async def test_a_missing_input_is_refused_before_anything_runs(rig: "Rig", tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match="cannot be read") as refused:
        await rig.run(START, inputs=(("/in", tmp_path / "gone"),))
    assert refused.value.code == "input_missing"


async def test_a_used_work_dir_is_refused(rig: "Rig") -> None:
    prepared = await rig.executor.prepare(JobRequest(module_path=rig.module(START)))
    folder = rig.work_dir()
    await rig.executor.run(prepared, folder, rig.limits)
    with pytest.raises(JobRefused, match="not empty"):
        await rig.executor.run(prepared, folder, rig.limits)

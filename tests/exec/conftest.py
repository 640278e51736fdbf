"""What does every test of the executor need? An executor, programs in WebAssembly text, and a way to run one."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio
from wasmtime import wat2wasm

from mesh.exec.executor import JobRequest, Limits, Outcome, OutputRule, ignore_log
from mesh.exec.wasm.executor import WasmExecutor, open_wasm_executor
from mesh.exec.wasm.wire import ZYGOTE_NAME

LIMITS: Final = Limits(wall_ms=60_000, fuel=10**12, memory_mib=64, disk_mib=8, stdout_bytes=64 * 1024, max_files=100)
OUT = OutputRule("/out", "out", 8 << 20, 100)
MICROPYTHON = Path(__file__).parents[2] / "devnet/jobs/words/micropython.wasm"

IMPORTS = """
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $write (param $fd i32) (param $from i32) (param $length i32) (result i32)
    (i32.store (i32.const 65000) (local.get $from)) (i32.store (i32.const 65004) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 65000) (i32.const 1) (i32.const 65008)))"""


class Rig:
    """Writes programs down and runs them, each in a folder of its own."""

    limits = LIMITS
    out = OUT

    def __init__(self, executor: WasmExecutor, folder: Path) -> None:
        self.executor = executor
        self.folder = folder
        self._numbers = itertools.count()

    def module(self, source: str | bytes) -> Path:
        """A module file from WebAssembly text or bytes."""
        path = self.folder / f"{next(self._numbers)}.wasm"
        path.write_bytes(bytes(wat2wasm(source)) if isinstance(source, str) else source)
        return path

    def work_dir(self) -> Path:
        """The name of a folder that does not exist yet."""
        return self.folder / f"run{next(self._numbers)}"

    @staticmethod
    def program(body: str, *, imports: str = "", data: str = "") -> str:
        """A module whose ``_start`` is ``body``; ``$write fd from length`` and ``$exit code`` are at hand."""
        text = f'(data (i32.const 0) "{data}")' if data else ""
        return f'(module {imports} {IMPORTS} {text} (func (export "_start") (local $i i32) (local $fd i32) {body}))'

    async def run(self, source: str | bytes | Path, **options: Any) -> Outcome:
        """Prepare and run. Options: fields of ``JobRequest`` and of ``Limits``, ``events``, ``cancel``."""
        limits = {name: options.pop(name) for name in list(options) if name in Limits.__struct_fields__}
        events, cancel = options.pop("events", ignore_log), options.pop("cancel", None)
        path = source if isinstance(source, Path) else self.module(source)
        prepared = await self.executor.prepare(JobRequest(module_path=path, **options))
        return await self.executor.run(
            prepared, self.work_dir(), msgspec.structs.replace(LIMITS, **limits), events, cancel
        )

    async def python(self, script: str, **options: Any) -> Outcome:
        """Run a script under the MicroPython module of the example job."""
        return await self.run(MICROPYTHON, argv=("-c", script), **options)


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One compile cache for all tests of a run."""
    return tmp_path_factory.mktemp("executor")


@pytest.fixture
async def executor(state_dir: Path) -> AsyncIterator[WasmExecutor]:
    """A running executor; its zygote ends with the test."""
    async with open_wasm_executor(state_dir) as opened:
        await opened.start()
        yield opened


@pytest.fixture
async def rig(executor: WasmExecutor, tmp_path: Path) -> Rig:
    """See ``Rig``."""
    return Rig(executor, tmp_path)


def descendants(root: int) -> set[int]:
    """Pids below ``root`` that are not zombies, without the one child that a zygote holds ready for the next job."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents.update(_living(entry))
    ready = [pid for pid, parent in parents.items() if _name(pid) == _name(parent) == ZYGOTE_NAME]
    assert len({parents[pid] for pid in ready}) == len(ready), "a zygote holds more than one child ready"
    for pid in ready:
        del parents[pid]
    found: set[int] = set()
    frontier = {root}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def _living(entry: Path) -> Iterator[tuple[int, int]]:
    try:
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return
    if state != "Z":
        yield int(entry.name), int(parent)


def _name(pid: int) -> str:
    """What `ps` calls a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return bool(list(_living(Path(f"/proc/{pid}"))))


async def until(condition: Any, seconds: float = 60.0) -> None:
    """Poll a condition of the machine until it holds."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.lowlevel.checkpoint()
            os.sched_yield()


@pytest.fixture(name="descendants")
def _descendants() -> Any:
    """``descendants`` without those that were there before the test: other tests' servers live in this process too.

    A fixture, because test files are not imported by name.
    """
    before = descendants(os.getpid())
    return lambda root: descendants(root) - before


@pytest.fixture(name="is_alive")
def _is_alive() -> Any:
    """See ``is_alive``."""
    return is_alive


@pytest.fixture(name="until")
def _until() -> Any:
    """See ``until``."""
    return until

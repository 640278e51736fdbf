"""What does the wasm executor cost?  Start overhead, jobs per core, cancelling, C against native code, and leaks.

Each ratio compares two things measured in this run, alternating, by CPU time, which a busy machine disturbs least. The
native side of the kernel is skipped, and said to be, where there is no gcc.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from mesh.exec.executor import JobRequest, Limits, OutcomeState, OutputRule, Prepared
from mesh.exec.wasm.executor import WasmExecutor, open_wasm_executor
from mesh.exec.wasm.wire import ZYGOTE_NAME

__all__ = ["run"]

_JOBS: Final = Path(__file__).parents[1] / "jobs"
_LIMITS: Final = Limits(wall_ms=600_000, fuel=1 << 62, memory_mib=64, disk_mib=16, stdout_bytes=1 << 20, max_files=16)

_SPEAKS: Final = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\08\\00\\00\\00\\01\\00\\00\\00.")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
"""The tiny job of every figure but the kernels: one byte to stdout."""

_ENDLESS: Final = _SPEAKS.replace("(i32.const 16)))))", "(i32.const 16))) (loop $a (br $a))))")

_BARE: Final = '''
"""The least that a forked wasm job can be: no limits, no sandbox, no report; stock WASI to /dev/null."""
import os, resource, sys
sys.path[:] = {path!r}
from mesh.exec.wasm.pin import SWITCHES
from wasmtime import Config, Engine, Linker, Module, Store, WasiConfig
from wasmtime._bindings import wasmtime_config_memory_init_cow_set
config = Config()
for name, value in SWITCHES:
    setattr(config, name, value)
wasmtime_config_memory_init_cow_set(config.ptr(), False)
engine = Engine(config)
def job():
    module = Module.deserialize_file(engine, {artifact!r})
    store = Store(engine); store.set_fuel(10**12); store.set_limits(memory_size=64 << 20)
    wasi = WasiConfig(); wasi.argv = ["job"]; wasi.stdout_file = "/dev/null"; store.set_wasi(wasi)
    linker = Linker(engine); linker.define_wasi()
    linker.instantiate(store, module).exports(store)["_start"](store)
def cpu():
    own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime
for line in sys.stdin:
    count, empty = line.split()
    started = cpu()
    for _ in range(int(count)):
        pid = os.fork()
        if pid == 0:
            if empty == "0":
                job()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    print(cpu() - started, flush=True)
'''


async def run(quick: bool, seed: int) -> dict[str, Any]:
    """All figures by name; times in the unit that the name says. ``seed`` changes nothing: every job here is fixed."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-bench-exec-"))
    try:
        async with open_wasm_executor(folder / "state") as executor:
            started = time.perf_counter()
            await executor.start()
            ready_ms = (time.perf_counter() - started) * 1000
            bench = _Bench(executor, folder)
            figures: dict[str, Any] = {"zygote_start_ms": round(ready_ms, 1)}
            figures |= await bench.start_overhead(60 if quick else 500)
            figures |= await bench.tiny_jobs(60 if quick else 300, rounds=3 if quick else 7)
            figures |= await bench.cancelling(20 if quick else 200)
            for job, argument, value in (("pi", "--samples", 100_000_000), ("sieve", "--limit", 200_000_000)):
                figures |= await bench.kernel(job, (argument, str(value // (4 if quick else 1))), 2 if quick else 5)
            figures |= await bench.hostile(50 if quick else 1000)
            figures["leaked_processes"] = len([pid for pid in _children(os.getpid()) if _name(pid) != ZYGOTE_NAME])
        figures["left_after_close"] = len(_children(os.getpid()))
        return figures
    finally:
        shutil.rmtree(folder)


class _Bench:
    """One executor and a folder that every run gets a part of."""

    def __init__(self, executor: WasmExecutor, folder: Path) -> None:
        self._executor = executor
        self._folder = folder
        self._count = 0

    async def _text(self, name: str, text: str) -> Prepared:
        from wasmtime import wat2wasm  # 0.2 s, for whoever measures alone

        path = self._folder / f"{name}.wasm"
        path.write_bytes(bytes(wat2wasm(text)))
        return await self._executor.prepare(JobRequest(module_path=path))

    def _work_dir(self) -> Path:
        self._count += 1
        return self._folder / f"run{self._count}"

    async def start_overhead(self, count: int) -> dict[str, Any]:
        """From the call of ``run`` to the job's first byte, and to its outcome; the module is cached."""
        prepared = await self._text("speaks", _SPEAKS)
        first: list[float] = []
        whole: list[float] = []
        for _ in range(count):
            begun = time.perf_counter()
            spoken: list[float] = []

            def hear(chunk: object, spoken: list[float] = spoken) -> None:
                spoken.append(time.perf_counter())

            await self._executor.run(prepared, self._work_dir(), _LIMITS, hear)
            whole.append((time.perf_counter() - begun) * 1000)
            first.append((spoken[0] - begun) * 1000)
        return {
            "start_p50_ms": _quantile(first, 0.5),
            "start_p95_ms": _quantile(first, 0.95),
            "start_min_ms": _quantile(first, 0.0),
            "whole_p50_ms": _quantile(whole, 0.5),
        }

    async def tiny_jobs(self, count: int, rounds: int) -> dict[str, Any]:
        """CPU time per tiny job, in alternating rounds: the zygote and its jobs, this node, and two that do less.

        ``bare``: a fork that instantiates the module with stock WASI, no sandbox, no limits, no report. ``fork``: one
        that ends at once. ``files``: the folders and files of one run, made by nobody but the file system.
        """
        prepared = await self._text("speaks", _SPEAKS)
        code = _BARE.format(path=[entry for entry in sys.path if entry], artifact=str(prepared.artifact))
        spent: dict[str, list[float]] = {name: [] for name in ("zygote", "node", "bare", "fork", "files")}
        zygote = _zygote()
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer:
            assert peer.stdin is not None
            assert peer.stdout is not None
            for _ in range(rounds):
                node_s, zygote_s = time.process_time(), _cpu_s(zygote)
                for _ in range(count):
                    await self._executor.run(prepared, self._work_dir(), _LIMITS)
                spent["zygote"].append((_cpu_s(zygote) - zygote_s) / count)
                spent["node"].append((time.process_time() - node_s) / count)
                for name, empty in (("bare", 0), ("fork", 1)):
                    peer.stdin.write(f"{count} {empty}\n")
                    peer.stdin.flush()
                    spent[name].append(float(await trio.to_thread.run_sync(peer.stdout.readline)) / count)
                files_s = time.process_time()
                for _ in range(count):
                    _make_files(self._work_dir())
                spent["files"].append((time.process_time() - files_s) / count)
            peer.stdin.close()
        return _shares(spent)

    async def cancelling(self, count: int) -> dict[str, Any]:
        """From the wish to cancel to the return of ``run``, when the job is dead and reaped."""
        prepared = await self._text("endless", _ENDLESS)
        took: list[float] = []
        for _ in range(count):
            asked: list[float] = []
            cancel = trio.Event()

            def stop(chunk: object, asked: list[float] = asked, cancel: trio.Event = cancel) -> None:
                asked.append(time.perf_counter())
                cancel.set()

            outcome = await self._executor.run(prepared, self._work_dir(), _LIMITS, stop, cancel)
            assert outcome.state is OutcomeState.CANCELLED, outcome
            took.append((time.perf_counter() - asked[0]) * 1000)
        return {"cancel_p50_ms": _quantile(took, 0.5), "cancel_p99_ms": _quantile(took, 0.99)}

    async def kernel(self, job: str, argv: tuple[str, ...], rounds: int) -> dict[str, Any]:
        """CPU time of an example job against the same source from gcc -O2; both outputs must agree."""
        if shutil.which("gcc") is None:
            return {f"{job}_vs_native": None, f"{job}_note": "no gcc on this machine"}
        native = self._folder / job
        await trio.run_process(["gcc", "-O2", "-D_GNU_SOURCE", "-o", str(native), str(_JOBS / job / f"{job}.c")])
        rule = OutputRule("/out", "out", 1 << 20, 4)
        fixed = (*argv, "--seed", "7") if job == "pi" else argv
        request = JobRequest(module_path=_JOBS / job / f"{job}.wasm", argv=fixed, outputs=(rule,))
        prepared = await self._executor.prepare(request)
        extra = ("--out", str(self._folder / "pi.txt")) if job == "pi" else ()
        wasm: list[float] = []
        gcc: list[float] = []
        for _ in range(rounds):
            outcome = await self._executor.run(prepared, self._work_dir(), _LIMITS)
            wasm.append(outcome.cpu_ms / 1000)
            before = _children_cpu_s()
            done = await trio.run_process([str(native), *fixed, *extra], capture_stdout=True)
            gcc.append(_children_cpu_s() - before)
            assert done.stdout == outcome.stdout_path.read_bytes(), job
        return {f"{job}_wasm_s": _quantile(wasm, 0.5), f"{job}_vs_native": round(min(wasm) / min(gcc), 3)}

    async def hostile(self, count: int) -> dict[str, Any]:
        """Jobs that use up fuel, eight at a time; what they leave is counted by the caller."""
        prepared = await self._text("endless", _ENDLESS)
        limits = msgspec.structs.replace(_LIMITS, fuel=100_000)
        ended = 0

        async def some(number: int) -> None:
            nonlocal ended
            for _ in range(number):
                outcome = await self._executor.run(prepared, self._work_dir(), limits)
                ended += outcome.state is OutcomeState.FUEL

        async with trio.open_nursery() as nursery:
            for part in range(8):
                nursery.start_soon(some, count // 8 + (part < count % 8))
        return {"hostile_jobs": count, "hostile_as_expected": ended}


def _make_files(folder: Path) -> None:
    """What a run without outputs leaves, empty."""
    os.mkdir(folder, 0o700)
    os.mkdir(folder / "outputs", 0o700)
    for name in ("stdout", "stderr"):
        os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _shares(spent: dict[str, list[float]]) -> dict[str, Any]:
    """Medians of CPU seconds per job as jobs per core and second, and against the bare one."""
    median = {name: _quantile(values, 0.5, digits=9) for name, values in spent.items()}
    both = [ours + node for ours, node in zip(spent["zygote"], spent["node"], strict=True)]
    whole = _quantile(both, 0.5, digits=9)
    return {
        "tiny_jobs_per_core_s": round(1 / whole, 1),
        "tiny_jobs_per_core_s_without_node": round(1 / median["zygote"], 1),
        "bare_jobs_per_core_s": round(1 / median["bare"], 1),
        "tiny_jobs_ratio": round(median["bare"] / whole, 3),
        "tiny_jobs_ratio_without_node": round(median["bare"] / median["zygote"], 3),
        **{f"{name}_ms_per_job": round(value * 1000, 3) for name, value in median.items()},
    }


def _quantile(values: list[float], share: float, digits: int = 3) -> float:
    """The smallest value that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], digits)


def _children(pid: int) -> list[int]:
    """Living processes below one, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and _parent(int(entry.name)) == pid:
                found += [int(entry.name), *_children(int(entry.name))]
        except OSError:
            continue
    return found


def _name(pid: int) -> str:
    """What `ps` calls a process: the zygote and the one child that it holds ready are called the same."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _zygote() -> int:
    """The child of ours that has children; others have been reaped."""
    return next(pid for pid in _children(os.getpid()) if _parent(pid) == os.getpid())


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _cpu_s(pid: int) -> float:
    """CPU time of a process and of the children that it reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

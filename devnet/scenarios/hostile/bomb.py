"""What does a job look like that shall convict its provider later? It says another thing each time it is run, where it can.

Its output is the time, the monotonic clock, random bytes, and a line that only stands there after a date. In front of the
clocks and the entropy of a real machine no two runs agree; a second execution would call the first one a lie.
"""

import tempfile
from pathlib import Path
from typing import Final

from wasmtime import Engine, Linker, Module, Store, WasiConfig, wat2wasm

__all__ = ["BOMB_JOB", "bomb_module", "told_by_a_real_machine"]

_DAY_NS: Final = 86_400 * 10**9
_ARMED_DAY: Final = 20_000
"""Days since 1970: 2024-10-04. Whoever tells the time truly is past it."""

BOMB_JOB: Final = """\
version: 1
name: time-bomb
executor: wasm
seed: 7
module: ./bomb.wasm
resources: {cpus: 1+, memory: 1MiB+, disk: 1MiB}
limits: {wall: 20s, fuel: 1e9, stdout: 4KiB}
verify: {level: exact}
market: {max_price: 2.50 MESH, budget: 10 MESH}
"""


def bomb_module() -> bytes:
    """The module: 16 bytes of clocks, 16 random ones, and ``boom`` after the date, all on stdout."""
    return bytes(
        wat2wasm(f"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "boom")
  (func (export "_start")
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 32)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 40)))
    (drop (call $random (i32.const 48) (i32.const 16)))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4)
      (select (i32.const 36) (i32.const 32) (i64.gt_u (i64.load (i32.const 32)) (i64.const {_ARMED_DAY * _DAY_NS}))))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))""")
    )


def told_by_a_real_machine(module: bytes) -> bytes:
    """What it says with the clocks and the entropy of this machine: the bomb is real."""
    with tempfile.TemporaryDirectory(prefix="mesh-bomb-") as folder:
        engine, out = Engine(), Path(folder) / "stdout"
        store, linker, wasi = Store(engine), Linker(engine), WasiConfig()
        wasi.stdout_file = str(out)
        store.set_wasi(wasi)
        linker.define_wasi()
        start = linker.instantiate(store, Module(engine, module)).exports(store)["_start"]
        start(store)  # type: ignore[operator]  # an export may be a memory; this one is a function
        del store
        return out.read_bytes()

"""Which WebAssembly modules misbehave, and in which outcome must each run end?

Each row is a program, the outcome that its deal must settle with, and what must be left of its logs.
"""

from typing import Final, NamedTuple

from wasmtime import wat2wasm

__all__ = ["BAD_MODULES", "BadModule", "job_text"]

STDOUT_BYTES: Final = 4096
"""The log limit of these jobs."""


class BadModule(NamedTuple):
    """``kept`` must be in the log of ``stream``; ``limits`` go over those of the job file."""

    name: str
    wasm: bytes
    outcome: str
    kept: bytes = b""
    stream: str = "stdout"
    exit_code: int = -1
    limits: str = ""


_IMPORTS: Final = """
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $write (param $fd i32) (param $from i32) (param $length i32) (result i32)
    (i32.store (i32.const 65000) (local.get $from)) (i32.store (i32.const 65004) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 65000) (i32.const 1) (i32.const 65008)))"""

_SAY: Final = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 6)))"
_OPEN: Final = """(if (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1)
    (i64.const 4194370) (i64.const 4194370) (i32.const 0) (i32.const 64000)) (then (call $exit (i32.const 99))))
    (local.set $fd (i32.load (i32.const 64000)))"""
"""Opens the file ``beg`` in /out, the only folder these jobs see: descriptor 3."""


def _program(body: str) -> bytes:
    """A module that first says "begun" and then does ``body``."""
    text = (
        f'(module {_IMPORTS} (data (i32.const 0) "begun\\0a") '
        f'(func (export "_start") (local $i i32) (local $fd i32) {_SAY} {body}))'
    )
    return bytes(wat2wasm(text))


def _refused(name: str, source: str | bytes, code: str) -> BadModule:
    """A module that cannot run at all: a trap whose only log names what is wrong with it."""
    wasm = bytes(wat2wasm(source)) if isinstance(source, str) else source
    return BadModule(name, wasm, "trapped", f"mesh: {code}".encode(), "stderr")


def _ends(name: str, body: str, outcome: str, *, exit_code: int = -1, limits: str = "") -> BadModule:
    return BadModule(name, _program(body), outcome, b"begun\n", exit_code=exit_code, limits=limits)


_WHOLE: Final = _program("")

BAD_MODULES: Final = (
    _refused("not wasm", b"#!/bin/sh\necho hello\n", "not_wasm"),
    _refused("truncated", _WHOLE[: len(_WHOLE) // 2], "not_wasm"),
    _refused("a component", b"\0asm\x0d\0\x01\0", "not_wasm"),
    _refused(
        "unknown import",
        '(module (import "env" "system" (func (param i32))) (memory (export "memory") 1) (func (export "_start")))',
        "unknown_import",
    ),
    _refused("no _start", '(module (memory (export "memory") 1) (func (export "run")))', "no_entry"),
    _refused(
        "no memory",
        '(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (func (export "_start")))',
        "no_memory",
    ),
    _ends("endless loop", "(loop $again (br $again))", "fuel"),
    _ends("slow loop", "(loop $again (br $again))", "timeout", limits="wall: 1s, fuel: 9e18"),
    _ends("memory bomb", "(loop $a (br_if $a (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable", "oom"),
    BadModule(
        "memory too large at the start",
        bytes(wat2wasm('(module (memory (export "memory") 65536) (func (export "_start")))')),
        "oom",
    ),
    BadModule("endless recursion", bytes(wat2wasm('(module (func $f (export "_start") (call $f)))')), "trapped"),
    _ends("output flood", f"(loop $a {_SAY} (br $a))", "output_limit"),
    _ends(
        "disk flood",
        _OPEN + "(loop $a (drop (call $write (local.get $fd) (i32.const 0) (i32.const 60000))) (br $a))",
        "disk_limit",
    ),
    _ends("sparse file", _OPEN + "(drop (call $resize (local.get $fd) (i64.const 0x10000000000)))", "disk_limit"),
    _ends("trap", "unreachable", "trapped"),
    _ends("memory out of bounds", "(drop (i32.load (i32.const 0x7fffffff)))", "trapped"),
    _ends("exit code 3", "(call $exit (i32.const 3))", "failed", exit_code=3),
)


def job_text(number: int, bad: BadModule) -> str:
    """The job file beside ``module.wasm``. Every result is executed again by the client, where that is possible."""
    limits = bad.limits or "wall: 20s, fuel: 2e7"
    return f"""version: 1
name: bad-{number}
module: ./module.wasm
outputs: [{{path: /out, name: out, max_bytes: 1MiB, max_files: 4}}]
resources: {{cpus: 1+, memory: 4MiB+, disk: 1MiB}}
limits: {{{limits}, stdout: {STDOUT_BYTES}B}}
verify: {{level: exact, audit: 1}}
market: {{max_price: 2.50 MESH}}
"""

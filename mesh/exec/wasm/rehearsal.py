"""How does the zygote get ready before its first fork?  It plays a job of its own, over and over.

What a first run changes (caches of the interpreter, bindings of the loader, buffers of the library) is then changed
before a fork and shared by all children. Otherwise each of them changes it again, in pages that it must copy first.
"""

import os

from mesh.exec.wasm import compiler
from mesh.exec.wasm.guest import Guest
from mesh.exec.wasm.job_child import execute
from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.mounts import build_world
from mesh.exec.wasm.report import Reporter
from mesh.exec.wasm.wasi.preview1 import Preview1
from mesh.exec.wasm.wire import FrameType, RunSpec, pack_start, unpack_start

__all__ = ["rehearse"]

_ROUNDS: Final = 20
"""CPython 3.11 rewrites a function after 8 calls, and its instructions as they are met again."""

_MAX_ARTIFACT_BYTES: Final = 65_536
"""What a Linux pipe holds: the child that compiles writes it in one go."""

_PLAY: Final = b"""(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\08\\00\\00\\00\\01\\00\\00\\00.")
  (func (export "_start")
    (drop (call $args (i32.const 64) (i32.const 68))) (drop (call $environ (i32.const 64) (i32.const 68)))
    (drop (call $prestat (i32.const 3) (i32.const 64))) (drop (call $fdstat (i32.const 1) (i32.const 64)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (call $exit (i32.const 0))))"""
"""What a small program does between its start and its end."""

_SPEC: Final = RunSpec(
    wall_ms=1000,
    argv=("play",),
    env=(),
    seed=b"",
    epoch_s=0,
    inputs=(),
    outputs=(),
    fuel=1_000_000,
    memory_bytes=1 << 20,
    disk_bytes=0,
    max_files=0,
    stdout_bytes=64,
)


def rehearse(engine: int, preview: Preview1) -> None:
    """Play it as a child does, but for the sandbox. Raises what a job would report as our own fault."""
    artifact = _compiled(engine)
    nowhere = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    for _ in range(_ROUNDS):
        spec = unpack_start(pack_start(_SPEC))
        assert isinstance(spec, RunSpec)
        reporter = Reporter(nowhere)
        world = build_world(spec, [], [], reporter.send)
        guest = Guest(engine, preview)
        reporter.send(FrameType.RESULT, execute(guest, spec, artifact, preview, world))
        guest.close()
        preview.forget()
    os.close(nowhere)


def _compiled(engine: int) -> bytes:
    """The play's machine code, made by a child: the compiler leaves a large heap behind."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            module = compiler.compile_bytes(engine, compiler.text_to_binary(_PLAY))
            os.write(theirs, compiler.serialize(module))
        finally:
            os._exit(0)
    os.close(theirs)
    parts = []
    while part := os.read(ours, _MAX_ARTIFACT_BYTES):
        parts.append(part)
    os.close(ours)
    os.waitpid(pid, 0)
    return b"".join(parts)

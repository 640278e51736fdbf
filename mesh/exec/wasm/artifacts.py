"""Where do compiled modules come from, and how long are they kept?

The cache is this node's own: a folder of mode 0700, keyed by the module's bytes, wasmtime, its switches and this CPU. A
compiled module is machine code, so one never arrives from a peer.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from mesh.exec.executor import ExecutorUnavailable, JobRefused
from mesh.exec.wasm.client import Child
from mesh.exec.wasm.pin import artifact_salt
from mesh.exec.wasm.verdicts import CompileResult
from mesh.exec.wasm.wire import CompileSpec, EndReason, FrameType, Start

__all__ = ["MAX_MODULE_BYTES", "ArtifactCache", "CompileLimits", "Launcher"]

MAX_MODULE_BYTES: Final = 64 << 20
"""The largest module that is read: CPython with its library is 26 MiB."""

MAX_CACHE_BYTES: Final = 2 << 30
"""Disk for compiled modules; the least recently used go first."""

MAX_CACHE_ENTRIES: Final = 1024
"""Files in the cache folder, so that a scan of it stays short."""

_SUFFIX: Final = ".cwasm"


class CompileLimits(msgspec.Struct, frozen=True):
    """What compiling one module may cost. Defaults: a 26 MiB module takes 17 s on one core of 2024."""

    cpu_s: int = 60
    wall_ms: int = 120_000
    data_bytes: int = 4 << 30


class Launcher(Protocol):
    """Starts a child in the zygote that is alive now."""

    async def __call__(self, spec: Start, fds: list[int]) -> Child:
        """See ``Zygote.launch``."""


class ArtifactCache:
    """Compiled modules by their key. Concurrent requests for one module compile it once."""

    def __init__(
        self,
        folder: Path,
        launch: Launcher,
        *,
        limits: CompileLimits | None = None,
        max_bytes: int = MAX_CACHE_BYTES,
        max_entries: int = MAX_CACHE_ENTRIES,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder = folder
        self._launch = launch
        self._limits = limits or CompileLimits()
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._salt = artifact_salt()
        self._locks: dict[Path, trio.Lock] = {}

    async def get(self, module: bytes, *, text: bool = False) -> Path:
        """The compiled module for these bytes, compiling when it is new.

        Raises:
            JobRefused: ``not_wasm``, ``unknown_import``, ``no_entry``, ``no_memory``, ``compile_limit``.
            ExecutorUnavailable: the child died by our fault.
        """
        key = hashlib.sha256(self._salt + bytes([text]) + hashlib.sha256(module).digest()).hexdigest()
        path = self._folder / (key + _SUFFIX)
        lock = self._locks.setdefault(path, trio.Lock())
        try:
            async with lock:
                if path.exists():
                    os.utime(path)
                    return path
                await self._compile(module, path, text)
        finally:
            if not lock.statistics().tasks_waiting:
                self._locks.pop(path, None)
        await trio.to_thread.run_sync(self._evict, path)
        return path

    def forget(self, path: Path) -> None:
        """Drop one that would not load."""
        path.unlink(missing_ok=True)

    def sweep(self) -> list[str]:
        """Remove half-written files that a crash left; answers their names."""
        stale = [entry for entry in self._folder.iterdir() if entry.suffix != _SUFFIX]
        for entry in stale:
            entry.unlink()
        return [entry.name for entry in stale]

    async def _compile(self, module: bytes, path: Path, text: bool) -> None:
        temporary_fd, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            result = await self._compile_into(module, temporary_fd, text)
            if result.code:
                raise JobRefused(f"this module cannot run here: {result.detail}", code=result.code)
            await trio.to_thread.run_sync(os.fsync, temporary_fd)
            os.replace(temporary, path)
        finally:
            os.close(temporary_fd)
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    async def _compile_into(self, module: bytes, artifact_fd: int, text: bool) -> CompileResult:
        module_fd = os.memfd_create("module", os.MFD_CLOEXEC)
        try:
            await trio.to_thread.run_sync(_write_all, module_fd, module)
            limits = self._limits
            spec = CompileSpec(wall_ms=limits.wall_ms, cpu_s=limits.cpu_s, data_bytes=limits.data_bytes, text=text)
            child = await self._launch(spec, [module_fd, artifact_fd])
            answers: list[CompileResult] = []
            errors: list[str] = []

            def take(kind: int, payload: bytes) -> None:
                if kind == FrameType.RESULT:
                    answers.append(CompileResult.read(payload))
                elif kind == FrameType.ERROR:
                    errors.append(payload.decode(errors="replace"))

            try:
                await child.frames(take)
                ended = await child.ended()
            finally:
                await child.close()
        finally:
            os.close(module_fd)
        if answers:
            return answers[0]
        if ended is None or ended.reason == EndReason.NOT_STARTED or errors:
            why = errors[0] if errors else ended.detail if ended else "the zygote ended"
            raise ExecutorUnavailable(f"compiling failed by our own fault: {why}")
        return CompileResult("compile_limit", f"compiling it takes more than {limits.cpu_s} s or too much memory")

    def _evict(self, keep: Path) -> None:
        """The least recently used go until both bounds hold; the one just made stays."""
        entries = sorted(
            ((entry.stat().st_mtime_ns, entry.stat().st_size, entry) for entry in self._folder.glob("*" + _SUFFIX)),
            reverse=True,
        )
        total = 0
        for count, (_, size, entry) in enumerate(entries):
            total += size
            if entry != keep and (total > self._max_bytes or count >= self._max_entries):
                entry.unlink(missing_ok=True)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

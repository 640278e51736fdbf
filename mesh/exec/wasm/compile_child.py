"""What does the child process do that compiles a stranger's module?"""

import os

from mesh.exec.wasm import compiler
from mesh.exec.wasm.capi import EXTERN_FUNC, EXTERN_MEMORY, EngineRefused
from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.report import Reporter
from mesh.exec.wasm.sandbox import Confinement, confine
from mesh.exec.wasm.wasi.preview1 import MODULE_NAME, SIGNATURES, Preview1
from mesh.exec.wasm.wire import CompileSpec, FrameType, pack_compiled

__all__ = ["compile_module"]

_MODULE_MAGIC: Final = b"\0asm\1\0\0\0"
"""wasmtime would take text as well; a job's module is binary, so that its bytes have one meaning everywhere."""

_MAX_DETAIL: Final = 300
"""Characters of a validation error that travel."""

_MAX_ARTIFACT_BYTES: Final = 1 << 30
"""64 MiB of wasm give about 200 MiB of machine code."""


_Verdict = tuple[str, str]
"""A code of ``JobRefused``, empty for success, and a text."""


def compile_module(
    spec: CompileSpec, fds: list[int], report_fd: int, engine: int, preview: Preview1, parent_pid: int
) -> None:
    """Lock ourselves in, compile, check imports and exports, write the artifact. ``fds``: module, artifact."""
    reporter = Reporter(report_fd)
    module_fd, artifact_fd = fds
    confine(
        Confinement(cpu_s=spec.cpu_s, data_bytes=spec.data_bytes, file_bytes=_MAX_ARTIFACT_BYTES, open_files=16),
        parent_pid,
    )
    result = _compile(spec, module_fd, artifact_fd, engine, preview)
    reporter.send(FrameType.RESULT, pack_compiled(*result))


def _compile(spec: CompileSpec, module_fd: int, artifact_fd: int, engine: int, preview: Preview1) -> _Verdict:
    try:
        data = os.pread(module_fd, os.fstat(module_fd).st_size, 0)
        return _compile_bytes(data, spec, artifact_fd, engine, preview)
    except MemoryError:
        return ("compile_limit", "compiling it needs more memory than allowed")


def _compile_bytes(data: bytes, spec: CompileSpec, artifact_fd: int, engine: int, preview: Preview1) -> _Verdict:
    if not spec.text and not data.startswith(_MODULE_MAGIC):
        kind = "a component (build for wasm32-wasi, preview 1)" if data.startswith(b"\0asm") else "no WebAssembly"
        return ("not_wasm", f"the file is {kind}")
    try:
        module = compiler.compile_bytes(engine, compiler.text_to_binary(data) if spec.text else data)
    except EngineRefused as error:
        return ("not_wasm", _first_lines(str(error)))
    refusal = _imports_refused(module) or _exports_refused(module)
    if refusal is not None:
        return refusal
    try:
        compiler.check_linkable(preview.linker, module)
    except EngineRefused as error:
        return ("unknown_import", _first_lines(str(error)))
    view = compiler.serialize(module)
    while view:
        view = view[os.write(artifact_fd, view) :]
    return ("", "")


def _imports_refused(module: int) -> _Verdict | None:
    unknown = [
        f"{source}.{name}"
        for source, name in compiler.imports(module)
        if source != MODULE_NAME or name not in SIGNATURES
    ]
    if not unknown:
        return None
    shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    return (
        "unknown_import",
        f"it imports {shown}; a job may import only {MODULE_NAME} (build it for wasm32-wasi, preview 1)"[:_MAX_DETAIL],
    )


def _exports_refused(module: int) -> _Verdict | None:
    exports = compiler.exports(module)
    if exports.get("_start") != (EXTERN_FUNC, 0, 0):
        return ("no_entry", "it exports no function `_start` without parameters: build a command, not a library")
    memory = exports.get("memory")
    if compiler.imports(module) and (memory is None or memory[0] != EXTERN_MEMORY):
        return ("no_memory", "it calls WASI but exports no memory called `memory`")
    return None


def _first_lines(text: str) -> str:
    return " ".join(text.split())[:_MAX_DETAIL]

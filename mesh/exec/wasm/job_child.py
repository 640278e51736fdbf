"""What does the child process of one job do, from fork to exit?"""

import os

from mesh.exec.wasm.capi import TRAP_OUT_OF_FUEL, EngineRefused, GuestTrapped
from mesh.exec.wasm.guest import Guest
from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.mounts import build_world
from mesh.exec.wasm.report import Reporter
from mesh.exec.wasm.sandbox import Confinement, confine
from mesh.exec.wasm.wasi.preview1 import Preview1
from mesh.exec.wasm.wasi.quota import EndKind, JobEnded
from mesh.exec.wasm.wasi.world import World
from mesh.exec.wasm.wire import FrameType, RunSpec, pack_result

__all__ = ["execute", "run_job"]

EXITED, FAILED, TRAPPED, FUEL, OOM = 0, 1, 2, 3, 4
OUTPUT_LIMIT, DISK_LIMIT, INFRA_ERROR = 6, 7, 9
"""The numbers of ``OutcomeState``, which cannot be imported here: its module imports trio."""

_PAGE_BYTES: Final = 65_536

_DATA_SLACK_BYTES: Final = 256 << 20
"""Beside linear memory: machine code, 100,000 files' names, buffers of host calls."""

_OPEN_FILES: Final = 1024
"""256 that the guest may hold, input files opened early, and our own."""

_TRAPS: Final = {
    0: "stack overflow",
    1: "memory out of bounds",
    2: "heap misaligned",
    3: "table out of bounds",
    4: "indirect call to null",
    5: "bad signature",
    6: "integer overflow",
    7: "integer division by zero",
    8: "bad conversion to integer",
    9: "unreachable",
    13: "null reference",
    15: "allocation too large",
    16: "cast failure",
    49: "uncaught exception",
}
"""Those of ``wasmtime_trap_code_t`` that a job can meet."""

_MAX_DETAIL: Final = 300
"""Characters of a trap's text that travel."""


def run_job(spec: RunSpec, fds: list[int], report_fd: int, guest: Guest, preview: Preview1, parent_pid: int) -> None:
    """Lock ourselves in, run the guest, report. ``fds``: artifact, inputs, outputs as in ``RunSpec``."""
    reporter = Reporter(report_fd)
    artifact_fd, input_fds = fds[0], fds[1 : 1 + len(spec.inputs)]
    output_fds = fds[1 + len(spec.inputs) :]
    world = build_world(spec, input_fds, output_fds, reporter.send)
    folders = tuple(fd for fd, (_, is_folder) in zip(input_fds, spec.inputs, strict=True) if is_folder)
    confine(
        Confinement(
            cpu_s=spec.wall_ms // 1000 + 5,
            data_bytes=spec.memory_bytes + _DATA_SLACK_BYTES,
            file_bytes=spec.disk_bytes + 1,
            open_files=_OPEN_FILES,
            readable_fds=folders,
            writable_fds=tuple(output_fds),
        ),
        parent_pid,
    )
    reporter.send(FrameType.RESULT, execute(guest, spec, _read_all(artifact_fd), preview, world))


def execute(guest: Guest, spec: RunSpec, artifact: bytes, preview: Preview1, world: World) -> bytes:
    """Run the guest to its end in its world. Answers the payload of the report."""
    try:
        guest.load(artifact, spec.fuel, spec.memory_bytes)
    except EngineRefused as refusal:
        return _result(world, INFRA_ERROR, f"the compiled module does not load: {refusal}", artifact_refused=True)
    preview.bind(world)
    state, exit_code, detail = _call(guest)
    memory_bytes = world.memory.size_bytes()
    if state in (TRAPPED, FAILED) and memory_bytes + _PAGE_BYTES > spec.memory_bytes:
        state, exit_code = OOM, -1
        detail = f"{detail}; its memory had reached the limit of {spec.memory_bytes} bytes"
    return _result(world, state, detail, exit_code=exit_code, fuel=spec.fuel - guest.fuel_left())


def _call(guest: Guest) -> tuple[int, int, str]:
    """(state, exit code, detail) of running the guest to its end."""
    try:
        guest.run()
    except JobEnded as end:
        return _ended(end)
    except GuestTrapped as trap:
        return _trapped(trap)
    except MemoryError:
        return OOM, -1, "what the host keeps for it (open files, names) outgrew the allowance"
    except EngineRefused as refusal:
        text = str(refusal)
        if "exceeds memory limits" in text:
            return OOM, -1, _short(text)
        return TRAPPED, -1, _short(text)
    return EXITED, 0, ""


def _ended(end: JobEnded) -> tuple[int, int, str]:
    match end.kind:
        case EndKind.EXIT:
            return (EXITED, 0, "") if end.exit_code == 0 else (FAILED, end.exit_code, f"exit code {end.exit_code}")
        case EndKind.OUTPUT_LIMIT:
            return OUTPUT_LIMIT, -1, end.detail
        case EndKind.DISK_LIMIT:
            return DISK_LIMIT, -1, end.detail
        case _:
            raise ValueError(f"an end of no known kind: {end.kind}")


def _trapped(trap: GuestTrapped) -> tuple[int, int, str]:
    if trap.code == TRAP_OUT_OF_FUEL:
        return FUEL, -1, "all fuel was used"
    return TRAPPED, -1, _TRAPS.get(trap.code) or _short(str(trap))


def _short(text: str) -> str:
    """Without addresses of frames, which say nothing to the owner of a job."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(line for line in lines if "0x" not in line)[:_MAX_DETAIL]


def _result(
    world: World, state: int, detail: str, *, exit_code: int = -1, fuel: int = -1, artifact_refused: bool = False
) -> bytes:
    return pack_result(
        state,
        exit_code,
        fuel,
        world.memory.size_bytes(),
        (world.stdout.truncated, world.stderr.truncated),
        detail,
        artifact_refused=artifact_refused,
    )


def _read_all(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    parts: list[bytes] = []
    offset = 0
    while offset < size:
        part = os.pread(fd, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)

"""Does the node stay whole when a job's process is no longer ours and writes what it likes?"""

import os
import socket
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.exec.executor import Limits, OutcomeState, Stream, ignore_log
from mesh.exec.wasm.client import Child
from mesh.exec.wasm.executor import believable
from mesh.exec.wasm.verdicts import ChildLied, CompileResult, JobResult, SandboxReport
from mesh.exec.wasm.wire import (
    FRAME_HEADER,
    MAX_FRAME_BYTES,
    START,
    FrameType,
    RunSpec,
    pack_check,
    pack_compiled,
    pack_result,
    pack_start,
    unpack_start,
)
from mesh.exec.wasm.work_dir import LogFiles

LIMITS = Limits(wall_ms=1, fuel=100, memory_mib=1, disk_mib=0, stdout_bytes=10, max_files=0)


async def heard(written: bytes) -> list[tuple[int, bytes]]:
    """What the node takes from a child that wrote this and died."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read_fd, write_fd = os.pipe()
    os.write(write_fd, written)
    os.close(write_fd)
    theirs.close()
    child = Child(ours, read_fd, lambda: None)
    frames: list[tuple[int, bytes]] = []
    try:
        await child.frames(lambda kind, data: frames.append((kind, data)))
        assert await child.ended() is None
    finally:
        await child.close()
    return frames


async def test_whole_frames_are_heard_and_a_torn_one_is_not() -> None:
    said = FRAME_HEADER.pack(FrameType.STDOUT, 3) + b"abc" + FRAME_HEADER.pack(FrameType.RESULT, 9) + b"torn"
    assert await heard(said) == [(FrameType.STDOUT, b"abc")]


@pytest.mark.parametrize("header", [(0, 1), (9, 0), (255, 5), (1, MAX_FRAME_BYTES + 1), (3, 0xFFFFFFFF)])
async def test_an_impossible_frame_is_a_lie(header: tuple[int, int]) -> None:
    with pytest.raises(ChildLied):
        await heard(FRAME_HEADER.pack(*header) + b"x" * 10)


@given(st.binary(max_size=2000))
async def test_any_bytes_are_frames_or_a_lie(said: bytes) -> None:
    try:
        frames = await heard(said)
    except ChildLied:
        return
    assert said.startswith(b"".join(FRAME_HEADER.pack(kind, len(data)) + data for kind, data in frames))


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_payload_is_read_or_a_lie(payload: bytes) -> None:
    for kind in (JobResult, SandboxReport, CompileResult):
        with suppress(ChildLied):
            assert isinstance(kind.read(payload), kind)


def test_what_our_children_say_is_read_as_it_was_meant() -> None:
    packed = pack_result(1, -3, 7, 65_536, (True, False), "über", artifact_refused=True)
    assert JobResult.read(packed) == JobResult(
        state=1,
        exit_code=-3,
        fuel=7,
        memory_bytes=65_536,
        stdout_truncated=True,
        stderr_truncated=False,
        artifact_refused=True,
        detail="über",
    )
    assert CompileResult.read(pack_compiled("no_entry", "why")) == CompileResult("no_entry", "why")
    leaks = ("read a file", "fork")
    assert SandboxReport.read(pack_check(6, True, 65534, leaks)) == SandboxReport(
        landlock_abi=6, seccomp=True, uid=65534, leaks=leaks
    )
    with pytest.raises(ChildLied):
        JobResult.read(packed[:10])


def test_a_start_arrives_as_it_was_sent() -> None:
    sent = RunSpec(
        wall_ms=1 << 40,
        argv=("a", "", "ü"),
        env=(("K", "v"),),
        seed=b"\0\1",
        epoch_s=1 << 32,
        inputs=(("/in", True),),
        outputs=(("/out", 1 << 40, 3),),
        fuel=(1 << 63) - 1,
        memory_bytes=1 << 32,
        disk_bytes=0,
        max_files=0,
        stdout_bytes=1,
    )
    packed = pack_start(sent)
    assert START.unpack_from(packed) == (RunSpec.KIND, sent.wall_ms)
    got = unpack_start(packed)
    assert isinstance(got, RunSpec)
    assert [getattr(got, name) for name in RunSpec.__slots__] == [getattr(sent, name) for name in RunSpec.__slots__]


HONEST = JobResult(
    state=OutcomeState.EXITED,
    exit_code=0,
    fuel=50,
    memory_bytes=65_536,
    stdout_truncated=False,
    stderr_truncated=False,
    detail="",
)


@pytest.mark.parametrize(
    "change",
    [
        {"state": 99},
        {"state": -1},
        {"state": int(OutcomeState.TIMEOUT)},
        {"state": int(OutcomeState.CANCELLED)},
        {"fuel": 101},
        {"fuel": -2},
        {"exit_code": 1 << 31},
        {"memory_bytes": (1 << 20) + 1},
    ],
)
def test_a_result_that_cannot_be(change: dict[str, int]) -> None:
    assert believable(HONEST, LIMITS) == HONEST
    with pytest.raises(ChildLied):
        believable(msgspec.structs.replace(HONEST, **change), LIMITS)


def test_a_long_story_is_cut() -> None:
    assert len(believable(msgspec.structs.replace(HONEST, detail="x" * 10_000), LIMITS).detail) == 500


def test_more_log_than_the_limit(tmp_path: Path) -> None:
    with LogFiles(tmp_path, LIMITS.stdout_bytes, ignore_log) as logs:
        logs.append(Stream.STDOUT, b"0123456789")
        logs.append(Stream.STDERR, b"0123456789")
        with pytest.raises(ChildLied):
            logs.append(Stream.STDOUT, b"x")
    assert (tmp_path / "stdout").read_bytes() == b"0123456789"

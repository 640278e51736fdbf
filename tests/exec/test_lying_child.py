"""Does the node stay whole when a job's process is no longer ours and writes what it likes?"""

import os
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.exec.executor import Limits, OutcomeState, Stream, ignore_log
from mesh.exec.wasm.client import Child
from mesh.exec.wasm.executor import believable
from mesh.exec.wasm.verdicts import ChildLied, JobResult
from mesh.exec.wasm.wire import FRAME_HEADER, MAX_FRAME_BYTES, FrameType
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

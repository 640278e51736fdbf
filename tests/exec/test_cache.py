"""Is a module compiled once, kept within bounds, and never trusted when it does not load?"""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from mesh.exec.executor import ExecutorUnavailable, JobRequest, OutcomeState
from mesh.exec.wasm.artifacts import ArtifactCache
from mesh.exec.wasm.client import Child
from mesh.exec.wasm.executor import WasmExecutor
from mesh.exec.wasm.wire import Start

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

EMPTY = '(module (func (export "_start")))'


class Counting:
    """Starts children in an executor's zygote and counts them."""

    def __init__(self, executor: WasmExecutor) -> None:
        self._executor = executor
        self.count = 0

    async def __call__(self, spec: Start, fds: list[int]) -> Child:
        self.count += 1
        return await self._executor.launch(spec, fds)


def text(number: int) -> bytes:
    """A module that is unlike the others."""
    return f'(module (func (export "_start") (drop (i32.const {number}))))'.encode()


async def test_one_compilation_for_many_who_ask(executor: WasmExecutor, tmp_path: Path) -> None:
    launch = Counting(executor)
    cache = ArtifactCache(tmp_path / "cache", launch)
    found: list[Path] = []

    async def ask() -> None:
        found.append(await cache.get(text(1), text=True))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert (launch.count, len(found), len(set(found))) == (1, 10, 1)
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert stat.S_IMODE(found[0].stat().st_mode) == 0o600
    again = Counting(executor)
    assert await ArtifactCache(tmp_path / "cache", again).get(text(1), text=True) == found[0]
    assert again.count == 0


async def test_the_least_recently_used_goes_first(executor: WasmExecutor, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, executor.launch, max_entries=2)
    first, second = [await cache.get(text(number), text=True) for number in (1, 2)]
    os.utime(first, (1000, 1000))
    os.utime(second, (999, 999))
    third = await cache.get(text(3), text=True)
    assert set(tmp_path.iterdir()) == {first, third}


async def test_bytes_are_bounded_but_the_newest_stays(executor: WasmExecutor, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, executor.launch, max_bytes=1)
    await cache.get(text(1), text=True)
    second = await cache.get(text(2), text=True)
    assert list(tmp_path.iterdir()) == [second]


async def test_a_spoilt_artifact_is_our_error_and_is_thrown_away(rig: "Rig") -> None:
    prepared = await rig.executor.prepare(JobRequest(module_path=rig.module(EMPTY)))
    prepared.artifact.write_bytes(prepared.artifact.read_bytes()[:100])
    outcome = await rig.executor.run(prepared, rig.work_dir(), rig.limits)
    assert outcome.state is OutcomeState.INFRA_ERROR
    assert not prepared.artifact.exists()
    assert (await rig.executor.run(prepared, rig.work_dir(), rig.limits)).state is OutcomeState.EXITED


async def test_a_module_that_changed_after_it_was_prepared(rig: "Rig") -> None:
    path = rig.module(EMPTY)
    prepared = await rig.executor.prepare(JobRequest(module_path=path))
    prepared.artifact.unlink()
    path.write_bytes(rig.module('(module (func (export "_start") unreachable))').read_bytes())
    with pytest.raises(ExecutorUnavailable, match="changed"):
        await rig.executor.run(prepared, rig.work_dir(), rig.limits)


async def test_text_and_bytes_are_different_modules(executor: WasmExecutor, tmp_path: Path, rig: "Rig") -> None:
    cache = ArtifactCache(tmp_path / "cache", executor.launch)
    module = rig.module(EMPTY).read_bytes()
    assert await cache.get(module) != await cache.get(EMPTY.encode(), text=True)

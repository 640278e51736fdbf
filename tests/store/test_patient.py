"""Does a node whose disk is full wait for room instead of ending?"""

from functools import partial

import pytest
import trio

from mesh.base.clock import SystemClock
from mesh.store import Batch, Row, StoreFull
from mesh.store.patient import PatientStore

QUOTA = 1 << 20
BIG = b"x" * (QUOTA // 8)


async def open_full(folder) -> tuple[PatientStore, int]:
    """A store with room for no more big rows, and how many it took."""
    store = await PatientStore.open(folder / "node.db", clock=SystemClock(), quota_bytes=QUOTA)
    for number in range(32):
        with trio.move_on_after(0.5) as gave_up:
            await store.commit(Batch(puts=[Row("x", bytes([number]), 1, BIG)]))
        if gave_up.cancelled_caught:
            return store, number
    raise AssertionError("the quota did not hold")


async def test_writers_wait_for_room_and_say_what_for(tmp_path, autojump_clock) -> None:
    store, held = await open_full(tmp_path)
    async with store, trio.open_nursery() as nursery:
        assert isinstance(await store.until_trouble(), StoreFull)
        assert isinstance(store.trouble, StoreFull)
        assert "journal_quota_mib" in store.trouble.fix
        landed = trio.Event()

        async def write() -> None:
            await store.commit(Batch(puts=[Row("x", b"late", 1, BIG)]))
            landed.set()

        nursery.start_soon(write)
        await trio.sleep(30)
        assert not landed.is_set()
        await store.commit(Batch(deletes=[("x", bytes([number])) for number in range(held // 2)]))
        await landed.wait()
        assert store.trouble is None
        with trio.move_on_after(60) as quiet:
            await store.until_trouble()
        assert quiet.cancelled_caught
        assert (await store.load()).rows[-1].id == b"late"


async def test_a_node_without_room_can_be_stopped(tmp_path, autojump_clock) -> None:
    store, held = await open_full(tmp_path)
    async with store, trio.open_nursery() as nursery:
        nursery.start_soon(partial(store.commit, Batch(puts=[Row("x", b"late", 1, BIG)])))
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    again = await PatientStore.open(tmp_path / "node.db", clock=SystemClock())
    async with again:
        assert len((await again.load()).rows) == held


async def test_only_a_full_store_is_waited_for(tmp_path) -> None:
    async with await PatientStore.open(tmp_path / "node.db", clock=SystemClock()) as store:
        with pytest.raises(ZeroDivisionError):
            await store.write(lambda connection: 1 // 0)
        assert store.trouble is None

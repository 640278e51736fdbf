"""Does the blob store keep what it must, give nothing damaged, and stay within its quota?"""

import os
from pathlib import Path

import pytest
import trio

from devnet.sim.trees import Blocks, add_leaf, pattern, plant
from mesh.store.blobs import BlobStore, BlobStoreFailed, QuotaExceeded, open_blobs
from mesh.store.blobs.importing import ImportRules
from mesh.store.blobs.recent import RECENT_BLOCK_BYTES, RECENT_BYTES, Recent
from mesh.store.blobs.rows import SMALL_BYTES
from protocols.transfer.cid import cid_text, raw_cid
from protocols.transfer.steps import Want
from protocols.transfer.unixfs import Root
from protocols.units import Cid

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
LARGE = bytes(SMALL_BYTES)
"""Put before a few bytes: a block that is a file."""


async def keep(store: BlobStore, layout: object, key: bytes | None = None) -> tuple[Root, Blocks]:
    blocks: Blocks = {}
    root = plant(layout, blocks, 4096, 3)  # type: ignore[arg-type]
    await store.put(list(blocks.items()))
    if key is not None:
        await store.pin(key, root.cid)
    return root, blocks


def block_file(path: Path, cid: Cid) -> Path:
    return path / "blobs" / f"{cid[4]:02x}" / cid_text(cid)


@pytest.mark.parametrize("sync", [True, False])
async def test_blocks_survive_reopening_and_leave_nothing_else(tmp_path: Path, sync: bool) -> None:
    async with open_blobs(tmp_path / "s", quota_bytes=1 << 30, sync=sync) as store:
        _, blocks = await keep(store, {"a": pattern(20_000), "b": {}})
        used = await store.used_bytes()
    (tmp_path / "s" / "tmp" / "7").write_bytes(b"left by a crash")
    async with open_blobs(tmp_path / "s", quota_bytes=1 << 30, sync=sync) as store:
        assert [await store.get(cid) for cid in blocks] == list(blocks.values())
        assert await store.used_bytes() == used == 4096 * len(blocks)
        assert await store.get(raw_cid(b"absent")) is None
        assert not await store.has(raw_cid(b"absent"))
    assert not list((tmp_path / "s" / "tmp").iterdir())


async def test_a_second_process_is_told_that_the_store_is_in_use(tmp_path: Path) -> None:
    async with open_blobs(tmp_path / "s", quota_bytes=1):
        with pytest.raises(BlobStoreFailed, match="in use"):
            async with open_blobs(tmp_path / "s", quota_bytes=1):
                raise AssertionError("two owners of one store")
    async with open_blobs(tmp_path / "s", quota_bytes=1):
        pass


@pytest.mark.parametrize("damage", [b"", b"other bytes", b"x" * 5000])
async def test_a_damaged_block_is_removed_and_absent(tmp_path: Path, store: BlobStore, damage: bytes) -> None:
    block = LARGE + b"right bytes"
    cid = raw_cid(block)
    await store.put([(cid, block)])
    damaged = block_file(tmp_path / "store", cid)
    damaged.write_bytes(damage)
    os.utime(damaged, (0, 0))  # a file system's clock may stand still for longer than a test takes
    assert await store.get(cid) is None
    assert not await store.has(cid)
    assert store.statistics().blocks_damaged == 1
    await store.put([(cid, block)])
    assert await store.get(cid) == block


async def test_a_block_read_a_moment_ago_is_absent_once_its_file_is(tmp_path: Path, store: BlobStore) -> None:
    block = LARGE + b"right bytes"
    cid = raw_cid(block)
    await store.put([(cid, block)])
    assert await store.get(cid) == block
    block_file(tmp_path / "store", cid).unlink()
    assert await store.get(cid) is None
    await store.put([(cid, block)])
    assert await store.get(cid) == block


def test_recent_blocks_have_a_bound_and_the_latest_used_stay(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(b"")
    recent, block = Recent(), bytes(RECENT_BLOCK_BYTES)
    names = [raw_cid(number.to_bytes(4, "big")) for number in range(RECENT_BYTES // RECENT_BLOCK_BYTES + 1)]
    for name in names:
        recent.keep(name, block, path.stat())
        assert recent.get(names[0], lambda _: str(path)) == block
    assert recent.get(names[1], lambda _: str(path)) is None
    assert sum(recent.get(name, lambda _: str(path)) is not None for name in names) * len(block) <= RECENT_BYTES
    recent.keep(names[1], block + b"x", path.stat())
    assert recent.get(names[1], lambda _: str(path)) is None


async def test_a_leaf_cut_short_on_disk_counts_as_absent_and_is_replaced(tmp_path: Path, store: BlobStore) -> None:
    block = bytes(5000)
    cid = raw_cid(block)
    await store.put([(cid, block)])
    block_file(tmp_path / "store", cid).write_bytes(block[:4096])
    with store.lease() as lease:
        found = await store.look_up([Want(cid, 5000)], lease)
    assert found.absent == (cid,)
    await store.put([(cid, block)])
    assert await store.get(cid) == block


async def test_collection_keeps_what_is_pinned_and_nothing_more(store: BlobStore) -> None:
    kept, kept_blocks = await keep(store, {"deep": {"er": pattern(50_000)}, "x": b"x"}, KEY)
    _, gone_blocks = await keep(store, {"deep": {"er": pattern(50_001)}, "y": b"y"})
    shared = set(kept_blocks) & set(gone_blocks)
    assert shared, "the two trees share leaves, else this test shows less"
    result = await store.collect(0)
    assert result.removed_blocks == len(set(gone_blocks) - shared)
    for cid in kept_blocks:
        assert await store.has(cid)
    for cid in set(gone_blocks) - shared:
        assert not await store.has(cid)
    await store.pin(OTHER_KEY, kept.cid)
    await store.unpin(KEY)
    await store.collect(0)
    assert await store.has(kept.cid)
    await store.unpin(OTHER_KEY)
    await store.unpin(OTHER_KEY)
    await store.collect(0)
    assert await store.used_bytes() == 0


async def test_pins_survive_reopening(tmp_path: Path) -> None:
    async with open_blobs(tmp_path / "s", quota_bytes=1 << 30) as store:
        root, blocks = await keep(store, pattern(9000), KEY)
    async with open_blobs(tmp_path / "s", quota_bytes=1 << 30) as store:
        assert await store.pinned(KEY) == (root.cid,)
        await store.collect(0)
        assert all([await store.has(cid) for cid in blocks])


async def test_what_a_running_work_touches_is_not_collected(store: BlobStore) -> None:
    old = raw_cid(b"old")
    await store.put([(old, b"old")])
    with store.lease() as lease:
        await store.put([(raw_cid(b"new"), b"new")], lease)
        await store.look_up([Want(old, 3)], lease)
        await store.collect(0)
        assert await store.has(old)
        assert await store.has(raw_cid(b"new"))
    await store.collect(0)
    assert await store.used_bytes() == 0


async def test_the_oldest_go_first_and_no_more_than_needed(tmp_path: Path, store: BlobStore) -> None:
    names = []
    for age in range(8):
        block = LARGE + bytes((age,))
        cid = raw_cid(block)
        names.append(cid)
        await store.put([(cid, block)])
        os.utime(block_file(tmp_path / "store", cid), ns=(age, age))
    result = await store.collect(5 * 2 * 4096)
    assert result.removed_blocks == 3
    assert [await store.has(cid) for cid in names] == [False] * 3 + [True] * 5


async def test_the_quota_holds_and_garbage_makes_room(tmp_path: Path) -> None:
    async with open_blobs(tmp_path / "s", quota_bytes=10 * 4096, sync=False) as store:
        _, garbage = await keep(store, pattern(4096 * 5))
        _, pinned = await keep(store, pattern(4096 * 5 + 4000)[4000:], KEY)
        assert all([await store.has(cid) for cid in pinned])
        assert await store.used_bytes() <= 10 * 4096
        assert store.statistics().collections == 1
        assert not all([await store.has(cid) for cid in garbage])
        before = await store.used_bytes()
        with pytest.raises(QuotaExceeded, match="no room"):
            await store.put([(raw_cid(bytes(4096 * 9)), bytes(4096 * 9))])
        assert await store.used_bytes() <= before
        assert all([await store.has(cid) for cid in pinned])


async def test_reach_tells_whether_it_knows_all(tmp_path: Path, store: BlobStore) -> None:
    root, blocks = await keep(store, {"a": pattern(60_000), "b": b"leaf"})
    reach, complete = await store.reach(root.cid)
    assert complete
    assert len(reach) == len(blocks)
    assert all(cid in reach for cid in blocks)
    assert add_leaf({}, b"stranger") not in reach
    node = next(cid for cid in blocks if cid[1] == 0x70 and cid != root.cid)
    async with open_blobs(tmp_path / "partial", quota_bytes=1 << 30) as partial:
        await partial.put([(cid, block) for cid, block in blocks.items() if cid != node])
        _, complete = await partial.reach(root.cid)
        assert not complete


async def test_a_full_disk_surfaces_as_one_error(tmp_path: Path, store: BlobStore) -> None:
    """A directory where the staged file should go plays the disk that fails."""
    for number in range(1, 3):
        (tmp_path / "store" / "tmp" / str(number)).mkdir()
    block = LARGE + b"x"
    with pytest.raises(BlobStoreFailed, match="disk"):
        await store.put([(raw_cid(block), block)])
    assert not await store.has(raw_cid(block))
    assert await store.used_bytes() == 0


async def test_many_writers_of_the_same_blocks_agree(store: BlobStore) -> None:
    blocks: Blocks = {}
    plant(pattern(100_000), blocks, 4096, 3)
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(store.put, list(blocks.items()))
    assert await store.used_bytes() == sum(-(-len(block) // 4096) * 4096 for block in blocks.values())
    assert [await store.get(cid) for cid in blocks] == list(blocks.values())


async def test_names_are_settled_when_work_returns_and_after_a_process_was_killed_before(tmp_path: Path) -> None:
    """Work under a lease syncs its directories once, at its end; what a killed process left is settled at the start."""
    where = tmp_path / "s"
    mark = where / "unsettled"
    block, other = LARGE + b"x", LARGE + b"y"
    async with open_blobs(where, quota_bytes=1 << 30) as store:
        await store.put([(raw_cid(other), other)])
        assert not mark.exists()
        with store.lease() as lease:
            await store.put([(raw_cid(block), block)], lease)
            assert mark.exists()
            await store.settle()
        assert not mark.exists()
        await store.add_bytes(bytes(3_000_000))
        assert not mark.exists()
    mark.touch()
    async with open_blobs(where, quota_bytes=1 << 30) as store:
        assert not mark.exists()
        assert await store.get(raw_cid(block)) == block


async def test_whoever_relies_on_a_block_that_is_not_settled_settles_it(store: BlobStore, tmp_path: Path) -> None:
    mark = tmp_path / "store" / "unsettled"
    block = raw_cid(LARGE + b"x"), LARGE + b"x"
    with store.lease() as lease:
        await store.put([block], lease)
        assert mark.exists()
        await store.put([block])  # held already, and yet its name may be lost in a crash
        assert not mark.exists()


async def test_an_import_makes_room_pins_and_settles_like_a_put(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "stdout").write_bytes(b"said")
    async with open_blobs(tmp_path / "tight", quota_bytes=4 * 4096, sync=False) as tight:
        await tight.put([(raw_cid(bytes([n])), bytes([n])) for n in range(4)])  # garbage: nobody pins it
        root = await tight.add_path(folder, ImportRules(max_content_bytes=100), key=b"deal")
        assert await tight.pinned(b"deal") == (root.cid,)
        assert await tight.get(root.cid) is not None
        assert not (tmp_path / "tight" / "unsettled").exists()
        assert tight.statistics().collections == 1

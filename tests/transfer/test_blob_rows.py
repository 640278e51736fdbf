"""Are small blocks and pins kept as well as rows of one file as they would be as files?"""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from devnet.sim.trees import Blocks, pattern, plant
from mesh.store.blobs import BlobStore, BlobStoreFailed, open_blobs
from mesh.store.blobs.rows import MAX_KEY_BYTES, SMALL_BYTES, BlobRows
from protocols.errors import LocalProtocolError
from protocols.transfer.cid import cid_text, raw_cid
from protocols.units import Cid

KEY = b"k" * 32
ROWS = "small.sqlite3"


def small(number: int) -> tuple[Cid, bytes]:
    block = number.to_bytes(4, "big")
    return raw_cid(block), block


def files(where: Path) -> list[Path]:
    return list((where / "blobs").glob("*/*"))


@pytest.mark.parametrize("sync", [True, False])
async def test_small_blocks_are_rows_larger_ones_files_and_both_are_there_after_reopening(
    tmp_path: Path, sync: bool
) -> None:
    blocks = [(raw_cid(block), block) for block in (b"", bytes(SMALL_BYTES), bytes(SMALL_BYTES + 1))]
    async with open_blobs(tmp_path, quota_bytes=1 << 20, sync=sync) as store:
        await store.put(blocks)
        assert [path.name for path in files(tmp_path)] == [cid_text(blocks[2][0])]
        used = await store.used_bytes()
    async with open_blobs(tmp_path, quota_bytes=1 << 20, sync=sync) as store:
        assert await store.get_many([cid for cid, _ in blocks], max_bytes=1 << 20) == [block for _, block in blocks]
        assert await store.used_bytes() == used == 4 * 4096


async def test_a_damaged_row_is_removed_and_absent(tmp_path: Path) -> None:
    (cid, block), kept = small(1), small(2)
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        await store.put([(cid, block), kept])
    with sqlite3.connect(tmp_path / ROWS) as shell:
        shell.execute("UPDATE blocks SET block = ? WHERE cid = ?", (b"else", cid))
    shell.close()
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        assert await store.get(cid) is None
        assert not await store.has(cid)
        assert store.statistics().blocks_damaged == 1
        assert await store.get(kept[0]) == kept[1]
        await store.put([(cid, block)])
        assert await store.get(cid) == block


async def test_a_small_block_at_hand_is_absent_once_it_is_collected(store: BlobStore) -> None:
    cid, block = small(1)
    await store.put([(cid, block)])
    assert await store.get(cid) == block
    await store.collect(0)
    assert await store.get(cid) is None


async def test_the_oldest_rows_go_first(tmp_path: Path) -> None:
    blocks = [small(number) for number in range(6)]
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        await store.put(blocks)
    with sqlite3.connect(tmp_path / ROWS) as shell:
        shell.executemany(
            "UPDATE blocks SET at_ns = ? WHERE cid = ?", [(at, cid) for at, (cid, _) in enumerate(blocks)]
        )
    shell.close()
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        assert (await store.collect(4 * 4096)).removed_blocks == 2
        assert [await store.has(cid) for cid, _ in blocks] == [False] * 2 + [True] * 4


async def test_what_is_collected_gives_its_room_back(tmp_path: Path) -> None:
    async with open_blobs(tmp_path, quota_bytes=1 << 30, sync=False) as store:
        await store.put([(raw_cid(block), block) for block in (pattern(n + 2000) for n in range(1000))])
    full = (tmp_path / ROWS).stat().st_size
    async with open_blobs(tmp_path, quota_bytes=1 << 30, sync=False) as store:
        assert (await store.collect(0)).removed_blocks == 1000
    assert full > 2_000_000
    assert (tmp_path / ROWS).stat().st_size < full // 10


async def test_pins_that_lie_as_files_are_taken_over(tmp_path: Path) -> None:
    blocks: Blocks = {}
    root = plant({"a": pattern(10_000)}, blocks, 4096, 3)
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        await store.put(list(blocks.items()))
    owner = tmp_path / "pins" / KEY.hex()
    owner.mkdir(parents=True)
    (owner / cid_text(root.cid)).touch()
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        assert not (tmp_path / "pins").exists()
        assert await store.pinned(KEY) == (root.cid,)
        assert (await store.collect(0)).removed_blocks == 0
        await store.unpin(KEY)
        assert await store.pinned(KEY) == ()
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        assert await store.pinned(KEY) == ()


async def test_pins_begin_and_end_while_others_write(store: BlobStore) -> None:
    async def one(number: int) -> None:
        cid, block = small(number)
        key = number.to_bytes(32, "big")
        with store.lease() as lease:
            await store.put([(cid, block)], lease, settle=True, pin=(key, cid))
        assert await store.pinned(key) == (cid,)
        await store.unpin(key)
        assert await store.pinned(key) == ()

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(one, number)
    assert (await store.collect(0)).removed_blocks == 40


@pytest.mark.parametrize("key", [b"", bytes(MAX_KEY_BYTES + 1)])
async def test_a_key_of_no_or_too_many_bytes_is_refused(store: BlobStore, key: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="owner key"):
        await store.pin(key, small(1)[0])
    with pytest.raises(LocalProtocolError, match="owner key"):
        await store.unpin(key)


async def test_a_file_of_rows_that_is_none_is_named_with_what_to_do(tmp_path: Path) -> None:
    async with open_blobs(tmp_path, quota_bytes=1 << 20):
        pass
    (tmp_path / ROWS).write_bytes(b"no database" * 1000)
    with pytest.raises(BlobStoreFailed, match="damaged") as failed:
        async with open_blobs(tmp_path, quota_bytes=1 << 20):
            raise AssertionError("opened")
    assert "small.sqlite3" in failed.value.fix
    for left in tmp_path.glob(f"{ROWS}*"):
        left.unlink()
    async with open_blobs(tmp_path, quota_bytes=1 << 20) as store:
        await store.put([small(1)])


def test_after_a_failed_disk_nothing_more_is_called_durable(tmp_path: Path) -> None:
    rows = BlobRows(tmp_path / ROWS, sync=True)
    rows.open()
    rows.write([small(number) for number in range(1000)])
    rows.close()
    rows = BlobRows(tmp_path / ROWS, sync=True)
    rows.open()
    sound = (tmp_path / ROWS).read_bytes()
    with (tmp_path / ROWS).open("r+b") as disk:
        disk.write(bytes(4096) + b"x" * (len(sound) - 4096))
    with pytest.raises(sqlite3.Error) as first:
        rows.write([small(2000)])
    (tmp_path / ROWS).write_bytes(sound)
    with pytest.raises(sqlite3.Error) as second:
        rows.write([small(2001)])
    assert second.value is first.value
    rows.close()


PUTTER = """
import sys, trio
from pathlib import Path
from mesh.store.blobs import open_blobs
from protocols.transfer.cid import raw_cid

async def main(where):
    async with open_blobs(Path(where), quota_bytes=1 << 30) as store:
        number = 0
        while True:
            block = number.to_bytes(4, "big")
            with store.lease() as lease:
                await store.put([(raw_cid(block), block)], lease, settle=True, pin=(block, raw_cid(block)))
            print(number, flush=True)
            number += 1

trio.run(main, sys.argv[1])
"""


async def test_what_a_killed_process_had_put_is_there_and_pinned(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PUTTER, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        while process.stdout.readline() != b"30\n":
            assert process.poll() is None, "the putter ended by itself"
        process.kill()
        process.wait()
    async with open_blobs(tmp_path, quota_bytes=1 << 30) as store:
        for number in range(31):
            cid, block = small(number)
            assert await store.pinned(block) == (cid,)
            assert await store.get(cid) == block

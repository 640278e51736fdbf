"""Is every block that a killed process left in its store whole, and does the next process go on from there?"""

import subprocess
import sys
from pathlib import Path

import pytest

from devnet.sim.trees import Blocks, pattern, plant
from mesh.store.blobs import ImportRules, open_blobs
from protocols.transfer.cid import parse_cid
from protocols.transfer.walk import Limits

IMPORTER = """
import sys, trio
from pathlib import Path
from mesh.store.blobs import ImportRules, open_blobs

async def main(store, source):
    async with open_blobs(Path(store), quota_bytes=1 << 40) as blobs:
        print("open", flush=True)
        while True:
            await blobs.add_path(Path(source), ImportRules(max_content_bytes=1 << 40), key=b"k")
            await blobs.unpin(b"k")
            await blobs.collect(0)

trio.run(main, sys.argv[1], sys.argv[2])
"""


def import_until_killed(source: Path, where: Path, after_blocks: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", IMPORTER, where, source], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        while sum(1 for _ in (where / "blobs").glob("*/*")) < after_blocks:
            assert process.poll() is None, "the importer ended by itself"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("after_blocks", [1, 9, 30])
async def test_kill_9_leaves_whole_blocks_and_nothing_else(tmp_path: Path, after_blocks: int) -> None:
    source, where = tmp_path / "source", tmp_path / "store"
    source.write_bytes(pattern(300_000) * 40)
    import_until_killed(source, where, after_blocks)
    held = [parse_cid(path.name) for path in (where / "blobs").glob("*/*")]
    async with open_blobs(where, quota_bytes=1 << 40) as store:
        assert None not in await store.get_many(held, max_bytes=1 << 40)
        assert store.statistics().blocks_damaged == 0
        assert not list((where / "tmp").glob("*"))
        root = await store.add_path(source, ImportRules(max_content_bytes=1 << 40))
        blocks: Blocks = {}
        assert root == plant(source.read_bytes(), blocks, 262144, 174)
        await store.materialise(root.cid, tmp_path / "copy", Limits(max_content_bytes=1 << 40))
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()

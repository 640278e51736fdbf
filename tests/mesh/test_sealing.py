"""Do sealed bytes say nothing without their key, and exactly the result with it?"""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.sealing import CHUNK_BYTES, CID_BYTES, NONCE_BYTES, TAG_BYTES, NotSealed, Reader, SealedResults, Writer
from mesh.store.blobs import BlobStore, open_blobs
from mesh.store.blobs.importing import ImportRules
from protocols.deals.states import SealedBytes
from protocols.transfer.cid import raw_cid
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId

KEY, OTHER_KEY = b"\x07" * 32, b"\x08" * 32
NONCE = b"\x01" * NONCE_BYTES
DEAL = DealId(b"\xaa" * 32)
SECRET = b"what the job has found out, and nobody else knows " * 9
ANY = ImportRules(max_content_bytes=1 << 30)


def sealed(plain: bytes, key: bytes = KEY) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, key, NONCE)
    for start in range(0, len(plain), 300_000):
        writer.write(plain[start : start + 300_000])
    writer.end()
    return file.getvalue()


def opened(data: bytes, size: int, key: bytes = KEY) -> bytes:
    reader = Reader(io.BytesIO(data), key)
    plain = reader.take(size)
    assert reader.exhausted
    return plain


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_what_is_sealed_comes_out_again(size: int) -> None:
    plain = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    data = sealed(plain)
    assert len(data) == NONCE_BYTES + size + TAG_BYTES * max(1, -(-size // CHUNK_BYTES))
    assert plain[:64] not in data or size < 8
    assert opened(data, size) == plain


def test_a_chunk_that_is_changed_moved_dropped_or_added_opens_nothing() -> None:
    plain = bytes(range(256)) * (10 * CHUNK_BYTES // 1024)
    data = sealed(plain)
    step = CHUNK_BYTES + TAG_BYTES
    chunks = [data[at : at + step] for at in range(NONCE_BYTES, len(data), step)]
    assert len(chunks) == 3
    head = data[:NONCE_BYTES]
    hurt = [
        head + chunks[0] + chunks[1],  # the last is gone
        head + chunks[1] + chunks[0] + chunks[2],
        head + chunks[0] + chunks[2],
        data + chunks[2],
        head + chunks[0] + bytes([chunks[1][0] ^ 1]) + chunks[1][1:] + chunks[2],
        bytes(NONCE_BYTES) + data[NONCE_BYTES:],
        data[:-1],
        data[: NONCE_BYTES - 1],
        b"",
    ]
    for one in hurt:
        with pytest.raises(NotSealed):
            opened(one, len(plain))
    with pytest.raises(NotSealed):
        opened(data, len(plain), OTHER_KEY)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[BlobStore, BlobStore]]:
    async with (
        open_blobs(tmp_path / "one", quota_bytes=1 << 28) as one,
        open_blobs(tmp_path / "two", quota_bytes=1 << 28) as two,
    ):
        yield one, two


async def result(store: BlobStore, tmp_path: Path) -> Cid:
    """A result with a large file, a repetitive one and an empty folder."""
    folder = tmp_path / "result"
    (folder / "outputs" / "empty").mkdir(parents=True)
    (folder / "stdout").write_bytes(SECRET)
    (folder / "exitCode").write_text("0\n")
    (folder / "outputs" / "large").write_bytes(b"".join(i.to_bytes(4, "big") for i in range(700_000)))
    (folder / "outputs" / "zeros").write_bytes(bytes(3 << 20))
    return (await store.add_path(folder, ANY, key=DEAL)).cid


async def carried(one: BlobStore, two: BlobStore, made: SealedBytes, tmp_path: Path) -> bytes:
    """The sealed bytes, brought over as a pull would."""
    await one.materialise(made.root, tmp_path / "carried", Limits.for_content(made.size))
    data = (tmp_path / "carried").read_bytes()
    assert (await two.add_path(tmp_path / "carried", ANY, key=DEAL)).cid == made.root
    return data


async def test_a_result_is_carried_sealed_and_is_the_same_tree_again(
    stores: tuple[BlobStore, BlobStore], tmp_path: Path
) -> None:
    one, two = stores
    root = await result(one, tmp_path)
    made = await SealedResults(one).seal(DEAL, root, KEY, tmp_path / "sealed")
    data = await carried(one, two, made, tmp_path)
    assert len(data) == made.size
    assert SECRET[:50] not in data
    assert root not in data
    assert not await two.has(root)
    (tmp_path / "work").mkdir()
    inner, size = await SealedResults(two).unseal(DEAL, made.root, made.size, KEY, tmp_path / "work")
    assert inner == root
    assert size == 700_000 * 4 + (3 << 20) + len(SECRET) + 2
    assert root in await two.pinned(DEAL)
    await two.materialise(root, tmp_path / "out", Limits.for_content(size))
    assert (tmp_path / "out" / "stdout").read_bytes() == SECRET


async def test_sealing_twice_makes_other_bytes_of_the_same_result(
    stores: tuple[BlobStore, BlobStore], tmp_path: Path
) -> None:
    one, _ = stores
    root = await result(one, tmp_path)
    first = await SealedResults(one).seal(DEAL, root, KEY, tmp_path / "first")
    second = await SealedResults(one).seal(DEAL, root, KEY, tmp_path / "second")
    assert first.root != second.root
    assert first.size == second.size


async def test_what_a_thief_seals_is_refused(stores: tuple[BlobStore, BlobStore], tmp_path: Path) -> None:
    """Another key, a part of a tree, blocks that are not what their names say, no tree at all."""
    one, two = stores
    root = await result(one, tmp_path)
    node = await one.get(root)
    assert node is not None
    head = root + len(node).to_bytes(4, "big") + node
    leaf = raw_cid(b"x")
    for number, plain in enumerate(
        [
            root,
            root + head,  # nothing below
            root + leaf + (1).to_bytes(4, "big") + b"y",
            root + leaf + (1 << 31).to_bytes(4, "big") + b"x",
            root + b"\xff" * (CID_BYTES + 4) + b"x",
            b"\x00" * CID_BYTES,
            b"",
        ]
    ):
        cid = (await two.add_bytes(sealed(plain))).cid
        work = tmp_path / f"work-{number}"
        work.mkdir()
        with pytest.raises(NotSealed):
            await SealedResults(two).unseal(DEAL, cid, 1 << 20, KEY, work)
    made = await SealedResults(one).seal(DEAL, root, KEY, tmp_path / "sealed")
    await carried(one, two, made, tmp_path)
    (tmp_path / "work").mkdir()
    with pytest.raises(NotSealed):
        await SealedResults(two).unseal(DEAL, made.root, made.size, OTHER_KEY, tmp_path / "work")

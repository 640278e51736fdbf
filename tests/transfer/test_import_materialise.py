"""Do files survive the way into the store and out again, and does neither way open a door?"""

import os
import socket
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.sim.trees import DIRECTORY_DATA, Blocks, Layout, add_leaf, add_node, link, pattern, plant
from mesh.store.blobs import BlobAbsent, BlobStore, DestinationRefused, ImportRefused, ImportRules, open_blobs
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import cid_text
from protocols.transfer.unixfs import EMPTY_DIRECTORY, EMPTY_FILE
from protocols.transfer.walk import Limits

RULES = ImportRules(max_content_bytes=1 << 26)
LIMITS = Limits(max_content_bytes=1 << 26)


def write(layout: Layout, path: Path) -> None:
    if isinstance(layout, bytes):
        path.write_bytes(layout)
    else:
        path.mkdir()
        for name, part in layout.items():
            write(part, path / name)


def read(path: Path) -> Layout:
    return path.read_bytes() if path.is_file() else {entry.name: read(entry) for entry in path.iterdir()}


layouts: st.SearchStrategy[Layout] = st.recursive(
    st.binary(max_size=300),
    lambda inner: st.dictionaries(st.sampled_from(["a", "Bc", "d e", "é", "\u4e2d\n", ".hid"]), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=25)
@given(layout=layouts)
def test_what_goes_in_comes_out_and_has_the_same_name(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> None:
    base = tmp_path_factory.mktemp("trip")
    write(layout, base / "in")

    async def trip() -> None:
        async with open_blobs(base / "store", quota_bytes=1 << 30, sync=False) as store:
            root = await store.add_path(base / "in", RULES)
            assert root == plant(layout, {}, 262144, 174)
            done = await store.materialise(root.cid, base / "out", LIMITS)
            assert read(base / "out") == layout
            assert done.content_bytes == root.content_bytes
            again = await store.add_path(base / "out", RULES)
            assert again == root

    trio.run(trip)


async def test_large_files_stream_and_have_the_oracles_name(tmp_path: Path, store: BlobStore) -> None:
    (tmp_path / "f").write_bytes(pattern(262145) + bytes(12 << 20))
    root = await store.add_path(tmp_path / "f", RULES, key=b"k")
    await store.collect(0)
    await store.materialise(root.cid, tmp_path / "g", LIMITS)
    assert (tmp_path / "g").read_bytes() == (tmp_path / "f").read_bytes()
    assert await store.read_file(root.cid, max_bytes=1 << 24) == (tmp_path / "f").read_bytes()
    (tmp_path / "h").write_bytes(pattern(262145))
    small = await store.add_path(tmp_path / "h", RULES)
    assert cid_text(small.cid) == "bafybeihn3jdjr7ug74plqriwu5bxd4srbljuhif3fpoj4o3ym4lvzrps5u"
    assert await store.add_bytes(pattern(262145), key=b"j") == small
    with pytest.raises(RemoteProtocolError, match="limits"):
        await store.read_file(root.cid, max_bytes=1 << 20)


async def test_nothing_becomes_empty_file_and_empty_directory(tmp_path: Path, store: BlobStore) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    assert (await store.add_path(tmp_path / "f", RULES)).cid == EMPTY_FILE
    assert (await store.add_path(tmp_path / "d", RULES)).cid == EMPTY_DIRECTORY


def symlink(base: Path) -> None:
    (base / "evil").symlink_to("/etc/passwd")


def symlinked_directory(base: Path) -> None:
    (base / "evil").symlink_to("/etc")


def fifo(base: Path) -> None:
    os.mkfifo(base / "evil")


def unix_socket(base: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(base, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/evil")
        os.close(here)


def sparse(base: Path) -> None:
    with open(base / "evil", "wb") as file:
        file.truncate(1 << 40)


def hard_link(base: Path) -> None:
    (base.parent / "secret").write_text("secret")
    os.link(base.parent / "secret", base / "evil")


def case_clash(base: Path) -> None:
    (base / "A").touch()
    (base / "a").touch()


def not_utf8(base: Path) -> None:
    open(os.fsencode(base) + b"/\xff\xfe", "wb").close()


def not_nfc(base: Path) -> None:
    (base / "e\u0301").touch()


def deep(base: Path) -> None:
    for _ in range(40):
        base /= "d"
        base.mkdir()


def too_many(base: Path) -> None:
    for number in range(5001):
        (base / str(number)).touch()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (symlink, "symbolic link"),
        (symlinked_directory, "symbolic link"),
        (fifo, "neither a file nor a directory"),
        (unix_socket, "neither a file nor a directory"),
        (sparse, "exceed"),
        (hard_link, "hard link"),
        (case_clash, "case alone"),
        (not_utf8, "UTF-8"),
        (not_nfc, "NFC"),
        (deep, "deep"),
        (too_many, "5000"),
    ],
)
async def test_what_a_hostile_job_may_leave_is_refused(
    tmp_path: Path, store: BlobStore, make: object, says: str
) -> None:
    base = tmp_path / "out"
    base.mkdir()
    make(base)  # type: ignore[operator]
    with pytest.raises(ImportRefused, match=says):
        await store.add_path(base, ImportRules(max_content_bytes=1 << 26, hard_links=False))


async def test_bounds_of_an_import_hold(tmp_path: Path, store: BlobStore) -> None:
    write({"a": b"12345", "b": {"c": b"67890"}}, tmp_path / "in")
    assert (await store.add_path(tmp_path / "in", ImportRules(max_content_bytes=10, max_entries=3))).content_bytes == 10
    for rules in (ImportRules(max_content_bytes=9), ImportRules(max_content_bytes=10, max_entries=2)):
        with pytest.raises(ImportRefused):
            await store.add_path(tmp_path / "in", rules)
    with pytest.raises(ImportRefused, match="no such file"):
        await store.add_path(tmp_path / "nothing", RULES)


async def test_nothing_is_ever_overwritten(tmp_path: Path, store: BlobStore) -> None:
    blocks: Blocks = {}
    tree, file = plant({"a": b"x"}, blocks).cid, add_leaf(blocks, b"file")
    await store.put(list(blocks.items()))
    full, empty, there = tmp_path / "full", tmp_path / "empty", tmp_path / "there"
    full.mkdir()
    (full / "mine").write_text("mine")
    empty.mkdir()
    there.write_text("mine")
    (tmp_path / "link").symlink_to(full)
    for root, destination in [(tree, full), (tree, there), (tree, tmp_path / "link"), (file, there), (file, empty)]:
        with pytest.raises(DestinationRefused):
            await store.materialise(root, destination, LIMITS)
    with pytest.raises(DestinationRefused, match="mkdir"):
        await store.materialise(tree, tmp_path / "no" / "such", LIMITS)
    await store.materialise(tree, empty, LIMITS)
    assert read(empty) == {"a": b"x"}
    assert read(full) == {"mine": b"mine"}
    assert there.read_text() == "mine"
    assert set(os.listdir(tmp_path)) == {"full", "empty", "there", "link", "store"}


async def test_trees_that_would_escape_or_clash_are_refused_and_leave_nothing(tmp_path: Path, store: BlobStore) -> None:
    blocks: Blocks = {}
    leaf = add_leaf(blocks, b"x")
    bad = [
        add_node(blocks, link(leaf, name, 1) + DIRECTORY_DATA)
        for name in (b"..", b"../x", b"/tmp/x", b"a/b", b"e\xcc\x81", b"\xff", b"a\x00")
    ]
    bad.append(add_node(blocks, link(leaf, b"A", 1) + link(leaf, b"a", 1) + DIRECTORY_DATA))
    good_then_bad = [
        add_node(blocks, link(leaf, b"fine", 1) + link(cid, b"sub", len(blocks[cid]) + leaves) + DIRECTORY_DATA)
        for cid, leaves in zip(bad, [1] * 7 + [2], strict=True)
    ]
    await store.put(list(blocks.items()))
    for root in bad + good_then_bad:
        with pytest.raises(RemoteProtocolError) as caught:
            await store.materialise(root, tmp_path / "out", LIMITS)
        assert caught.value.code == "bad_name"
    assert set(os.listdir(tmp_path)) == {"store"}


async def test_limits_hold_while_writing_and_leave_nothing(tmp_path: Path, store: BlobStore) -> None:
    blocks: Blocks = {}
    root = plant({"a": b"12345", "b": {"c": b"67890"}}, blocks).cid
    bomb, size = add_node(blocks, DIRECTORY_DATA), len(DIRECTORY_DATA)
    for _ in range(8):
        block = b"".join(link(bomb, b"%03d" % i, size) for i in range(100)) + DIRECTORY_DATA
        bomb, size = add_node(blocks, block), len(block) + 100 * size
    await store.put(list(blocks.items()))
    for tree, limits in [
        (root, Limits(max_content_bytes=9)),
        (root, Limits(max_content_bytes=10, max_entries=2)),
        (root, Limits(max_content_bytes=10, max_directory_depth=1)),
        (bomb, LIMITS),
    ]:
        with pytest.raises(RemoteProtocolError) as caught:
            await store.materialise(tree, tmp_path / "out", limits)
        assert caught.value.code == "too_large"
    assert set(os.listdir(tmp_path)) == {"store"}


async def test_a_hole_in_the_tree_is_named_and_leaves_nothing(tmp_path: Path, store: BlobStore) -> None:
    blocks: Blocks = {}
    root = plant({"a": b"held", "b": pattern(500)}, blocks).cid
    lost = next(cid for cid in blocks if cid[1] == 0x55 and blocks[cid] != b"held")
    del blocks[lost]
    await store.put(list(blocks.items()))
    with pytest.raises(BlobAbsent, match=cid_text(lost)):
        await store.materialise(root, tmp_path / "out", LIMITS)
    assert set(os.listdir(tmp_path)) == {"store"}


async def test_cancelling_either_way_leaves_nothing_but_blocks(tmp_path: Path, store: BlobStore) -> None:
    (tmp_path / "big").write_bytes(os.urandom(24 << 20))
    descriptors = len(os.listdir("/proc/self/fd"))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.add_path, tmp_path / "big", RULES)
            while store.statistics().blocks_written == 0:
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught
    root = await store.add_path(tmp_path / "big", RULES)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.materialise, root.cid, tmp_path / "out", LIMITS)
            while not any(name.startswith(".mesh-partial") for name in os.listdir(tmp_path)):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught
    assert set(os.listdir(tmp_path)) == {"store", "big"}
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not list((tmp_path / "store" / "tmp").iterdir())

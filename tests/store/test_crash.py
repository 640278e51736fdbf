"""Is everything that was acknowledged there after any crash, and nothing torn?"""

import os
import random
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import mesh
from mesh.store import Batch, OutboxEntry, Row, Store, StoreClosed, StoreCorrupt, StoreFull, TraceEntry
from mesh.store.batch import read_snapshot
from mesh.store.database import open_database

COMMITTER = Path(__file__).with_name("committer.py")
ROUNDS = 5


async def found_in(path: Path) -> set[int]:
    """The numbers of the committer's batches that a store holds; fails if one is there in part."""
    async with await Store.open(path) as store:
        snapshot = await store.load()
        traced = {record.subject for record in await store.tail(10_000)}
    parts: dict[int, set[str]] = {}
    for row in snapshot.rows:
        assert row.data == row.id * (200 if row.kind == "deal" else 300)
        parts.setdefault(int.from_bytes(row.id, "big"), set()).add(row.kind)
    for entry in snapshot.outbox:
        parts.setdefault(int(entry.key.split(":")[1]), set()).add("outbox")
    for subject in traced:
        parts.setdefault(int.from_bytes(subject, "big"), set()).add("trace")
    torn = {number: found for number, found in parts.items() if found != {"deal", "run", "outbox", "trace"}}
    assert not torn
    return set(parts)


async def run_committer(path: Path, first: int, mode: str, acks: int | None) -> list[str]:
    """What it said until it ended, or until it had said ``acks`` lines and was killed with SIGKILL."""
    command = [sys.executable, str(COMMITTER), str(path), str(first), mode]
    env = {**os.environ, "PYTHONPATH": str(Path(mesh.__file__).parents[1])}
    said = b""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False, env=env)
            process = await nursery.start(start)
            assert process.stdout is not None
            async for chunk in process.stdout:
                said += chunk
                if acks is not None and said.count(b"\n") >= acks:
                    process.send_signal(signal.SIGKILL)
                    acks = None
    return said.decode().split("\n")[:-1]


async def test_killed_while_it_commits_it_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    for round_ in range(ROUNDS):
        first = round_ * 1_000_000
        said = await run_committer(path, first, "loop", chance.randrange(1, 300))
        acknowledged |= {int(line) for line in said}
        found = await found_in(path)
        assert acknowledged <= found
        unsaid = found - acknowledged
        assert len(unsaid) <= 5 * (round_ + 1)  # each of its five callers may have had one on the way
    assert len(acknowledged) >= ROUNDS


async def test_a_failing_disk_stops_the_store_and_tears_nothing(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    said = await run_committer(path, 0, f"limit:{400_000}", None)
    acknowledged = {int(line) for line in said if line.isdigit()}
    errors = [line for line in said if not line.isdigit()]
    assert len(errors) == 5
    assert {line.split()[0] for line in errors} <= {"StoreClosed", "StoreError", "StoreFull"}
    assert acknowledged
    found = await found_in(path)
    assert acknowledged <= found
    assert len(found - acknowledged) <= 5


def chain_of(number: int) -> Batch:
    """The ``number``-th of a chain: replaces one row, adds one, opens an effect and acknowledges the one before."""
    name = number.to_bytes(4, "big")
    return Batch(
        puts=[Row("head", b"", 1, name), Row("deal", name, 1, name * 250)],
        outbox=[OutboxEntry(f"k:{number}", "PostTx", name * 50)],
        acks=[f"k:{number - 1}"],
        trace=[TraceEntry(number, "deal.signed", name, b"")],
    )


@pytest.fixture(scope="module")
def power_cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a store as they lie on the disk after 25 commits, taken while it is open."""
    folder = tmp_path_factory.mktemp("cut")

    async def make() -> None:
        async with await Store.open(folder / "live" / "node.db") as store:
            for number in range(1, 26):
                await store.commit(chain_of(number))
            (folder / "disk").mkdir()
            for name in ("node.db", "node.db-wal"):
                shutil.copy(folder / "live" / name, folder / "disk" / name)

    trio.run(make)
    return folder / "disk"


def chain_length(path: Path) -> int:
    """How many of the chain's batches a store holds; fails if they are not a whole prefix of it."""
    database = open_database(path, quota_bytes=1 << 30)
    try:
        snapshot = read_snapshot(database.readers[0])
    finally:
        database.close()
    rows = {(row.kind, row.id): row.data for row in snapshot.rows}
    length = int.from_bytes(rows.pop(("head", b""), b""), "big")
    names = [number.to_bytes(4, "big") for number in range(1, length + 1)]
    assert rows == {("deal", name): name * 250 for name in names}
    assert [entry.key for entry in snapshot.outbox] == ([f"k:{length}"] if length else [])
    return length


@settings(max_examples=settings().max_examples // 2)
@given(where=st.floats(0, 1), how=st.sampled_from(["cut", "zeros", "flip"]))
def test_after_a_power_cut_a_whole_prefix_is_there(
    power_cut: Path, tmp_path_factory: pytest.TempPathFactory, where: float, how: str
) -> None:
    folder = tmp_path_factory.mktemp("restart")
    shutil.copy(power_cut / "node.db", folder / "node.db")
    log = bytearray((power_cut / "node.db-wal").read_bytes())
    at = int(where * (len(log) - 1))
    if how == "cut":
        del log[at:]
    elif how == "zeros":
        log[at:] = bytes(len(log) - at)
    else:
        log[at] ^= 0x40
    (folder / "node.db-wal").write_bytes(log)
    length = chain_length(folder / "node.db")
    assert length < 25 or at > len(log) * 0.9


def test_without_a_fault_the_whole_chain_is_there(power_cut: Path, tmp_path: Path) -> None:
    shutil.copytree(power_cut, tmp_path / "disk")
    assert chain_length(tmp_path / "disk" / "node.db") == 25


async def test_a_full_store_says_so_writes_nothing_and_works_again_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with await Store.open(path, quota_bytes=1 << 20) as store:
        landed: list[int] = []
        outcomes: list[str] = []

        async def fill() -> None:
            for number in range(1_000):
                await store.commit(Batch(puts=[Row("deal", b"%d" % number, 1, bytes(20_000))]))
                landed.append(number)

        async def caller(size: int) -> None:
            try:
                await store.commit(Batch(puts=[Row("big", b"%d" % size, 1, bytes(size))]))
            except StoreFull:
                outcomes.append(f"{size} full")
            else:
                outcomes.append(f"{size} landed")

        with pytest.raises(StoreFull, match="journal_quota_mib"):
            await fill()
        assert 10 < len(landed) < 60
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller, 600_000)
            nursery.start_soon(caller, 10)
        assert sorted(outcomes) == ["10 landed", "600000 full"]
        await store.commit(Batch(deletes=[("deal", b"%d" % number) for number in landed]))
        await store.commit(Batch(puts=[Row("big", b"now", 1, bytes(600_000))]))
    async with await Store.open(path, quota_bytes=1 << 20) as store:
        assert {(row.kind, len(row.data)) for row in (await store.load()).rows} == {("big", 10), ("big", 600_000)}


async def test_ten_thousand_deals_are_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    rows = [Row("deal", number.to_bytes(32, "big"), 1, bytes(900)) for number in range(10_000)]
    async with await Store.open(path) as store:
        await store.commit(Batch(puts=rows, outbox=[OutboxEntry(str(n), "PostTx", bytes(300)) for n in range(1_000)]))
    started = trio.current_time()
    async with await Store.open(path) as store:
        snapshot = await store.load()
    print(f"restart with 10,000 deals: {(trio.current_time() - started) * 1000:.0f} ms")
    assert snapshot.rows == tuple(rows)
    assert len(snapshot.outbox) == 1_000


async def test_a_file_damaged_under_a_running_node_stops_the_store(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    names = [number.to_bytes(4, "big") for number in range(1_000)]  # 4 MiB: more than SQLite keeps in memory
    async with await Store.open(path) as store:
        await store.commit(Batch(puts=[Row("deal", name, 1, bytes(4_000)) for name in names]))
    size = path.stat().st_size
    async with await Store.open(path) as store:
        with path.open("r+b") as stream:
            stream.seek(4_096 * 2)
            stream.write(random.Random(7).randbytes(size - 4_096 * 2))
        with pytest.raises(StoreClosed, match="restart the node"):
            await store.commit(Batch(deletes=[("deal", name) for name in names]))
        with pytest.raises(StoreClosed, match="restart the node"):
            await store.commit(Batch(cursors={"harmless": b""}))
        with pytest.raises(StoreCorrupt, match="is damaged"):
            await store.load()
    with pytest.raises(StoreCorrupt, match="is damaged"):
        await Store.open(path)

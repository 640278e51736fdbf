"""Is what was committed there, in its order, and nothing else?"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from mesh.base.clock import ManualClock
from mesh.store import Batch, OutboxEntry, Row, Store, StoreClosed, StoreLocked, TraceEntry
from mesh.store.batch import MAX_ITEM_BYTES
from mesh.store.outbox import ACKNOWLEDGED_KEPT
from protocols.errors import LocalProtocolError
from protocols.units import Millis


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "home" / "node.db", clock=ManualClock(), trace_kept=50) as opened:
        yield opened


def effect(key: str, payload: bytes = b"p") -> OutboxEntry:
    return OutboxEntry(key, "PostTx", payload)


async def test_everything_of_a_batch_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with await Store.open(path) as store:
        await store.commit(
            Batch(
                puts=[Row("run", b"\x02", 1, b"r"), Row("deal", b"\x01", 1, b"old")],
                outbox=[effect("b"), effect("a")],
                trace=[TraceEntry(5, "deal.signed", b"\x01", b"{}")],
                cursors={"escrow": b"\x07"},
            )
        )
        await store.commit(Batch(puts=[Row("deal", b"\x01", 2, b"new"), Row("deal", b"\x00", 1, b"")], acks=["b"]))
        await store.commit(Batch(deletes=[("run", b"\x02"), ("run", b"\x99")]))
    async with await Store.open(path) as store:
        snapshot = await store.load()
        assert snapshot.rows == (Row("deal", b"\x00", 1, b""), Row("deal", b"\x01", 2, b"new"))
        assert snapshot.outbox == (effect("a"),)
        assert snapshot.cursors == {"escrow": b"\x07"}
        assert await store.cursor("escrow") == b"\x07"
        assert await store.cursor("other") is None
        [record] = await store.tail()
        assert (record.seq, record.at, record.kind, record.subject, record.data) == (
            1,
            5,
            "deal.signed",
            b"\x01",
            b"{}",
        )


async def test_effects_come_back_oldest_first_and_the_same_key_is_one(store: Store) -> None:
    await store.commit(Batch(outbox=[effect("z"), effect("m")]))
    await store.commit(Batch(outbox=[effect("a"), effect("z", b"again")]))
    assert (await store.load()).outbox == (effect("m"), effect("a"), effect("z", b"again"))


async def test_a_key_acknowledged_and_added_at_once_is_open(store: Store) -> None:
    await store.commit(Batch(outbox=[effect("k", b"1")]))
    await store.commit(Batch(acks=["k", "never-there"], outbox=[effect("k", b"2")]))
    assert (await store.load()).outbox == (effect("k", b"2"),)
    await store.commit(Batch(acks=["k"]))
    await store.commit(Batch(outbox=[effect("k", b"3")]))
    assert (await store.load()).outbox == (effect("k", b"3"),)


async def test_acknowledged_entries_are_pruned_and_open_ones_never(store: Store) -> None:
    await store.commit(Batch(outbox=[effect("open")]))
    for _ in range(2):
        keys = [f"k{number}" for number in range(ACKNOWLEDGED_KEPT)]
        await store.commit(Batch(outbox=[effect(key) for key in keys]))
        await store.commit(Batch(acks=keys))
    assert (await store.load()).outbox == (effect("open"),)
    kept = await store.read(lambda c: c.execute("SELECT count(*) FROM outbox").fetchone()[0])
    assert kept <= ACKNOWLEDGED_KEPT + 1


async def test_the_trace_is_bounded_and_read_by_subject_from_a_place(store: Store) -> None:
    for number in range(120):
        await store.commit(Batch(trace=[TraceEntry(number, "tick.seen", bytes([number % 2]), b"%d" % number)]))
    assert [record.at for record in await store.tail(1_000)] == list(range(70, 120))
    assert [record.at for record in await store.tail(3)] == [117, 118, 119]
    odd = await store.trace(b"\x01")
    assert [record.at for record in odd] == list(range(71, 120, 2))
    assert await store.trace(b"\x01", since=odd[-3].seq) == odd[-2:]
    assert await store.trace(b"\x01", limit=2) == odd[:2]


async def test_signed_transactions_stay_until_they_are_done(tmp_path: Path) -> None:
    clock = ManualClock()
    async with await Store.open(tmp_path / "node.db", clock=clock) as store:
        await store.journal.put("commit:b", 8, b"raw8", b"\x08" * 32)
        await store.journal.put("commit:a", 7, b"raw7", b"\x07" * 32)
        clock.advance(Millis(1_000))
        await store.journal.put("commit:a", 7, b"dearer", b"\x77" * 32)
        await store.journal.put("commit:a", 7, b"raw7", b"\x07" * 32)
    async with await Store.open(tmp_path / "node.db") as store:
        pending = await store.journal.pending()
        assert [(tx.key, tx.nonce, tx.raw) for tx in pending] == [
            ("commit:a", 7, b"raw7"),
            ("commit:a", 7, b"dearer"),
            ("commit:b", 8, b"raw8"),
        ]
        await store.journal.done("commit:a")
        await store.journal.done("unknown")
        assert [tx.key for tx in await store.journal.pending()] == ["commit:b"]
        await store.journal.put("commit:a", 7, b"raw7", b"\x07" * 32)  # a reorganisation took it out again
        assert [tx.raw for tx in await store.journal.pending()] == [b"raw7", b"raw8"]
        await store.journal.done("commit:b")
        assert [tx.hash for tx in await store.journal.newest()] == [b"\x08" * 32]  # done or not


BROKEN = {
    "item": Batch(puts=[Row("deal", b"\x01", 1, bytes(MAX_ITEM_BYTES + 1))]),
    "bytes": Batch(outbox=[effect(str(n), bytes(MAX_ITEM_BYTES)) for n in range(17)]),
    "items": Batch(acks=["k"] * 65_537),
    "both": Batch(puts=[Row("deal", b"\x01", 1, b"")], deletes=[("deal", b"\x01")]),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_batch_that_breaks_a_bound_writes_nothing(store: Store, name: str) -> None:
    with pytest.raises(LocalProtocolError, match="a batch"):
        await store.commit(BROKEN[name])
    snapshot = await store.load()
    assert (snapshot.rows, snapshot.outbox) == ((), ())


async def test_a_batch_at_the_bound_is_taken(store: Store) -> None:
    await store.commit(Batch(puts=[Row("deal", bytes([n]), 1, bytes(MAX_ITEM_BYTES)) for n in range(16)]))
    assert len((await store.load()).rows) == 16


async def test_a_second_process_or_part_is_told_who_holds_the_store(store: Store) -> None:
    with pytest.raises(StoreLocked, match="mesh down") as caught:
        await Store.open(store.path)
    assert caught.value.exit_code == 3
    await store.aclose()
    async with await Store.open(store.path):
        pass


async def test_after_closing_every_call_says_so_and_closing_again_is_nothing(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):  # begun before it closes: they finish
            nursery.start_soon(store.commit, Batch(puts=[Row("deal", bytes([number]), 1, b"")]))
        await trio.testing.wait_all_tasks_blocked()
        await store.aclose()
    await store.aclose()
    for call in (lambda: store.commit(Batch()), store.load, store.tail, lambda: store.journal.done("k")):
        with pytest.raises(StoreClosed, match="is closed"):
            await call()
    async with await Store.open(store.path) as again:
        assert len((await again.load()).rows) == 20


async def test_files_are_private(store: Store) -> None:
    await store.commit(Batch(puts=[Row("deal", b"\x01", 1, b"x")]))
    modes = {path.name: path.stat().st_mode & 0o777 for path in store.path.parent.iterdir()}
    assert modes == dict.fromkeys(("node.db", "node.db-wal", "node.db-shm", "node.db.lock"), 0o600)
    assert store.path.parent.stat().st_mode & 0o777 == 0o700

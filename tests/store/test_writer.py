"""Do callers share an fsync, does nobody pay for another's error, and does cancelling tear nothing?"""

import sqlite3
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from mesh.store import Batch, Row, Store
from mesh.store.writer import MAX_QUEUED
from tests.gate import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


def put(number: int) -> Batch:
    return Batch(puts=[Row("deal", number.to_bytes(4, "big"), 1, b"x")])


async def numbers(store: Store) -> set[int]:
    return {int.from_bytes(row.id, "big") for row in (await store.load()).rows}


async def test_fifty_callers_at_once_are_one_transaction(store: Store, gate: Gate) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.hold, store)
        await gate.entered.wait()
        before = store.statistics()
        for number in range(50):
            nursery.start_soon(store.commit, put(number))
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    after = store.statistics()
    assert (after.transactions - before.transactions, after.commits - before.commits) == (2, 51)
    assert after.largest_group == 50
    assert await numbers(store) == set(range(50))


async def test_fifty_writers_lose_nothing(store: Store) -> None:
    async def writer(first: int) -> None:
        for number in range(first, first + 20):
            await store.commit(put(number))

    async with trio.open_nursery() as nursery:
        for first in range(0, 1_000, 20):
            nursery.start_soon(writer, first)
    assert await numbers(store) == set(range(1_000))
    assert store.statistics().transactions < store.statistics().commits == 1_000


async def test_an_error_of_one_caller_is_his_alone(store: Store, gate: Gate) -> None:
    outcomes: dict[int, str] = {}

    async def caller(number: int) -> None:
        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO rows (kind, id, version, data) VALUES ('deal', ?, 1, x'')", (bytes([number]),)
            )
            if number == 3:
                raise ZeroDivisionError
            if number == 5:
                connection.execute("INSERT INTO rows (kind, id, version, data) VALUES ('deal', 'text', 1, x'')")
            return number * 10

        try:
            outcomes[number] = str(await store.write(work))
        except Exception as error:
            outcomes[number] = type(error).__name__

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.hold, store)
        await gate.entered.wait()
        for number in range(8):
            nursery.start_soon(caller, number)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert outcomes == {0: "0", 1: "10", 2: "20", 3: "ZeroDivisionError", 4: "40", 5: "StoreError", 6: "60", 7: "70"}
    assert await numbers(store) == {0, 1, 2, 4, 6, 7}
    assert store.statistics().failures == 2


async def test_cancelled_before_it_began_it_did_not_happen(store: Store) -> None:
    for _ in range(MAX_QUEUED + 1):  # none of them keeps its place in the queue
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.commit(put(1))
        assert scope.cancelled_caught
    assert await numbers(store) == set()
    with trio.fail_after(60):
        await store.commit(put(2))


async def test_cancelled_on_its_way_it_is_durable_and_then_cancelled(store: Store, gate: Gate) -> None:
    passed: list[str] = []

    async def leader(scope: trio.CancelScope) -> None:
        with scope:
            await gate.hold(store)
            passed.append("leader returned")
            await trio.lowlevel.checkpoint()
            passed.append("leader went on")

    async def follower(scope: trio.CancelScope) -> None:
        with scope:
            await store.commit(put(1))
            passed.append("follower returned")
            await trio.lowlevel.checkpoint()
            passed.append("follower went on")

    scopes = (trio.CancelScope(), trio.CancelScope())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader, scopes[0])
        await gate.entered.wait()
        nursery.start_soon(follower, scopes[1])
        await trio.testing.wait_all_tasks_blocked()
        for scope in scopes:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert passed == []
        gate.open()
    assert sorted(passed) == ["follower returned", "leader returned"]
    assert await numbers(store) == {1}
    await store.commit(put(2))
    assert await numbers(store) == {1, 2}


async def test_the_queue_is_bounded_and_who_waits_outside_can_leave(store: Store, gate: Gate) -> None:
    inside = trio.CancelScope()

    async def caller(number: int) -> None:
        await store.commit(put(number))

    async with trio.open_nursery() as holding:
        holding.start_soon(gate.hold, store)
        await gate.entered.wait()
        async with trio.open_nursery() as nursery:
            inside = nursery.cancel_scope
            for number in range(MAX_QUEUED + 9):  # the holder has one of the places
                nursery.start_soon(caller, number)
            await trio.testing.wait_all_tasks_blocked()
            inside.cancel()
            gate.open()
    assert len(await numbers(store)) == MAX_QUEUED - 1
    await store.commit(put(0))


async def test_reads_see_what_was_committed_and_cannot_write(store: Store) -> None:
    await store.commit(put(7))

    def misuse(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM rows")

    with pytest.raises(Exception, match="readonly"):
        await store.read(misuse)
    assert await numbers(store) == {7}

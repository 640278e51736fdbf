"""Does a follower get every line once and in order, from disk and from memory, however slow it is?"""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from mesh.api.following import FOLLOW_QUEUE
from mesh.api.service import LocalApi
from mesh.api.types import TraceInfo
from protocols.effects import Notify

if TYPE_CHECKING:
    from collections.abc import Callable


class Records:
    """A trace on disk, and the engine that writes it."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.reads = 0
        self.listeners: list[Callable[[Notify, int, int], None]] = []
        self.env = SimpleNamespace(domain=None)

    def listen(self, listener: "Callable[[Notify, int, int], None]") -> "Callable[[], None]":
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def add(self, number: int) -> None:
        notice = Notify(subject=b"run", name=f"n.{number}", fields={"n": str(number)})
        self.lines.append(_Line(len(self.lines) + 1, notice))
        for listener in self.listeners:
            listener(notice, 7, len(self.lines))

    async def tail(self, limit: int = 100) -> list[Any]:
        self.reads += 1
        return self.lines[-limit:]

    async def until_trouble(self) -> Any:
        await trio.sleep_forever()


class _Line:
    def __init__(self, seq: int, notice: Notify) -> None:
        self.seq, self.at, self.kind, self.subject = seq, 7, notice.name, notice.subject
        self.data = b'{"n":"%s"}' % notice.fields["n"].encode()


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def api(records: Records) -> LocalApi:
    nobody = cast(Any, None)
    both = cast(Any, records)
    return LocalApi(both, both, nobody, nobody, nobody, nobody, nobody, nobody, nobody, nobody)


async def test_each_line_comes_once_and_the_disk_is_read_once(api: LocalApi, records: Records) -> None:
    got: list[TraceInfo] = []
    hear = got.append
    for number in range(3):
        records.add(number)

    async def follow() -> None:
        async for one in api.events("", follow=True):
            hear(one)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3, 9):
            records.add(number)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [one.fields["n"] for one in got] == [str(number) for number in range(9)]
    assert [one.seq for one in got] == list(range(1, 10))
    assert records.reads == 1
    assert records.listeners == []


async def test_a_reader_that_is_too_slow_reads_the_trace_again(api: LocalApi, records: Records) -> None:
    records.add(0)
    source = api.events("", follow=True)
    got = [await anext(source)]
    for number in range(1, FOLLOW_QUEUE + 40):
        records.add(number)
    while len(got) < FOLLOW_QUEUE + 40:
        got.append(await anext(source))
    assert [one.seq for one in got] == list(range(1, FOLLOW_QUEUE + 41))
    assert records.reads == 2
    await source.aclose()  # type: ignore[attr-defined]  # a generator


async def test_who_does_not_follow_gets_what_there_is(api: LocalApi, records: Records) -> None:
    for number in range(3):
        records.add(number)
    assert [one.seq async for one in api.events("", since=1)] == [2, 3]

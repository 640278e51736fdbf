"""Which relay is asked and believed, when some are dead, slow, late or lie? Real servers on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from devnet.beacon import BeaconServer, Habit
from mesh.base.errors import ConfigError
from mesh.beacon.presets import relays_of
from mesh.beacon.relays import FETCHES, MAX_RELAYS, Relays, RelaySettings
from protocols.beacon.chain import DEVNET_BEACON, QUICKNET
from protocols.beacon.scheme import verify_round

N = 200_000
FAST = RelaySettings(attempt_s=60.0, backoff_s=0.01, backoff_max_s=0.05, quarantine_s=60.0)
PATIENT = RelaySettings(backoff_s=60.0, backoff_max_s=60.0)
"""Whoever fails is not asked again in this test."""
Serve = Callable[..., Awaitable[BeaconServer]]
Open = Callable[..., Relays]


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Serve:
    """Start a relay: ``await serve(habit)``. Its newest round is ``N``."""

    async def start(habit: Habit = "honest", **settings: Any) -> BeaconServer:
        server = BeaconServer(wall=lambda: float(DEVNET_BEACON.time_of(N)), **settings)
        server.habit = habit
        await nursery.start(partial(server.run))
        return server

    return start


@pytest.fixture
async def open_to() -> AsyncIterator[Open]:
    """``open_to(server, ...)``: the first is asked first."""
    opened: list[Relays] = []

    def make(*servers: BeaconServer, settings: RelaySettings = FAST) -> Relays:
        relays = Relays([one.url for one in servers], DEVNET_BEACON, jitter=lambda: 0.5, settings=settings)
        opened.append(relays)
        return relays

    yield make
    for relays in opened:
        await relays.aclose()


async def test_the_newest_round_and_any_older_one(serve: Serve, open_to: Open) -> None:
    relays = open_to(await serve())
    newest = await relays.newest(0)
    assert newest is not None
    assert newest.number == N
    verify_round(DEVNET_BEACON, newest)
    older = await relays.fetch_round(17)
    assert older is not None
    assert older.number == 17
    verify_round(DEVNET_BEACON, older)
    (one,) = relays.statistics()
    assert (one.state, one.calls, one.failures, one.newest) == ("ready", 2, 0, N)


async def test_nothing_new_is_no_fault(serve: Serve, open_to: Open) -> None:
    relays = open_to(await serve())
    assert await relays.newest(N) is None
    assert await relays.fetch_round(N + 1) is None
    (one,) = relays.statistics()
    assert (one.failures, one.resting_s) == (0, 0.0)


@pytest.mark.parametrize("habit", ["dead", "busy", "babbles", "floods"])
async def test_one_that_fails_is_left_alone_and_another_serves(serve: Serve, open_to: Open, habit: Habit) -> None:
    bad, good = await serve(habit), await serve()
    relays = open_to(bad, good, settings=PATIENT)
    found = await relays.newest(0)
    assert found is not None
    one, other = relays.statistics()
    assert (one.state, one.failures, one.lies) == ("cooling", 1, 0)
    assert one.last_error
    assert other.state == "ready"


async def test_one_that_hangs_costs_its_timeout(serve: Serve, open_to: Open) -> None:
    relays = open_to(await serve("hangs"), await serve(), settings=RelaySettings(attempt_s=0.5))
    with trio.fail_after(60):
        while (await relays.newest(0)) is None:  # a busy machine may keep the good one from answering in time, too
            await trio.sleep(0.005)
    assert "no answer within 0.5 s" in relays.statistics()[0].last_error


async def test_one_that_recovers_serves_again(serve: Serve, open_to: Open) -> None:
    server = await serve("busy")
    relays = open_to(server)
    assert await relays.newest(0) is None
    server.habit = "honest"
    with trio.fail_after(60):
        while (await relays.newest(0)) is None:
            await trio.sleep(0.005)
    assert relays.statistics()[0].state == "ready"


@pytest.mark.parametrize("habit", ["lies", "forges"])
async def test_one_that_lies_about_the_newest_round_is_quarantined(serve: Serve, open_to: Open, habit: Habit) -> None:
    liar, good = await serve(habit), await serve()
    relays = open_to(liar, good)
    for _ in range(30):
        found = await relays.newest(0)
        assert found is not None
        verify_round(DEVNET_BEACON, found)
    assert liar.asked == 1
    one, _ = relays.statistics()
    assert (one.state, one.lies, one.newest) == ("quarantined", 1, 0)
    assert one.resting_s > 50


@pytest.mark.parametrize("habit", ["lies", "forges", "mislabels"])
async def test_one_that_lies_about_an_old_round_is_quarantined(serve: Serve, open_to: Open, habit: Habit) -> None:
    liar, good = await serve(habit), await serve()
    relays = open_to(liar, good)
    found = await relays.fetch_round(17)
    assert found is not None
    assert found.number == 17
    assert [one.state for one in relays.statistics()] == ["quarantined", "ready"]


async def test_quarantine_ends_and_a_repaired_relay_serves(serve: Serve, open_to: Open) -> None:
    server = await serve("forges")
    relays = open_to(server, settings=RelaySettings(quarantine_s=0.05))
    assert await relays.newest(0) is None
    server.habit = "honest"
    with trio.fail_after(60):
        while (await relays.newest(0)) is None:
            await trio.sleep(0.005)
    (one,) = relays.statistics()
    assert (one.state, one.lies) == ("ready", 1)


async def test_when_all_lie_nobody_is_believed(serve: Serve, open_to: Open) -> None:
    relays = open_to(await serve("forges"), await serve("lies"))
    assert await relays.newest(0) is None
    assert await relays.newest(0) is None
    assert [one.calls for one in relays.statistics()] == [1, 1]


async def test_one_that_is_behind_yields_to_one_that_is_not(serve: Serve, open_to: Open) -> None:
    late, good = await serve("stale"), await serve()
    relays = open_to(late, good)
    found = await relays.newest(N - 1)
    assert found is not None
    assert found.number == N
    assert [one.state for one in relays.statistics()] == ["behind", "ready"]
    await relays.newest(N - 1)
    assert late.asked == 1, "it is asked after the others now"


async def test_a_relay_of_another_chain_has_nothing_for_us(serve: Serve, open_to: Open) -> None:
    relays = open_to(await serve(chain=QUICKNET), await serve())
    assert await relays.newest(0) is not None
    assert "HTTP 404" in relays.statistics()[0].last_error


async def test_the_fastest_is_asked_first_and_the_others_now_and_then(serve: Serve, open_to: Open) -> None:
    one, other = await serve(), await serve()
    relays = open_to(one, other)
    await relays.newest(0)
    await relays.newest(0)
    assert (one.asked, other.asked) == (1, 1), "one that was never measured is tried"
    slow, fast = relays._relays
    slow.latency_s, fast.latency_s = 100.0, 1e-9
    for _ in range(30):
        await relays.newest(0)
        fast.latency_s = 1e-9
    assert (one.asked, other.asked) == (2, 30)


async def test_old_rounds_are_fetched_a_few_at_a_time(
    serve: Serve, open_to: Open, nursery: trio.Nursery, eventually: Callable[..., Awaitable[None]]
) -> None:
    """Else what waits in line would be taken for a relay that does not answer."""
    relays = open_to(await serve("hangs"), settings=RelaySettings(attempt_s=60.0))
    for number in range(1, 3 * FETCHES):
        nursery.start_soon(relays.fetch_round, number)
    await eventually(lambda: relays.statistics()[0].calls == FETCHES)
    await trio.testing.wait_all_tasks_blocked()
    assert relays.statistics()[0].calls == FETCHES
    nursery.cancel_scope.cancel()


async def test_many_old_rounds_all_arrive(serve: Serve, open_to: Open) -> None:
    relays = open_to(await serve())
    found: list[int] = []

    async def fetch(number: int) -> None:
        one = await relays.fetch_round(number)
        assert one is not None
        found.append(one.number)

    async with trio.open_nursery() as nursery:
        for number in range(1, 33):
            nursery.start_soon(fetch, number)
    assert sorted(found) == list(range(1, 33))


async def test_without_relays_there_are_no_rounds(open_to: Open) -> None:
    relays = open_to()
    assert len(relays) == 0
    assert await relays.newest(0) is None
    assert await relays.fetch_round(1) is None


@pytest.mark.parametrize("url", ["ftp://a", "https://", "https://user:pass@host", "http://h:99999", "x", "http://ü"])
def test_addresses_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="relay's address") as caught:
        Relays([url], QUICKNET, jitter=lambda: 0.5)
    assert "beacon.relays" in caught.value.fix


def test_relays_are_bounded() -> None:
    urls = [f"http://127.0.0.1:{port}" for port in range(1, MAX_RELAYS + 2)]
    with pytest.raises(ConfigError, match="at most"):
        Relays(urls, QUICKNET, jitter=lambda: 0.5)
    assert len(Relays([*urls[:-1], urls[0]], QUICKNET, jitter=lambda: 0.5)) == MAX_RELAYS


def test_public_relays_serve_the_public_chain_alone() -> None:
    assert len(relays_of(QUICKNET)) >= 3
    assert all(url.startswith("https://") for url in relays_of(QUICKNET))
    assert relays_of(DEVNET_BEACON) == ()

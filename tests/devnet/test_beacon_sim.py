"""Does the simulator's beacon give every node its rounds in time, the same ones for the same seed, at little cost?"""

from collections.abc import Iterator
from typing import cast

import pytest

from devnet.sim.node import SimNode
from devnet.sim.simulate import offer_of
from devnet.sim.world import World
from protocols import node as rules
from protocols.effects import Effect, FetchRound
from protocols.env import Env
from protocols.handlers.beacon import wait_for
from protocols.messages.beacon import BeaconRound
from protocols.state import NodeState
from protocols.units import UnixSeconds

HOUR_MS = 3_600_000


class Told:
    """Who was told of which round, and when."""

    def __init__(self) -> None:
        self.rounds: list[tuple[bytes, int, UnixSeconds]] = []

    def __call__(self, state: NodeState, rest: bytes, one: BeaconRound, env: Env) -> list[Effect]:
        self.rounds.append((rest, one.number, state.wall))
        return []


@pytest.fixture
def told() -> Iterator[Told]:
    """A kind of waiter that the shipped table does not have, for as long as a test runs."""
    table, made = cast(dict[str, Told], rules._ROUNDS), Told()
    table["test"] = made
    yield made
    del table["test"]


def world_of(seed: int = 1) -> tuple[World, SimNode, SimNode]:
    """A provider and a client."""
    world = World(seed)
    provider, client = world.add(free=0, stake=10**21), world.add(free=10**21, stake=0)
    provider.offer = offer_of(world, provider)
    for one in (provider, client):
        one.start()
    return world, provider, client


def test_rounds_are_the_seeds() -> None:
    one, same, other = World(1), World(1), World(2)
    assert [one.beacon_round(n) for n in (1, 2)] == [same.beacon_round(n) for n in (1, 2)]
    assert one.beacon_round(1) != other.beacon_round(1)
    assert one.beacon_round(1).signature != one.beacon_round(2).signature


def test_idle_nodes_are_not_deaf_and_cost_little() -> None:
    world, provider, client = world_of()
    events = 0
    for minute in range(1, 61):
        world.run(minute * 60_000)
        events = world.events
        for one in (provider, client):
            assert one.state.beacon.silent_since is None
            assert one.state.beacon.newest > 0
    assert events < 2 * 60 * 10, "ten an idle node and minute, sweeps and heartbeats included"


def test_whoever_waits_is_told_when_the_round_is_made(told: Told) -> None:
    world, _, client = world_of()
    world.run(60_000)
    chain = client.env.params.beacon
    wanted = chain.round_at(client.wall) + 5
    wait_for(client.state, wanted, "test:aa", client.env)
    world.run(world.now + HOUR_MS // 60)
    assert [(who, number) for who, number, _ in told.rounds] == [(b"\xaa", wanted)]
    (_, _, at) = told.rounds[0]
    assert 0 <= at - chain.time_of(wanted) <= 2 * chain.period_s + 30
    assert client.state.beacon.known(wanted) == world.beacon_round(wanted)


def test_a_round_that_has_passed_is_fetched(told: Told) -> None:
    world, _, client = world_of()
    world.run(300_000)
    old = client.state.beacon.newest - 50
    for effect in wait_for(client.state, old, "test:bb", client.env):
        client.perform(effect)
    world.run(world.now + 5_000)
    assert [(who, number) for who, number, _ in told.rounds] == [(b"\xbb", old)]


def test_the_future_cannot_be_fetched() -> None:
    world, _, client = world_of()
    world.run(60_000)
    future = client.env.params.beacon.round_at(client.wall) + 100
    client.perform(FetchRound(number=future))
    world.run(world.now + 5_000)
    assert client.state.beacon.known(future) is None

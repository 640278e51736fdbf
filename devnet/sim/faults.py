"""What goes wrong in a simulated world, and when? A plan drawn from the seed before the first event."""

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from protocols.units import PeerId

if TYPE_CHECKING:
    from devnet.sim.world import World

__all__ = ["FAULTS", "Faults", "plan"]


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How much of each fault a world suffers."""

    crashes_per_node_hour: int = 6
    """Kills, each followed by a restart after 1 to 30 s."""
    dead_ppm: int = 30_000
    """Providers that are killed once and never come back."""
    partitions_per_hour: int = 20
    """Cuts between two halves of the network, 5 to 60 s each."""
    liars_ppm: int = 30_000
    """Providers that return wrong results."""


FAULTS = {
    "none": Faults(crashes_per_node_hour=0, dead_ppm=0, partitions_per_hour=0, liars_ppm=0),
    "all": Faults(),
}


def plan(world: "World", providers: Iterable[PeerId], clients: Iterable[PeerId], minutes: int, faults: Faults) -> None:
    """Schedule every fault of a run of that many virtual minutes."""
    rng = Random(world.rng.getrandbits(64))  # noqa: S311
    span = minutes * 60_000
    providers, clients = sorted(providers), sorted(clients)
    for peer in [*providers, *clients]:
        for _ in range(_poisson(rng, faults.crashes_per_node_hour * minutes / 60)):
            when = rng.randrange(span)
            world.at(when, lambda peer=peer: world.nodes[peer].kill())  # type: ignore[misc]
            world.at(when + rng.randint(1_000, 30_000), lambda peer=peer: _revive(world, peer))  # type: ignore[misc]
    for peer in providers:
        if rng.randrange(1_000_000) < faults.liars_ppm:
            world.nodes[peer].honest = False
        if rng.randrange(1_000_000) < faults.dead_ppm:
            world.at(rng.randrange(span), lambda peer=peer: _bury(world, peer))  # type: ignore[misc]
    everyone = [*providers, *clients]
    for _ in range(_poisson(rng, faults.partitions_per_hour * minutes / 60)):
        when = rng.randrange(span)
        half = set(rng.sample(everyone, len(everyone) // 2))
        pairs = {frozenset((a, b)) for a in half for b in everyone if b not in half}
        world.at(when, lambda pairs=pairs: world.sever(pairs))  # type: ignore[misc]
        world.at(when + rng.randint(5_000, 60_000), lambda pairs=pairs: world.mend(pairs))  # type: ignore[misc]


def _poisson(rng: Random, mean: float) -> int:
    """A Poisson number by summing exponential gaps."""
    count, total = 0, rng.expovariate(1.0) if mean > 0 else mean + 1
    while total < mean:
        count += 1
        total += rng.expovariate(1.0)
    return count


def _revive(world: "World", peer: PeerId) -> None:
    node = world.nodes[peer]
    if not node.up and not node.buried:
        node.start()


def _bury(world: "World", peer: PeerId) -> None:
    world.nodes[peer].buried = True
    world.nodes[peer].kill()

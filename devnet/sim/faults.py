"""What goes wrong in a simulated world, and when? A plan drawn from the seed before the first event."""

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from protocols import events as ev
from protocols.runs import Failed, is_final

if TYPE_CHECKING:
    from devnet.sim.node import SimNode
    from devnet.sim.world import World

__all__ = ["FAULTS", "Faults", "plan"]

MINUTE = 60_000
CHEATS_PPM: Final = 200_000
"""Share of a cheating provider's jobs that it makes up."""


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
    withholders_ppm: int = 20_000
    """Providers that serve no result."""
    thieves_ppm: int = 30_000
    """Providers that forge their client's consent."""
    vanishing_ppm: int = 50_000
    """Clients that are never seen again once a deal of theirs is committed."""
    fickle_ppm: int = 20_000
    """Providers that decline what they have signed, and commit it all the same."""
    infra_ppm: int = 20_000
    """Jobs that fail for a reason of the provider's."""
    reorgs_per_hour: int = 60
    """Of up to two blocks."""
    outages_per_node_hour: int = 4
    """A node's chain endpoints do not answer, 5 to 30 s each."""
    beacon_outages_per_hour: int = 6
    """No rounds of the beacon for 10 to 90 s; then those that were missed come at once."""
    cheaters_ppm: int = 0
    """Providers that make up the result of one job of five, each another."""
    misjudging_ppm: int = 0
    """Clients and mediators that find something else whenever they run a job again."""
    machines_ppm: int = 0
    """Nodes whose machine is another: their results end in other digits where a job's level tolerates it."""
    keepers_ppm: int = 0
    """Providers that take vouchers for sealed results and keep the keys."""
    freeloaders_ppm: int = 0
    """Clients that hold results in a channel and send no voucher."""
    leavers_ppm: int = 0
    """Clients that close a channel behind their provider's back as soon as they have signed a voucher."""
    slanderers_ppm: int = 0
    """Clients that dispute right results."""
    cancels_ppm: int = 40_000
    """Runs that their owner cancels within 10 s."""
    retries_ppm: int = 500_000
    """Failed runs that their owner tries once more."""


_NONE = Faults(**dict.fromkeys(Faults.__struct_fields__, 0))
FAULTS = {
    "none": _NONE,
    "all": Faults(),
    "mild": Faults(crashes_per_node_hour=1, partitions_per_hour=4, reorgs_per_hour=6, outages_per_node_hour=1),
    "heavy": Faults(
        crashes_per_node_hour=20,
        dead_ppm=100_000,
        partitions_per_hour=60,
        reorgs_per_hour=240,
        outages_per_node_hour=20,
        vanishing_ppm=150_000,
        liars_ppm=100_000,
        thieves_ppm=150_000,
        fickle_ppm=100_000,
        infra_ppm=50_000,
        cancels_ppm=100_000,
    ),
    "chaos": Faults(
        crashes_per_node_hour=10,
        dead_ppm=60_000,
        liars_ppm=20_000,
        cheaters_ppm=150_000,
        withholders_ppm=20_000,
        thieves_ppm=20_000,
        fickle_ppm=20_000,
        misjudging_ppm=50_000,
        infra_ppm=5_000,
        beacon_outages_per_hour=12,
        machines_ppm=700_000,
        keepers_ppm=50_000,
        freeloaders_ppm=50_000,
        leavers_ppm=100_000,
        slanderers_ppm=50_000,
        cancels_ppm=10_000,
        retries_ppm=0,
    ),
    "splits": Faults(crashes_per_node_hour=2, partitions_per_hour=240, fickle_ppm=400_000, vanishing_ppm=0),
}
"""By name, for the command line."""


def plan(
    world: "World", providers: Sequence["SimNode"], clients: Sequence["SimNode"], minutes: int, faults: Faults
) -> None:
    """Schedule every fault of a run of that many virtual minutes. The world's mediators suffer like everybody."""
    rng = Random(world.rng.getrandbits(64))
    span = minutes * MINUTE
    for node in [*providers, *clients, *world.mediators]:
        for when in _times(rng, faults.crashes_per_node_hour, span):
            world.at(when, node.kill)
            world.at(when + rng.randint(1_000, 30_000), node.revive)
        for when in _times(rng, faults.outages_per_node_hour, span):
            world.at(when, _setter(node, up=False))
            world.at(when + rng.randint(5_000, 30_000), _setter(node, up=True))
    for node in providers:
        node.habits.honest = not _chance(rng, faults.liars_ppm)
        node.habits.withholds = _chance(rng, faults.withholders_ppm)
        node.habits.thief = _chance(rng, faults.thieves_ppm)
        node.habits.fickle = _chance(rng, faults.fickle_ppm)
        node.habits.infra_ppm = faults.infra_ppm
        if faults.cheaters_ppm and _chance(rng, faults.cheaters_ppm):
            node.habits.cheat_ppm = CHEATS_PPM
        if _chance(rng, faults.dead_ppm):
            world.at(rng.randrange(span), node.bury)
    for node in clients:
        node.habits.vanishes = _chance(rng, faults.vanishing_ppm)
    for node in world.mediators:
        if _chance(rng, faults.dead_ppm):
            world.at(rng.randrange(span), node.bury)
    for node in [*clients, *world.mediators] if faults.misjudging_ppm else ():
        node.habits.misjudges = _chance(rng, faults.misjudging_ppm)
    _characters(world, rng, providers, clients, faults)
    everyone = sorted(node.me for node in [*providers, *clients, *world.mediators])
    for number, when in enumerate(_times(rng, faults.partitions_per_hour, span)):
        side = frozenset(rng.sample(everyone, len(everyone) // 2))
        world.at(when, lambda number=number, side=side: world.sever(number, side))  # type: ignore[misc]
        world.at(when + rng.randint(5_000, 60_000), lambda number=number: world.mend(number))  # type: ignore[misc]
    for when in _times(rng, faults.reorgs_per_hour, span):
        world.at(when, world.chain.reorganise)
    for when in _times(rng, faults.beacon_outages_per_hour, span):
        world.at(when, lambda: world.silence_beacon(True))
        world.at(when + rng.randint(10_000, 90_000), lambda: world.silence_beacon(False))
    _owners(world, rng, clients, span, faults)


def _characters(
    world: "World", rng: Random, providers: Sequence["SimNode"], clients: Sequence["SimNode"], faults: Faults
) -> None:
    """Who cheats in channels and in court. The other sets of faults have nobody of these, and draw nothing for them."""
    for node in [*providers, *clients, *world.mediators] if faults.machines_ppm else ():
        node.habits.noise = rng.randrange(1, 256) if _chance(rng, faults.machines_ppm) else 0
    for node in providers if faults.keepers_ppm else ():
        node.habits.keeps_keys = _chance(rng, faults.keepers_ppm)
    for node in clients:
        node.habits.freeloads = bool(faults.freeloaders_ppm) and _chance(rng, faults.freeloaders_ppm)
        node.habits.leaves = bool(faults.leavers_ppm) and _chance(rng, faults.leavers_ppm)
        node.habits.slanders = bool(faults.slanderers_ppm) and _chance(rng, faults.slanderers_ppm)


def _owners(world: "World", rng: Random, clients: Sequence["SimNode"], span: int, faults: Faults) -> None:
    """People change their minds: they cancel what runs, and try again what failed."""
    for node in clients:
        for when in range(10_000, span, 10_000):
            if _chance(rng, faults.cancels_ppm):
                world.at(when + rng.randrange(10_000), lambda node=node: _cancel_one(node))  # type: ignore[misc]
        if _chance(rng, faults.retries_ppm):
            world.at(span, lambda node=node: _retry_failed(node))  # type: ignore[misc]


def _cancel_one(node: "SimNode") -> None:
    live = [run for run in node.state.durable.runs.values() if not is_final(run)]
    if node.up and live:
        node.post(ev.CancelRequested(at=node.world.now, run_id=live[-1].run_id))


def _retry_failed(node: "SimNode") -> None:
    failed = [run for run in node.state.durable.runs.values() if isinstance(run.status, Failed)]
    for run in failed:
        node.post(ev.RetryRequested(at=node.world.now, run_id=run.run_id))


def _setter(node: "SimNode", *, up: bool) -> Callable[[], None]:
    def change() -> None:
        node.rpc_up = up

    return change


def _chance(rng: Random, ppm: int) -> bool:
    return rng.randrange(1_000_000) < ppm


def _times(rng: Random, per_hour: int, span: int) -> list[int]:
    """Moments of a Poisson process, by summing exponential gaps."""
    found, at = [], 0.0
    while per_hour and (at := at + rng.expovariate(per_hour / 3_600_000)) < span:
        found.append(int(at))
    return found

"""How do N nodes trade for M minutes under faults? `mesh devnet sim` in one function."""

from collections.abc import Callable
from typing import Final

import msgspec

from devnet.sim.chain import Tx
from devnet.sim.collector import few_collections
from devnet.sim.disk import Disk, MemoryDisk
from devnet.sim.faults import FAULTS, Faults, plan
from devnet.sim.invariants import INVARIANTS, violations
from devnet.sim.node import SimNode
from devnet.sim.workload import FUNDS, offer_of, submit, toy_job
from devnet.sim.world import Network, World
from protocols import effects as fx
from protocols.deals.states import FINAL_STATES, Abandoned, Expired, Settled
from protocols.runs import Cancelled, Done, Failed, is_final

__all__ = ["MINUTE", "NO_NOISE", "SimReport", "build", "finish", "offer_of", "settle", "simulate", "toy_job"]

MINUTE: Final = 60_000
SETTLE_MINUTES: Final = 14
"""Virtual time after the last fault in which everything must end: the longest chain of deadlines, twice."""
CHECK_MS: Final = 20_000
"""Between looks at what must always hold."""
NO_NOISE: Final = Network(loss_ppm=0, double_ppm=0)


class SimReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one history came to."""

    nodes: int
    seed: int
    minutes: int
    faults: str
    hash: str
    events: int
    """Calls of `protocols.node.handle`."""
    gossip: int
    """Of these, records of gossip."""
    blocks: int
    reorgs: int
    transactions: dict[str, int]
    """Escrow calls that succeeded, by purpose."""
    runs: int
    done: int
    failed: dict[str, int]
    """Runs that failed, by code."""
    cancelled: int
    audited: int
    settled: int
    expired: int
    abandoned: int
    rounds_per_deal: float
    invariants: tuple[str, ...]
    """What was checked, all along and at the end."""
    violations: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """No invariant was broken."""
        return not self.violations


def build(
    nodes: int,
    seed: int,
    *,
    minutes: int,
    faults: Faults,
    runs_per_client: int,
    clients: int | None = None,
    disk: Callable[[], Disk] = MemoryDisk,
) -> tuple[World, list[SimNode]]:
    """A world whose faults and submissions are planned, and its clients."""
    world = World(seed, network=NO_NOISE if faults == FAULTS["none"] else None, disk=disk)
    count = clients if clients is not None else max(nodes // 5, 1)
    everyone = [world.add(free=FUNDS, stake=FUNDS) for _ in range(nodes)]
    buyers, sellers = everyone[:count], everyone[count:]
    for node in sellers:
        node.offer = offer_of(world, node)
    for node in everyone:
        world.at(world.rng.randrange(5_000), node.start)
    plan(world, sellers, buyers, minutes, faults)
    number = 0
    for buyer in buyers:
        for _ in range(runs_per_client):
            number += 1
            when = 8_000 + world.rng.randrange(minutes * MINUTE)
            world.at(when, lambda buyer=buyer, number=number: submit(world, buyer, number))  # type: ignore[misc]
    return world, buyers


def simulate(
    nodes: int,
    seed: int,
    *,
    minutes: int = 10,
    faults: str = "all",
    runs_per_client: int = 5,
    clients: int | None = None,
) -> SimReport:
    """Run one history to its end and judge it. Raises ``KeyError`` for faults nobody has named."""
    chosen = FAULTS[faults]
    with few_collections():
        world, buyers = build(
            nodes, seed, minutes=minutes, faults=chosen, runs_per_client=runs_per_client, clients=clients
        )
        found = finish(world, minutes)
        return _report(world, buyers, minutes, seed, faults, found)


def finish(world: World, minutes: int) -> tuple[str, ...]:
    """Run a planned world until everything in it is over; returns what was broken, each once, first found first."""
    found: dict[str, None] = {}
    while world.now < minutes * MINUTE:
        world.run(world.now + CHECK_MS)
        found.update(dict.fromkeys(violations(world, ended=False)))
    settle(world)
    found.update(dict.fromkeys(violations(world, ended=True)))
    return tuple(found)


def settle(world: World) -> None:
    """No fault from now on: everybody who is not gone for good comes back, and time passes until all is over."""
    for node in world.nodes.values():
        node.rpc_up = True
        node.revive()
    for number in list(world.cuts):
        world.mend(number)
    world.network = NO_NOISE
    world.silence_beacon(False)
    end = world.now + SETTLE_MINUTES * MINUTE
    while world.now < end and not _over(world):
        world.run(world.now + CHECK_MS)


def _over(world: World) -> bool:
    return all(
        not node.unsubmitted
        and node.read == len(node.feed)  # what the chain has taken back may not have been told yet
        and all(isinstance(half.state, FINAL_STATES) for half in node.state.durable.deals.values())
        and all(is_final(run) for run in node.state.durable.runs.values())
        and not any(_under_way(world, effect) for effect in node.outbox.values())
        for node in world.nodes.values()
        if node.up
    )


def _under_way(world: World, effect: fx.DurableEffect) -> bool:
    """Whether what was asked for may still move money: a call of the chain, or a word to somebody who is there to hear it."""
    if isinstance(effect, fx.SendDurably):
        return world.nodes[effect.peer].up
    return isinstance(effect, Tx)


def _report(
    world: World, buyers: list[SimNode], minutes: int, seed: int, faults: str, found: tuple[str, ...]
) -> SimReport:
    runs = [run for buyer in buyers for run in buyer.state.durable.runs.values()]
    deals = [half.state for buyer in buyers for half in buyer.state.durable.deals.values()]
    rounds = [max((c.round for c in run.candidates), default=0) for run in runs if run.deals]
    failed: dict[str, int] = {}
    for run in runs:
        if isinstance(run.status, Failed):
            failed[run.status.code] = failed.get(run.status.code, 0) + 1
    return SimReport(
        nodes=len(world.nodes),
        seed=seed,
        minutes=minutes,
        faults=faults,
        hash=world.history(),
        events=world.events,
        gossip=world.heard,
        blocks=world.chain.block,
        reorgs=world.chain.reorgs,
        transactions=dict(sorted(world.chain.done.items())),
        runs=len(runs),
        done=sum(isinstance(run.status, Done) for run in runs),
        failed=dict(sorted(failed.items())),
        cancelled=sum(isinstance(run.status, Cancelled) for run in runs),
        audited=sum(isinstance(deal, Settled) and deal.checked == "audited" for deal in deals),
        settled=sum(isinstance(deal, Settled) for deal in deals),
        expired=sum(isinstance(deal, Expired) for deal in deals),
        abandoned=sum(isinstance(deal, Abandoned) for deal in deals),
        rounds_per_deal=round(sum(rounds) / max(len(rounds), 1), 3),
        invariants=INVARIANTS,
        violations=found,
    )

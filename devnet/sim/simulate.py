"""How do N nodes trade for M minutes under faults? `mesh devnet sim` in one function."""

from typing import Final

import msgspec

from devnet.sim.faults import FAULTS, plan
from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.world import SIM_PARAMS, World
from protocols import events as ev
from protocols.canonical import tagged_digest
from protocols.deals.states import Expired, Settled
from protocols.hashing import sha256
from protocols.job.canonical import (
    CanonicalGpus,
    CanonicalJob,
    CanonicalLimits,
    CanonicalResources,
    CanonicalVerify,
)
from protocols.messages.negotiation import InputRoot
from protocols.offers.records import Ask, ExecutorOffer, ResourceOffer
from protocols.runs import Done, Failed, MarketTerms
from protocols.units import Cid, Hash32, Tokens, UnixSeconds

__all__ = ["SimReport", "simulate", "toy_job"]

FUNDS: Final = 1_000 * 10**18
SETTLE_MINUTES: Final = 12
"""Virtual time after the last fault in which everything must end: the longest chain of deadlines, twice."""


class SimReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one history came to."""

    nodes: int
    seed: int
    minutes: int
    hash: str
    events: int
    runs: int
    done: int
    failed: int
    audited: int
    settled: int
    expired: int
    rounds_per_deal: float
    violations: tuple[str, ...]


def toy_job(number: int, module: bytes = b"pi") -> CanonicalJob:
    """A small wasm job; the number makes it another job."""
    return CanonicalJob(
        version=1,
        name="pi",
        executor="wasm",
        module=Cid(bytes.fromhex("01551220") + sha256(module)),
        module_size=4_096,
        command=("--samples", str(number)),
        env=(),
        inputs=(),
        outputs=(),
        resources=CanonicalResources((1000, 0), (64, 0), (64, 0), 0, CanonicalGpus(0, (0, 0), (0, 0), (), False)),
        limits=CanonicalLimits(30, 10**9, 1, 65_536),
        runtime="any",
        network=(),
        verify=CanonicalVerify("exact"),
        seed=None,
        constraints=(),
    )


def offer_of(world: World, node: SimNode) -> ResourceOffer:
    """A provider's offer at a price of its own."""
    price = Tokens(10**15 * world.rng.randint(80, 120) // 100)
    return ResourceOffer(
        provider=node.me,
        sequence=0,
        expires=UnixSeconds(0),
        cpus_milli=4_000,
        memory_mib=4_096,
        disk_mib=4_096,
        executors=(ExecutorOffer("wasm", 3),),
        ask=Ask(price, Tokens(10**14), Tokens(0), Tokens(10**15)),
        token=world.params.token,
        escrow=world.params.escrow,
        max_wall_s=3_600,
        free_slots=node.slots,
    )


def _submit(world: World, client: SimNode, number: int) -> None:
    """Submit once the client is up; a submission is the owner's, so it waits for the node."""
    if not client.up:
        world.after(5_000, lambda: _submit(world, client, number))
        return
    job = toy_job(number)
    client.post(
        ev.RunSubmitted(
            at=world.now,
            job=job.encode(),
            inputs=(InputRoot(job.module, job.module_size),),
            market=MarketTerms(max_price=Tokens(10**17), budget=Tokens(4 * 10**17)),
            run_nonce=number,
            entropy=Hash32(tagged_digest("sim-run", world.params.name.encode(), number.to_bytes(8, "big"))),
            wall=client.wall,
        )
    )


def simulate(
    nodes: int, seed: int, *, minutes: int = 10, faults: str = "all", runs_per_client: int = 5, clients: int | None = None
) -> SimReport:
    """Run one history to its end and judge it."""
    world = World(seed)
    count = clients if clients is not None else max(nodes // 5, 1)
    everyone = [world.add(free=FUNDS, stake=FUNDS) for _ in range(nodes)]
    buyers, sellers = everyone[:count], everyone[count:]
    for node in sellers:
        node.offer = offer_of(world, node)
    for node in everyone:
        world.at(world.rng.randrange(5_000), node.start)
    plan(world, [n.me for n in sellers], [n.me for n in buyers], minutes, FAULTS[faults])
    number = 0
    for buyer in buyers:
        for _ in range(runs_per_client):
            number += 1
            when = 8_000 + world.rng.randrange(minutes * 60_000)
            world.at(when, lambda buyer=buyer, number=number: _submit(world, buyer, number))  # type: ignore[misc]
    world.run(minutes * 60_000)
    for node in everyone:
        if not node.up and not node.buried:
            node.start()
    world.mend(set(world.cut))
    world.run((minutes + SETTLE_MINUTES) * 60_000)
    return _report(world, buyers, nodes, seed, minutes)


def _report(world: World, buyers: list[SimNode], nodes: int, seed: int, minutes: int) -> SimReport:
    runs = [run for buyer in buyers for run in buyer.state.durable.runs.values()]
    deals = [half.state for buyer in buyers for half in buyer.state.durable.deals.values()]
    rounds = [max((c.round for c in run.candidates), default=0) for run in runs if run.deals]
    return SimReport(
        nodes=nodes,
        seed=seed,
        minutes=minutes,
        hash=world.history(),
        events=world.events,
        runs=len(runs),
        done=sum(isinstance(run.status, Done) for run in runs),
        failed=sum(isinstance(run.status, Failed) for run in runs),
        audited=sum(isinstance(deal, Settled) and deal.checked == "audited" for deal in deals),
        settled=sum(isinstance(deal, Settled) for deal in deals),
        expired=sum(isinstance(deal, Expired) for deal in deals),
        rounds_per_deal=round(sum(rounds) / max(len(rounds), 1), 3),
        violations=tuple(violations(world, ended=True)),
    )

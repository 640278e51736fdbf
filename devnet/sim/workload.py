"""What is there to trade in a simulated world? Small jobs, offers at prices of their own, and owners who submit."""

from typing import TYPE_CHECKING, Final, Literal

from protocols import events as ev
from protocols.canonical import tagged_digest
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
from protocols.runs import MarketTerms
from protocols.units import Cid, Hash32, Tokens, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.node import SimNode
    from devnet.sim.world import World

__all__ = ["FUNDS", "PRICE_LIMIT", "JudgedLevel", "offer_of", "submit", "toy_job"]

FUNDS: Final = 1_000 * 10**18
PRICE_LIMIT: Final = Tokens(10**17)
JudgedLevel = Literal["exact", "canonical", "numeric", "perceptual"]
RESUBMIT_MS: Final = 5_000
"""An owner whose node was down, or died while it answered, submits again."""


def toy_job(number: int, module: bytes = b"pi", level: JudgedLevel = "exact") -> CanonicalJob:
    """A small wasm job; the number makes it another job. ``level``: how two results of it are compared."""
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
        verify=CanonicalVerify(level),
        seed=None,
        constraints=(),
    )


def offer_of(world: "World", node: "SimNode") -> ResourceOffer:
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


def submit(
    world: "World",
    client: "SimNode",
    number: int,
    market: MarketTerms | None = None,
    level: JudgedLevel = "exact",
) -> None:
    """Submit until the node has it. ``market``: what for; else every third owner's budget covers one deal, and no second one
    beside it."""
    client.unsubmitted.pop(number, None)
    if client.buried:
        return
    job = toy_job(number, level=level)
    if client.up:
        budget = Tokens(6 * PRICE_LIMIT // 10 if number % 3 == 0 else 4 * PRICE_LIMIT)
        client.post(
            ev.RunSubmitted(
                at=world.now,
                job=job.encode(),
                inputs=(InputRoot(job.module, job.module_size),),
                market=market or MarketTerms(max_price=PRICE_LIMIT, budget=budget),
                run_nonce=number,
                entropy=Hash32(tagged_digest("sim-run", world.params.name.encode(), number.to_bytes(8, "big"))),
                wall=client.wall,
            )
        )
    if not any(run.run_nonce == number for run in client.state.durable.runs.values()):
        client.unsubmitted[number] = None
        world.after(RESUBMIT_MS, lambda: submit(world, client, number, market, level))

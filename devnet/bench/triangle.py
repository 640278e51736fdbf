"""What does each choice of verification cost? The same job, chosen differently, on one real network in one run.

For every choice: seconds to the verified bytes, seconds until the client signs the result off, what is paid in prices of one
deal, transactions of everybody, and providers that saw the data. Choices take turns, so what else the machine does falls on all
alike; ratios are to `none`. The devnet's beacon has a round per second where public networks have one in three, so a receipt's
wait of three rounds is a third of theirs. docs/triangle.md shows the figures.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from devnet.cluster import ClusterPlan, open_cluster
from devnet.process_world import ProcessWorld
from devnet.scenario import Failed, JobChoice, check, settled
from devnet.scenarios.court import MEDIATORS
from mesh.api.types import RunInfo

__all__ = ["CHOICES", "run"]

PROVIDERS: Final = 3
MILLIONS: Final = 20
"""Points of pi: a fraction of a second of computing, so that a second run shows."""
LIMIT_S: Final = 180.0
SEALED_DEALS: Final = 2
"""First deals of a pair in a channel whose results a devnet seals."""
_COMMITTED: Final = ("settlement=commit",)
"""Each deal on chain: `auto` would take a channel as soon as there is one."""
_FIXED: Final = ("limits.wall=30s", "market.budget=20 MESH")


class Choice(msgspec.Struct, frozen=True):
    """One line of a job file, more or less; ``channel``: each run is with the next provider, in a channel with it."""

    sets: tuple[str, ...]
    channel: bool = False


CHOICES: Final[dict[str, Choice]] = {
    "none": Choice(("verify={level: none}", *_COMMITTED)),
    # One in a million: the receipt names a round and is waited for, and nothing is drawn.
    "exact_not_drawn": Choice(("verify.audit=0.000001", *_COMMITTED)),
    "exact_drawn": Choice(("verify.audit=1", *_COMMITTED)),
    "panel_drawn": Choice(("verify.audit=1", "verify.enforcement=panel")),
    "replicate_2": Choice(("verify={level: replicate, n: 2, agree: 2}",)),
    "replicate_3": Choice(("verify={level: replicate, n: 3, agree: 2}",)),
    "channel": Choice(("verify={level: none}", "settlement=channel"), channel=True),
    "channel_drawn": Choice(("verify.audit=1", "settlement=channel"), channel=True),
}


class Lap(msgspec.Struct, frozen=True):
    """One run."""

    to_bytes: float
    to_signed_off: float
    prices: float
    transactions: int
    seen_by: int


async def run(quick: bool, seed: int) -> dict[str, Any]:
    """A network of three providers, a client and mediators for a panel; every choice 3 (quick) or 12 times, in turns."""
    laps = 3 if quick else 12
    found: dict[str, list[Lap]] = {name: [] for name in ("channel_sealed", *CHOICES)}
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as made:
        plan = ClusterPlan(providers=PROVIDERS, clients=1, mediators=MEDIATORS)
        async with open_cluster(Path(made) / "net", plan) as cluster:
            world = ProcessWorld(cluster)
            found["channel_sealed"] = await _sealed(world)
            for number in range(laps):
                for name, choice in CHOICES.items():
                    found[name].append(await _one(world, choice, number))
            kind = cluster.chain.kind
    figures = {f"{name}_{field}": one for name, of in found.items() for field, one in _told(of, found["none"]).items()}
    return figures | {"laps": {"value": laps, "unit": ""}, "chain": {"value": kind, "unit": ""}}


async def _sealed(world: ProcessWorld) -> list[Lap]:
    """The last sealed deal with each provider; the first one opens the channel, and counts nowhere."""
    for _ in range(SEALED_DEALS - 1):
        for number in range(PROVIDERS):
            await _one(world, CHOICES["channel"], number)
    return [await _one(world, CHOICES["channel"], number) for number in range(PROVIDERS)]


async def _one(world: ProcessWorld, choice: Choice, number: int) -> Lap:
    """Submit, and wait until everything is paid and on chain."""
    client = world.clients[0]
    sets = (*_FIXED, *choice.sets, f"seed={number}")
    if choice.channel:
        sets = (*sets, f"market.target={await world.peer_id(world.providers[number % PROVIDERS])}")
    sent = await world.transactions()
    marks: dict[str, float] = {}
    began = time.monotonic()
    run_id = await world.submit(client, JobChoice(millions=MILLIONS, sets=sets))
    async with world.cluster[client].api() as api:
        with trio.fail_after(LIMIT_S):
            async for event in api.events(run_id, follow=True):
                marks.setdefault(event.name, time.monotonic() - began)
                if event.name == "run.failed":
                    raise Failed(f"a run with {choice.sets} failed: {event.fields}")
                if event.name == "run.settled":
                    break
    ended = await world.until(client, run_id, lambda one: settled(one) and _over(one), LIMIT_S)
    check(ended.checked != "unfinished", f"a check with {choice.sets} came to no end: {ended.detail}")
    deals = (*ended.deals, *ended.rechecks)
    signed_off = marks.get("run.done", marks["run.settled"])  # a voucher is both at once
    return Lap(
        to_bytes=marks.get("deal.delivered", signed_off),
        to_signed_off=signed_off,
        prices=sum(int(one.price) for one in deals) / int(ended.deals[0].price),
        transactions=await world.transactions() - sent,
        seen_by=len({one.provider for one in deals}),
    )


def _over(one: RunInfo) -> bool:
    return all(deal.final_how in ("settled", "voucher") for deal in (*one.deals, *one.rechecks))


def _told(laps: list[Lap], plain: list[Lap]) -> dict[str, Any]:
    """Medians of the times, beside those of ``plain``; means of the rest."""
    figures: dict[str, Any] = {}
    for field in ("to_bytes", "to_signed_off"):
        own, other = (statistics.median(getattr(lap, field) for lap in of) for of in (laps, plain))
        figures[field] = {"value": round(own, 3), "unit": "s", "ratio": round(own / other, 2), "of": "none"}
    for field, unit in (("prices", "prices of one deal"), ("transactions", ""), ("seen_by", "providers")):
        figures[field] = {"value": round(statistics.mean(getattr(lap, field) for lap in laps), 2), "unit": unit}
    return figures

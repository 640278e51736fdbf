"""Do the audits deter, and does honesty cost anything? A thousand deals with cheats, ten thousand in chaos, all simulated.

Minutes of CPU on one core. The same seed tells the same history, another another.
"""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import trio

from devnet.scenario import Cluster, Scenario, check
from devnet.sim.chaos import Chaos, chaos
from devnet.sim.deterrence import Deterrence, deterrence

__all__ = ["SCENARIO"]

DEALS: Final = 1_000
IN_CHAOS: Final = 10_000
TWICE: Final = 100
"""Deals of the histories that are told twice, and once with another seed."""

Told = TypeVar("Told", Deterrence, Chaos)


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """All computation, so in a thread. The cluster's own world has no part in it."""
    return await trio.to_thread.run_sync(_judged, seed)


def _judged(seed: int) -> dict[str, Any]:
    audits = _timed(lambda: deterrence(seed, DEALS))
    hurt = _timed(lambda: chaos(seed, IN_CHAOS))
    hashes = {"deterrence": _repeats(deterrence, seed), "chaos": _repeats(chaos, seed)}
    return {"deterrence": audits, "chaos": hurt, "same_seed_same_hash": hashes}


def _timed(play: Callable[[], Told]) -> dict[str, Any]:
    """What came of it, with its speed. Raises ``Failed`` with what is not as it must be."""
    began = time.process_time()
    told = play()
    cpu_s = time.process_time() - began
    figures: dict[str, Any] = msgspec.to_builtins(told)
    figures |= {"cpu_s": round(cpu_s, 1), "events_per_cpu_s": round(told.events / cpu_s)}
    check(not told.problems, "; ".join(told.problems[:5]))
    return figures


def _repeats(play: Callable[[int, int], Told], seed: int) -> str:
    """The hash of a short history that was told twice, and differs from another seed's."""
    first = play(seed, TWICE).hash
    check(play(seed, TWICE).hash == first, f"seed {seed} told two histories")
    check(play(seed + 1, TWICE).hash != first, f"seeds {seed} and {seed + 1} told one history")
    return first


SCENARIO = Scenario(
    name="audit-deterrence",
    about="1,000 deals: cheats are caught at the stated rate and convicted; 10,000 in chaos: nobody honest loses",
    script=run,
    providers=1,
    worlds=("sim",),
    alone="it is simulated from the first deal to the last",
)

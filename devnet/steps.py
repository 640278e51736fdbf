"""What do scenarios that need a real chain do again and again? Find the provider of a deal, and let chain time pass with care."""

from collections.abc import Callable
from typing import Final

import trio

from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed
from mesh.api.types import DealInfo, RunInfo

__all__ = ["LIMIT_S", "has_deal", "pass_until", "provider_of", "real"]

LIMIT_S: Final = 120.0
"""Until something that takes seconds must have happened, on a loaded machine of two cores."""
STEP_S: Final = 4
"""Chain time that passes at once: less than any node keeps as a margin to a deadline."""
POLL_S: Final = 0.05


def real(cluster: Cluster) -> ProcessWorld:
    """The network of real processes behind the seam. Raises ``Failed`` in the simulator."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("this needs real processes and a real chain")
    return cluster


def provider_of(world: ProcessWorld, deal: DealInfo) -> Member:
    """The member that runs a deal."""
    return next(one for one in world.cluster.providers if one.peer_id == deal.provider)


def has_deal(*phases: str) -> Callable[[RunInfo], bool]:
    """Whether a run's latest deal is in one of these phases."""
    return lambda run: bool(run.deals) and run.deals[-1].phase in phases


async def pass_until(
    world: ProcessWorld, node: str, deal_id: str, holds: Callable[[DealInfo], bool], most_s: int
) -> DealInfo:
    """Let chain time pass in steps until something holds of a node's deal; all follow before the next step.

    So no deadline is passed over while a loaded machine is busy. Raises ``Failed`` when it does not hold after ``most_s``
    seconds of chain time.
    """
    async with world.cluster[node].api() as api:
        first = (await api.status()).chain_time
        while True:
            deal = await api.deal(deal_id)
            if holds(deal):
                return deal
            now = (await api.status()).chain_time
            if now - first > most_s:
                raise Failed(f"deal {deal_id[:10]} did not get there within {most_s} s of chain time; it is {deal}")
            await world.pass_time(STEP_S)
            await trio.sleep(POLL_S)

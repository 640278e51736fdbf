"""What if a node dies at any durable step? Nothing is forgotten, nothing paid twice.

Every step of both roles in the simulator, with the shipped store on a real disk; six sampled steps with real processes,
killed the moment their trace shows the step.
"""

import random
from functools import partial
from typing import Any, Final

import trio

from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.sim.restarts import node_restarts
from mesh.api.types import DealInfo, RunInfo
from mesh.base.errors import NodeUnreachable
from mesh.base.tasks import Started

__all__ = ["SCENARIO"]

LIMIT_S: Final = 180.0
"""From the kill to the settlement: a provider that comes back late claims instead, which takes its client's silence."""
POLL_S: Final = 0.1
CLIENT_STEPS: Final = (
    "deal.proposed",
    "deal.signed",
    "deal.committed",
    "deal.resulted",
    "deal.delivered",
    "deal.accepted",
)
PROVIDER_STEPS: Final = (
    "deal.signed",
    "deal.ready",
    "deal.committed",
    "deal.running",
    "deal.resulted",
    "deal.delivered",
    "deal.accepted",
)
SAMPLED: Final = 3
"""Steps of each role."""
JOB: Final = JobChoice(millions=60, sets=("retry.on=[no-capacity]",), audit="1")
"""The client does not look elsewhere while its provider is away: here it is the restart that has to help. It executes
the result again, without which it signs off in the moment in which it has it, and a provider may skip `deal.delivered`.
"""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The simulator first: it is the exhaustive half."""
    simulated = await trio.to_thread.run_sync(node_restarts, seed, False)
    check(not simulated["problems"], "; ".join(simulated["problems"][:5]))
    figures: dict[str, Any] = {"simulated": simulated}
    if isinstance(cluster, ProcessWorld):
        drawn = random.Random(seed)  # a sample that replays
        chosen = [("client", step) for step in drawn.sample(CLIENT_STEPS, SAMPLED)]
        chosen += [("provider", step) for step in drawn.sample(PROVIDER_STEPS, SAMPLED)]
        figures["processes"] = [await _die_at(cluster, role, step) for role, step in chosen]
    return figures


async def _die_at(world: ProcessWorld, role: str, step: str) -> dict[str, Any]:
    """One job whose client or provider is killed at a step and started again."""
    client, what = world.clients[0], f"{role} killed at {step}"
    names = (client, *world.providers)
    before = {name: await world.balance(name) for name in names}
    known = {name: await _deals(world, name) for name in names}
    run_id, victim = await _kill_one(world, role, step)
    killed_at = world.now()
    await world.start(victim)
    back_s = world.now() - killed_at
    done = await world.until(client, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    settled_s = world.now() - killed_at
    paid = _paid_once(done, what)
    check(bool(await world.stdout(client, run_id)), f"{what}: the result has no output")
    provider = next(n for n in world.providers if world.cluster[n].operator == paid.provider_operator)
    await _remembers(world, client, known[client] | {paid.deal_id}, {run_id}, what)
    await _remembers(world, provider, known[provider] | {paid.deal_id}, set(), what)
    after = {name: await world.balance(name) for name in names}
    price, spent = int(paid.price), int(before[client].free) - int(after[client].free)
    earned = sum(int(after[name].free) - int(before[name].free) for name in world.providers)
    staked = [int(after[name].stake) - int(before[name].stake) for name in world.providers]
    check(spent == price, f"{what}: the client paid {spent} for a price of {price}")
    check(earned == price - price // 100 and not any(staked), f"{what}: providers earned {earned}, stakes {staked}")
    return {
        "role": role,
        "step": step,
        "deals": len(done.deals),
        "how": paid.final_how,
        "back_s": round(back_s, 3),
        "settled_s": round(settled_s, 3),
    }


async def _kill_one(world: ProcessWorld, role: str, step: str) -> tuple[str, str]:
    """Submit, and kill whoever comes to the step first: (run, victim)."""
    client = world.clients[0]
    send, receive = trio.open_memory_channel[str](1)
    async with trio.open_nursery() as nursery:
        for name in (client,) if role == "client" else world.providers:
            await nursery.start(partial(_kill_when_seen, world, name, step, send.clone()))
        run_id = await world.submit(client, JOB)
        with trio.fail_after(LIMIT_S):
            victim = await receive.receive()
        nursery.cancel_scope.cancel()
    return run_id, victim


def _paid_once(done: RunInfo, what: str) -> DealInfo:
    """The one deal that was paid; whatever else the run tried never reached the chain."""
    check(settled(done), f"{what}: the run {done.status}: {done.code}: {done.detail}")
    paid = [deal for deal in done.deals if deal.final_how in ("settled", "finalized")]
    others = {deal.phase for deal in done.deals if deal not in paid}
    check(len(paid) == 1 and others <= {"abandoned"}, f"{what}: {len(paid)} deals were paid, the others are {others}")
    return paid[0]


async def _kill_when_seen(
    world: ProcessWorld,
    name: str,
    step: str,
    send: trio.MemorySendChannel[str],
    *,
    task_status: Started = trio.TASK_STATUS_IGNORED,
) -> None:
    """kill -9 as soon as the node's trace shows the step; started when the trace so far has been read."""
    async with world.cluster[name].api() as api:
        seen = max([one.seq async for one in api.events("")], default=0)
        task_status.started()
        try:
            async for one in api.events("", since=seen, follow=True):
                if one.name == step:
                    await world.kill(name)
                    await send.send(name)
                    return
        except NodeUnreachable as error:
            raise Failed(f"{name} went away before {step}: {error}") from error


async def _deals(world: ProcessWorld, name: str) -> set[str]:
    async with world.cluster[name].api() as api:
        return {deal.deal_id for deal in await api.deals()}


async def _remembers(world: ProcessWorld, name: str, deals: set[str], runs: set[str], what: str) -> None:
    """The node knows what it knew, all of it is final, and nothing is left to send."""
    async with world.cluster[name].api() as api:
        check(deals <= {deal.deal_id for deal in await api.deals()}, f"{what}: {name} has forgotten a deal")
        check(runs <= {run.run_id for run in await api.runs()}, f"{what}: {name} has forgotten a run")
        with trio.move_on_after(LIMIT_S):
            while (status := await api.status()).live_deals or status.outbox:
                await trio.sleep(POLL_S)
            return
    raise Failed(f"{what}: {name} has {status.live_deals} live deals and {status.outbox} effects left")


SCENARIO = Scenario(name="node-restarts", about="every role killed at every durable step", script=run, providers=2)

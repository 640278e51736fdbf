"""What if any node dies at any moment? Each role at every durable step in the simulator with the real store; then for real.

The real part follows a node's own trace and sends kill -9 the moment a step is written, for six steps on both sides of a
deal; the node is started again, and the run must settle with one price paid.
"""

from typing import Any, Final

import trio

from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, Scenario, check, settled
from devnet.sim.restarts import node_restarts
from mesh.base.errors import NodeUnreachable

__all__ = ["SCENARIO"]

LIMIT_S: Final = 150.0
STEPS: Final = (
    ("client", "deal.proposed"),
    ("client", "deal.committed"),
    ("client", "deal.delivered"),
    ("provider", "deal.signed"),
    ("provider", "deal.running"),
    ("provider", "deal.resulted"),
)
"""Who dies, and at which line of its own trace."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Both parts. The simulator's runs in a thread: it is all computation."""
    simulated = await trio.to_thread.run_sync(node_restarts, seed, False)
    check(not simulated["problems"], f"in the simulator: {simulated['problems'][:3]}")
    figures: dict[str, Any] = {"simulated_deaths": simulated["deaths"], "steps": simulated["steps"]}
    if not isinstance(cluster, ProcessWorld):
        return figures
    for role, name in STEPS:
        figures[f"{role} at {name}"] = await _one(cluster, role, name)
    return figures


async def _one(world: ProcessWorld, role: str, step: str) -> str:
    """One run, one real death; answers how it was paid."""
    client = world.clients[0]
    before = await world.balance(client)
    died: list[str] = []
    async with trio.open_nursery() as watching:
        for name in (client,) if role == "client" else world.providers:
            await watching.start(_kill_at, world, name, step, died)
        run_id = await world.submit(client, JobChoice(millions=150, sets=("market.budget=5 MESH",)))
        with trio.move_on_after(LIMIT_S):
            while not died:
                await trio.sleep(0.02)
        watching.cancel_scope.cancel()
    check(bool(died), f"no {role} came to {step}")
    await world.start(died[0])
    done = await world.until(client, run_id, settled, LIMIT_S)
    paid = [deal for deal in done.deals if deal.paid not in (None, "0")]
    check(len(paid) == 1, f"{role} killed at {step}: {len(paid)} deals were paid")
    after = await world.balance(client)
    spent = int(before.free) - int(after.free)
    check(spent <= int(paid[0].price), f"{role} killed at {step}: the client spent {spent} for {paid[0].price}")
    return f"settled {paid[0].final_tx} after {len(done.deals)} deal(s)"


async def _kill_at(
    world: ProcessWorld, name: str, step: str, died: list[str], task_status: Any = trio.TASK_STATUS_IGNORED
) -> None:
    """Follow a node's trace from now on and kill it at a step; of several nodes the first to come there dies."""
    async with world.cluster[name].api() as api:
        seen = max([one.seq async for one in api.events("")], default=0)
        task_status.started()
        try:
            async for event in api.events("", since=seen, follow=True):
                if event.name == step and not died:
                    died.append(name)
                    await world.kill(name)
                    return
        except NodeUnreachable:
            return


SCENARIO = Scenario(name="node-restarts", about="every role killed at every durable step", script=run, providers=2)

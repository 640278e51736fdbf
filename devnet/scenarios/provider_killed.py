"""What if the provider dies while the job runs? It completes elsewhere, the dead deal expires with its penalty."""

from typing import Any

from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from mesh.api.types import RunInfo

__all__ = ["SCENARIO"]

LIMIT_S = 180.0
UNTIL_EXPIRY_S = 150
"""Longer than pi's wall limit and what the devnet adds to it until nobody can claim any more."""


def _victim(cluster: Cluster, run: RunInfo, operators: dict[str, str]) -> str:
    provider = run.deals[0].provider_operator
    for name, operator in operators.items():
        if operator == provider:
            return name
    raise Failed(f"no provider has the operator {provider}")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Kill -9 the provider that runs the job; the client ends up paying once, and the penalty comes to it."""
    client = cluster.clients[0]
    operators = {name: (await cluster.balance(name)).operator for name in cluster.providers}
    before = {name: await cluster.balance(name) for name in (client, *cluster.providers)}
    run_id = await cluster.submit(client, JobChoice(millions=600, sets=("market.budget=5 MESH",)))
    running = await cluster.until(
        client, run_id, lambda one: bool(one.deals) and one.deals[0].phase == "committed", LIMIT_S
    )
    victim = _victim(cluster, running, operators)
    await cluster.kill(victim)
    killed_at = cluster.now()
    done = await cluster.until(client, run_id, settled, LIMIT_S)
    recovered_s = cluster.now() - killed_at
    check(len(done.deals) == 2, f"it took {len(done.deals)} deals")
    check(done.deals[0].provider != done.deals[1].provider, "the second deal went to the dead provider")
    dead_id = done.deals[0].deal_id
    await cluster.pass_time(UNTIL_EXPIRY_S)
    dead = await cluster.until_deal(client, dead_id, lambda one: one.final_how == "expired", LIMIT_S)
    expired_s = cluster.now() - killed_at
    after = await cluster.balance(client)
    price, second = int(dead.price), int(done.deals[1].price)
    penalty = min(int(dead.price), int(dead.collateral))
    spent = int(before[client].free) - int(after.free)
    check(
        spent == second - penalty // 2, f"the client spent {spent}, not the second price {second} less {penalty // 2}"
    )
    await cluster.start(victim)
    stake = int((await cluster.balance(victim)).stake)
    lost = int(before[victim].stake) - stake
    check(lost == penalty, f"the dead provider lost {lost} of its stake, the penalty is {penalty}")
    return {
        "dead_deal": dead_id,
        "expiry": dead.final_tx,
        "price_wei": str(price),
        "penalty_wei": str(penalty),
        "client_spent_wei": str(spent),
        "recovered_s": round(recovered_s, 3),
        "expired_s": round(expired_s, 3),
        "chain_time_passed_s": UNTIL_EXPIRY_S,
    }


SCENARIO = Scenario(name="provider-killed", about="kill -9 of the provider while the job runs", script=run)

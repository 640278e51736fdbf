"""What if a client signs a deal and then serves no inputs? It costs an honest provider nothing."""

from typing import Any

from devnet.scenario import Cluster, JobChoice, Scenario, check

__all__ = ["SCENARIO"]

LIMIT_S = 120.0
UNTIL_COMMIT_BY_S = 35
"""Longer than the devnet's time from signing to `commitBy`."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Withhold, watch the deal lapse unposted on both sides, then see that the provider still works for others."""
    client = cluster.clients[0]
    names = (client, *cluster.providers)
    before = {name: await cluster.balance(name) for name in names}
    await cluster.withhold(client, True)
    choice = JobChoice(millions=21, sets=("retry.max_attempts=1",))
    run_id = await cluster.submit(client, choice)
    await cluster.until(client, run_id, lambda one: bool(one.deals) and one.deals[0].phase == "signed", LIMIT_S)
    await cluster.pass_time(UNTIL_COMMIT_BY_S)
    lapsed = await cluster.until(client, run_id, lambda one: one.status == "failed", LIMIT_S)
    check(lapsed.deals[0].commit_tx is None, "the deal reached the chain without its inputs")
    check(lapsed.deals[0].phase == "abandoned", f"the deal is {lapsed.deals[0].phase}")
    after = {name: await cluster.balance(name) for name in names}
    for name in names:
        check(before[name].free == after[name].free, f"{name}'s free balance changed")
        check(before[name].stake == after[name].stake, f"{name}'s stake changed")
    gas = {name: int(before[name].native) - int(after[name].native) for name in cluster.providers}
    check(not any(gas.values()), f"providers paid gas: {gas}")
    await cluster.withhold(client, False)
    again = await cluster.submit(client, JobChoice(millions=22))
    fine = await cluster.until(client, again, lambda one: one.status in ("done", "failed"), LIMIT_S)
    check(fine.status == "done", f"the next job of the same client {fine.status}: {fine.detail}")
    return {"lapsed_as": lapsed.code, "provider_gas_wei": "0", "next_run": fine.status}


SCENARIO = Scenario(name="client-withholds-inputs", about="a client that serves nothing costs nobody", script=run)

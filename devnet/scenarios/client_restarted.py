"""What if the client dies while its job runs? It comes back, takes its result, and pays for it."""

from typing import Any

from devnet.scenario import Cluster, JobChoice, Scenario, check, settled

__all__ = ["SCENARIO"]

LIMIT_S = 120.0


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Kill -9 the client after the commitment, start it again, and wait for result and settlement."""
    client = cluster.clients[0]
    before = await cluster.balance(client)
    run_id = await cluster.submit(client, JobChoice(millions=300))
    await cluster.until(client, run_id, lambda one: bool(one.deals) and one.deals[0].commit_tx is not None, LIMIT_S)
    await cluster.kill(client)
    killed_at = cluster.now()
    await cluster.start(client)
    back_s = cluster.now() - killed_at
    done = await cluster.until(client, run_id, settled, LIMIT_S)
    check(len(done.deals) == 1, f"it took {len(done.deals)} deals")
    check(done.outcome == "exited", f"the job ended {done.outcome}")
    output = await cluster.stdout(client, run_id)
    check(bool(output), "the result has no output")
    spent = int(before.free) - int((await cluster.balance(client)).free)
    check(spent == int(done.deals[0].price), f"the client spent {spent} for a price of {done.deals[0].price}")
    return {
        "run_id": run_id,
        "settlement": done.deals[0].final_tx,
        "spent_wei": str(spent),
        "back_s": round(back_s, 3),
        "to_settlement_s": round(cluster.now() - killed_at, 3),
    }


SCENARIO = Scenario(name="client-restarted", about="the client is killed mid-run and resumes", script=run)

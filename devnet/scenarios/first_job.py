"""Does a stranger's job run for money? Quotes, deal, commitment, result, settlement, and every token accounted for."""

from typing import Any

from devnet.scenario import Cluster, JobChoice, Scenario, check, settled

__all__ = ["SCENARIO"]

LIMIT_S = 120.0


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Submit, wait for the money, and check who paid whom."""
    client = cluster.clients[0]
    before = {name: await cluster.balance(name) for name in (client, *cluster.providers)}
    began = cluster.now()
    run_id = await cluster.submit(client, JobChoice(millions=20))
    done = await cluster.until(client, run_id, lambda one: one.status in ("done", "failed"), LIMIT_S)
    first_result_s = cluster.now() - began
    paid = await cluster.until(client, run_id, settled, LIMIT_S)
    total_s = cluster.now() - began
    check(done.outcome == "exited" and done.exit_code == 0, f"the job ended {done.outcome} with {done.exit_code}")
    check(paid.checked in ("bytes", "audited"), f"it was checked by {paid.checked!r}")
    deal = paid.deals[-1]
    check(deal.commit_tx is not None and len(deal.commit_tx) == 66, f"commitment {deal.commit_tx}")
    check(deal.final_tx is not None and len(deal.final_tx) == 66, f"settlement {deal.final_tx}")
    price = int(deal.price)
    after = {name: await cluster.balance(name) for name in before}
    spent = int(before[client].free) - int(after[client].free)
    earned = sum(int(after[name].free) - int(before[name].free) for name in cluster.providers)
    check(spent == price, f"the client paid {spent} wei for a price of {price}")
    check(earned == price - price // 100, f"providers earned {earned} wei of {price}, one percent is burned")
    stakes = [int(after[name].stake) - int(before[name].stake) for name in cluster.providers]
    check(not any(stakes), f"stakes changed by {stakes}")
    return {
        "deal_id": deal.deal_id,
        "commitment": deal.commit_tx,
        "settlement": deal.final_tx,
        "price_wei": str(price),
        "client_paid_wei": str(spent),
        "provider_earned_wei": str(earned),
        "burned_wei": str(spent - earned),
        "checked": paid.checked,
        "to_result_s": round(first_result_s, 3),
        "to_settlement_s": round(total_s, 3),
        "quotes": sum(one.verdict in ("quoted", "chosen") for one in paid.candidates),
    }


SCENARIO = Scenario(name="first-job", about="a job runs for money between strangers", script=run)

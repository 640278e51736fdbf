"""What does a client learn when nobody takes its job? For every offer why, in the providers' own signed words."""

from typing import Any

from devnet.scenario import Cluster, JobChoice, Scenario, check

__all__ = ["SCENARIO"]

LIMIT_S = 120.0


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """One job that is too large for every machine, one that is too cheap for every provider."""
    client = cluster.clients[0]
    large = await cluster.submit(client, JobChoice(sets=("resources.memory=900GiB", "deadline=6s")))
    cheap = await cluster.submit(client, JobChoice(sets=("market.max_price=0.000000000000000001 MESH", "deadline=6s")))
    unmet = await cluster.until(client, large, lambda one: one.status == "failed", LIMIT_S)
    check(unmet.code == "no-match", f"it failed as {unmet.code}")
    providers = {one.provider for one in unmet.candidates}
    check(
        len(providers) == len(cluster.providers), f"{len(providers)} of {len(cluster.providers)} offers are explained"
    )
    check(all("memory" in one.code for one in unmet.candidates), f"reasons: {[one.code for one in unmet.candidates]}")
    poor = await cluster.until(client, cheap, lambda one: one.status == "failed", LIMIT_S)
    check(all(one.code == "price" for one in poor.candidates), f"reasons: {[one.code for one in poor.candidates]}")
    check(not unmet.deals and not poor.deals, "a deal was signed")
    return {
        "too_large": sorted({one.detail for one in unmet.candidates}),
        "too_cheap": sorted({one.detail for one in poor.candidates})[:3],
        "explained": len(providers),
    }


SCENARIO = Scenario(name="no-match", about="why nobody takes a job, offer by offer", script=run)

"""What if whoever checks is the one who is wrong? A second re-execution by somebody else outvotes it: the provider is paid,
and nothing is disputed.
"""

from typing import Any

from devnet.scenario import Cluster, Scenario, check, settled
from devnet.scenarios.court import LIMIT_S, MEDIATORS, Court, court_of, judged_job

__all__ = ["SCENARIO"]


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The client's own executor gives wrong bytes, which it cannot know."""
    world = court_of(cluster)
    client = await world.cluster.add("careful", ("client",), program="liar", client={"audit_ppm": 1_000_000})
    await world.cluster.meet(len(world.providers))
    court = await Court.opened(world)

    run_id = await world.submit(client.name, judged_job())
    done = await world.until(client.name, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(done) and done.checked == "audited", f"it {done.status}, checked: {done.checked}: {done.detail}")
    deal, again = done.deals[0], done.rechecks[0]
    await world.until_deal(client.name, again.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    trace = [one.name for one in await world.trace(client.name, run_id)]
    check("deal.audit_outvoted" in trace, f"nobody was outvoted: {trace}")
    check("deal.disputed" not in trace, "an honest provider was disputed")
    check(deal.provider != again.provider, "the provider was asked about its own result")
    paid = int(deal.price) + int(again.price)
    found = await court.require({client.name: -paid} | court.earned_again((deal, again)), seats=0)
    return {
        "deal_id": deal.deal_id,
        "re_executed_by": again.provider,
        "checked": done.checked,
        **found,
        "price_wei": deal.price,
        "re_execution_wei": again.price,
    }


SCENARIO = Scenario(
    name="junk-auditor",
    about="an auditor that is wrong itself is outvoted by a third run; the provider is paid",
    script=run,
    providers=2,
    mediators=MEDIATORS,
    worlds=("processes",),
)

"""What if a provider returns wrong bytes? Its client's audit finds it: shown, not signed off, and the evidence is kept.

A wrong result of a deal with ``enforcement: self`` is judged by nobody but its client: a provider that stands by it claims,
and is paid when the window is over. What the client has is the proof, and a record that it reads before its next deal.
"""

from typing import Any, Final

from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.scenarios.dossier import evidence_of
from devnet.scenarios.hostile.liar import FALSE_LINE

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
WALL_S: Final = 20
"""The job's limit: the shorter it is, the shorter is the window."""
WINDOW_S: Final = 100
"""Longer than the devnet's window of such a job and its margins, all in all."""
SETS: Final = ("retry.max_attempts=1", f"limits.wall={WALL_S}s")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """An honest run first; then the same job with a provider that lies, audited; then with it, but not audited."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("the liar is a real process")
    client = cluster.cluster.clients[0]
    liar = await cluster.cluster.add("liar", ("provider",), program="liar")
    await cluster.cluster.meet(len(cluster.providers))
    aimed = (*SETS, f"market.target={liar.peer_id}")
    before = await cluster.balance(client.name)

    run_id = await cluster.submit(client.name, JobChoice(millions=3, sets=aimed, audit="1"))
    refused = await cluster.until(client.name, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    check((refused.status, refused.code) == ("failed", "rejected"), f"it {refused.status} as {refused.code}")
    check("another result" in refused.detail, f"it says only: {refused.detail}")
    deal = refused.deals[-1]
    told = await cluster.trace(client.name, run_id)
    trace = [one.name for one in told if one.fields.get("deal") == deal.deal_id.removeprefix("0x")]
    check("deal.auditing" in trace and "deal.rejected" in trace, f"the trace shows {trace}")
    check("deal.accepted" not in trace, "the client signed off")
    evidence = await evidence_of(client, deal.deal_id)
    shown = await client.command("wait", run_id)
    check(shown.code == 7 and "mesh deal evidence" in shown.talk, f"mesh wait ends with {shown.code}: {shown.talk}")

    claimed = await cluster.until_deal(client.name, deal.deal_id, lambda one: one.phase != "rejected", LIMIT_S)
    check(claimed.phase == "claimed", f"the deal is {claimed.phase}")
    await cluster.pass_time(WINDOW_S)
    ended = await cluster.until_deal(client.name, deal.deal_id, lambda one: one.final_how != "claimed", LIMIT_S)
    check(ended.final_how == "finalized", f"the deal ended {ended.final_how}")
    spent = int(before.free) - int((await cluster.balance(client.name)).free)
    again = (await cluster.run(client.name, run_id)).rechecks
    owed = int(deal.price) + sum(int(one.price) for one in again)
    check(spent == owed, f"the client spent {spent} for a price of {deal.price} and {len(again)} re-executions")

    trusting = await cluster.submit(client.name, JobChoice(millions=4, sets=aimed, audit="0"))
    taken = await cluster.until(client.name, trusting, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(taken) and taken.checked == "bytes", f"it {taken.status}, checked: {taken.checked}")
    check(FALSE_LINE in await cluster.stdout(client.name, trusting), "the liar told the truth")
    return {
        "deal_id": deal.deal_id,
        "refused_as": refused.code,
        "detail": refused.detail,
        "evidence_bytes": evidence,
        "then": ended.final_how,
        "unaudited": taken.checked,
    }


SCENARIO = Scenario(
    name="wrong-result-unjudged",
    about="a provider returns wrong bytes and its client's audit finds it",
    script=run,
    providers=1,
    worlds=("processes",),
)

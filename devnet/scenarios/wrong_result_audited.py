"""What if the cheapest provider lies, and nobody asked for an audit? An audit is drawn, confirmed elsewhere, and nothing paid.

The job file says nothing about audits. The client's configuration only makes every round of the beacon draw one, so that the
scenario need not wait for luck; everything after the draw is what happens to one new provider's result in four.
"""

from typing import Any, Final

from devnet.books import balance_figures, check_conserved, read_books, still_locked
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.scenarios.dossier import evidence_of
from devnet.scenarios.hostile.liar import FALSE_LINE
from mesh.api.types import DealInfo, RunInfo

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
SETS: Final = ("limits.wall=20s", "market.budget=10 MESH")
"""The budget covers the lie, its re-execution, and the retry."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The cheapest provider wins, lies, and is caught; the run is tried again elsewhere and paid for there."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("the liar is a real process")
    client = await cluster.cluster.add("careful", ("client",), client={"audit_ppm": 1_000_000})
    liar = await cluster.cluster.add("liar", ("provider",), program="liar", provider={"price_floor": "0.0005"})
    await cluster.cluster.meet(len(cluster.providers))
    before = await read_books(cluster.cluster)

    began = cluster.now()
    run_id = await cluster.submit(client.name, JobChoice(millions=3, sets=SETS))
    refused = await cluster.until(client.name, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    caught_s = cluster.now() - began
    first, again = _caught(refused, liar.peer_id)
    await _told(cluster, client.name, run_id)
    evidence = await evidence_of(client, first.deal_id)

    retried = await client.command("retry", run_id)
    check(retried.code == 0, f"mesh retry ends with {retried.code}: {retried.talk}")
    right = await cluster.until(client.name, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(right) and right.checked == "audited", f"it {right.status}, checked: {right.checked}: {right.detail}")
    last = right.deals[-1]
    check(last.provider != first.provider, "the retry went to the liar again")
    check(FALSE_LINE not in await cluster.stdout(client.name, run_id), "the output is the liar's")
    await cluster.until_deal(client.name, again.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    ended = (await cluster.run(client.name, run_id)).deals
    after = await read_books(cluster.cluster)
    spent = before[client.name].free - after[client.name].free
    locked = still_locked(ended)
    owed = int(again.price) + int(last.price) + int(first.price)
    check(spent == owed, f"the client is {spent} wei lighter, {locked} of it locked by the liar's deal; it owed {owed}")
    check_conserved(before, after, locked)
    return {
        "deal_id": first.deal_id,
        "refused_as": refused.code,
        "detail": first.detail,
        "confirmed_by": again.provider,
        "evidence_bytes": evidence,
        "caught_s": round(caught_s, 2),
        "then": right.checked,
        "paid_wei": {"re-execution": again.price, "right result": last.price},
        "liar_price_wei": first.price,
        "balances": balance_figures(before, after),
    }


def _caught(run: RunInfo, liar: str) -> tuple[DealInfo, DealInfo]:
    """The liar's deal and its re-execution, which say what they must."""
    check((run.status, run.code) == ("failed", "rejected"), f"it {run.status} as {run.code}: {run.detail}")
    check("two re-executions agree" in run.detail, f"it says only: {run.detail}")
    check(len(run.deals) == len(run.rechecks) == 1, f"{len(run.deals)} deals and {len(run.rechecks)} re-executions")
    first, again = run.deals[0], run.rechecks[0]
    check(first.provider == liar, "the cheapest provider did not get the job")
    check(again.checks == first.deal_id, f"the re-execution is of {again.checks}")
    check(again.provider != liar, "the liar was asked about its own result")
    return first, again


async def _told(cluster: ProcessWorld, client: str, run_id: str) -> None:
    trace = await cluster.trace(client, run_id)
    names = [one.name for one in trace]
    check({"deal.receipt", "deal.auditing", "deal.rejected", "deal.mismatch_confirmed"} <= set(names), f"told: {names}")
    accepted = [one.fields["why"] for one in trace if one.name == "deal.accepted"]
    check(accepted == ["it is a re-execution itself"], f"the client signed off: {accepted}")


SCENARIO = Scenario(
    name="wrong-result-audited",
    about="a lie that nobody looked for is found by an audit, confirmed elsewhere, and not paid for",
    script=run,
    providers=2,
    worlds=("processes",),
)

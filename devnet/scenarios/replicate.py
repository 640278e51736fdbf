"""What if one of three providers lies, and its client asked three? The two others agree, and are paid; the liar is shown.

Nobody disputes anything: the job says ``replicate {n: 3, agree: 2}``. The client is killed between the first deal and the
last result, and goes on where it was.
"""

from typing import Any, Final

from devnet.books import balance_figures, check_conserved, read_books, still_locked
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.scenarios.hostile.liar import FALSE_LINE
from mesh.api.types import DealInfo, RunInfo

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
SETS: Final = ("verify={level: replicate, n: 3, agree: 2}", "limits.wall=20s", "market.budget=7.5 MESH")
_OPEN: Final = ("proposed", "signed", "committed", "resulted", "delivered", "checking")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """One run, three deals, two that agree."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("the liar is a real process")
    client = cluster.clients[0]
    liar = await cluster.cluster.add("liar", ("provider",), program="liar")
    await cluster.cluster.meet(len(cluster.providers))
    before = await read_books(cluster.cluster)

    began = cluster.now()
    run_id = await cluster.submit(client, JobChoice(millions=20, sets=SETS))
    await cluster.until(client, run_id, lambda one: len(one.deals) == 3, LIMIT_S)
    await cluster.kill(client)
    await cluster.start(client)
    done = await cluster.until(client, run_id, lambda one: one.status in ("done", "failed"), LIMIT_S)
    decided_s = cluster.now() - began
    check(done.status == "done" and done.checked == "replicated", f"it {done.status}, {done.checked}: {done.detail}")
    ended = await cluster.until(client, run_id, lambda one: settled(one) and _decided(one), LIMIT_S)
    honest, (lied,) = _parted(ended, liar.peer_id)
    check(FALSE_LINE not in await cluster.stdout(client, run_id), "the output is the liar's")
    check(lied.final_how != "settled", "the client signed the liar's result off")
    check("majority" in lied.detail or lied.final_how == "claimed", f"the liar's deal says only: {lied.detail}")
    for deal in honest:
        await cluster.until_deal(client, deal.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    owed = sum(int(deal.price) for deal in ended.deals)
    last = (await cluster.run(client, run_id)).deals
    after = await read_books(cluster.cluster)
    spent = before[client].free - after[client].free
    check(spent == owed <= int(ended.budget), f"the client is {spent} wei lighter, of {owed} for three deals")
    check_conserved(before, after, still_locked(last))
    refused = [one.fields["detail"] for one in await cluster.trace(client, run_id) if one.name == "deal.rejected"]
    check(len(refused) == 1, f"{len(refused)} results were refused")
    return {
        "checked": ended.checked,
        "decided_s": round(decided_s, 2),
        "paid_wei": [deal.price for deal in honest],
        "refused": refused[0],
        "liar_price_wei": lied.price,
        "budget_wei": ended.budget,
        "balances": balance_figures(before, after),
    }


def _decided(run: RunInfo) -> bool:
    return all(deal.phase not in _OPEN for deal in run.deals)


def _parted(run: RunInfo, liar: str) -> tuple[list[DealInfo], list[DealInfo]]:
    """The others' deals, and the liar's."""
    check(len({deal.provider for deal in run.deals}) == len(run.deals) == 3, f"{len(run.deals)} deals")
    lied = [deal for deal in run.deals if deal.provider == liar]
    check(len(lied) == 1, "the liar has no deal")
    return [deal for deal in run.deals if deal.provider != liar], lied


SCENARIO = Scenario(
    name="replicate",
    about="three providers compute the same, two agree and are paid, the liar's result is shown and not signed off",
    script=run,
    providers=2,
    worlds=("processes",),
)

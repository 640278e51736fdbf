"""What if an honest provider's machine writes other bytes? At a level that looks at them it is paid; beyond its tolerance, not.

One provider's outputs have their JSON keys the other way round and their numbers larger by a share that the job names. Every
result is audited: `exact` refuses even the order, `canonical` takes it, `numeric` takes a billionth and refuses a hundredth.
"""

from typing import Any, Final

import msgspec

from devnet.books import balance_figures, check_conserved, read_books, still_locked
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0


class _Case(msgspec.Struct, frozen=True):
    """A job as the noisy provider computes it, and what its client makes of that."""

    name: str
    job: str
    sets: tuple[str, ...]
    accepted: bool
    found: tuple[str, ...]
    """What the comparisons of bytes said; none where roots decide."""


_SAME: Final = ("the same",)
_OTHER: Final = ("another result", "another result")
"""The client's own run first; then that of a third owner, who agrees with it."""
_EXACT: Final = ("verify.level=exact", "verify.canonicalisers=[]")
CASES: Final = (
    _Case("exact, keys turned", "tally", _EXACT, False, ()),
    _Case("canonical, keys turned", "tally", (), True, _SAME),
    _Case("numeric, a billionth", "fit", ("env={NOISE: '1e-9'}",), True, _SAME),
    _Case("numeric, a hundredth", "fit", ("env={NOISE: '1e-2'}",), False, _OTHER),
)


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Four runs at the noisy provider, audited each, one after the other."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("the noisy provider is a real process")
    noisy = await cluster.cluster.add("noisy", ("provider",), program="noisy")
    await cluster.cluster.meet(len(cluster.providers))
    client = cluster.clients[0]
    aimed = ("retry.max_attempts=1", "market.budget=10 MESH", f"market.target={noisy.peer_id}")
    before = await read_books(cluster.cluster)
    figures = {case.name: await _judged(cluster, client, case, aimed) for case in CASES}
    async with cluster.cluster[client].api() as api:
        deals = [await api.deal(case["deal_id"]) for case in figures.values()]
    after = await read_books(cluster.cluster)
    check_conserved(before, after, still_locked(deals))
    return figures | {"balances": balance_figures(before, after)}


async def _judged(cluster: Cluster, client: str, case: _Case, aimed: tuple[str, ...]) -> dict[str, Any]:
    run_id = await cluster.submit(client, JobChoice(name=case.job, sets=(*aimed, *case.sets), audit="1"))
    ended = await cluster.until(client, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    trace = [one for one in await cluster.trace(client, run_id) if one.name == "deal.compared"]
    found = tuple(one.fields["found"] for one in trace)
    if case.accepted:
        check(settled(ended), f"{case.name}: it {ended.status} as {ended.code}: {ended.detail}")
        check(ended.checked == "audited", f"{case.name}: checked {ended.checked}")
    else:
        check((ended.status, ended.code) == ("failed", "rejected"), f"{case.name}: it {ended.status} as {ended.code}")
    for one in ended.rechecks:
        await cluster.until_deal(client, one.deal_id, lambda it: it.final_how == "settled", LIMIT_S)
    check(found == case.found, f"{case.name}: the comparisons found {found}")
    return {
        "deal_id": ended.deals[0].deal_id,
        "checked": ended.checked or ended.code,
        "compared": [one.fields["detail"] for one in trace],
        "re_executions_elsewhere": len(ended.rechecks),
    }


SCENARIO = Scenario(
    name="other-machines",
    about="another machine's bytes are accepted within the level's tolerance and refused beyond",
    script=run,
    providers=2,
    worlds=("processes",),
)

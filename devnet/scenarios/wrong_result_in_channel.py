"""What if a provider lies in a channel? Its client's audit finds it before the voucher, and no collateral is needed for that.

While a pair's results are sealed the voucher comes first, so there the lie costs one price, once. Either way the client has
the proof, closes the channel, and never uses one with that provider again.
"""

from functools import partial
from typing import Any, Final

from devnet.books import balance_figures, check_conserved, read_books
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.scenarios.dossier import verified
from mesh.api.types import ChannelInfo, RunInfo
from protocols.limits import DEVNET

__all__ = ["SCENARIO"]

LIMIT_S: Final = 180.0
SETS: Final = ("settlement=channel", "retry.max_attempts=1", "limits.wall=20s", "market.budget=10 MESH")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """A liar that is trusted already, and one that is still a stranger, one after the other: they lie alike, and the second
    opinion has to come from the honest provider."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("the liars are real processes")
    client = cluster.cluster.clients[0]
    strange = await cluster.cluster.add("strange-liar", ("provider",), program="liar")
    known = await cluster.cluster.add("known-liar", ("provider",), program="liar")
    await cluster.cluster.meet(len(cluster.providers))
    before = await read_books(cluster.cluster)
    await strange.stop()
    paid = 0
    for number in range(DEVNET.channel_trust):
        taken = await _ended(cluster, client, known, number, audit="0")
        check(settled(taken) and taken.checked == "bytes", f"it {taken.status}, checked: {taken.checked}")
        paid += int(taken.deals[0].price)
    unpaid = await _refused(cluster, client, known, "abandoned", "")
    await _left(cluster, client, known, DEVNET.channel_trust)
    await known.stop()
    await cluster.cluster.restart(strange.name)
    await cluster.cluster.meet(len(cluster.providers) - 1)
    robbed = await _refused(cluster, client, strange, "settled", "wrong")
    await _left(cluster, client, strange, 1)
    owed = paid + int(robbed["price_wei"]) + sum(int(one["second_opinion_wei"]) for one in (unpaid, robbed))
    after = await read_books(cluster.cluster)
    spent = before[client.name].free - after[client.name].free
    check(spent == owed, f"the client is {spent} wei lighter; what it has paid for is {owed}")
    check_conserved(before, after)
    figures = {"unpaid": unpaid, "sealed": robbed, "paid_unaudited_wei": str(paid), "spent_wei": str(spent)}
    return figures | {"balances": balance_figures(before, after)}


async def _left(world: ProcessWorld, client: Member, liar: Member, deals: int) -> None:
    """No other deal of a channel, which is closed after vouchers for so many deals."""
    again = await _ended(world, client, liar, 77, audit="0")
    check(not again.deals, f"{liar.name} got another deal of the channel")
    await world.until_channel(client.name, partial(_is_over, liar.peer_id, deals), LIMIT_S)


def _is_over(peer: str | None, deals: int, one: ChannelInfo) -> bool:
    """Closed, with vouchers for so many deals."""
    return (one.peer, one.deals, one.phase) == (peer, deals, "closed")


async def _ended(world: ProcessWorld, client: Member, liar: Member, number: int, *, audit: str) -> RunInfo:
    job = JobChoice(millions=3 + number, sets=(*SETS, f"market.target={liar.peer_id}"), audit=audit)
    run_id = await world.submit(client.name, job)
    return await world.until(client.name, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)


async def _refused(world: ProcessWorld, client: Member, liar: Member, phase: str, how: str) -> dict[str, Any]:
    """One deal that is audited: found wrong by two, shown, proven."""
    ended = await _ended(world, client, liar, 40, audit="1")
    check((ended.status, ended.code) == ("failed", "rejected"), f"it {ended.status} as {ended.code}: {ended.detail}")
    check("two re-executions agree" in ended.detail, f"it says only: {ended.detail}")
    deal, (again,) = ended.deals[0], ended.rechecks
    check((deal.phase, deal.final_how) == (phase, how), f"the deal is {deal.phase}, {deal.final_how!r}")
    await world.until_deal(client.name, again.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    shown = await client.command("wait", ended.run_id)
    check(shown.code == 7 and "mesh deal evidence" in shown.talk, f"mesh wait ends with {shown.code}: {shown.talk}")
    proven = await verified(client, deal.deal_id)
    proved = {one["name"] for one in proven["findings"]}
    check({"result signature", "result root"} <= proved, f"the dossier proves only {proved}")
    check("wrong-result" in proven["refused"], f"the dossier says {proven['refused']!r}")
    return {
        "deal_id": deal.deal_id,
        "detail": ended.detail,
        "price_wei": deal.price,
        "second_opinion_wei": again.price,
        "proved": sorted(proved),
    }


SCENARIO = Scenario(
    name="wrong-result-in-channel",
    about="a lie in a channel is found by an audit: no voucher for it, and no further deal",
    script=run,
    providers=1,
    worlds=("processes",),
)

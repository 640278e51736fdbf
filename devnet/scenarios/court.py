"""What do scenarios about disputes have in common? The books of everybody who may win or lose by one.

Wealth is all that a member owns of the token, wherever it stands: free, staked, at the panel, bound in its seats.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from devnet.books import Books, balance_figures, check_conserved, read_books
from devnet.cluster import SEATS_IN_ALL
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, check
from devnet.steps import provider_of
from mesh.api.types import DealInfo, RunInfo
from protocols.disputes.params import LOCK_PRICES

__all__ = [
    "LIMIT_S",
    "MEDIATORS",
    "Court",
    "convicted",
    "court_of",
    "executed_blind",
    "judged_job",
    "row_of",
    "seat",
    "told_by",
]

LIMIT_S: Final = 300.0
"""A dispute of a devnet is over in half a minute, with a seat to replace in two; this machine may be busy."""
MEDIATORS: Final = 4
"""Each has a quarter of the seats: panels of three and of seven find others to call."""
_SUBJECT_CHARS: Final = 12
"""Of a deal's id, in a node's log."""


def court_of(cluster: Cluster) -> ProcessWorld:
    """The real network that these scenarios need."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("mediators, and whoever breaks the rules here, are real processes")
    return cluster


def judged_job(*sets: str, millions: int = 3) -> JobChoice:
    """A short job that a panel would judge; one attempt, so that nothing else happens."""
    fixed = ("verify.enforcement=panel", "limits.wall=20s", "market.budget=20 MESH", "retry.max_attempts=1")
    return JobChoice(millions=millions, sets=(*fixed, *sets))


class Court:
    """A network with mediators, and what everybody owned when a dispute in it began."""

    def __init__(self, world: ProcessWorld, before: Books) -> None:
        self.world = world
        self._before = before

    @classmethod
    async def opened(cls, world: ProcessWorld) -> "Court":
        """The books of all who are members now."""
        return cls(world, await read_books(world.cluster))

    async def require(self, wanted: Mapping[str, int], *, seats: int) -> dict[str, Any]:
        """What everybody has won or lost, and has in the end, for the report.

        ``wanted``: wei by member; ``seats``: what all mediators have together; everybody else has what they had. Raises
        ``Failed`` where the chain's books say something else, or where what is missing was not burned.
        """
        after = await read_books(self.world.cluster)
        found = after.won_since(self._before)
        paid = [one.name for one in self.world.cluster.mediators]
        mediators = sum(found[name] for name in paid)
        check(mediators == seats, f"the mediators have {mediators} wei more, not {seats}: {found}")
        for name in [one for one in found if one not in paid]:
            amount = wanted.get(name, 0)
            check(found[name] == amount, f"{name} has {found[name]} wei more, not {amount}: {found}")
        check_conserved(self._before, after)
        won = {name: str(amount) for name, amount in found.items()}
        burned = after.burnable - self._before.burnable
        return {"won_wei": won, "burned_wei": str(burned), "balances": balance_figures(self._before, after)}

    def earned_again(self, rechecks: Iterable[DealInfo]) -> dict[str, int]:
        """Wei that the providers of these re-executions have for them, by name: the price less one percent."""
        earned: dict[str, int] = {}
        for one in rechecks:
            name = provider_of(self.world, one).name
            earned[name] = earned.get(name, 0) + int(one.price) - int(one.price) // 100
        return earned


def told_by(member: Member, deal_id: str) -> list[dict[str, Any]]:
    """What a node's log says of a deal, in its order: a party's lines are of the run and name the deal, a seat's are of it."""
    subject = deal_id.removeprefix("0x")[:_SUBJECT_CHARS]
    lines = [line for line in member.log.read_text().splitlines() if line.startswith("{") and subject in line]
    return [
        told
        for told in map(json.loads, lines)
        if subject in (told.get("subject"), told.get("deal", "")[:_SUBJECT_CHARS])
    ]


def executed_blind(court: Court, deal_id: str, won: Mapping[str, str]) -> list[str]:
    """The mediators that have executed a deal's job themselves, before anybody's result was shown.

    Raises ``Failed`` unless all who were paid have.
    """
    names = [one.name for one in court.world.cluster.mediators]
    worked = []
    for name in names:
        events = [one["event"] for one in told_by(court.world.cluster[name], deal_id)]
        shown = events.index("seat.opening") if "seat.opening" in events else len(events)
        if "seat.executed" in events[:shown]:
            worked.append(name)
    idle = [name for name in names if int(won[name]) > 0 and name not in worked]
    check(not idle, f"{idle} were paid and have not executed the job before the results were shown")
    return worked


async def row_of(world: ProcessWorld, client: str, run_id: str) -> dict[str, Any]:
    """How the dispute went, from the client's trace: its phases, and the row of payouts that it ended with."""
    trace = await world.trace(client, run_id)
    phases = [one.name.removeprefix("dispute.") for one in trace if one.name.startswith("dispute.")]
    rows = [one.fields.get("row", "") for one in trace if one.name.startswith("dispute.")]
    return {"phases": phases, "row": next((row for row in reversed(rows) if row), "")}


async def seat(cluster: Cluster, program: str) -> None:
    """Mediators who all run this program, with as many seats as a devnet's have."""
    world = court_of(cluster)
    for number in range(MEDIATORS):
        name = f"mediator-{number + 1}"
        await world.cluster.add(name, ("mediator",), program=program, seats=-(-SEATS_IN_ALL // MEDIATORS))


async def convicted(
    cluster: Cluster,
    program: str,
    *,
    seats_paid: int,
    locks_lost: int = 0,
    appealed: bool = False,
    checked_again: bool = True,
    floor: str = "0.0005",
) -> dict[str, Any]:
    """The cheapest provider breaks the rules and loses all of its collateral; what everybody has won or lost.

    ``seats_paid``: seats of the first panel that earn their fee; ``locks_lost``: seats that lose three prices;
    ``appealed``: seven more earn theirs, from the loser's deposit; ``checked_again``: a third provider has computed it too.
    """
    world = court_of(cluster)
    client = await world.cluster.add("careful", ("client",), client={"audit_ppm": 1_000_000})
    liar = await world.cluster.add(
        "rogue", ("provider",), program=program, free=10**18 if appealed else 0, provider={"price_floor": floor}
    )
    await world.cluster.meet(len(world.providers))
    court = await Court.opened(world)

    began = world.now()
    run_id = await world.submit(client.name, judged_job())
    refused = await world.until(client.name, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    check((refused.status, refused.code) == ("failed", "rejected"), f"it {refused.status}: {refused.detail}")
    caught_s = world.now() - began
    deal = refused.deals[0]
    check(deal.provider == liar.peer_id, "the cheapest provider did not get the job")
    check(deal.enforcement == "panel", f"the deal is judged by {deal.enforcement}")
    await world.until_deal(liar.name, deal.deal_id, lambda one: one.final_how == "slashed", LIMIT_S)
    ended = await world.until_deal(client.name, deal.deal_id, lambda one: one.final_how == "slashed", LIMIT_S)
    check(len(refused.rechecks) == checked_again, f"{len(refused.rechecks)} re-executions by others")
    for one in refused.rechecks:
        await world.until_deal(client.name, one.deal_id, lambda it: it.final_how == "settled", LIMIT_S)
    fields = {
        "deal_id": deal.deal_id,
        "slashed_by": ended.final_tx,
        **await row_of(world, client.name, run_id),
        "caught_s": round(caught_s, 2),
        "slashed_s": round(world.now() - began, 2),
    }
    names = (client.name, liar.name)
    fields |= await _divided(court, names, refused, seats_paid=seats_paid, locks_lost=locks_lost, appealed=appealed)
    if not appealed:
        fields["executed_blind"] = executed_blind(court, deal.deal_id, fields["won_wei"])
    return fields


async def _divided(
    court: Court, names: tuple[str, str], run: RunInfo, *, seats_paid: int, locks_lost: int, appealed: bool
) -> dict[str, Any]:
    """The collateral: two prices to the client, fees to the seats, the rest burned; for the report."""
    deal = run.deals[0]
    price, fee, collateral = int(deal.price), int(deal.seat_fee), int(deal.collateral)
    check(collateral > 2 * price + seats_paid * fee, f"nothing of {collateral} wei is left to burn")
    again, appeal = sum(int(one.price) for one in run.rechecks), 7 * fee if appealed else 0
    lost = locks_lost * LOCK_PRICES * price
    wanted = {names[0]: 2 * price - again, names[1]: -collateral - appeal}
    found = await court.require(wanted | court.earned_again(run.rechecks), seats=seats_paid * fee + appeal - lost)
    return {
        **found,
        "price_wei": deal.price,
        "re_execution_wei": str(again),
        "collateral_wei": deal.collateral,
        "seat_fee_wei": deal.seat_fee,
        "locks_lost_wei": str(lost),
    }

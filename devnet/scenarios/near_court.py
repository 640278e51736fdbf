"""What do scenarios have in common in which honest machines write other bytes? A provider that is paid for near results, also
when its client disputes one, and that loses by wrong ones.

Every mediator is another machine, and so is the provider: JSON keys in another order, numbers some billionths larger, pixels a
little brighter or darker. No root is another's, so all that decides is what the job's level calls the same.
"""

from typing import Any, Final

import msgspec

from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, check, settled
from devnet.scenarios.court import LIMIT_S, Court, court_of, row_of, seat, told_by
from devnet.scenarios.false_dispute import acquitted
from mesh.api.types import DealInfo, RunInfo
from protocols.disputes.params import APPEAL_SEATS, FIRST_SEATS, LOCK_PRICES, SPRT_FAILURE, SPRT_LIMIT

__all__ = ["Matter", "decided_by_seven", "judged_within_tolerance"]

SETS: Final = ("verify.enforcement=panel", "market.budget=20 MESH", "retry.max_attempts=1", "limits.wall=60s")
"""The wall time, of which a run takes a second or two, makes the window long enough for two re-executions on a busy machine."""
FAILURES: Final = -(-SPRT_LIMIT // SPRT_FAILURE)
"""In a row, until a failure at a level with a tolerance takes all of the collateral."""
JUNK_SEATS: Final = 2
"""Of the first panel's three, where there is an appeal."""


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """An example job, and two shares of noise in its results: the job's level calls the first the same, the second not."""

    job: str
    near: str
    wrong: str
    convicts_at_once: bool = False
    """Whether the level has no tolerance, so that the first failure takes all of the collateral."""

    def choice(self, noise: str, target: str) -> JobChoice:
        """The job at one provider, with this noise in its result."""
        return JobChoice(name=self.job, sets=(*SETS, f"env={{NOISE: '{noise}'}}", f"market.target={target}"))

    @property
    def rows(self) -> tuple[str, ...]:
        """How the disputes about wrong results end, one after the other."""
        return ("CONVICTED",) if self.convicts_at_once else (*["LOST"] * (FAILURES - 1), "CONVICTED")


async def judged_within_tolerance(cluster: Cluster, matter: Matter) -> dict[str, Any]:
    """The same provider: a near result is audited and paid, another disputed and acquitted; then wrong ones are judged."""
    world, (client, rogue) = await _parties(cluster, "near-seat")
    near, wrong = (matter.choice(noise, rogue.peer_id) for noise in (matter.near, matter.wrong))
    figures = {
        "near_audited": await _paid(world, client.name, rogue.name, near),
        "near_disputed": await acquitted(cluster, "slanderer", near),
    }
    figures["near_disputed"] |= _compared(world, figures["near_disputed"]["deal_id"], same=True)
    for number, row in enumerate(matter.rows, 1):
        figures[f"wrong_{number}"] = await _judged(world, (client.name, rogue.name), wrong, row)
    return figures


async def decided_by_seven(cluster: Cluster, matter: Matter) -> dict[str, Any]:
    """A wrong result, a first panel of which two seats vote junk, each its own, and a second one of honest other machines."""
    world, (client, rogue) = await _parties(cluster, "split-near-seats", free=10**18)
    figures = await _judged(
        world, (client.name, rogue.name), matter.choice(matter.wrong, rogue.peer_id), matter.rows[0], appealed=True
    )
    check("appealed" in figures["phases"], f"there was no appeal: {figures['phases']}")
    return figures


async def _parties(cluster: Cluster, seats: str, free: int = 0) -> tuple[ProcessWorld, tuple[Member, Member]]:
    """Mediators who run this program, a client that audits everything, and the cheapest provider.

    ``free``: wei that the provider has beside its stake.
    """
    world = court_of(cluster)
    await seat(cluster, seats)
    client = await world.cluster.add("careful", ("client",), client={"audit_ppm": 1_000_000})
    rogue = await world.cluster.add(
        "rogue", ("provider",), program="noisy", free=free, provider={"price_floor": "0.0005"}
    )
    await world.cluster.meet(len(world.providers))
    return world, (client, rogue)


async def _paid(world: ProcessWorld, client: str, rogue: str, job: JobChoice) -> dict[str, Any]:
    """Other bytes, the same result: the audit says so, and nobody is asked for a second opinion."""
    court = await Court.opened(world)
    run_id = await world.submit(client, job)
    done = await world.until(client, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(done) and done.checked == "audited", f"it {done.status}, checked: {done.checked}: {done.detail}")
    (deal,) = done.deals
    await world.until_deal(rogue, deal.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
    said = [one.fields for one in await world.trace(client, run_id) if one.name == "deal.compared"]
    check([one["found"] for one in said] == ["the same"], f"the comparisons found {said}")
    check(not done.rechecks, f"{len(done.rechecks)} re-executions by others")
    price = int(deal.price)
    found = await court.require({client: -price, rogue: price - price // 100}, seats=0)
    return {"deal_id": deal.deal_id, "compared": said[0]["detail"], "price_wei": deal.price, **found}


async def _judged(
    world: ProcessWorld, names: tuple[str, str], job: JobChoice, row: str, *, appealed: bool = False
) -> dict[str, Any]:
    """A wrong result, and what it has cost. ``appealed``: one seat of the first panel stands with the seven of the second."""
    client, rogue = names
    court = await Court.opened(world)
    began = world.now()
    run_id = await world.submit(client, job)
    refused = await world.until(client, run_id, lambda one: one.status in ("failed", "done"), LIMIT_S)
    deal = _refused(refused, world.cluster[rogue].peer_id)
    for name in names:
        await world.until_deal(name, deal.deal_id, lambda one: one.final_how == "slashed", LIMIT_S)
    found = await row_of(world, client, run_id)
    check(found["row"] == row, f"the row is {found['row']}, not {row}")
    again = sum(int(one.price) for one in refused.rechecks)
    for one in refused.rechecks:
        await world.until_deal(client, one.deal_id, lambda it: it.final_how == "settled", LIMIT_S)
    cost = _Cost.of(deal, row, appealed)
    wanted = {client: cost.client - again, rogue: cost.provider} | court.earned_again(refused.rechecks)
    return {
        "deal_id": deal.deal_id,
        **found,
        **_compared(world, deal.deal_id, same=False),
        "ended_s": round(world.now() - began, 2),
        **await court.require(wanted, seats=cost.seats),
        "re_execution_wei": str(again),
        "price_wei": deal.price,
        "collateral_wei": deal.collateral,
        "seat_fee_wei": deal.seat_fee,
    }


def _refused(run: RunInfo, rogue: str) -> DealInfo:
    """The deal of a run whose result was found wrong."""
    check((run.status, run.code) == ("failed", "rejected"), f"it {run.status}: {run.detail}")
    deal = run.deals[0]
    check(deal.provider == rogue, "another provider got the job")
    check(deal.enforcement == "panel", f"the deal is judged by {deal.enforcement}")
    return deal


def _compared(world: ProcessWorld, deal_id: str, *, same: bool) -> dict[str, int]:
    """How many comparisons of a deal's outputs the mediators' nodes have made, by what they found; from their logs.

    Raises ``Failed`` unless ``same`` was found by one of them, or, where it is false, another result.
    """
    told = [one for member in world.cluster.mediators for one in told_by(member, deal_id)]
    found = [one["same"] for one in told if one["event"] == "output.compared"]
    check(str(same) in found, f"no seat has found the bytes {'the same' if same else 'another result'}: {found}")
    check(not same or "False" not in found, f"a seat has found another result: {found}")
    return {"seats_found_the_same": found.count("True"), "seats_found_another": found.count("False")}


class _Cost(msgspec.Struct, frozen=True):
    """What a wrong result brings and costs, in wei: a row of docs/protocol/disputes.md."""

    client: int
    provider: int
    seats: int

    @classmethod
    def of(cls, deal: DealInfo, row: str, appealed: bool) -> "_Cost":
        """``appealed``: two seats of the first panel lose their lock, and the provider's deposit pays the seven."""
        price, fee, collateral = int(deal.price), int(deal.seat_fee), int(deal.collateral)
        client, provider = (0, -price - FIRST_SEATS * fee) if row == "LOST" else (2 * price, -collateral)
        if not appealed:
            return cls(client, provider, FIRST_SEATS * fee)
        deposit = APPEAL_SEATS * fee
        return cls(client, provider - deposit, deposit + fee - JUNK_SEATS * LOCK_PRICES * price)

"""What do scenarios about disputes have in common? The books of everybody who may win or lose by one.

Wealth is all that a member owns of the token, wherever it stands: free, staked, at the panel, bound in its seats.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from devnet.chain.control import view
from devnet.cluster import SEATS_IN_ALL
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, check
from mesh.api.types import DealInfo
from protocols.contracts.calls import selector
from protocols.deals.panel_terms import PANEL_CLASS
from protocols.disputes.params import LOCK_PRICES

__all__ = ["LIMIT_S", "MEDIATORS", "Books", "convicted", "court_of", "judged_job", "row_of", "seat"]

LIMIT_S: Final = 300.0
"""A dispute of a devnet is over in half a minute, with a seat to replace in two; this machine may be busy."""
MEDIATORS: Final = 4
"""Each has a quarter of the seats: panels of three and of seven find others to call."""
_WORD: Final = 32
_SEAT_WORDS: Final = 6


def court_of(cluster: Cluster) -> ProcessWorld:
    """The real network that these scenarios need."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("mediators, and whoever breaks the rules here, are real processes")
    return cluster


def judged_job(*sets: str, millions: int = 3) -> JobChoice:
    """A short job that a panel would judge; one attempt, so that nothing else happens."""
    fixed = ("verify.enforcement=panel", "limits.wall=20s", "market.budget=20 MESH", "retry.max_attempts=1")
    return JobChoice(millions=millions, sets=(*fixed, *sets))


class Books:
    """What each member owned when this was written down, and what it has won or lost since."""

    def __init__(self, world: ProcessWorld, before: Mapping[str, int]) -> None:
        self._world = world
        self._before = before

    @classmethod
    async def of(cls, world: ProcessWorld, names: Sequence[str]) -> "Books":
        """The wealth of these members now."""
        return cls(world, await _wealth(world, names))

    async def changes(self) -> dict[str, int]:
        """Wei won (or lost) since, by member."""
        now = await _wealth(self._world, list(self._before))
        return {name: amount - self._before[name] for name, amount in now.items()}

    async def require(self, wanted: Mapping[str, int], *, seats: int) -> dict[str, str]:
        """What everybody has won or lost, for the report. ``wanted``: by member; ``seats``: what all mediators have together.

        Raises ``Failed`` where the chain's books say something else.
        """
        found = await self.changes()
        mediators = sum(found.get(one.name, 0) for one in self._world.cluster.mediators)
        check(mediators == seats, f"the mediators have {mediators} wei more, not {seats}: {found}")
        for name, amount in wanted.items():
            check(found[name] == amount, f"{name} has {found[name]} wei more, not {amount}: {found}")
        return {name: str(amount) for name, amount in sorted(found.items())}


async def _wealth(world: ProcessWorld, names: Sequence[str]) -> dict[str, int]:
    bonds = await _bonds(world)
    found = {}
    for name in names:
        balance = await world.balance(name)
        owner = bytes.fromhex(balance.owner.removeprefix("0x"))
        panel = await _number(world, "accountOf(address)", owner)
        found[name] = int(balance.free) + int(balance.stake) + panel + bonds.get(owner, 0)
    return found


async def _bonds(world: ProcessWorld) -> dict[bytes, int]:
    """What the seats of each owner hold."""
    held: dict[bytes, int] = {}
    for number in range(await _number(world, "seatCount(uint32)", PANEL_CLASS)):
        seat = await _ask(world, "seatOf(uint32,uint256)", PANEL_CLASS, number)
        words = [seat[at : at + _WORD] for at in range(0, _SEAT_WORDS * _WORD, _WORD)]
        owner = words[0][12:]
        held[owner] = held.get(owner, 0) + int.from_bytes(words[4])
    return held


async def _number(world: ProcessWorld, signature: str, *words: bytes | int) -> int:
    return int.from_bytes(await _ask(world, signature, *words))


async def _ask(world: ProcessWorld, signature: str, *words: bytes | int) -> bytes:
    given = [one.to_bytes(_WORD) if isinstance(one, int) else one.rjust(_WORD, bytes(1)) for one in words]
    return await view(world.cluster.chain, world.cluster.panel, selector(signature) + b"".join(given))


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
    mediators = [one.name for one in world.cluster.mediators]
    books = await Books.of(world, [client.name, liar.name, *mediators])

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
    again = sum([int(one.price) for one in refused.rechecks])
    for one in refused.rechecks:
        await world.until_deal(client.name, one.deal_id, lambda it: it.final_how == "settled", LIMIT_S)
    fields = {
        "deal_id": deal.deal_id,
        "slashed_by": ended.final_tx,
        **await row_of(world, client.name, run_id),
        "caught_s": round(caught_s, 2),
        "slashed_s": round(world.now() - began, 2),
    }
    appeal = 7 * int(deal.seat_fee) if appealed else 0
    names = (client.name, liar.name)
    return fields | await _divided(books, names, deal, again, appeal, seats_paid=seats_paid, locks_lost=locks_lost)


async def _divided(
    books: Books, names: tuple[str, str], deal: DealInfo, again: int, appeal: int, *, seats_paid: int, locks_lost: int
) -> dict[str, Any]:
    """The collateral: two prices to the client, fees to the seats, the rest burned; for the report."""
    price, fee, collateral = int(deal.price), int(deal.seat_fee), int(deal.collateral)
    lost = locks_lost * LOCK_PRICES * price
    wanted = {names[0]: 2 * price - again, names[1]: -collateral - appeal}
    return {
        "won_wei": await books.require(wanted, seats=seats_paid * fee + appeal - lost),
        "price_wei": deal.price,
        "re_execution_wei": str(again),
        "collateral_wei": deal.collateral,
        "seat_fee_wei": deal.seat_fee,
        "locks_lost_wei": str(lost),
        "burned_wei": str(collateral - 2 * price - seats_paid * fee + lost),
    }

"""Does anybody honest lose anything when everybody may vanish, lie and restart? Ten thousand deals, every account looked at.

Three deals of four are judged by a panel. In the end every account is held against what its owner had agreed to risk: the
prices of its deals, a penalty for a result that it never claimed, and the bond of a dispute whose panel found nothing.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from devnet.sim.collector import few_collections
from devnet.sim.faults import FAULTS, plan
from devnet.sim.invariants import INVARIANTS
from devnet.sim.node import SimNode
from devnet.sim.simulate import MINUTE, finish
from devnet.sim.workload import FUNDS, PRICE_LIMIT, offer_of, submit
from devnet.sim.world import PANEL_PARAMS, World
from protocols.deals.eip712 import Deal, OnChainState, deal_id
from protocols.disputes.params import FIRST_SEATS, bond_of, fee_of
from protocols.disputes.states import Row
from protocols.runs import MarketTerms
from protocols.units import Address, DealId, Tokens

__all__ = ["Chaos", "broken_promises", "chaos", "play", "report"]

PROVIDERS: Final = 100
CLIENTS: Final = 40
FEWEST: Final = 12
"""Providers of a short history: a deal needs two others that can run it again."""
MEDIATORS: Final = 20
SEATS_EACH: Final = 2
DEALS_PER_MINUTE: Final = 250
EXTRA: Final = 10
"""One run of so many is added: of those whose owner vanishes, or finds nobody, no deal comes."""
SELF_EVERY: Final = 4
"""Every fourth deal enforces itself."""
BUDGET: Final = Tokens(4 * PRICE_LIMIT)
_PAID: Final = (
    OnChainState.COMMITTED,
    OnChainState.CLAIMED,
    OnChainState.DISPUTED,
    OnChainState.SETTLED,
    OnChainState.CANCELLED,
)
"""The client's price is the provider's, or locked, or (cancelled) as much of it as both have signed for."""
_OPEN: Final = (OnChainState.COMMITTED, OnChainState.CLAIMED, OnChainState.DISPUTED)


PROMISES: Final = (
    "losses: an honest node loses what it had declared at most: prices, its own lateness, the bond of a split panel",
    "justice: no right result is convicted, no wrong one acquitted",
    "seats: an honest mediator that comes back loses no lock",
)


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    seed: int
    hash: str
    events: int
    runs: int
    """Submitted."""
    deals: int
    """Committed on chain, re-executions among them."""
    ends: dict[str, int]
    """Deals by their state on chain."""
    rows: dict[str, int]
    """Disputes by how they ended."""
    reorgs: int
    restarts: int
    gone: int
    """Nodes that vanished for good."""
    honest: int
    """Nodes that told no lie; they vanished and restarted like the others."""
    dearest_loss: float
    """What an honest node lost at most beyond the prices that it paid, in prices of a usual deal."""
    invariants: tuple[str, ...]
    problems: tuple[str, ...]


def chaos(seed: int, deals: int = 10_000) -> Chaos:
    """Play it and judge it. ``problems`` has a sentence for everything that is not as it must be."""
    world, found = play(seed, deals)
    return report(world, seed, deals, (*found, *broken_promises(world)))


def play(seed: int, deals: int) -> tuple[World, tuple[str, ...]]:
    """A world in which everything is over, and which invariants broke on the way."""
    with few_collections():
        world, minutes = _world(seed, deals)
        return world, finish(world, minutes)


def report(world: World, seed: int, deals: int, problems: tuple[str, ...]) -> Chaos:
    """The figures of a world in which everything is over."""
    honest = [node for node in world.nodes.values() if _is_honest(node)]
    entries = list(world.escrow.slots.values())
    prices = _Risks(world).prices
    beyond = [_lost(world, node) - prices[node.env.signer.address] for node in honest]
    return Chaos(
        seed=seed,
        hash=world.history(),
        events=world.events,
        runs=_runs(deals),
        deals=sum(entry.state is not OnChainState.BURNED for entry in entries),
        ends=dict(sorted(Counter(entry.state.name.lower() for entry in entries).items())),
        rows=dict(sorted(Counter(row.name.lower() for row in _rows(world).values()).items())),
        reorgs=world.chain.reorgs,
        restarts=sum(node.life - 1 for node in world.nodes.values()),
        gone=sum(node.buried for node in world.nodes.values()),
        honest=len(honest),
        dearest_loss=round(max(beyond, default=0) / _usual_price(world), 3),
        invariants=(*INVARIANTS, *PROMISES),
        problems=problems,
    )


def broken_promises(world: World) -> tuple[str, ...]:
    """A sentence for every promise to the honest that was not kept."""
    risks, honest = _Risks(world), [node for node in world.nodes.values() if _is_honest(node)]
    return (*(problem for node in honest for problem in _broken(world, risks, node)), *_misjudged(world))


def _world(seed: int, deals: int) -> tuple[World, int]:
    world = World(seed, params=PANEL_PARAMS)
    sellers_count = min(PROVIDERS, max(FEWEST, deals // 10))
    buyers = [world.add(free=FUNDS, stake=0) for _ in range(sellers_count * CLIENTS // PROVIDERS)]
    sellers = [world.add(free=0, stake=FUNDS) for _ in range(sellers_count)]
    seats = [world.add_mediator(free=(SEATS_EACH + 1) * FUNDS, seats=SEATS_EACH) for _ in range(MEDIATORS)]
    for node in sellers:
        node.offer = offer_of(world, node)
    for node in (*buyers, *sellers, *seats):
        world.at(world.rng.randrange(5_000), node.start)
    minutes = max(deals // DEALS_PER_MINUTE, 2)
    plan(world, sellers, buyers, minutes, FAULTS["chaos"])
    for number in range(1, _runs(deals) + 1):
        buyer = buyers[number % len(buyers)]
        enforcement = "panel" if number % SELF_EVERY else "self"
        market = MarketTerms(max_price=PRICE_LIMIT, budget=BUDGET, enforcement=enforcement)
        when = 8_000 + world.rng.randrange(minutes * MINUTE)
        world.at(when, lambda buyer=buyer, number=number, market=market: submit(world, buyer, number, market))  # type: ignore[misc]
    return world, minutes


def _runs(deals: int) -> int:
    return deals + deals // EXTRA


def _is_honest(node: SimNode) -> bool:
    return node.habits.upright and not node.cheated and not node.habits.misjudges


def _rows(world: World) -> dict[DealId, Row]:
    return world.panel.rows if world.panel else {}


def _usual_price(world: World) -> int:
    prices = sorted(entry.deal.price for entry in world.escrow.slots.values())
    return prices[len(prices) // 2] if prices else 1


# --- what an account may have lost -----------------------------------------------------------------------------------


def _lost(world: World, node: SimNode) -> int:
    """What is missing of what a node came with, in wei; below zero when it has earned."""
    who, books = node.env.signer.address, world.panel.books if world.panel else None
    held: int = sum(world.balance(node))
    if books is not None:
        seats = (seat for members in books.classes.values() for seat in members if seat.owner == who)
        held += books.accounts.get(who, 0) + sum(seat.bond for seat in seats)
    came_with = (SEATS_EACH + 1) * FUNDS if node.mediates else FUNDS
    return came_with - held


class _Risks:
    """What every node has agreed to lose at most, by how its deals ended. Each slot of the escrow is looked at once."""

    def __init__(self, world: World) -> None:
        self.prices: Counter[Address] = Counter()
        """What was paid for, or is locked."""
        self.beyond: Counter[Address] = Counter()
        """Penalties, fees and bonds."""
        rows = _rows(world)
        for entry in world.escrow.slots.values():
            deal, state = entry.deal, entry.state
            row = rows.get(deal_id(world.domain, deal))
            self.prices[deal.client] += int(deal.price) if state in _PAID else 0
            self.prices[deal.provider] += int(deal.collateral) if state in _OPEN else 0
            self.beyond[deal.client] += _bond_at_risk(deal, row, state)
            buried = world.by_address[deal.provider].buried
            self.beyond[deal.provider] += _collateral_at_risk(deal, row, state, buried=buried)


def _bond_at_risk(deal: Deal, row: Row | None, state: OnChainState) -> int:
    """Of a client that disputes: all of its bond when the panel finds nothing or against it, half of the fees when nobody is to
    blame."""
    fee = fee_of(deal.seat_fee, deal.price, deal.collateral)
    if row in (Row.VOID, Row.ACQUITTED, Row.UNSERVED) or state is OnChainState.DISPUTED:
        return bond_of(fee, deal.price)
    return FIRST_SEATS * fee // 2 if row in (Row.UNPROVEN, Row.BLAMELESS) else 0


def _collateral_at_risk(deal: Deal, row: Row | None, state: OnChainState, *, buried: bool) -> int:
    """Of a provider: the penalty for what it never claimed, half of the fees, and all if it left its own dispute alone."""
    if state is OnChainState.EXPIRED:
        return min(deal.price, deal.collateral)
    if row is Row.FORFEIT and buried:
        return deal.collateral
    fees = FIRST_SEATS * fee_of(deal.seat_fee, deal.price, deal.collateral)
    return fees - fees // 2 if row in (Row.UNPROVEN, Row.BLAMELESS) else 0


def _broken(world: World, risks: _Risks, node: SimNode) -> Iterator[str]:
    lost, who = _lost(world, node), node.env.signer.address
    declared = risks.prices[who] + risks.beyond[who]
    name = node.me.hex()[-8:]
    if node.mediates:
        if lost > 0 and not node.buried:
            yield f"seats: the honest mediator {name} has lost {lost} wei"
    elif lost > declared:
        yield f"losses: the honest node {name} has lost {lost} wei, and had declared {declared}"


def _misjudged(world: World) -> Iterator[str]:
    """A verdict that the truth contradicts. Who withholds or is silent is not judged by its bytes."""
    for key, row in _rows(world).items():
        deal = world.panel.deals[key] if world.panel else None
        provider = world.by_address[deal.provider] if deal else None
        if provider is None:
            continue
        wrong = key in provider.cheated or not provider.habits.honest
        if (row is Row.CONVICTED and not wrong) or (row is Row.ACQUITTED and wrong):
            yield f"justice: the dispute {key.hex()[:12]} ended {row.name.lower()}, and that is wrong"

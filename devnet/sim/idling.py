"""What does it bring to begin no job, and to say of each that it met a limit? Owners who buy one deal after the other.

A third of the providers idle, at half of the others' price, so that everybody tries them first. Clients run the shipped rules:
they look at some of what they are told, and remember.
"""

from collections import Counter
from typing import Final

import msgspec

from devnet.sim.collector import few_collections
from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.simulate import NO_NOISE, settle
from devnet.sim.workload import FUNDS, PRICE_LIMIT, offer_of, submit
from devnet.sim.world import PANEL_PARAMS, World
from protocols.deals.in_channel import WRONG
from protocols.deals.states import DealState, Settled, Slashed, Voided
from protocols.deals.terms import OutcomeCode
from protocols.runs import MarketTerms
from protocols.state import CLIENT
from protocols.units import PeerId, Tokens

__all__ = ["Idling", "idling"]

CLIENTS: Final = 3
PROVIDERS: Final = 12
IDLERS: Final = 4
MEDIATORS: Final = 20
DEALS_EACH: Final = 24
PAUSE_MS: Final = 60_000
"""Between two deals of one owner: the last one is over, and what it was worth is known."""
BUDGET: Final = Tokens(4 * PRICE_LIMIT)
MOST: Final = 3
"""Deals of one owner that may go to one idler: two are found out when the first was looked at, three when none was."""


class Idling(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Deals are those that were made for their result."""

    seed: int
    deals: int
    with_idlers: int
    most: int
    """Deals that one owner has had with one idler, at the worst."""
    last: int
    """The last deal of any owner with an idler, counted from its first."""
    earned: float
    """By a deal with an idler on average, in prices: what it was paid, or minus what it has lost."""
    checked: dict[str, int]
    """Of the idlers' deals, by what was done with them."""
    problems: tuple[str, ...]


def idling(
    seed: int,
    excuse: OutcomeCode,
    *,
    panel: bool = False,
    channel: bool = False,
    takes_ms: int = 1,
    here_ms: int | None = None,
    audit_ppm: int | None = None,
) -> Idling:
    """Play it. ``takes_ms``: how long a job runs where it is run, of 30 s that it may; ``here_ms``: on the owners' own machines,
    where these are others. ``audit_ppm``: what the owners have set."""
    with few_collections():
        world = _world(seed, excuse, takes_ms)
        buyers = [node for node in world.nodes.values() if node.offer is None][:CLIENTS]
        market = MarketTerms(
            max_price=PRICE_LIMIT,
            budget=BUDGET,
            enforcement="panel" if panel else "self",
            settlement="channel" if channel else "commit",
            audit_ppm=audit_ppm,
        )
        for buyer in buyers:
            buyer.habits.takes_ms = takes_ms if here_ms is None else here_ms
        for turn in range(DEALS_EACH):
            for number, buyer in enumerate(buyers):
                when = 12_000 + turn * PAUSE_MS + number * 1_000
                again = turn * CLIENTS + number + 1
                world.at(when, lambda buyer=buyer, again=again: submit(world, buyer, again, market))  # type: ignore[misc]
        world.run(12_000 + DEALS_EACH * PAUSE_MS)
        settle(world)
    return _report(world, buyers, seed)


def _world(seed: int, excuse: OutcomeCode, takes_ms: int) -> World:
    world = World(seed, params=PANEL_PARAMS, network=NO_NOISE)
    buyers = [world.add(free=FUNDS, stake=0) for _ in range(CLIENTS)]
    sellers = [world.add(free=0, stake=FUNDS) for _ in range(PROVIDERS)]
    seats = [world.add_mediator(free=3 * FUNDS, seats=2) for _ in range(MEDIATORS)]
    for number, node in enumerate(sellers):
        offer = offer_of(world, node)
        node.habits.idles = number < IDLERS
        node.habits.excuse = excuse
        if node.habits.idles:
            ask = msgspec.structs.replace(offer.ask, **{name: Tokens(getattr(offer.ask, name) // 2) for name in _ASKS})
            offer = msgspec.structs.replace(offer, ask=ask)
        node.offer = offer
    for node in (*buyers, *sellers, *seats):
        node.habits.takes_ms = takes_ms
        world.at(world.rng.randrange(5_000), node.start)
    return world


_ASKS: Final = ("cpu_second", "gib_second", "gpu_second", "minimum")


def _report(world: World, buyers: list[SimNode], seed: int) -> Idling:
    idle = {node.me for node in world.nodes.values() if node.habits.idles}
    made, found, pairs, last = 0, list[DealState](), Counter[tuple[PeerId, PeerId]](), 0
    for buyer in buyers:
        halves = [half for half in buyer.state.durable.deals.values() if half.role == CLIENT]
        mine = [half.state for half in halves if half.state.terms.checks is None]
        for turn, deal in enumerate(mine, 1):
            made += 1
            if deal.terms.provider in idle:
                found.append(deal)
                pairs[buyer.me, deal.terms.provider] += 1
                last = max(last, turn)
    most = max(pairs.values(), default=0)
    caught = (f"an owner had {most} deals with one that begins none, at most {MOST} are lost",) if most > MOST else ()
    return Idling(
        seed=seed,
        deals=made,
        with_idlers=len(found),
        most=most,
        last=last,
        earned=round(sum(map(_earned, found)) / max(len(found), 1), 3),
        checked=dict(Counter(_checked(deal) for deal in found)),
        problems=(*caught, *violations(world, ended=True)),
    )


def _earned(deal: DealState) -> float:
    terms = deal.terms.deal
    if isinstance(deal, Slashed | Voided):
        return (deal.returned - terms.collateral) / terms.price
    return deal.paid / terms.price if isinstance(deal, Settled) else 0.0


def _checked(deal: DealState) -> str:
    if isinstance(deal, Settled):
        refused = deal.claim is not None and deal.claim.rejected
        return "refused" if refused or deal.how == WRONG else deal.checked or deal.how
    return type(deal).__name__.lower()

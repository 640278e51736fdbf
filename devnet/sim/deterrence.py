"""Are cheats caught as often as the formula says, convicted, and is nobody else? A thousand deals, every result's truth known.

Half of the providers cheat in one job of ten, so that one result in twenty is made up. Everybody runs the shipped rules:
clients wait for the round they have named, run again what it draws and dispute what is confirmed; drawn mediators judge. What
came of every deal is compared with what was the case.
"""

from collections.abc import Iterator
from math import sqrt
from typing import Final

import msgspec

from devnet.sim.collector import few_collections
from devnet.sim.escrow import FEE_DIVISOR
from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.simulate import MINUTE, NO_NOISE, settle
from devnet.sim.workload import FUNDS, PRICE_LIMIT, offer_of, submit
from devnet.sim.world import PANEL_PARAMS, World
from protocols.deals.eip712 import Deal
from protocols.deals.panel_terms import panel_stakes
from protocols.deals.states import DealState, Settled, Slashed, Voided
from protocols.deals.terms import BOUNTY_PRICES
from protocols.runs import MarketTerms
from protocols.state import CLIENT
from protocols.units import PPM, DealId, Tokens
from protocols.verify.audits import drawn
from protocols.verify.incentives import lint
from protocols.verify.levels import LEVELS

__all__ = ["Deterrence", "deterrence"]

PROVIDERS: Final = 60
CLIENTS: Final = 20
MEDIATORS: Final = 20
SEATS_EACH: Final = 2
FEWEST: Final = 12
"""Providers of a short history: a deal needs two others that can run it again."""
CHEATING_PPM: Final = 100_000
"""Half of the providers cheat that often: one result in twenty is made up."""
DEALS_PER_MINUTE: Final = 60
SIGMAS: Final = 3.0
BUDGET: Final = Tokens(4 * PRICE_LIMIT)


class Deterrence(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Counts are of deals that were no re-executions and came to a receipt."""

    seed: int
    hash: str
    events: int
    deals: int
    cheated: int
    drawn: int
    """Of those that were cheated: the beacon has chosen them."""
    caught: int
    """Of those that were cheated: a re-execution differed, and nobody signed."""
    confirmed: int
    """Of those that were caught: a second re-execution agreed with the first."""
    expected: float
    """Of those that were cheated, by `q * d`."""
    sigma: float
    convicted: int
    """Of those that were confirmed: a panel has taken all of the provider's collateral."""
    wronged: int
    """Right results that were refused, disputed or slashed."""
    cheats_earned: float
    """By a cheated deal on average, in prices: the price, less the fee, or minus the collateral."""
    honest_earned: float
    """By any other deal."""
    transactions: dict[str, int]
    problems: tuple[str, ...]


class _Found(msgspec.Struct, frozen=True):
    """One deal of a client, and the truth about it."""

    state: DealState
    cheated: bool
    drawn: bool
    rejected: bool
    confirmed: bool

    @property
    def deal(self) -> Deal:
        """What was signed."""
        return self.state.terms.deal

    @property
    def earned(self) -> float:
        """By its provider, in prices."""
        deal, state = self.deal, self.state
        if isinstance(state, Slashed):
            return (state.returned - deal.collateral) / deal.price
        return (state.paid - state.paid // FEE_DIVISOR) / deal.price if isinstance(state, Settled) else 0.0


def deterrence(seed: int, deals: int = 1_000, cheating_ppm: int = CHEATING_PPM) -> Deterrence:
    """Play it. ``problems`` has a sentence for everything that is not as it must be.

    ``cheating_ppm``: share of a cheating provider's jobs that it makes up; half of the providers cheat.
    """
    with few_collections():
        world = _world(seed, deals, cheating_ppm)
        settle(world)
    found = list(_deals(world))
    cheats, others = [one for one in found if one.cheated], [one for one in found if not one.cheated]
    rates = [_rate(one.deal) for one in cheats]
    report = Deterrence(
        seed=seed,
        hash=world.history(),
        events=world.events,
        deals=len(found),
        cheated=len(cheats),
        drawn=sum(one.drawn for one in cheats),
        caught=sum(one.rejected for one in cheats),
        confirmed=sum(one.confirmed for one in cheats),
        expected=round(sum(rates), 3),
        sigma=round(sqrt(sum(rate * (1 - rate) for rate in rates)), 3),
        convicted=sum(isinstance(one.state, Slashed) for one in cheats),
        wronged=sum(one.rejected or isinstance(one.state, (Slashed, Voided)) for one in others),
        cheats_earned=_average(cheats),
        honest_earned=_average(others),
        transactions=dict(sorted(world.chain.done.items())),
        problems=(),
    )
    problems = (*_problems(report, found, deals), *violations(world, ended=True))
    return msgspec.structs.replace(report, problems=problems)


def _rate(deal: Deal) -> float:
    """How likely a wrong result of this deal is caught: `q * d`."""
    return deal.audit_ppm / PPM * LEVELS[deal.level].caught_ppm / PPM


def _average(deals: list[_Found]) -> float:
    return round(sum(one.earned for one in deals) / max(len(deals), 1), 3)


def _world(seed: int, deals: int, cheating_ppm: int) -> World:
    world = World(seed, params=PANEL_PARAMS, network=NO_NOISE)
    sellers_count = min(PROVIDERS, max(FEWEST, deals // 10))
    buyers = [world.add(free=FUNDS, stake=0) for _ in range(sellers_count * CLIENTS // PROVIDERS)]
    sellers = [world.add(free=0, stake=FUNDS) for _ in range(sellers_count)]
    seats = [world.add_mediator(free=(SEATS_EACH + 1) * FUNDS, seats=SEATS_EACH) for _ in range(MEDIATORS)]
    for number, node in enumerate(sellers):
        node.offer = offer_of(world, node)
        node.habits.cheat_ppm = cheating_ppm * (number % 2)
    for node in (*buyers, *sellers, *seats):
        world.at(world.rng.randrange(5_000), node.start)
    span = max(deals // DEALS_PER_MINUTE, 1) * MINUTE
    market = MarketTerms(max_price=PRICE_LIMIT, budget=BUDGET, enforcement="panel")
    for number in range(1, deals + 1):
        buyer = buyers[number % len(buyers)]
        when = 8_000 + world.rng.randrange(span)
        world.at(when, lambda buyer=buyer, number=number: submit(world, buyer, number, market))  # type: ignore[misc]
    world.run(span + MINUTE)
    return world


def _deals(world: World) -> Iterator[_Found]:
    """Every deal that was made for its result and came to a receipt."""
    for node in world.nodes.values():
        for deal_id, half in node.state.durable.deals.items():
            receipt = node.said.get(("deal.receipt", deal_id))
            if half.role == CLIENT and half.state.terms.checks is None and receipt is not None:
                yield _truth(world, node, deal_id, half.state, int(receipt["round"]))


def _truth(world: World, client: SimNode, deal_id: DealId, state: DealState, round_number: int) -> _Found:
    value = world.beacon_round(round_number).randomness
    return _Found(
        state,
        cheated=deal_id in world.nodes[state.terms.provider].cheated,
        drawn=drawn(value, deal_id, state.terms.deal.audit_ppm),
        rejected=("deal.rejected", deal_id) in client.said,
        confirmed=("deal.mismatch_confirmed", deal_id) in client.said,
    )


def _problems(report: Deterrence, found: list[_Found], deals: int) -> Iterator[str]:
    if report.deals < deals * 95 // 100:
        yield f"only {report.deals} of {deals} deals came to a receipt"
    if abs(report.caught - report.expected) > SIGMAS * report.sigma:
        yield f"{report.caught} cheats were caught, {report.expected} +- {report.sigma} were to be expected"
    if report.caught != report.drawn:
        yield f"{report.drawn} cheats were drawn, {report.caught} were caught"
    if report.convicted != report.confirmed:
        yield f"{report.confirmed} cheats were confirmed, {report.convicted} convicted"
    if report.wronged:
        yield f"{report.wronged} right results were refused"
    if report.convicted and report.cheats_earned >= report.honest_earned:
        yield f"a cheat earns {report.cheats_earned} prices, a deal that was kept {report.honest_earned}"
    for one in found:
        deal, state = one.deal, one.state
        if lint(panel_stakes(deal.level, deal.price, deal.audit_ppm)):
            yield "a deal was signed in which cheating pays"
        if isinstance(state, Slashed) and (state.refund, state.returned) != ((BOUNTY_PRICES + 1) * deal.price, 0):
            yield f"a conviction brought the client {state.refund} for a price of {deal.price}"

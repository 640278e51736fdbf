"""Does anybody honest lose anything when everybody may vanish, lie and restart? Ten thousand deals, every account looked at.

Three deals of four are judged by a panel, half of them at levels at which two machines may differ, and beside them deals are
paid by channels. In the end all channels are closed, and every account is held against what its owner had agreed to risk
(`devnet.sim.promises`).
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from devnet.sim.channel_books import close_all, ends_in_channels
from devnet.sim.collector import few_collections
from devnet.sim.faults import FAULTS, plan
from devnet.sim.invariants import INVARIANTS, violations
from devnet.sim.node import SimNode
from devnet.sim.promises import PROMISES, SEATS_EACH, Risks, broken_promises, is_honest, lost, rows_of
from devnet.sim.simulate import MINUTE, finish
from devnet.sim.workload import FUNDS, PRICE_LIMIT, JudgedLevel, offer_of, submit
from devnet.sim.world import PANEL_PARAMS, World
from protocols.deals.eip712 import OnChainState
from protocols.runs import MarketTerms
from protocols.units import Seconds, Tokens

__all__ = ["Chaos", "chaos", "play", "report"]

PROVIDERS: Final = 100
CLIENTS: Final = 40
FEWEST: Final = 12
"""Providers of a short history: a deal needs two others that can run it again."""
MEDIATORS: Final = 20
DEALS_PER_MINUTE: Final = 250
CHANNEL_DEALS_PER_MINUTE: Final = 50
EXTRA: Final = 10
"""One run of so many is added: of those whose owner vanishes, or finds nobody, no deal comes."""
SELF_EVERY: Final = 4
"""Every fourth deal enforces itself."""
CHANNEL_EVERY: Final = 5
"""For so many runs there is one more whose deal a channel pays."""
FAVOURITES: Final = 2
"""Providers to whom a client goes back with these: a channel is worth its transactions to those who meet again."""
CHANNEL_SEARCH_S: Final = 15
"""How long such a run waits for its provider, which may be gone, or owed for the deal before."""
CHANNEL_PRICES: Final = 4
"""What a channel holds, in prices: it has to be topped up now and then."""
EXIT_DELAY: Final = Seconds(120)
"""Nobody but those who are gone for good is away so long."""
LEVELS: Final[tuple[JudgedLevel, ...]] = ("exact", "canonical", "exact", "numeric", "exact", "perceptual")
CHAOS_PARAMS: Final = msgspec.structs.replace(PANEL_PARAMS, channel_history=3, channel_trust=3)
"""Three deals with each other, and a pair opens a channel of its own accord, and its results are no longer sealed."""
BUDGET: Final = Tokens(4 * PRICE_LIMIT)


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
    in_channels: dict[str, int]
    """Deals that channels were to pay, by how they ended for their client: ``voucher`` is paid."""
    channels: dict[str, int]
    """Calls about channels that succeeded, by purpose."""
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


def chaos(seed: int, deals: int = 10_000, *, in_channels: int | None = None) -> Chaos:
    """Play it and judge it. ``problems`` has a sentence for everything that is not as it must be.

    ``in_channels``: how many runs there are beside them whose deals channels pay; a fifth as many as ``deals`` by default.
    """
    world, found = play(seed, deals, in_channels=in_channels)
    told = report(world, seed, deals, (*found, *broken_promises(world)))
    return told if in_channels is None else msgspec.structs.replace(told, runs=_runs(deals) + in_channels)


def play(seed: int, deals: int, *, in_channels: int | None = None) -> tuple[World, tuple[str, ...]]:
    """A world in which everything is over, and which invariants broke on the way."""
    with few_collections():
        world, minutes = _world(seed, deals, deals // CHANNEL_EVERY if in_channels is None else in_channels)
        found = finish(world, minutes)
        close_all(world)
        return world, tuple(dict.fromkeys((*found, *violations(world, ended=True))))


def report(world: World, seed: int, deals: int, problems: tuple[str, ...]) -> Chaos:
    """The figures of a world in which everything is over."""
    honest = [node for node in world.nodes.values() if is_honest(node)]
    entries = list(world.escrow.slots.values())
    prices = Risks(world).prices
    beyond = [lost(world, node) - prices[node.env.signer.address] for node in honest]
    return Chaos(
        seed=seed,
        hash=world.history(),
        events=world.events,
        runs=_runs(deals) + deals // CHANNEL_EVERY,
        deals=sum(entry.state is not OnChainState.BURNED for entry in entries),
        ends=dict(sorted(Counter(entry.state.name.lower() for entry in entries).items())),
        rows=dict(sorted(Counter(row.name.lower() for row in rows_of(world).values()).items())),
        in_channels=ends_in_channels(world),
        channels=dict(sorted(Counter(world.channels.posted).items())),
        reorgs=world.chain.reorgs,
        restarts=sum(node.life - 1 for node in world.nodes.values()),
        gone=sum(node.buried for node in world.nodes.values()),
        honest=len(honest),
        dearest_loss=round(max(beyond, default=0) / _usual_price(world), 3),
        invariants=(*INVARIANTS, *PROMISES),
        problems=problems,
    )


def _world(seed: int, deals: int, in_channels: int) -> tuple[World, int]:
    world = World(seed, params=CHAOS_PARAMS)
    world.channels.exit_delay = EXIT_DELAY
    sellers_count = min(PROVIDERS, max(FEWEST, deals // 10))
    buyers = [world.add(free=FUNDS, stake=0) for _ in range(sellers_count * CLIENTS // PROVIDERS)]
    sellers = [world.add(free=0, stake=FUNDS) for _ in range(sellers_count)]
    seats = [world.add_mediator(free=(SEATS_EACH + 1) * FUNDS) for _ in range(MEDIATORS)]
    for node in sellers:
        node.offer = offer_of(world, node)
    for node in (*buyers, *sellers, *seats):
        world.at(world.rng.randrange(5_000), node.start)
    minutes = max(deals // DEALS_PER_MINUTE, in_channels // CHANNEL_DEALS_PER_MINUTE, 2)
    plan(world, sellers, buyers, minutes, FAULTS["chaos"])
    for node in seats:
        # Who misjudges has one place: with two of three it would be the panel.
        for _ in range(0 if node.habits.misjudges else SEATS_EACH - 1):
            world.add_seat(node)
    for number in range(1, _runs(deals) + 1):
        enforcement = "panel" if number % SELF_EVERY else "self"
        market = MarketTerms(max_price=PRICE_LIMIT, budget=BUDGET, enforcement=enforcement)
        level = LEVELS[number % len(LEVELS)] if number % SELF_EVERY else "exact"
        when = 8_000 + world.rng.randrange(minutes * MINUTE)
        world.at(when, partial(submit, world, buyers[number % len(buyers)], number, market, level))
    for number in range(_runs(deals) + 1, _runs(deals) + in_channels + 1):
        _submit_in_channel(world, buyers, sellers, number, minutes)
    return world, minutes


def _submit_in_channel(
    world: World, buyers: Sequence[SimNode], sellers: Sequence[SimNode], number: int, minutes: int
) -> None:
    """Some time a client goes to one of its favourites; every second time it leaves open how to pay."""
    turn, who = divmod(number, len(buyers))
    target = sellers[(who * FAVOURITES + turn % FAVOURITES) % len(sellers)]
    market = MarketTerms(
        max_price=PRICE_LIMIT,
        budget=BUDGET,
        target=target.me,
        search_s=CHANNEL_SEARCH_S,
        settlement="auto" if turn // FAVOURITES % 2 else "channel",
        channel_prices=CHANNEL_PRICES,
    )
    world.at(8_000 + world.rng.randrange(minutes * MINUTE), partial(submit, world, buyers[who], number, market))


def _runs(deals: int) -> int:
    return deals + deals // EXTRA


def _usual_price(world: World) -> int:
    prices = sorted(entry.deal.price for entry in world.escrow.slots.values())
    return prices[len(prices) // 2] if prices else 1

"""What may an honest node have lost when all is over, and has any lost more?

Every account is held against what its owner had agreed to risk: the prices of its deals, a penalty for a result that it never
claimed, and the bond of a dispute whose panel found nothing; less what it has earned.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from devnet.sim.channel_books import CHANNEL_PROMISES, ChannelBooks, locked
from devnet.sim.escrow import FEE_DIVISOR
from devnet.sim.node import SimNode
from devnet.sim.workload import FUNDS
from devnet.sim.world import World
from protocols.contracts.channels import net_of
from protocols.deals.eip712 import Deal, OnChainState, deal_id
from protocols.disputes.params import FIRST_SEATS, bond_of, fee_of
from protocols.disputes.states import Row
from protocols.units import Address, DealId, Tokens

__all__ = ["PROMISES", "SEATS_EACH", "Risks", "broken_promises", "is_honest", "lost", "rows_of"]

SEATS_EACH: Final = 2
"""Of a mediator."""
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
    *CHANNEL_PROMISES,
)


def broken_promises(world: World) -> tuple[str, ...]:
    """A sentence for every promise to the honest that was not kept."""
    risks, honest = Risks(world), [node for node in world.nodes.values() if is_honest(node)]
    return (
        *(problem for node in honest for problem in _broken(world, risks, node)),
        *_misjudged(world),
        *risks.channels.broken(frozenset(node.env.signer.address for node in honest)),
    )


def is_honest(node: SimNode) -> bool:
    """Whether it told no lie; it may have vanished and restarted like the others."""
    habits = node.habits
    misled = habits.misjudges or habits.slanders or habits.freeloads or habits.leaves
    return habits.upright and not node.cheated and not misled


def rows_of(world: World) -> dict[DealId, Row]:
    """How each dispute that is over has ended."""
    return world.panel.rows if world.panel else {}


# --- what an account may have lost -----------------------------------------------------------------------------------


def lost(world: World, node: SimNode) -> int:
    """What is missing of what a node came with, in wei; below zero when it has earned."""
    who, books = node.env.signer.address, world.panel.books if world.panel else None
    held: int = sum(world.balance(node)) + locked(world, who)
    if books is not None:
        seats = (seat for members in books.classes.values() for seat in members if seat.owner == who)
        held += books.accounts.get(who, 0) + sum(seat.bond for seat in seats)
    came_with = (SEATS_EACH + 1) * FUNDS if node.mediates else FUNDS
    return came_with - held


class Risks:
    """What every node has agreed to lose at most, and what it must have earned, by how its deals ended.

    Each slot of the escrow is looked at once.
    """

    def __init__(self, world: World) -> None:
        self.prices: Counter[Address] = Counter()
        """What was paid for, or is locked; in channels: what was signed for."""
        self.beyond: Counter[Address] = Counter()
        """Penalties, fees and bonds."""
        self.earned: Counter[Address] = Counter()
        """Of providers, by what the chain says: prices less the fee, and what a false accusation has cost its author."""
        self.channels = ChannelBooks(world)
        rows = rows_of(world)
        for entry in world.escrow.slots.values():
            deal, state = entry.deal, entry.state
            row = rows.get(deal_id(world.domain, deal))
            self.prices[deal.client] += int(deal.price) if state in _PAID else 0
            self.prices[deal.provider] += int(deal.collateral) if state in _OPEN else 0
            self.earned[deal.provider] += _earned(deal, row, state)
            self.beyond[deal.client] += _bond_at_risk(deal, row, state)
            buried = world.by_address[deal.provider].buried
            self.beyond[deal.provider] += _collateral_at_risk(deal, row, state, buried=buried)
        for (pair, _), paid in world.channels.redeemed.items():
            self.earned[Address(pair[20:])] += net_of(Tokens(paid), Tokens(0))
        for pair, signed in self.channels.signed.items():
            self.prices[Address(pair[:20])] += signed


def _earned(deal: Deal, row: Row | None, state: OnChainState) -> int:
    if state is not OnChainState.SETTLED:
        return 0
    fee = fee_of(deal.seat_fee, deal.price, deal.collateral)
    damages = bond_of(fee, deal.price) - FIRST_SEATS * fee if row is Row.ACQUITTED else 0
    return int(deal.price - deal.price // FEE_DIVISOR + damages)


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


def _broken(world: World, risks: Risks, node: SimNode) -> Iterator[str]:
    gone, who = lost(world, node), node.env.signer.address
    declared = risks.prices[who] + risks.beyond[who] - risks.earned[who]
    name = node.me.hex()[-8:]
    if node.mediates:
        if gone > 0 and not node.buried:
            yield f"seats: the honest mediator {name} has lost {gone} wei"
    elif gone > declared:
        yield f"losses: the honest node {name} has lost {gone} wei, and had declared {declared}"


def _misjudged(world: World) -> Iterator[str]:
    """A verdict that the truth contradicts. Who withholds or is silent is not judged by its bytes."""
    for key, row in rows_of(world).items():
        deal = world.panel.deals[key] if world.panel else None
        provider = world.by_address[deal.provider] if deal else None
        if provider is None:
            continue
        wrong = key in provider.cheated or not provider.habits.honest
        unseen = provider.habits.withholds  # where machines may differ, what is not shown matches nobody
        if (row in (Row.CONVICTED, Row.LOST) and not (wrong or unseen)) or (row is Row.ACQUITTED and wrong):
            yield f"justice: the dispute {key.hex()[:12]} ended {row.name.lower()}, and that is wrong"

"""What must be true of every history, whatever went wrong in it?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from protocols.deals.eip712 import OnChainState
from protocols.deals.in_channel import in_channel
from protocols.deals.states import FINAL_STATES, DealState, Expired, Rejected, Settled, Slashed, Voided
from protocols.handlers.deals import busy_slots
from protocols.runs import Run, is_final
from protocols.state import CLIENT, Half
from protocols.units import DealId

if TYPE_CHECKING:
    from devnet.sim.node import SimNode
    from devnet.sim.world import World

__all__ = ["INVARIANTS", "violations"]

HOLD_GRACE_MS: Final = 1_000
MANY_RESULTS: Final = 80
"""Results at 2 % or more each, of which at least one must have been re-executed: missed once in five histories, so it
is asked only of clients that still know no provider (25 %): missed once in 10^10."""

_OPEN: Final = (OnChainState.COMMITTED, OnChainState.CLAIMED, OnChainState.DISPUTED)
_COSTLY: Final = (*_OPEN, OnChainState.SETTLED)

INVARIANTS: Final = (
    "funds: what escrow, panel and channels account for is what was deposited; no balance is below zero",
    "once: no deal is paid twice, no run signs one index twice",
    "budget: no run has more than its budget paid or locked",
    "consent: a client pays for what it signed, or for a claim whose window passed; never more than the price",
    "slots: a provider never has more firm holds and deals than slots and waiting places",
    "holds: one firm hold per client and provider, and none outlives its time",
    "memory: a node that signed a deal knows it, whatever killed it since",
    "ends: every deal and every run of a node that is up is final, no money stays locked",
    "books: what a client believes about its deals is what the chain says",
    "paid: an honest provider that is up loses no collateral, neither by time nor by a panel",
    "audits: results are re-executed",
)


def violations(world: "World", *, ended: bool) -> list[str]:
    """Every broken invariant as a sentence; ``ended`` also demands that nothing is left open."""
    found = [*_funds(world), *_within_budget(world), *_desks(world)]
    if ended:
        found += [
            *_consent(world),
            *_remembered(world),
            *_all_end(world),
            *_both_agree(world),
            *_honest_are_paid(world),
        ]
        found += _audits(world)
    return found


def _halves(world: "World") -> "Iterator[tuple[SimNode, DealId, Half]]":
    for node in world.nodes.values():
        for deal_id, half in node.state.durable.deals.items():
            yield node, deal_id, half


def _name(deal_id: DealId) -> str:
    return deal_id.hex()[:12]


def _funds(world: "World") -> Iterator[str]:
    escrow, books = world.escrow, world.panel.books if world.panel else None
    held = escrow.total() + world.channels.held() + (books.held() if books else 0)
    if held != escrow.deposited:
        yield f"funds: all together account for {held} of {escrow.deposited} wei"
    accounts = books.accounts.values() if books else ()
    if min([*escrow.free.values(), *escrow.stake.values(), *accounts], default=0) < 0:
        yield "funds: a balance is below zero"


def _within_budget(world: "World") -> Iterator[str]:
    for node in world.nodes.values():
        deals = node.state.durable.deals
        for run in node.state.durable.runs.values():
            if len({deals[deal_id].state.terms.deal.index for deal_id in run.deals}) != len(run.deals):
                yield f"once: run {run.run_id.hex()[:12]} has signed two deals for one index"
            spent = sum(_spent(world, deals[deal_id].state) for deal_id in run.deals)
            if spent > run.market.budget:
                yield f"budget: run {run.run_id.hex()[:12]} has {spent} of {run.market.budget} wei paid or locked"


def _spent(world: "World", state: DealState) -> int:
    """What was paid for a deal, or is locked for it, whatever its client believes."""
    if isinstance(state, Settled):
        return state.paid
    entry = world.escrow.entry(state.terms.deal)
    return state.terms.deal.price if entry and entry.state in _COSTLY else 0


def _desks(world: "World") -> Iterator[str]:
    for node in world.nodes.values():
        desk = node.state.desk
        if not node.up or node.offer is None:
            continue
        firm = [hold for hold in desk.holds.values() if hold.quote.firm]
        if len(firm) + busy_slots(node.state) > desk.slots + desk.queue:
            yield f"slots: {len(firm)} holds and {busy_slots(node.state)} deals in {desk.slots} + {desk.queue} places"
        if len({hold.client for hold in firm}) < len(firm):
            yield "holds: one client has two firm holds at one provider"
        if any(hold.expires + HOLD_GRACE_MS < world.now for hold in firm):
            yield "holds: a hold outlived its time"


def _consent(world: "World") -> Iterator[str]:
    """Looked at from the client: what left its account without a claim and without its signature?"""
    for node, deal_id, half in _halves(world):
        state = half.state
        if half.role != CLIENT or not isinstance(state, Settled):
            continue
        if state.paid > state.terms.deal.price:
            yield f"consent: deal {_name(deal_id)} paid more than its price"
        if state.how == "settled" and deal_id.hex() not in node.signed_off:
            yield f"consent: deal {_name(deal_id)} was settled and its client never signed it off"
        if state.how == "finalized" and (state.claim is None or state.claim.at > world.chain.time):
            yield f"consent: deal {_name(deal_id)} was finalized without a claim"


def _remembered(world: "World") -> Iterator[str]:
    for node in world.nodes.values():
        if node.up:
            known = {deal_id.hex() for deal_id in node.state.durable.deals}
            yield from (f"memory: {deal[:12]} was signed and forgotten" for deal in node.promised if deal not in known)


def _all_end(world: "World") -> Iterator[str]:
    """Every deal of every node that is up is final, and so is every run."""
    for node, deal_id, half in _halves(world):
        if node.up and not isinstance(half.state, FINAL_STATES):
            name = type(half.state).__name__.lower()
            yield f"ends: deal {_name(deal_id)} of a {half.role} is still {name}"
    for node in world.nodes.values():
        runs: list[Run] = list(node.state.durable.runs.values()) if node.up else []
        yield from (f"ends: run {run.run_id.hex()[:12]} is open" for run in runs if not is_final(run))
    for entry in world.escrow.slots.values():
        if entry.state in _OPEN:
            parties = [world.by_address[who] for who in (entry.deal.client, entry.deal.provider)]
            if any(node.up for node in parties):
                yield "ends: a deal still holds money on chain though one of its parties is up"


def _both_agree(world: "World") -> Iterator[str]:
    """A client's books say what the chain says."""
    paid = (OnChainState.SETTLED, OnChainState.CANCELLED)
    believed: dict[type, tuple[OnChainState, ...]] = {
        Settled: paid,
        Expired: (OnChainState.EXPIRED,),
        Slashed: (OnChainState.SLASHED,),
        Voided: (OnChainState.VOID,),
    }
    for node, deal_id, half in _halves(world):
        if not node.up or half.role != CLIENT or in_channel(half.state.terms):
            continue  # of what a channel pays the chain knows nothing: `devnet.sim.channel_books`
        entry = world.escrow.entry(half.state.terms.deal)
        state = entry.state if entry else OnChainState.NONE
        if state not in believed.get(type(half.state), (OnChainState.NONE, OnChainState.BURNED)):
            name = type(half.state).__name__.lower()
            yield f"books: deal {_name(deal_id)} is {name} here and {state.name} on chain"


def _honest_are_paid(world: "World") -> Iterator[str]:
    """Its executor may fail it, or its own process for good; nothing else may cost it."""
    for node, deal_id, half in _halves(world):
        if half.role == CLIENT or not node.up:
            continue
        if isinstance(half.state, Slashed) and node.habits.upright and deal_id not in node.cheated:
            yield f"paid: deal {_name(deal_id)} was slashed, and its provider is honest"
        if not isinstance(half.state, Expired):
            continue
        if node.habits.infra_ppm == 0 or not _had_no_result(node, deal_id):
            yield f"paid: deal {_name(deal_id)} expired on a provider that was there"


def _had_no_result(node: "SimNode", deal_id: DealId) -> bool:
    return deal_id not in node.results


def _audits(world: "World") -> Iterator[str]:
    """A client that knows nobody re-executes one result in four."""
    checked = [half.state for _, _, half in _halves(world) if half.role == CLIENT and isinstance(half.state, Settled)]
    signed = [state for state in checked if state.sign_off is not None]
    rejected = any(isinstance(half.state, Rejected) for _, _, half in _halves(world))
    if len(signed) >= MANY_RESULTS and not rejected and not any(state.checked == "audited" for state in signed):
        yield f"audits: none of {len(signed)} results was re-executed"

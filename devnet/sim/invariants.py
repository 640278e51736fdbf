"""What must be true of every history, whatever went wrong in it?"""

from typing import TYPE_CHECKING

from protocols.deals.eip712 import OnChainState
from protocols.deals.states import FINAL_STATES, Expired, Settled
from protocols.runs import Cancelled, Done, Failed, Run
from protocols.state import CLIENT

if TYPE_CHECKING:
    from devnet.sim.world import World

__all__ = ["violations"]


def violations(world: "World", *, ended: bool) -> list[str]:
    """Every broken invariant as a sentence; ``ended`` also demands that nothing is left open."""
    found = [*_funds(world), *_once(world), *_within_budget(world)]
    if ended:
        found += [*_all_end(world), *_both_agree(world)]
    return found


def _funds(world: "World") -> list[str]:
    escrow = world.escrow
    if escrow.total() != escrow.deposited:
        return [f"funds: the escrow accounts for {escrow.total()} of {escrow.deposited} wei"]
    if min([*escrow.free.values(), *escrow.stake.values()], default=0) < 0:
        return ["funds: a balance is below zero"]
    return []


def _once(world: "World") -> list[str]:
    """No run is paid more often than it has indices on chain, and no deal twice: one slot each."""
    found = []
    for node in world.nodes.values():
        for run in node.state.durable.runs.values():
            settled = [d for d in run.deals if isinstance(node.state.durable.deals[d].state, Settled)]
            if len(set(settled)) != len(settled):
                found.append(f"paid twice: run {run.run_id.hex()[:12]}")
    return found


def _within_budget(world: "World") -> list[str]:
    found = []
    for node in world.nodes.values():
        for run in node.state.durable.runs.values():
            paid = sum(_paid(node.state.durable.deals[deal_id].state) for deal_id in run.deals)
            if paid > run.market.budget:
                found.append(f"budget: run {run.run_id.hex()[:12]} paid {paid} of {run.market.budget} wei")
    return found


def _paid(state: object) -> int:
    return state.paid if isinstance(state, Settled) else 0


def _all_end(world: "World") -> list[str]:
    """Every deal of every node that is up is final, and so is every run."""
    found = []
    for node in world.nodes.values():
        if not node.up:
            continue
        for deal_id, half in node.state.durable.deals.items():
            if not isinstance(half.state, FINAL_STATES):
                name = type(half.state).__name__.lower()
                found.append(f"unending: deal {deal_id.hex()[:12]} of a {half.role} is still {name}")
        found += [f"unending: run {run.run_id.hex()[:12]}" for run in node.state.durable.runs.values() if not _ended(run)]
    held = (OnChainState.COMMITTED, OnChainState.CLAIMED)
    stuck = [entry for entry in world.escrow.slots.values() if entry.state in held]
    if stuck:
        found.append(f"locked: {len(stuck)} deals still hold money on chain")
    return found


def _ended(run: Run) -> bool:
    return isinstance(run.status, Done | Failed | Cancelled)


def _both_agree(world: "World") -> list[str]:
    """A client's books say what the chain says."""
    found = []
    for node in world.nodes.values():
        if not node.up:
            continue
        for deal_id, half in node.state.durable.deals.items():
            deal = half.state.terms.deal
            entry = world.escrow.slots.get((deal.client, deal.run_nonce, deal.index))
            state = entry.state if entry and entry.deal == deal else OnChainState.NONE
            believed = {Settled: (OnChainState.SETTLED, OnChainState.CANCELLED), Expired: (OnChainState.EXPIRED,)}
            wanted = believed.get(type(half.state), (OnChainState.NONE, OnChainState.BURNED))
            if half.role == CLIENT and state not in wanted:
                name = type(half.state).__name__.lower()
                found.append(f"books: deal {deal_id.hex()[:12]} is {name} here and {state.name} on chain")
    return found

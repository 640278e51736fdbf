"""What happens to a deal when the chain, the executor or the clock moves, whichever half this node plays?"""

from typing import Any, Final

from protocols import events as ev
from protocols.deals import channel_client, channel_provider
from protocols.deals import client as client_half
from protocols.deals import provider as provider_half
from protocols.deals.in_channel import in_channel
from protocols.deals.inputs import (
    AuditFinished,
    CancelWanted,
    ChainMoved,
    ChainRetracted,
    Compared,
    Ctx,
    DealInput,
    Fetched,
    FetchFailed,
    JobFinished,
    LeftBehind,
    Opened,
    RoundKnown,
    Step,
    TimePassed,
    TxRefused,
)
from protocols.deals.states import (
    Accepted,
    Checking,
    Committed,
    DealState,
    Delivered,
    Ready,
    Running,
    Settled,
    Signed,
)
from protocols.effects import Effect
from protocols.env import Env
from protocols.handlers import audits, kept, replicas, runs, vouchers
from protocols.messages.beacon import BeaconRound
from protocols.reputation import Record, evidence_of
from protocols.runs import Done
from protocols.state import CLIENT, PROVIDER, Half, NodeState
from protocols.units import DealId, PeerId, Seconds

__all__ = [
    "audit_completed",
    "blobs_arrived",
    "blobs_failed",
    "busy_slots",
    "context",
    "deal_moved",
    "deal_retracted",
    "free_in",
    "job_ended",
    "live_deals",
    "outputs_compared",
    "place",
    "pledged",
    "round_drawn",
    "start_waiting",
    "started",
    "step",
    "time_moved",
    "told_replicas",
    "tx_failed",
    "unsealed",
]

_HALVES: Final[dict[tuple[str, bool], Any]] = {
    (CLIENT, False): client_half,
    (CLIENT, True): channel_client,
    (PROVIDER, False): provider_half,
    (PROVIDER, True): channel_provider,
}
"""The machine that moves a deal, by role and by whether a channel pays it."""
_OCCUPYING: Final = (Signed, Ready, Committed, Running)


def context(state: NodeState, env: Env) -> Ctx:
    """What deal machines may look at."""
    return Ctx(env, state.chain_now)


def step(state: NodeState, deal_id: DealId, event: DealInput, env: Env) -> list[Effect]:
    """Move one deal. A deal this node does not know is somebody else's: nothing happens."""
    half = state.durable.deals.get(deal_id)
    if half is None:
        return []
    machine = _HALVES[half.role, in_channel(half.state.terms)]
    moved: Step = machine.advance(half.state, event, context(state, env))
    if moved[0] is half.state and not moved[1]:
        return []
    return place(state, half.role, moved, env)


def place(state: NodeState, role: str, moved: Step, env: Env) -> list[Effect]:
    """Put a deal's new state in its row, arm its deadline, and let the run and the slots follow."""
    new, effects = moved
    deal_id = new.terms.deal_id
    before = state.durable.deals.get(deal_id)
    if before is None or before.state is not new:
        state.durable.put_deal(deal_id, Half(role, new))
        _arm(state, role, new, env)
        _record(state, role, before.state if before else None, new)
    out = list(effects)
    if in_channel(new.terms):
        return out + _channel_follows(state, role, before.state if before else None, new, env)
    if role == CLIENT:
        out += _client_follows(state, before.state if before else None, new, env)
    else:
        out += start_waiting(state, env)
        if isinstance(new, Settled) and new.kept:
            for one in kept.too_many(state):
                out += step(state, one, TimePassed(), env)
    return out


def _channel_follows(state: NodeState, role: str, before: DealState | None, new: DealState, env: Env) -> list[Effect]:
    """The channel that pays a deal, and the check of its result where that was drawn."""
    out, then = vouchers.follow(state, role, new, env)
    if role == PROVIDER:
        behind = vouchers.stranded(state, new)
        if behind is not None:
            out += step(state, behind, LeftBehind("the deal before it in this channel was not paid"), env)
        return out + start_waiting(state, env)
    if isinstance(new, Checking):
        out += _check(state, before, new, env)
    elif isinstance(before, Checking):
        out += _check_ended(state, new, env)
    if isinstance(new, Settled):
        out += _spare_the_rest(state, new, env)  # a key may come when the run looks for somebody else already
    for deal in vouchers.freed(state, before, new):
        out += place(state, CLIENT, (deal, ()), env)
    return out + (step(state, new.terms.deal_id, then, env) if then else [])


def _client_follows(state: NodeState, before: DealState | None, new: DealState, env: Env) -> list[Effect]:
    """The run, and the checks of its results."""
    if isinstance(new, Delivered):
        return place(state, CLIENT, audits.begin(state, new, env), env)
    if replicas.is_one(new.terms):
        return told_replicas(state, replicas.follow(state, new, env), env)
    if isinstance(new, Checking):
        return _check(state, before, new, env)
    out = runs.follow(state, new, env)
    if isinstance(before, Checking):
        out += _check_ended(state, new, env)
    if new.terms.checks is None:
        return out + _spare_the_rest(state, new, env)
    ended = audits.rerun_ended(before, new)
    return out + step(state, new.terms.checks, ended, env) if ended else out


def told_replicas(state: NodeState, weighed: replicas.Weighed, env: Env) -> list[Effect]:
    """Tell those that were compared what came of it."""
    effects, heard = weighed
    for deal_id, what in heard:
        effects += step(state, deal_id, what, env)
    return effects


def _replicas_due(state: NodeState, deal_id: DealId, env: Env) -> list[Effect]:
    """The provider of one of several is about to claim: those that are here decide."""
    half = state.durable.deals.get(deal_id)
    if (
        half is None
        or half.role != CLIENT
        or not isinstance(half.state, Checking)
        or not replicas.is_one(half.state.terms)
    ):
        return []
    run = state.durable.runs[half.state.terms.run_id]
    return told_replicas(state, replicas.weigh(state, run, env, over=True), env)


def _check(state: NodeState, before: DealState | None, new: Checking, env: Env) -> list[Effect]:
    """Do what a check asks for next, once."""
    if isinstance(before, Checking) and before.audit is new.audit:
        return []
    effects = [] if isinstance(before, Checking) or not runs.holds(state, new) else _spare_the_rest(state, new, env)
    answer, asked = audits.ask(state, new, env)
    effects += asked
    return effects + step(state, new.terms.deal_id, answer, env) if answer else effects


def _check_ended(state: NodeState, new: DealState, env: Env) -> list[Effect]:
    """Nobody need compute it again any more."""
    effects, reruns = audits.stop(state, new, env)
    for deal_id in reruns:
        effects += step(state, deal_id, CancelWanted(), env)
    return effects


def round_drawn(state: NodeState, deal_key: bytes, one: BeaconRound, env: Env) -> list[Effect]:
    """The round that decides about a check is here."""
    return step(state, DealId(deal_key), RoundKnown(one.number, one.randomness), env)


def _spare_the_rest(state: NodeState, new: DealState, env: Env) -> list[Effect]:
    """A run that holds its result needs no second one: stop looking, and get out of its other deals."""
    run = state.durable.runs.get(new.terms.run_id)
    if run is None or not isinstance(new, Checking | Accepted | Settled):
        return []
    if not isinstance(new, Checking) and not isinstance(run.status, Done):
        return []
    effects = runs.drop_search(state, run.run_id, env)
    for deal_id in run.deals:
        if deal_id != new.terms.deal_id:
            effects += step(state, deal_id, CancelWanted(), env)
    return effects


def _arm(state: NodeState, role: str, new: DealState, env: Env) -> None:
    due = _HALVES[role, in_channel(new.terms)].deadline(new, context(state, env))
    name = new.terms.deal_id.hex()
    if due is None:
        state.deadlines.clear(name)
    else:
        state.deadlines.set(name, due)


def _record(state: NodeState, role: str, before: DealState | None, new: DealState) -> None:
    """A client keeps its own record of every provider."""
    if role != CLIENT:
        return
    was, now = evidence_of(before), evidence_of(new)
    if was == now:
        return
    peer = new.terms.provider
    state.records[peer] = state.records.get(peer, Record()).minus(was).plus(now)


def busy_slots(state: NodeState) -> int:
    """Slots and waiting places that live deals of this provider occupy."""
    return sum(
        half.role == PROVIDER and isinstance(half.state, _OCCUPYING)
        for half in map(state.durable.deals.__getitem__, state.durable.live)
    )


def pledged(state: NodeState) -> int:
    """Collateral, in wei, of deals that are signed but not yet locked on chain."""
    live = map(state.durable.deals.__getitem__, state.durable.live)
    return sum(
        half.state.terms.deal.collateral
        for half in live
        if half.role == PROVIDER and isinstance(half.state, Signed | Ready)
    )


def free_in(state: NodeState) -> Seconds:
    """Seconds until the next running job must have ended; 0 when none runs."""
    ends = [
        half.state.commitment.at + half.state.terms.deal.exec_seconds - state.chain_now
        for half in map(state.durable.deals.__getitem__, state.durable.live)
        if half.role == PROVIDER and isinstance(half.state, Committed | Running)
    ]
    return Seconds(max(min(ends), 0)) if ends else Seconds(0)


def start_waiting(state: NodeState, env: Env) -> list[Effect]:
    """Start committed jobs, oldest commitment first, while slots are free."""
    live = [state.durable.deals[deal_id] for deal_id in state.durable.live]
    mine = [half.state for half in live if half.role == PROVIDER]
    free = state.desk.slots - sum(isinstance(deal, Running) for deal in mine)
    waiting = [deal for deal in mine if isinstance(deal, Committed) and not deal.leaving]
    out: list[Effect] = []
    for deal in sorted(waiting, key=lambda d: (d.commitment.at, d.terms.deal_id))[: max(free, 0)]:
        body = state.durable.jobs[deal.terms.deal.job_id]
        new, effects = provider_half.start(deal, body)
        state.durable.put_deal(deal.terms.deal_id, Half(PROVIDER, new))
        _arm(state, PROVIDER, new, env)
        out += effects
        free -= 1
    return out + _start_covered(state, free, env)


def _start_covered(state: NodeState, free: int, env: Env) -> list[Effect]:
    """Start the jobs that a channel pays, oldest deal first, once the chain shows that it covers them."""
    live = [state.durable.deals[deal_id] for deal_id in state.durable.live]
    ready = [half.state for half in live if half.role == PROVIDER and isinstance(half.state, Ready)]
    covered = [deal for deal in ready if in_channel(deal.terms) and vouchers.may_start(state, deal)]
    out: list[Effect] = []
    for deal in covered[: max(free, 0)]:
        body = state.durable.jobs[deal.terms.deal.job_id]
        new, effects = channel_provider.start(
            deal, body, context(state, env), sealed=vouchers.seals(state, deal.terms, env)
        )
        state.durable.put_deal(deal.terms.deal_id, Half(PROVIDER, new))
        _arm(state, PROVIDER, new, env)
        out += effects
    return out


def started(state: NodeState, event: ev.NodeStarted, env: Env) -> list[Effect]:
    """Re-arm every deadline; count what providers did before the restart; wait again for what checks wait for."""
    for half in state.durable.deals.values():
        _arm(state, half.role, half.state, env)
        _record(state, half.role, None, half.state)
    effects: list[Effect] = []
    for half in [state.durable.deals[deal_id] for deal_id in state.durable.live]:
        if half.role == CLIENT and isinstance(half.state, Checking):
            effects += audits.started(state, half.state, env)
        elif half.role == CLIENT and isinstance(half.state, Delivered) and not in_channel(half.state.terms):
            effects += place(state, CLIENT, audits.begin(state, half.state, env), env)
    return effects


def blobs_arrived(state: NodeState, event: ev.BlobsArrived, env: Env) -> list[Effect]:
    """A pull is complete."""
    return step(state, event.deal_id, Fetched(), env)


def blobs_failed(state: NodeState, event: ev.BlobsFailed, env: Env) -> list[Effect]:
    """A pull gave up."""
    return step(state, event.deal_id, FetchFailed(event.code, event.detail), env)


def unsealed(state: NodeState, event: ev.Unsealed, env: Env) -> list[Effect]:
    """Sealed bytes are open."""
    return step(state, event.deal_id, Opened(event.root, event.size), env)


def job_ended(state: NodeState, event: ev.JobEnded, env: Env) -> list[Effect]:
    """Our executor is done, as the provider."""
    return step(state, event.deal_id, JobFinished(event.result), env)


def audit_completed(state: NodeState, event: ev.AuditCompleted, env: Env) -> list[Effect]:
    """Our executor is done, as the client."""
    half = state.durable.deals.get(event.deal_id)
    if half is None:
        return []
    return step(state, event.deal_id, AuditFinished(event.result, audits.wall_ms(state, half.state.terms)), env)


def outputs_compared(state: NodeState, event: ev.OutputsCompared, env: Env) -> list[Effect]:
    """The bytes of a re-execution were looked at."""
    return step(state, event.deal_id, Compared(event.owner, event.same, event.detail), env)


def time_moved(state: NodeState, event: ev.ChainTimeMoved, env: Env) -> list[Effect]:
    """The chain's clock moved: act on every deadline that passed. It never moves back, also when the chain reorganises."""
    state.chain_block = event.block
    if event.timestamp <= state.chain_now:
        return []
    state.chain_now = event.timestamp
    effects: list[Effect] = []
    for name in state.deadlines.pop_due(event.timestamp):
        deal_id = DealId(bytes.fromhex(name))
        effects += step(state, deal_id, TimePassed(), env)
        effects += _replicas_due(state, deal_id, env)
    return effects


def deal_moved(state: NodeState, event: ev.DealMovedOnChain, env: Env) -> list[Effect]:
    """The escrow logged a transition."""
    moved = ChainMoved(
        event.to,
        event.tx,
        event.block,
        event.timestamp,
        event.paid,
        event.result_hash,
        event.refund,
        event.returned,
    )
    return step(state, event.deal_id, moved, env)


def deal_retracted(state: NodeState, event: ev.DealRetractedOnChain, env: Env) -> list[Effect]:
    """A reorganisation took a transition back."""
    return step(state, event.deal_id, ChainRetracted(event.was, event.tx), env)


def tx_failed(state: NodeState, event: ev.TxFailed, env: Env) -> list[Effect]:
    """A transaction of ours cannot succeed."""
    return step(state, event.deal_id, TxRefused(event.purpose, event.reason), env)


def live_deals(state: NodeState, peer: PeerId) -> list[DealState]:
    """This client's deals with a provider that are not final."""
    live = (state.durable.deals[deal_id] for deal_id in state.durable.live)
    return [half.state for half in live if half.role == CLIENT and half.state.terms.provider == peer]

"""What does a client do: submit, search, sign, cancel, retry?"""

from typing import Final

import msgspec

from protocols import events as ev
from protocols.deals.inputs import CancelWanted
from protocols.deals.search import Search
from protocols.deals.states import (
    Accepted,
    Checking,
    Claimed,
    Committed,
    Delivered,
    Proposed,
    Resulted,
    Sealed,
    Signed,
    Unsealing,
)
from protocols.effects import Effect, Notify
from protocols.env import Env
from protocols.handlers import deals, replicas, runs
from protocols.handlers.search import search_due
from protocols.job.canonical import CanonicalJob, job_id_of, run_id_of
from protocols.limits import MAX_ATTEMPTS, MAX_RUNS_LIVE
from protocols.runs import Cancelled, Dealing, Failed, Run, Searching, is_final
from protocols.state import CLIENT, NodeState
from protocols.units import DealId

__all__ = [
    "cancel_requested",
    "peer_down",
    "peer_up",
    "provider_lost",
    "quote_requested",
    "retry_requested",
    "run_submitted",
    "started",
]


def run_submitted(state: NodeState, event: ev.RunSubmitted, env: Env) -> list[Effect]:
    """A new run. Submitting the same one again (a client that crashed and retried) changes nothing."""
    state.wall = max(state.wall, event.wall)
    job = CanonicalJob.decode(event.job)
    job_id = job_id_of(job)
    run_id = run_id_of(job_id, env.signer.address, event.run_nonce)
    if run_id in state.durable.runs:
        return []
    run = Run(
        run_id=run_id,
        job_id=job_id,
        run_nonce=event.run_nonce,
        inputs=event.inputs,
        market=event.market,
        entropy=event.entropy,
        submitted=event.wall,
        status=Searching(),
    )
    if sum(not is_final(other) for other in state.durable.runs.values()) >= MAX_RUNS_LIVE:
        run = msgspec.structs.replace(run, status=Failed("no-capacity", f"{MAX_RUNS_LIVE} runs are already under way"))
    state.durable.put_job(job_id, event.job)
    state.durable.put_run(run)
    state.timers.set(f"search:{run_id.hex()}", event.at)
    note = Notify(subject=run_id, name="run.submitted", fields={"job": job_id.hex(), "name": job.name})
    return [note, *search_due(state, run_id, event, env)]


def quote_requested(state: NodeState, event: ev.QuoteRequested, env: Env) -> list[Effect]:
    """Ask what a job would cost: a search that signs nothing and is never durable."""
    job = CanonicalJob.decode(event.job)
    run = Run(
        run_id=event.quote_id,
        job_id=job_id_of(job),
        run_nonce=0,
        inputs=event.inputs,
        market=event.market,
        entropy=event.entropy,
        submitted=state.wall,
        status=Searching(),
    )
    state.searches[run.run_id] = Search(run, job, started=event.at, quote_only=True)
    return search_due(state, run.run_id, event, env)


def started(state: NodeState, event: ev.NodeStarted, env: Env) -> list[Effect]:
    """Take up every search that a restart interrupted, and watch the providers of live deals."""
    for run in state.durable.runs.values():
        if isinstance(run.status, Searching):
            state.timers.set(f"search:{run.run_id.hex()}", event.at)
        elif isinstance(run.status, Dealing):
            state.timers.set(f"lost:{run.status.deal_id.hex()}", event.at + env.params.provider_lost)
    replicas.started(state)
    return []


WORKED: Final = (Resulted, Sealed, Unsealing, Delivered, Checking, Accepted, Claimed)
"""Deals whose provider has committed to a result."""


def cancel_requested(state: NodeState, event: ev.CancelRequested, env: Env) -> list[Effect]:
    """Stop searching, burn what is signed, or offer the provider a price for stopping."""
    run = state.durable.runs.get(event.run_id)
    if run is None or is_final(run):
        return []
    if any(isinstance(state.durable.deals[deal_id].state, WORKED) for deal_id in run.deals):
        # The work is done and its result known: it is paid for, so its owner shall have it.
        detail = "the job has ended already; its result is on its way"
        return [Notify(subject=run.run_id, name="run.cancel_refused", fields={"detail": detail})]
    effects = runs.drop_search(state, event.run_id, env)
    cancelled = Cancelled()
    state.durable.put_run(msgspec.structs.replace(run, status=cancelled))
    effects.append(runs.finish(run, cancelled))
    for deal_id in run.deals:
        effects += deals.step(state, deal_id, CancelWanted(), env)
    return effects


def retry_requested(state: NodeState, event: ev.RetryRequested, env: Env) -> list[Effect]:
    """Another attempt of a run that failed, by its owner's wish."""
    run = state.durable.runs.get(event.run_id)
    if run is None or not isinstance(run.status, Failed | Cancelled) or len(run.deals) >= MAX_ATTEMPTS:
        return []
    effects = runs.search_again(state, run, "retry", "asked for by its owner")
    return [*effects, *search_due(state, event.run_id, event, env)]


def peer_up(state: NodeState, event: ev.PeerCameUp, env: Env) -> list[Effect]:
    """A provider is back."""
    for deal in deals.live_deals(state, event.peer):
        state.timers.clear(f"lost:{deal.terms.deal_id.hex()}")
    return []


def peer_down(state: NodeState, event: ev.PeerWentDown, env: Env) -> list[Effect]:
    """A provider is gone: give it some time."""
    for deal in deals.live_deals(state, event.peer):
        state.timers.set(f"lost:{deal.terms.deal_id.hex()}", event.at + env.params.provider_lost)
    return []


def provider_lost(state: NodeState, deal_key: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """It did not come back. Try elsewhere at once when the budget covers both, else when the deal has expired."""
    half = state.durable.deals.get(DealId(deal_key))
    if half is None or not isinstance(half.state, Proposed | Signed | Committed) or half.role != CLIENT:
        return []
    terms = half.state.terms
    run = state.durable.runs.get(terms.run_id)
    if run is None or not isinstance(run.status, Dealing) or run.status.deal_id != terms.deal_id:
        return []
    if replicas.is_one(terms):
        return []  # the others decide without it, or another is found when it has expired
    if terms.provider in state.peers:
        return []
    covered = run.market.budget - runs.outstanding(state, run) >= terms.deal.price
    if not covered or "provider-lost" not in run.market.retry_on or len(run.deals) >= run.market.max_attempts:
        return []
    run = msgspec.structs.replace(run, tried=(*run.tried, terms.provider))
    effects = runs.search_again(state, run, "provider-lost", "the provider has been unreachable")
    return [*effects, *search_due(state, run.run_id, event, env)]

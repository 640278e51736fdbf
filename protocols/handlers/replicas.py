"""How does a run decide by several? n providers of different owners compute the same job; what ``agree`` of them answer alike
is the result.

Every replica is a deal of the run with the next index, within its budget, and holds its result back from acceptance
(`Checking` without an audit) until the others' are there. Who owns whom, the chain's logs say (`owners`). Nobody judges a
minority but the client: it signs nothing, and keeps the evidence.
"""

from typing import Final

import msgspec

from protocols import events as ev
from protocols.canonical import tagged_digest
from protocols.deals.inputs import CancelWanted, DealInput, ReplicasCompared
from protocols.deals.search import Recheck, Search
from protocols.deals.states import (
    Checking,
    Committed,
    DealState,
    DealTerms,
    Delivered,
    Proposed,
    Resulted,
    Settled,
    Signed,
)
from protocols.deals.terms import Level
from protocols.effects import Effect
from protocols.env import Env
from protocols.handlers import runs
from protocols.job.canonical import CanonicalJob, CanonicalVerify
from protocols.limits import MAX_ATTEMPTS
from protocols.messages.deal import ResultNotice
from protocols.runs import Cancelled, Dealing, Done, Failed, Run, is_final
from protocols.state import NodeState
from protocols.units import ZERO_HASH, DealId, RunId
from protocols.verify.levels import NEVER_GROUNDS, depends_on_machine
from protocols.verify.replicas import SLOW, UNDECIDED, Agreement, decision, pairs_that_match

__all__ = ["Weighed", "follow", "is_one", "nobody", "search_for", "started", "sub_search", "weigh"]

TIMER: Final = "replica:"
_AWAY: Final = (Proposed, Signed, Committed, Resulted, Delivered)
"""States in which a replica may still bring a result."""


Weighed = tuple[list[Effect], list[tuple[DealId, DealInput]]]
"""What to do, and what each replica hears."""


def is_one(terms: DealTerms) -> bool:
    """Whether a deal is one of several that are compared with each other."""
    return terms.deal.level is Level.REPLICATE and terms.checks is None


def follow(state: NodeState, deal: DealState, env: Env) -> Weighed:
    """One of a run's replicas moved."""
    run = state.durable.runs.get(deal.terms.run_id)
    if run is None:
        return [], []
    if not is_final(run):
        return weigh(state, run, env)
    effects = _stop(state, run, env)
    if isinstance(deal, Checking):
        return effects, [(deal.terms.deal_id, _late(state, run, deal))]
    if isinstance(deal, Settled) and isinstance(run.status, Done) and run.status.deal_id == deal.terms.deal_id:
        return effects + _end(state, run, msgspec.structs.replace(run.status, settled=True)), []
    return effects, []


def weigh(state: NodeState, run: Run, env: Env, *, over: bool = False) -> Weighed:
    """Decide, if what is here decides; else see to it that enough are under way. ``over``: nobody is waited for any more."""
    if is_final(run):
        return [], []
    verify, members = _verify(state, run), _members(state, run)
    held = [deal for deal in members if isinstance(deal, Checking)]
    missing = 0 if over else sum(isinstance(deal, _AWAY) for deal in members) + _still_wanted(state, run)
    matches = pairs_that_match(held, lambda one, other: _same(one.result, other.result))
    found = decision(len(held), matches, verify.agree, missing)
    if found is None:
        _look(state, run)
        return [], []
    status = _status(run, verify, held, found)
    heard = [
        (deal.terms.deal_id, _verdict(position in found.agreed, status, len(held), slow=_slow(state, deal)))
        for position, deal in enumerate(held)
    ]
    if isinstance(status, Failed):  # whatever the others find, it decides nothing any more
        heard += [(deal.terms.deal_id, CancelWanted()) for deal in members if isinstance(deal, _AWAY)]
    return [*_stop(state, run, env), *_end(state, run, status)], heard


def nobody(state: NodeState, run_id: RunId, env: Env) -> Weighed:
    """No further provider was found: those there are decide."""
    run = state.durable.runs.get(run_id)
    if run is None or is_final(run):
        return [], []
    state.short_of_replicas[run_id] = run.next_index
    return weigh(state, run, env)


def started(state: NodeState) -> None:
    """After a restart: look again for what is missing."""
    for run in state.durable.runs.values():
        if isinstance(run.status, Dealing) and is_one(state.durable.deals[run.status.deal_id].state.terms):
            _look(state, run)


def sub_search(run_id: RunId) -> RunId:
    """Under which name the search for a further replica stands among the searches of runs."""
    return RunId(tagged_digest("replica/1", run_id))


def search_for(state: NodeState, run_key: bytes, event: ev.Event) -> RunId | None:
    """Open the search for one more replica, unless none is wanted or one is under way; its name."""
    run = state.durable.runs.get(RunId(run_key))
    if run is None or not isinstance(run.status, Dealing) or not _still_wanted(state, run):
        return None
    name = sub_search(run.run_id)
    if name in state.searches:
        return None
    deals = [one.terms.deal for one in _members(state, run)]
    others = dict.fromkeys(owner for one in deals for owner in (one.client, one.provider))
    again = msgspec.structs.replace(run, next_index=len(run.deals))
    job = CanonicalJob.decode(state.durable.jobs[run.job_id])
    further = Recheck(name, None, tuple(others), ZERO_HASH)
    state.searches[name] = Search(again, job, started=event.at, quote_only=False, wall=state.wall, recheck=further)
    return name


# --- what is compared --------------------------------------------------------------------------------------------


def _verify(state: NodeState, run: Run) -> CanonicalVerify:
    return CanonicalJob.decode(state.durable.jobs[run.job_id]).verify


def _members(state: NodeState, run: Run) -> list[DealState]:
    """The deals of this attempt: an owner's retry starts anew."""
    return [state.durable.deals[deal_id].state for deal_id in run.deals[run.next_index :]]


def _still_wanted(state: NodeState, run: Run) -> int:
    """Replicas that are not under way and should be. As with any run, each failure allows one more deal, ``retry`` times."""
    if state.short_of_replicas.get(run.run_id) == run.next_index:
        return 0
    members, n = _members(state, run), _verify(state, run).n
    here = sum(isinstance(deal, (Checking, *_AWAY)) for deal in members)
    room = min(n + run.market.max_attempts - 1 - len(members), MAX_ATTEMPTS - len(run.deals))
    return max(min(n - here, room), 0)


def _look(state: NodeState, run: Run) -> None:
    if _still_wanted(state, run) and sub_search(run.run_id) not in state.searches:
        state.timers.set(TIMER + run.run_id.hex(), 0)


def _same(one: ResultNotice, other: ResultNotice) -> bool:
    """`exact` of `protocols.verify.comparators`, which needs no files. An end that depends on the machine is like no other:
    it can be said without working, and two that say it would outvote one that has worked."""
    a, b = one.commit, other.commit
    if a.outcome in NEVER_GROUNDS:
        return False
    return (one.root, a.outcome, a.exit_code, a.fuel) == (other.root, b.outcome, b.exit_code, b.fuel)


# --- what follows ------------------------------------------------------------------------------------------------


def _status(run: Run, verify: CanonicalVerify, held: list[Checking], found: Agreement) -> Done | Failed:
    if found.winner is not None:
        deal = held[found.winner]
        commit = deal.result.commit
        return Done(deal.terms.deal_id, deal.result.root, commit.outcome, commit.exit_code, "replicated", False)
    if not held:
        return Failed("provider-lost", f"none of {len(run.deals) - run.next_index} providers delivered a result")
    detail = f"{UNDECIDED}: {verify.agree} results must be the same, and of {len(held)} that came they are not"
    return Failed("rejected", detail, held[0].terms.deal_id)


def _slow(state: NodeState, deal: Checking) -> bool:
    """Whether it has ended as a slower machine might: no result, and no other result either."""
    job = CanonicalJob.decode(state.durable.jobs[deal.terms.deal.job_id])
    return depends_on_machine(deal.result.commit.outcome, job.executor)


def _verdict(agrees: bool, status: Done | Failed, count: int, *, slow: bool) -> DealInput:
    if slow and not agrees:
        words = (
            "the time was up" if isinstance(status, Failed) else "the majority's machines were done within the limits"
        )
        return ReplicasCompared(False, "bytes", f"{SLOW}: of {count} results, {words}")
    if isinstance(status, Failed):
        return ReplicasCompared(False, "bytes", status.detail)
    words = "is the result of the majority" if agrees else "is another result than the majority's"
    return ReplicasCompared(agrees, "replicated", f"one of {count} results, it {words}")


def _late(state: NodeState, run: Run, deal: Checking) -> DealInput:
    """It comes when the run is over: what was decided holds for it too."""
    if isinstance(run.status, Done):
        winner = getattr(state.durable.deals[run.status.deal_id].state, "result", None)
        agrees = winner is not None and _same(winner, deal.result)
        if not agrees and _slow(state, deal):
            return ReplicasCompared(False, "replicated", f"{SLOW}: it came later than the majority's, without a result")
        words = "is the result of the majority" if agrees else "is another result than the majority's"
        return ReplicasCompared(agrees, "replicated", f"it came later and {words}")
    if isinstance(run.status, Cancelled):
        return ReplicasCompared(True, "bytes", "it was ready when its run was cancelled")
    if _slow(state, deal):
        return ReplicasCompared(False, "bytes", f"{SLOW}: it came when its run had failed")
    return ReplicasCompared(False, "bytes", f"{UNDECIDED}: it came when its run had failed")


def _stop(state: NodeState, run: Run, env: Env) -> list[Effect]:
    state.timers.clear(TIMER + run.run_id.hex())
    state.short_of_replicas.pop(run.run_id, None)
    return runs.drop_search(state, sub_search(run.run_id), env)


def _end(state: NodeState, run: Run, status: Done | Failed) -> list[Effect]:
    state.durable.put_run(msgspec.structs.replace(run, status=status))
    return [runs.finish(run, status)]

"""What does a node do for the checks of its results? Names the round, waits for it, runs jobs again, buys runs of them.

A re-execution by somebody else is a deal of the same run with the next index (`DealTerms.checks`): within the run's budget,
with a provider that is no party of the checked deal, and never the run's own result.
"""

from typing import Final

import msgspec

from protocols import events as ev
from protocols.canonical import tagged_digest
from protocols.deals import checking
from protocols.deals.inputs import AuditFinished, CheckWanted, Ctx, DealInput, Rerun, RoundKnown, Step
from protocols.deals.search import Recheck, Search
from protocols.deals.states import (
    FINAL_STATES,
    Abandoned,
    Accepted,
    Checking,
    Claimed,
    DealState,
    DealTerms,
    Delivered,
    Expired,
    LocalResult,
    Ran,
    Rejected,
    Settled,
    Slashed,
    Voided,
)
from protocols.deals.terms import OutcomeCode
from protocols.effects import CompareOutputs, Effect, RunJob
from protocols.env import Env
from protocols.handlers import runs
from protocols.handlers.beacon import wait_for
from protocols.job.canonical import CanonicalJob
from protocols.messages.deal import ResultNotice, SignOff
from protocols.runs import Run
from protocols.state import NodeState
from protocols.units import ZERO_HASH, Cid, DealId, RunId, Tokens, UnixSeconds
from protocols.verify.audits import BEACON_LEAD, AwaitRound, RunElsewhere, RunHere

__all__ = ["ask", "begin", "rerun_ended", "search_for", "started", "stop", "sub_search", "wall_ms", "wanted"]

TIMER: Final = "recheck:"


def begin(state: NodeState, delivered: Delivered, env: Env) -> Step:
    """All bytes are here and verified: sign the receipt, and start the check that its round decides about."""
    terms = delivered.terms
    ctx = Ctx(env, state.chain_now)
    # A beacon that this node has not heard for a while has gone on: the clock knows what others may have seen.
    latest = max(state.beacon.newest, env.params.beacon.round_at(state.wall))
    executor, left = _means(state, terms)
    return checking.begin(delivered, latest + BEACON_LEAD, executor, left, ctx)


def wanted(state: NodeState, terms: DealTerms) -> CheckWanted:
    """What the check of a channel's deal begins with: it was drawn already, by this client alone."""
    return CheckWanted(*_means(state, terms))


def _means(state: NodeState, terms: DealTerms) -> tuple[str, Tokens]:
    """What the job runs in, and what is left of its run's budget for those who would run it again."""
    run = state.durable.runs[terms.run_id]
    job = CanonicalJob.decode(state.durable.jobs[terms.deal.job_id])
    return job.executor, Tokens(max(run.market.budget - runs.outstanding(state, run), 0))


def wall_ms(state: NodeState, terms: DealTerms) -> int:
    """How long a deal's job may run, in milliseconds: what its owner wrote, without what a provider is given besides."""
    return CanonicalJob.decode(state.durable.jobs[terms.deal.job_id]).limits.wall_s * 1_000


def ask(state: NodeState, deal: Checking, env: Env) -> tuple[DealInput | None, list[Effect]]:
    """Do what the check waits for; the first part is its answer, where that is known at once."""
    terms, audit = deal.terms, deal.audit
    deal_id = terms.deal_id
    if audit is not None and audit.comparing:
        return None, [_compare(state, deal, audit.comparing.ran)]
    match audit.asked if audit else None:
        case AwaitRound(round=number):
            known = state.beacon.known(number)
            if known is not None:
                return RoundKnown(number, known.randomness), []
            return None, wait_for(state, number, f"audit:{deal_id.hex()}", env)
        case RunHere():
            body, key = state.durable.jobs[terms.deal.job_id], f"run:{deal_id.hex()}"
            wanted_mib, has_mib = CanonicalJob.decode(body).resources.memory_mib[0], env.machine.memory_mib
            if wanted_mib > has_mib:
                return _too_large(wanted_mib, has_mib), []
            return None, [RunJob(key=key, deal_id=deal_id, run_id=terms.run_id, job=body, audit=True)]
        case RunElsewhere():
            state.timers.set(TIMER + deal_id.hex(), 0)
            return None, []
        case _:
            return None, []


def _too_large(wanted_mib: int, has_mib: int) -> AuditFinished:
    """Whoever buys a large machine need not have one: a provider that ends at a limit must not make its client's run out."""
    detail = (
        f"the job may take {wanted_mib} MiB of memory, this node gives {has_mib}; mesh config set provider.memory_mib"
    )
    result = LocalResult(
        outcome=OutcomeCode.INFRA_ERROR,
        exit_code=-1,
        fuel=0,
        wall_ms=0,
        root=Cid(b""),
        size=0,
        log_head=ZERO_HASH,
        detail=detail,
    )
    return AuditFinished(result, 0)


def _compare(state: NodeState, deal: Checking, ran: Ran) -> Effect:
    """Each re-execution is compared once: its owner names the effect."""
    deal_id = deal.terms.deal_id
    return CompareOutputs(
        key=f"compare:{deal_id.hex()}:{ran.owner.hex()}",
        deal_id=deal_id,
        job=state.durable.jobs[deal.terms.deal.job_id],
        ran=ran,
        others=checking.compares_with(deal),
    )


def started(state: NodeState, deal: Checking, env: Env) -> list[Effect]:
    """After a restart: wait for the same round, go on looking. What runs or is compared here is in the outbox, and begins
    again."""
    if deal.audit is None or deal.audit.comparing or isinstance(deal.audit.asked, RunHere):
        return []
    return ask(state, deal, env)[1]


# --- re-executions by others -------------------------------------------------------------------------------------


def sub_search(deal_id: DealId) -> RunId:
    """Under which name the search for a re-execution stands among the searches of runs."""
    return RunId(tagged_digest("recheck/1", deal_id))


def search_for(state: NodeState, deal_key: bytes, event: ev.Event) -> RunId | None:
    """Open the search for a re-execution of a deal, unless it is no longer wanted or under way; its name."""
    deal_id = DealId(deal_key)
    half = state.durable.deals.get(deal_id)
    deal = half.state if half is not None else None
    if not isinstance(deal, Checking) or deal.audit is None or deal.audit.comparing:
        return None
    asked = deal.audit.asked
    run = state.durable.runs[deal.terms.run_id]
    name = sub_search(deal_id)
    if not isinstance(asked, RunElsewhere) or name in state.searches or list(_reruns(state, run, deal_id)):
        return None
    most = Tokens(min(run.market.max_price, asked.at_most))
    market = msgspec.structs.replace(run.market, target=None, deadline=UnixSeconds(0), max_price=most)
    again = msgspec.structs.replace(run, market=market, next_index=len(run.deals))
    job = CanonicalJob.decode(state.durable.jobs[run.job_id])
    recheck = Recheck(name, deal_id, asked.other_than, asked.numeric_class)
    state.searches[name] = Search(again, job, started=event.at, quote_only=False, wall=state.wall, recheck=recheck)
    return name


def rerun_ended(before: DealState | None, new: DealState) -> Rerun | None:
    """What a deal that re-executes another has come to by this step; None while it goes on, or when that was told."""
    terms = new.terms
    owner, price = terms.deal.provider, terms.deal.price
    match new:
        case Accepted(result=result) | Claimed(result=ResultNotice() as result, sign_off=SignOff()):
            if isinstance(before, Accepted | Claimed):
                return None
            commit = result.commit
            ran = Ran(owner, commit.outcome, commit.exit_code, commit.fuel, result.root)
            return Rerun(ran, owner, "", price)
        case Abandoned() | Expired() | Rejected() | Settled() | Slashed() | Voided() | Claimed(sign_off=None):
            if isinstance(before, (*FINAL_STATES, Accepted, Rejected, Claimed)):
                return None
            return Rerun(None, owner, f"a re-execution ended {type(new).__name__.lower()}", _cost(new))
        case _:
            return None


def _cost(ended: DealState) -> Tokens:
    """What it may still cost, or has cost."""
    match ended:
        case Abandoned() | Expired() | Slashed() | Voided():
            return Tokens(0)
        case Settled(paid=paid):
            return paid
        case _:
            return ended.terms.deal.price


def stop(state: NodeState, ended: DealState, env: Env) -> tuple[list[Effect], list[DealId]]:
    """A check is over: end its search; the re-executions that are still under way are the second part."""
    deal_id = ended.terms.deal_id
    state.timers.clear(TIMER + deal_id.hex())
    run = state.durable.runs[ended.terms.run_id]
    return runs.drop_search(state, sub_search(deal_id), env), list(_reruns(state, run, deal_id))


def _reruns(state: NodeState, run: Run, deal_id: DealId) -> list[DealId]:
    """Deals under way that compute this one's result again."""
    found = ((one, state.durable.deals[one].state) for one in run.deals if one in state.durable.live)
    return [one for one, deal in found if deal.terms.checks == deal_id and not isinstance(deal, Accepted | Claimed)]

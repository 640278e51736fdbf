"""How does a run follow its deals? From the client's side: accept, try elsewhere, or end."""

from typing import Final, assert_never

import msgspec

from protocols.canonical import tagged_digest
from protocols.deals import client as client_half
from protocols.deals.client import UNVERIFIABLE
from protocols.deals.inputs import Ctx, Step
from protocols.deals.states import (
    Abandoned,
    Accepted,
    DealState,
    Delivered,
    Expired,
    Rejected,
    Settled,
)
from protocols.effects import Effect, Notify
from protocols.env import Env
from protocols.limits import MAX_ATTEMPTS
from protocols.runs import Cancelled, Dealing, Done, Failed, Run, Searching, is_final
from protocols.state import NodeState
from protocols.units import PPM, Tokens

__all__ = ["check", "draws_audit", "finish", "follow", "outstanding", "search_again"]

_REFUSED: Final = frozenset({"busy", "hold-lapsed", "draining", "other-terms"})


def draws_audit(run: Run, delivered: Delivered) -> bool:
    """Does this client re-execute this result? Drawn from the run's own entropy, which no provider knows."""
    if delivered.result.commit.outcome in UNVERIFIABLE or delivered.terms.deal.level == 0:
        return False
    draw = int.from_bytes(tagged_digest("audit/1", run.entropy, delivered.terms.deal_id), "big")
    return draw < delivered.terms.deal.audit_ppm * (1 << 256) // PPM


def check(state: NodeState, delivered: Delivered, env: Env) -> Step:
    """The bytes are here and verified: re-execute, or sign off at once."""
    terms = delivered.terms
    run = state.durable.runs[terms.run_id]
    if draws_audit(run, delivered):
        return client_half.reexecute(delivered, state.durable.jobs[terms.deal.job_id])
    return client_half.accept(delivered, "bytes", Ctx(env, state.chain_now))


def follow(state: NodeState, deal: DealState, env: Env) -> list[Effect]:
    """One of the run's deals moved."""
    run = state.durable.runs.get(deal.terms.run_id)
    if run is None:
        return []
    current = isinstance(run.status, Dealing) and run.status.deal_id == deal.terms.deal_id
    match deal:
        case Accepted():
            commit = deal.result.commit
            done = Done(deal.terms.deal_id, deal.result.root, commit.outcome, commit.exit_code, deal.checked, False)
            return _end(state, run, done) if not isinstance(run.status, Done) else []
        case Settled() if deal.result is not None and deal.how != "cancelled":
            return _settled(state, run, deal)
        case Settled():
            return _not_done(state, run, deal, "infra-error", "the deal was cancelled", env) if current else []
        case Abandoned(code="cancelled"):
            return []
        case Abandoned():
            code = "no-capacity" if deal.code in _REFUSED else "provider-lost"
            return _not_done(state, run, deal, code, deal.detail, env) if current else []
        case Expired():
            detail = "the provider did not deliver; the price came back with its penalty"
            return _not_done(state, run, deal, "provider-lost", detail, env) if current else []
        case Rejected():
            failed = Failed("rejected", deal.detail, deal.terms.deal_id)
            return _end(state, run, failed) if current else []
        case _:
            return []


def _settled(state: NodeState, run: Run, deal: Settled) -> list[Effect]:
    """Paid. A run that is done learns it; one whose client was silent learns that it paid anyway."""
    if isinstance(run.status, Done) and run.status.deal_id == deal.terms.deal_id:
        return _end(state, run, msgspec.structs.replace(run.status, settled=True))
    if is_final(run) or deal.result is None:
        return []
    commit = deal.result.commit
    return _end(
        state, run, Done(deal.terms.deal_id, deal.result.root, commit.outcome, commit.exit_code, deal.checked, True)
    )


def _end(state: NodeState, run: Run, status: Done | Failed | Cancelled) -> list[Effect]:
    state.durable.put_run(msgspec.structs.replace(run, status=status))
    return [finish(run, status)]


def finish(run: Run, status: Done | Failed | Cancelled) -> Notify:
    """The line that ends a run."""
    match status:
        case Done():
            name = "run.settled" if status.settled else "run.done"
            fields = {"checked": status.checked, "exit_code": str(status.exit_code)}
        case Failed():
            name, fields = "run.failed", {"code": status.code, "detail": status.detail}
        case Cancelled():
            name, fields = "run.cancelled", {}
        case _:
            assert_never(status)
    return Notify(subject=run.run_id, name=name, fields=fields)


def outstanding(state: NodeState, run: Run) -> Tokens:
    """What the run has paid, or may still have to pay, in wei."""
    total = 0
    for deal_id in run.deals:
        match state.durable.deals[deal_id].state:
            case Settled(paid=paid):
                total += paid
            case Abandoned() | Expired():
                pass
            case deal:
                total += deal.terms.deal.price
    return Tokens(total)


def _not_done(state: NodeState, run: Run, deal: DealState, code: str, detail: str, env: Env) -> list[Effect]:
    if deal.terms.provider not in run.tried:
        run = msgspec.structs.replace(run, tried=(*run.tried, deal.terms.provider))
    if code in run.market.retry_on and len(run.deals) < min(run.market.max_attempts, MAX_ATTEMPTS):
        return search_again(state, run, code, detail)
    return _end(state, run, Failed(code, detail, deal.terms.deal_id))


def search_again(state: NodeState, run: Run, code: str, detail: str) -> list[Effect]:
    """The next attempt: its own index on chain, its own search."""
    again = msgspec.structs.replace(run, status=Searching(), next_index=len(run.deals))
    state.durable.put_run(again)
    state.timers.set(f"search:{run.run_id.hex()}", 0)
    fields = {"code": code, "detail": detail, "attempt": str(len(run.deals) + 1)}
    return [Notify(subject=run.run_id, name="run.retrying", fields=fields)]

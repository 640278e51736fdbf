"""What do people and programs get to see of a node? Pure selections of its state, for the CLI, the API and the dashboard.

A view is a frozen value that shares nothing with the state. Identifiers stay bytes here; text is made at the edge.
"""

import msgspec

from protocols.deals.eip712 import Domain
from protocols.deals.evidence import dossier_of
from protocols.deals.states import (
    Claimed,
    Committed,
    DealState,
    Disputed,
    Expired,
    Proposed,
    Ready,
    Running,
    Settled,
    Signed,
    Slashed,
    Voided,
    phase_of,
)
from protocols.handlers.deals import busy_slots
from protocols.job.canonical import CanonicalJob
from protocols.messages.deal import ResultNotice
from protocols.runs import Candidate, Dealing, Done, Failed, Run, RunStatus
from protocols.state import NodeState
from protocols.units import Address, Cid, DealId, Hash32, JobId, PeerId, RunId, Tokens, UnixSeconds

__all__ = [
    "DealView",
    "ProviderView",
    "RunView",
    "deal_view",
    "deals",
    "dossier",
    "find_deals",
    "find_runs",
    "provider_view",
    "quote_candidates",
    "run_view",
    "runs",
]


HINTED = (Proposed, Signed, Ready, Committed, Running)
"""States in which what the provider last said about its progress is still news."""


class DealView(msgspec.Struct, frozen=True, kw_only=True):
    """One deal of this node."""

    deal_id: DealId
    role: str
    phase: str
    run_id: RunId
    job_id: JobId
    client: PeerId
    provider: PeerId
    client_operator: Address
    provider_operator: Address
    price: Tokens
    collateral: Tokens
    paid: Tokens | None
    audit_ppm: int
    enforcement: str
    """``self`` or ``panel``."""
    seat_fee: Tokens
    commit_by: UnixSeconds
    commit_tx: Hash32 | None
    committed_at: UnixSeconds | None
    final_tx: Hash32 | None
    final_how: str
    checked: str
    outcome: int | None
    exit_code: int | None
    fuel: int | None
    wall_ms: int | None
    root: Cid | None
    size: int
    detail: str
    hint: tuple[str, int, int] | None
    """What the provider last said: phase, done, total. A hint, never a fact."""
    checks: DealId | None = None
    """The deal whose result this one computes again."""


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run of this client with the deals of all its attempts, oldest first."""

    run_id: RunId
    job_id: JobId
    name: str
    status: str
    code: str
    detail: str
    submitted: UnixSeconds
    root: Cid | None
    outcome: int | None
    exit_code: int | None
    checked: str
    settled: bool
    spent: Tokens
    max_price: Tokens
    budget: Tokens
    deals: tuple[DealView, ...]
    candidates: tuple[Candidate, ...]
    rechecks: tuple[DealView, ...] = ()
    """Deals in which others computed its results again; their prices are in ``spent``."""
    replicas: int = 0
    """How many providers compute the job, where several do; ``deals`` are then theirs."""
    search_until: UnixSeconds
    """When the search that is under way gives up; 0 when none is."""


class ProviderView(msgspec.Struct, frozen=True, kw_only=True):
    """What this node offers, and how busy it is."""

    offering: bool
    draining: bool
    slots: int
    queue: int
    busy: int
    holds: int
    capability: str
    executors: tuple[str, ...]


def _result_of(state: DealState) -> ResultNotice | None:
    return getattr(state, "result", None) or getattr(state, "disowned", None) or None


def deal_view(state: NodeState, deal_id: DealId) -> DealView | None:
    """One deal, or None when this node does not know it."""
    half = state.durable.deals.get(deal_id)
    if half is None:
        return None
    deal, terms = half.state, half.state.terms
    commitment = getattr(deal, "commitment", None)
    result = _result_of(deal)
    paid, final_tx, how = _end_of(deal)
    return DealView(
        deal_id=deal_id,
        role=half.role,
        phase=phase_of(deal),
        run_id=terms.run_id,
        job_id=terms.deal.job_id,
        client=terms.client,
        provider=terms.provider,
        client_operator=terms.deal.client,
        provider_operator=terms.deal.provider,
        price=terms.deal.price,
        collateral=terms.deal.collateral,
        paid=paid,
        audit_ppm=terms.deal.audit_ppm,
        enforcement=terms.deal.enforcement.name.lower(),
        seat_fee=terms.deal.seat_fee,
        commit_by=terms.deal.commit_by,
        commit_tx=commitment.tx if commitment and commitment.block else None,
        committed_at=commitment.at if commitment else None,
        final_tx=final_tx,
        final_how=how,
        checked=getattr(deal, "checked", "") or "",
        outcome=int(result.commit.outcome) if result else None,
        exit_code=result.commit.exit_code if result else None,
        fuel=result.commit.fuel if result else None,
        wall_ms=result.commit.wall_ms if result else None,
        root=result.root if result else None,
        size=result.size if result else 0,
        detail=getattr(deal, "detail", "") or getattr(deal, "refused", "") or "",
        hint=state.hints.get(deal_id) if isinstance(deal, HINTED) else None,
        checks=terms.checks,
    )


def _end_of(deal: DealState) -> tuple[Tokens | None, Hash32 | None, str]:
    """(what was paid, the transaction, how it ended), as far as it is known."""
    match deal:
        case Settled(how="voucher" | "keyless" | "wrong"):
            return deal.paid, None, deal.how  # no transaction names it: its channel is redeemed
        case Settled():
            return deal.paid, deal.tx, deal.how
        case Expired():
            return Tokens(0), deal.tx, "expired"
        case Slashed():
            return Tokens(0), deal.tx, "slashed"
        case Voided():
            return Tokens(0), deal.tx, "void"
        case Claimed():
            return None, deal.tx, "claimed"
        case Disputed():
            return None, deal.tx, "disputed"
        case _:
            return None, None, ""


def _status_of(status: RunStatus) -> tuple[str, str, str]:
    """(word, code, detail)."""
    word = type(status).__name__.lower()
    if isinstance(status, Failed):
        return word, status.code, status.detail
    return word, "", ""


def run_view(state: NodeState, run: Run, job_name: str) -> RunView:
    """One run."""
    word, code, detail = _status_of(run.status)
    everything = [view for deal_id in run.deals if (view := deal_view(state, deal_id)) is not None]
    views = tuple(view for view in everything if view.checks is None)
    done = run.status if isinstance(run.status, Done) else None
    search = state.searches.get(run.run_id)
    live = tuple(search.candidates.values()) if search else ()
    if isinstance(run.status, Dealing) and views:
        detail = _awaited(state, views[-1]) or views[-1].phase
    return RunView(
        run_id=run.run_id,
        job_id=run.job_id,
        name=job_name,
        status=word,
        code=code,
        detail=detail,
        submitted=run.submitted,
        root=done.root if done else None,
        outcome=done.outcome if done else None,
        exit_code=done.exit_code if done else None,
        checked=done.checked if done else "",
        settled=done.settled if done else False,
        spent=Tokens(sum(view.paid or 0 for view in everything)),
        max_price=run.market.max_price,
        budget=run.market.budget,
        deals=views,
        rechecks=tuple(view for view in everything if view.checks is not None),
        candidates=(*run.candidates, *live),
        replicas=_replicas(state, run),
        search_until=search.until if search else UnixSeconds(0),
    )


def _awaited(state: NodeState, view: DealView) -> str:
    deal = state.durable.deals[view.deal_id].state
    if not isinstance(deal, Settled) or deal.late is msgspec.UNSET:
        return ""
    return "paid while this node was away; its result is being fetched"


def _replicas(state: NodeState, run: Run) -> int:
    body = state.durable.jobs.get(run.job_id)
    return CanonicalJob.decode(body).verify.n if body else 0


def _name(state: NodeState, job_id: JobId) -> str:
    body = state.durable.jobs.get(job_id)
    return CanonicalJob.decode(body).name if body else ""


def runs(state: NodeState) -> tuple[RunView, ...]:
    """Every run, oldest first."""
    ordered = sorted(state.durable.runs.values(), key=lambda run: (run.submitted, run.run_id))
    return tuple(run_view(state, run, _name(state, run.job_id)) for run in ordered)


def deals(state: NodeState) -> tuple[DealView, ...]:
    """Every deal of this node."""
    return tuple(view for deal_id in state.durable.deals if (view := deal_view(state, deal_id)) is not None)


def find_runs(state: NodeState, prefix: bytes, odd: int | None = None) -> tuple[RunView, ...]:
    """The runs whose id starts with ``prefix`` (and then with the half byte ``odd``, if given)."""
    hits = [run for run in state.durable.runs.values() if _starts(run.run_id, prefix, odd)]
    return tuple(run_view(state, run, _name(state, run.job_id)) for run in hits)


def find_deals(state: NodeState, prefix: bytes, odd: int | None = None) -> tuple[DealView, ...]:
    """The deals whose id starts with ``prefix`` (and then with the half byte ``odd``, if given)."""
    hits = [deal_id for deal_id in state.durable.deals if _starts(deal_id, prefix, odd)]
    return tuple(view for deal_id in hits if (view := deal_view(state, deal_id)) is not None)


def _starts(key: bytes, prefix: bytes, odd: int | None) -> bool:
    if not key.startswith(prefix):
        return False
    return odd is None or (len(key) > len(prefix) and key[len(prefix)] >> 4 == odd)


def provider_view(state: NodeState) -> ProviderView:
    """What this node offers."""
    desk = state.desk
    return ProviderView(
        offering=desk.offer is not None,
        draining=desk.draining,
        slots=desk.slots,
        queue=desk.queue,
        busy=busy_slots(state),
        holds=desk.firm(),
        capability=desk.offer.capability if desk.offer else "",
        executors=tuple(one.kind for one in desk.offer.executors) if desk.offer else (),
    )


def quote_candidates(state: NodeState, quote_id: RunId) -> tuple[Candidate, ...] | None:
    """What a finished quote request has found; None while it is open, or when it was forgotten."""
    return state.quotes.get(quote_id)


def dossier(state: NodeState, deal_id: DealId, domain: Domain) -> bytes:
    """The evidence of a deal. Raises ``KeyError`` for a deal this node does not know."""
    half = state.durable.deals[deal_id]
    return dossier_of(half.state, state.durable.jobs[half.state.terms.deal.job_id], domain)

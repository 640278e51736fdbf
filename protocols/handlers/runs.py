"""How does a run follow its deals? From the client's side: accept, try elsewhere, or end."""

from typing import Final, assert_never

import msgspec

from protocols.deals import client as client_half
from protocols.deals.states import (
    Abandoned,
    Accepted,
    Checking,
    Claimed,
    DealState,
    Expired,
    Rejected,
    Settled,
    Slashed,
    Voided,
)
from protocols.effects import Effect, Notify, Send
from protocols.env import Env
from protocols.limits import MAX_ATTEMPTS
from protocols.messages.deal import ResultNotice, SignOff
from protocols.messages.negotiation import HoldRelease
from protocols.offers.pricing import tokens_text
from protocols.runs import Cancelled, Dealing, Done, Failed, Run, Searching, is_final
from protocols.state import NodeState
from protocols.units import Hash32, PeerId, RunId, Tokens

__all__ = [
    "drop_search",
    "finish",
    "follow",
    "holds",
    "outstanding",
    "release",
    "search_again",
    "waits_for_money",
]

_REFUSED: Final = frozenset({"busy", "hold-lapsed", "draining", "other-terms"})


def follow(state: NodeState, deal: DealState, env: Env) -> list[Effect]:
    """One of the run's deals moved."""
    run = state.durable.runs.get(deal.terms.run_id)
    if run is None or deal.terms.checks is not None:
        return []
    current = isinstance(run.status, Dealing) and run.status.deal_id == deal.terms.deal_id
    match deal:
        case Accepted(result=result) | Claimed(result=ResultNotice() as result, sign_off=SignOff()):
            commit = result.commit
            done = Done(deal.terms.deal_id, result.root, commit.outcome, commit.exit_code, deal.checked, False)
            return _end(state, run, done) if not isinstance(run.status, Done) else []
        case Settled(how="acquitted", result=ResultNotice() as result):
            # This client had refused it; a panel found it right, and it is paid for.
            commit = result.commit
            done = Done(deal.terms.deal_id, result.root, commit.outcome, commit.exit_code, deal.checked, True)
            return _end(state, run, done) if current or _by(run, deal) else []
        case Settled() if deal.result is not None and deal.how not in ("cancelled", "wrong"):
            return _settled(state, run, deal)
        case Settled(how="cancelled"):
            return _not_done(state, run, deal, "infra-error", "the deal was cancelled", env) if current else []
        case Settled(how="wrong", refused=why) | Abandoned(disowned=ResultNotice(), detail=why):
            # In a channel: another result than the provider's came out when it was computed again.
            failed = Failed("rejected", why or "", deal.terms.deal_id)
            return _end(state, _avoiding(run, deal), failed) if current else []
        case Settled(how="keyless"):
            detail = "the provider took the voucher and gave nothing that opens the result"
            return _not_done(state, run, deal, "provider-lost", detail, env) if current else []
        case Settled(late=late) if late is not msgspec.UNSET:
            return []  # it is paid for: its provider keeps it for this client
        case Settled():
            detail = "the provider claimed, was paid, and never delivered a result"
            return _not_done(state, run, deal, "provider-lost", detail, env) if current else []
        case Abandoned(code="cancelled"):
            return []
        case Abandoned():
            code = "no-capacity" if deal.code in _REFUSED else "provider-lost"
            return _not_done(state, run, deal, code, deal.detail, env) if current else []
        case Expired():
            detail = "the provider did not deliver; the price came back with its penalty"
            return _not_done(state, run, deal, "provider-lost", detail, env) if current else []
        case Rejected(detail=why) | Claimed(rejected=why) if why:
            failed = Failed("rejected", why, deal.terms.deal_id)
            return _end(state, _avoiding(run, deal), failed) if current else []
        case Slashed() | Voided():
            word = "convicted its provider" if isinstance(deal, Slashed) else "found nothing"
            detail = f"the dispute {word}; {tokens_text(deal.refund)} came back"
            failed = Failed("rejected", detail, deal.terms.deal_id)
            return _end(state, _avoiding(run, deal), failed) if current or _by(run, deal) else []
        case _:
            return []


def _by(run: Run, deal: DealState) -> bool:
    """Whether it was this deal that the run has failed by."""
    return isinstance(run.status, Failed) and run.status.deal_id == deal.terms.deal_id


def holds(state: NodeState, deal: Checking) -> bool:
    """A result is here: the run stands or falls with it now, also when it was given up meanwhile for another deal's.
    False when the run is over."""
    run = state.durable.runs.get(deal.terms.run_id)
    if run is None or is_final(run) or deal.terms.checks is not None:
        return False
    if run.status != Dealing(deal.terms.deal_id):
        state.durable.put_run(msgspec.structs.replace(run, status=Dealing(deal.terms.deal_id)))
    return True


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
            case Abandoned() as left if _may_come_back(state, left):
                total += left.terms.deal.price
            case Abandoned() | Expired() | Slashed() | Voided():
                pass
            case deal:
                total += deal.terms.deal.price
    return Tokens(total)


def _may_come_back(state: NodeState, deal: Abandoned) -> bool:
    """The provider holds our signature: until `commitBy`, or until the run's index is burned, it can still commit."""
    return not deal.burned and state.chain_now <= deal.terms.deal.commit_by


def waits_for_money(state: NodeState, run: Run) -> bool:
    """A deal that was given up still ties down what the next attempt needs; that ends by itself, at `commitBy`."""
    tied = (state.durable.deals[deal_id].state for deal_id in run.deals)
    if not any(isinstance(deal, Abandoned) and _may_come_back(state, deal) for deal in tied):
        return False
    return run.market.budget - outstanding(state, run) < run.market.max_price


def release(peer: PeerId, rfq_id: Hash32, env: Env) -> Effect:
    """Give a hold back."""
    protocol, data = env.seal(HoldRelease(rfq_id=rfq_id))
    return Send(peer=peer, protocol=protocol, data=data)


def drop_search(state: NodeState, run_id: RunId, env: Env) -> list[Effect]:
    """End a search that is no longer wanted; every hold it may have is given back."""
    search = state.searches.pop(run_id, None)
    state.timers.clear(f"search:{run_id.hex()}")
    return [release(one.provider, rfq_id, env) for rfq_id, one in search.asked.items()] if search else []


def _not_done(state: NodeState, run: Run, deal: DealState, code: str, detail: str, env: Env) -> list[Effect]:
    run = _avoiding(run, deal)
    if code in run.market.retry_on and len(run.deals) < min(run.market.max_attempts, MAX_ATTEMPTS):
        effects = search_again(state, run, code, detail)
        if isinstance(deal, Abandoned) and waits_for_money(state, run):
            effects.append(client_half.burn(deal.terms))
        return effects
    return _end(state, run, Failed(code, detail, deal.terms.deal_id))


def _avoiding(run: Run, deal: DealState) -> Run:
    """The next attempt asks somebody else first."""
    if deal.terms.provider in run.tried:
        return run
    return msgspec.structs.replace(run, tried=(*run.tried, deal.terms.provider))


def search_again(state: NodeState, run: Run, code: str, detail: str) -> list[Effect]:
    """The next attempt: its own index on chain, its own search."""
    again = msgspec.structs.replace(run, status=Searching(), next_index=len(run.deals))
    state.durable.put_run(again)
    state.timers.set(f"search:{run.run_id.hex()}", 0)
    fields = {"code": code, "detail": detail, "attempt": str(len(run.deals) + 1)}
    return [Notify(subject=run.run_id, name="run.retrying", fields=fields)]

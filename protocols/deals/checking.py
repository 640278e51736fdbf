"""How does a client check a result that it holds, and what follows?

The deal's side of `protocols.verify.audits`: the receipt that names the round, the comparison, and the two ends. What the
machine asks for stands in the state (`Audit.asked`), so that a restart asks for it again; `protocols.handlers.audits` does.
"""

from typing import Final

import msgspec

from protocols.deals import eip712, in_channel
from protocols.deals.inputs import (
    AuditFinished,
    CheckWanted,
    Compared,
    Ctx,
    ReplicasCompared,
    Rerun,
    RoundKnown,
    Step,
    TimePassed,
    outcome_name,
    say,
    send,
)
from protocols.deals.states import (
    Accepted,
    Audit,
    Checking,
    Claimed,
    Comparing,
    DealTerms,
    Delivered,
    Ran,
    Rejected,
    Resulted,
)
from protocols.deals.waits import bytes_by
from protocols.disputes.opening import open_dispute
from protocols.effects import CancelFetch, CancelJob, DropEffects, Effect
from protocols.errors import LocalProtocolError
from protocols.limits import MAX_REASON_CHARS
from protocols.messages.deal import ReceiptNotice, Rejection, ResultNotice, SignOff
from protocols.units import Address, Tokens, UnixSeconds
from protocols.verify import audits
from protocols.verify.levels import NEVER_GROUNDS, depends_on_machine

__all__ = [
    "accept",
    "begin",
    "begin_drawn",
    "compared",
    "compares_with",
    "never_seen",
    "ran_elsewhere",
    "ran_here",
    "reject",
    "replicated",
    "round_known",
    "time_up",
    "unseen",
    "unseen_by",
]

WRONG_RESULT: Final = "wrong-result"
"""A client's word for a result that another computation does not bear out."""
OWN_DRAW: Final = 0
"""In the place of a round's number where the client has drawn for itself. No beacon has a round 0."""


# --- the receipt -------------------------------------------------------------------------------------------------


def begin(state: Delivered, beacon_round: int, executor: str, budget: Tokens, ctx: Ctx) -> Step:
    """Sign the receipt: from here on the draw is fixed, and nobody has seen it yet. Then wait for the round, unless there
    is nothing to compare.

    ``budget``: what re-executions by others may cost. An operator stands for its owner here; who searches for
    another owner asks whose each operator is (`protocols.handlers.owners`).
    """
    terms = state.terms
    result_hash = eip712.digest(ctx.env.domain, state.result.commit)
    receipt = eip712.ResultReceipt(deal_id=terms.deal_id, result_hash=result_hash, beacon_round=beacon_round)
    notice = ReceiptNotice(receipt=receipt, signature=ctx.env.signer.sign(eip712.digest(ctx.env.domain, receipt)))
    new = Checking(terms, state.commitment, state.result, state.at, state.receipt, notice, claim=state.claim)
    told = (send(ctx, terms, terms.provider, notice), say(terms, "deal.receipt", round=str(beacon_round)))
    if terms.checks is not None:
        end, effects = accept(new, "bytes", "it is a re-execution itself", ctx)
        return end, (*told, *effects)
    if terms.deal.level is eip712.Level.REPLICATE:
        return new, told  # the others' results decide about it: `protocols.handlers.replicas`
    subject = audits.Subject.of(
        terms.deal_id,
        terms.deal,
        executor=executor,
        owners=(terms.deal.client, terms.deal.provider),
        latest=beacon_round - audits.BEACON_LEAD,
        budget=budget,
    )
    at, requests = audits.start(subject, terms.deal, state.result.commit.outcome)
    end, effects = _follow(new, at, requests, None, ctx)
    return end, (*told, *effects)


def begin_drawn(state: Checking, event: CheckWanted, ctx: Ctx) -> Step:
    """Of a deal that a channel pays: the client has drawn for itself, and no round is waited for."""
    if state.audit is not None:
        return state, ()
    terms, deal = state.terms, state.terms.deal
    owners = (deal.client, deal.provider)
    subject = audits.Subject.of(
        terms.deal_id,
        deal,
        executor=event.executor,
        owners=owners,
        latest=OWN_DRAW - audits.BEACON_LEAD,
        budget=event.budget,
    )
    at, requests = audits.start(subject, deal, state.result.commit.outcome)
    if isinstance(at, audits.Waiting):
        at, requests = audits.advance(at, audits.RoundArrived(OWN_DRAW, in_channel.ticket(terms, ctx)))
    return _follow(state, at, requests, None, ctx)


# --- what happens to a check -------------------------------------------------------------------------------------


def round_known(state: Checking, event: RoundKnown, ctx: Ctx) -> Step:
    """The beacon has spoken."""
    return _advance(state, audits.RoundArrived(event.number, event.value), None, ctx)


def ran_here(state: Checking, event: AuditFinished, ctx: Ctx) -> Step:
    """This node's own executor is done."""
    result, mine, subject = event.result, state.terms.deal.client, _subject(state)
    if subject is None:
        return state, ()
    outcome = eip712.OutcomeCode(result.outcome)
    if subject.timed_out and outcome is eip712.OutcomeCode.TIMEOUT:
        return _advance(state, audits.Timed(None, event.limit_ms), None, ctx)
    if depends_on_machine(outcome, subject.executor):
        reason = f"the re-execution here ended {outcome_name(outcome)}: {result.detail}"[:MAX_REASON_CHARS]
        return _advance(state, audits.Unusable(mine, reason), None, ctx)
    if subject.timed_out:
        return _advance(state, audits.Timed(result.wall_ms, event.limit_ms), None, ctx)
    return _compared(state, Ran(mine, result.outcome, result.exit_code, result.fuel, result.root), Tokens(0), ctx)


def ran_elsewhere(state: Checking, event: Rerun, ctx: Ctx) -> Step:
    """Another provider has run it, or nobody would. What can be said without working bears out nothing and contradicts nothing,
    in no executor: two who have not begun would agree."""
    if event.ran is None or event.ran.outcome in NEVER_GROUNDS:
        reason = event.reason or "a re-execution ended in a way that depends on the machine, or on no work at all"
        owner = event.owner if event.ran is None else event.ran.owner
        return _advance(state, audits.Unusable(owner, reason, event.cost), None, ctx)
    return _compared(state, event.ran, event.cost, ctx)


def replicated(state: Checking, event: ReplicasCompared, ctx: Ctx) -> Step:
    """Enough results are here, or no more will come."""
    if event.agrees:
        return accept(state, event.checked, event.detail, ctx)
    return reject(state, "outvoted", event.detail, ctx)


def time_up(state: Checking, event: TimePassed, ctx: Ctx) -> Step:
    """The provider is about to claim: what is known by now decides. A re-execution that is under way goes on in the window,
    which the claim opens: what it finds is still worth knowing, and under a panel it can be disputed."""
    if in_channel.in_channel(state.terms) or isinstance(state.claim, Claimed) or not _under_way(state):
        return _advance(state, audits.TimeUp(), None, ctx)
    return msgspec.structs.replace(state, overtime=True), (say(state.terms, "deal.check_goes_on"),)


def _subject(state: Checking) -> audits.Subject | None:
    return state.audit.at.subject if state.audit is not None else None


def _under_way(state: Checking) -> bool:
    """Not so where the provider's time was up: it is paid whatever is found."""
    subject = _subject(state)
    return isinstance(state.audit and state.audit.at, audits.First | audits.Second) and not (
        subject and subject.timed_out
    )


def _compared(state: Checking, ran: Ran, cost: Tokens, ctx: Ctx) -> Step:
    """Compare what needs no bytes; else keep what is to be compared: `protocols.handlers.audits` asks for it."""
    audit = state.audit
    if audit is None:
        return state, ()
    found = [_same(state.terms.deal.level, ran, other) for other in compares_with(state)]
    known = tuple(one for one in found if one is not None)
    if len(known) < len(found):
        return msgspec.structs.replace(state, audit=msgspec.structs.replace(audit, comparing=Comparing(ran, cost))), ()
    return _reexecuted(state, ran, cost, known, ctx)


def compares_with(state: Checking) -> tuple[Ran, ...]:
    """What a re-execution is compared with: the provider's result, and a first re-execution that differed from it."""
    theirs = _of_provider(state.result, state.terms.deal.provider)
    return (theirs, state.audit.first) if state.audit and state.audit.first else (theirs,)


def compared(state: Checking, event: Compared, ctx: Ctx) -> Step:
    """The bytes have been looked at."""
    audit = state.audit
    if audit is None or not audit.comparing or audit.comparing.ran.owner != event.owner:
        return state, ()
    ran, cost = audit.comparing.ran, audit.comparing.cost
    ready = msgspec.structs.replace(state, audit=msgspec.structs.replace(audit, comparing=msgspec.UNSET))
    level = state.terms.deal.level.name.lower()
    if len(event.same) != len(compares_with(state)):
        reason = f"not comparable at level {level}: {event.detail}"[:MAX_REASON_CHARS]
        return _advance(ready, audits.Unusable(ran.owner, reason, cost), None, ctx)
    new, effects = _reexecuted(ready, ran, cost, event.same, ctx)
    word = "the same" if event.same[0] else "another result"
    return new, (say(state.terms, "deal.compared", level=level, found=word, detail=event.detail), *effects)


def _reexecuted(state: Checking, ran: Ran, cost: Tokens, same: tuple[bool, ...], ctx: Ctx) -> Step:
    beside = same[1] if len(same) > 1 else None
    return _advance(state, audits.Reexecuted(ran.owner, same[0], beside, cost), ran, ctx)


def _of_provider(result: ResultNotice, owner: Address) -> Ran:
    commit = result.commit
    return Ran(owner, commit.outcome, commit.exit_code, commit.fuel, result.root)


def _same(level: eip712.Level, one: Ran, other: Ran) -> bool | None:
    """`exact` of `protocols.verify.comparators`, which needs no files. At the other levels equal roots are the same
    result, and different ones need the files: None."""
    if (one.outcome, one.exit_code) != (other.outcome, other.exit_code):
        return False
    if level == eip712.Level.EXACT:
        return (one.root, one.fuel) == (other.root, other.fuel)
    return True if one.root == other.root else None


def _advance(state: Checking, event: audits.AuditEvent, ran: Ran | None, ctx: Ctx) -> Step:
    audit = state.audit
    if audit is None:
        return state, ()
    at, requests = audits.advance(audit.at, event)
    if at is audit.at:
        return state, ()
    return _follow(state, at, requests, audit.first or ran, ctx)


def _follow(
    state: Checking,
    at: audits.AuditState,
    requests: tuple[audits.AuditRequest, ...],
    first: Ran | None,
    ctx: Ctx,
) -> Step:
    """Keep what the machine asks for, or end."""
    if isinstance(at, audits.Concluded):
        return _concluded(state, at, ctx)
    (asked,) = requests
    new = msgspec.structs.replace(state, audit=Audit(at, asked, first))
    match asked:
        case audits.AwaitRound():
            return new, ()
        case audits.RunHere():
            return new, (say(state.terms, "deal.auditing", where="here"),)
        case audits.RunElsewhere():
            where = "differs, asking another provider" if isinstance(at, audits.Second) else "another provider"
            return new, (*_stop_run(state.terms), say(state.terms, "deal.auditing", where=where))


def _concluded(state: Checking, end: audits.Concluded, ctx: Ctx) -> Step:
    terms, wrong = state.terms, f"another result than the provider's: {end.reason}"
    if in_channel.in_channel(terms):
        new, effects = (
            in_channel.refuse(state, WRONG_RESULT, wrong, ctx)
            if end.mismatch
            else in_channel.accept(state, end.checked, end.reason)
        )
    elif end.mismatch:
        return reject(state, WRONG_RESULT, wrong, ctx, end.confirmed)
    else:
        new, effects = accept(state, end.checked, end.reason, ctx)
    if end.confirmed:
        effects = (*effects, say(terms, "deal.mismatch_confirmed", detail=wrong))
    if end.outvoted is not None:
        effects = (*effects, say(terms, "deal.audit_outvoted", owner="0x" + end.outvoted.hex()))
    return new, effects


# --- the two ends ------------------------------------------------------------------------------------------------


def accept(state: Checking, checked: audits.Checked, why: str, ctx: Ctx) -> Step:
    """Sign off: the receipt that was sent, and the settlement of the whole price."""
    terms = state.terms
    settlement = eip712.Settlement(deal_id=terms.deal_id, paid=terms.deal.price)
    if state.named is None:
        raise LocalProtocolError("a result is signed off on chain whose receipt was never signed")
    off = SignOff(
        receipt=state.named.receipt,
        receipt_signature=state.named.signature,
        settlement=settlement,
        signature=ctx.env.signer.sign(eip712.digest(ctx.env.domain, settlement)),
    )
    accepted: Accepted | Claimed = Accepted(terms, state.commitment, state.result, off, checked)
    if isinstance(state.claim, Claimed):
        accepted = msgspec.structs.replace(state.claim, sign_off=off, checked=checked)
    told = say(terms, "deal.accepted", checked=checked, why=why)
    return accepted, (*_stop_run(terms), send(ctx, terms, terms.provider, off), told)


def reject(
    state: Resulted | Checking, code: str, detail: str, ctx: Ctx, confirmed: bool = False, withheld: bool = False
) -> Step:
    """Do not sign. The receipts are kept: they are evidence. Bytes that never came need no second opinion."""
    terms, detail = state.terms, detail[:MAX_REASON_CHARS]
    held = state if isinstance(state, Checking) else None
    rejected: Rejected | Claimed = Rejected(
        terms,
        state.commitment,
        state.result,
        code,
        detail,
        receipt=held.receipt if held else None,
        named=held.named if held else None,
        confirmed=confirmed,
    )
    if isinstance(state.claim, Claimed):
        rejected = msgspec.structs.replace(state.claim, rejected=detail, withheld=withheld or msgspec.UNSET)
    return rejected, (
        CancelFetch(deal_id=terms.deal_id),
        *(_stop_run(terms) if held else ()),
        send(ctx, terms, terms.provider, Rejection(deal_id=terms.deal_id, code=code, detail=detail)),
        say(terms, "deal.rejected", code=code, detail=detail),
        *((say(terms, "deal.mismatch_confirmed", detail=detail),) if confirmed else ()),
        *(open_dispute(terms, state.result, ctx.env, withheld=withheld) if confirmed or withheld else ()),
    )


def unseen(state: Claimed) -> bool:
    """Whether a claim under a panel is of something that this client was never told, and has not refused."""
    panel = state.terms.deal.enforcement is eip712.Enforcement.PANEL
    return panel and state.result is None and not state.rejected


def unseen_by(state: Claimed) -> UnixSeconds | None:
    """How long the provider of such a claim has to tell."""
    return bytes_by(state) if unseen(state) else None


def never_seen(state: Claimed, ctx: Ctx) -> Step:
    """Dispute the hash that was claimed: the provider has to open it, or loses."""
    terms, detail = state.terms, "the provider has claimed a result and never sent it"
    disputed = open_dispute(terms, None, ctx.env, withheld=True, result_hash=state.result_hash)
    new = msgspec.structs.replace(state, rejected=detail, withheld=True)
    return new, (say(terms, "deal.rejected", code="result-unavailable", detail=detail), *disputed)


def _stop_run(terms: DealTerms) -> tuple[Effect, ...]:
    """No re-execution here is needed any more, and no comparison."""
    name = terms.deal_id.hex()
    return (CancelJob(deal_id=terms.deal_id), DropEffects(prefix=f"run:{name}"), DropEffects(prefix=f"compare:{name}"))

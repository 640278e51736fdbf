"""What is different about a deal that a channel pays? It is never on chain, so its states stand on no commitment.

Signed > Ready > Running > Resulted > Delivered > Settled: with its acceptance the client signs the voucher, so the two are
one step. Both halves share what is here; `channel_client` and `channel_provider` say who moves.
"""

from typing import Final

import msgspec

from protocols.deals.inputs import Ctx, DealInput, Step, say, send
from protocols.deals.states import (
    Abandoned,
    Checking,
    Commitment,
    DealTerms,
    Delivered,
    PaidBy,
    Settled,
    Unsealing,
)
from protocols.deals.terms import OutcomeCode, SettlementMode
from protocols.effects import CancelFetch, CancelJob, DropEffects, Effect, StopServing
from protocols.errors import LocalProtocolError
from protocols.limits import MAX_REASON_CHARS, NetworkParams
from protocols.messages.deal import Rejection, ResultNotice
from protocols.units import ZERO_HASH, Hash32, Seconds, UnixSeconds
from protocols.verify import audits
from protocols.verify.levels import BY_RULE, auditable, looked_at_always

__all__ = [
    "HOW",
    "WRONG",
    "Paid",
    "accept",
    "drawn",
    "end",
    "in_channel",
    "leave",
    "patience",
    "refuse",
    "settled",
    "ticket",
    "work_began",
]

HOW: Final = "voucher"
"""How such a deal ends: `Settled.how`."""
WRONG: Final = "wrong"
"""How one ends whose sealed result was paid for, and whose audit then found another: `Settled.how`."""


class Paid(DealInput, frozen=True):
    """A voucher for this deal is signed (client), or here (provider). ``by``: what it was, for a result that was sealed."""

    by: PaidBy | None = None


def in_channel(terms: DealTerms) -> bool:
    """Whether a channel pays this deal."""
    return terms.deal.settlement == SettlementMode.CHANNEL


def work_began(now: UnixSeconds) -> Commitment:
    """In the place of a commitment: from when on its times count. No transaction has this hash."""
    return Commitment(tx=ZERO_HASH, block=0, at=now)


def settled(
    terms: DealTerms,
    on: Commitment,
    result: ResultNotice | None,
    checked: str,
    how: str = HOW,
    seal: Unsealing | None = None,
    refused: str = "",
) -> Settled:
    """Paid by a voucher; no transaction names it. ``seal`` and ``refused``: what was paid for in vain, and why."""
    return Settled(
        terms=terms,
        tx=ZERO_HASH,
        paid=terms.deal.price,
        how=how,
        result=result,
        checked=checked,
        commitment=on,
        seal=seal or msgspec.UNSET,
        refused=refused or msgspec.UNSET,
    )


def leave(
    terms: DealTerms, code: str, detail: str, *effects: Effect, forget: bool, disowned: ResultNotice | None = None
) -> Step:
    """The end of a deal that is not paid. ``disowned``: the result that the client refuses to pay for."""
    note = say(terms, "deal.abandoned", code=code, detail=detail)
    left = Abandoned(terms, code, detail, burned=True, disowned=disowned or msgspec.UNSET)
    return left, (*end(terms, forget=forget), *effects, note)


def end(terms: DealTerms, *, forget: bool) -> tuple[Effect, ...]:
    """Nothing more is done for it. What is still to be said to the other party is said."""
    deal_id, name = terms.deal_id, terms.deal_id.hex()
    return (
        CancelFetch(deal_id=deal_id),
        CancelJob(deal_id=deal_id),
        StopServing(deal_id=deal_id, forget=forget),
        *(DropEffects(prefix=f"{kind}:{name}") for kind in ("run", "compare", "serve", "fetch")),
    )


# --- the audit ---------------------------------------------------------------------------------------------------


def ticket(terms: DealTerms, ctx: Ctx) -> Hash32:
    """What takes the place of a beacon's round: nobody but this client can compute it, and a restart draws no other.

    No round is needed, and none waited for: the draw costs the provider nothing that it had not agreed to, so there is
    nobody to whom the client would have to prove that it did not choose.
    """
    return ctx.env.signer.derive("audit-draw", terms.deal_id)


def drawn(terms: DealTerms, outcome: OutcomeCode, ctx: Ctx) -> bool:
    """Whether the client runs this deal's job again before it counts the result as right. What it runs in, and so whether it
    can, `Checking` is told (`CheckWanted`)."""
    deal = terms.deal
    if deal.audit_ppm == 0 or not any(auditable(deal.level, outcome, executor) for executor in BY_RULE):
        return False
    return looked_at_always(outcome) or audits.drawn(ticket(terms, ctx), terms.deal_id, deal.audit_ppm)


def patience(terms: DealTerms, params: NetworkParams) -> Seconds:
    """How long a provider waits for the voucher, from its result on: the time to pull it, and where the client may run the
    job again, to do so here and once more elsewhere."""
    deal = terms.deal
    again = deal.exec_seconds + params.commit_within + deal.exec_seconds if deal.audit_ppm else 0
    return Seconds(deal.exec_seconds + params.silence_before_claim + again)


def accept(state: Checking, checked: audits.Checked, why: str) -> Step:
    """Nothing speaks against the result: it is paid for next, or was already."""
    terms = state.terms
    told = say(terms, "deal.accepted", checked=checked, why=why)
    if isinstance(state.seal, Unsealing):
        paid = say(terms, "deal.settled", paid=str(terms.deal.price), how=HOW)
        return settled(terms, state.commitment, state.result, checked), (*end(terms, forget=False), told, paid)
    if state.receipt is None:
        raise LocalProtocolError("a result is checked in a channel whose delivery was not noted")
    passed = Delivered(terms, state.commitment, state.result, state.at, state.receipt, checked=checked)
    return passed, (*end(terms, forget=False), told)


def refuse(state: Checking, code: str, detail: str, ctx: Ctx) -> Step:
    """Somebody who computed it again has another result: no voucher, or none after this one. What was signed is kept."""
    terms, detail = state.terms, detail[:MAX_REASON_CHARS]
    told = say(terms, "deal.rejected", code=code, detail=detail)
    if isinstance(state.seal, Unsealing):
        lost = settled(terms, state.commitment, state.result, "audited", WRONG, state.seal, detail)
        return lost, (*end(terms, forget=False), told)
    rejection = send(ctx, terms, terms.provider, Rejection(deal_id=terms.deal_id, code=code, detail=detail))
    left, effects = leave(terms, code, detail, rejection, told, forget=False, disowned=state.result)
    return left, effects

"""Until when does each side of a committed deal wait: for the other's word, for a check, for its own last call?"""

from typing import Final

from protocols.deals.inputs import Ctx
from protocols.deals.reorganised import OnChain
from protocols.deals.states import Checking, Claimed, Delivered
from protocols.units import UnixSeconds
from protocols.verify.audits import BEACON_LEAD

__all__ = ["ROUNDS_LATE", "bytes_by", "check_by", "last_call", "silence_over", "window_call"]

ROUNDS_LATE: Final = 3
"""Rounds that a relay may be behind, and the message that carries the receipt."""


def silence_over(state: Delivered | Checking, ctx: Ctx) -> UnixSeconds:
    """When the provider of a client that holds the bytes claims: a round comes, the job runs again here, and once more
    elsewhere; but half of the time for the claim is the provider's own, whose endpoint or process may fail it."""
    deal, params = state.terms.deal, ctx.env.params
    rounds = (BEACON_LEAD + ROUNDS_LATE) * params.beacon.period_s
    again = deal.exec_seconds + params.commit_within + deal.exec_seconds
    half = state.commitment.at + deal.exec_seconds + deal.claim_seconds // 2
    wait = state.at + params.silence_before_claim + rounds + again
    return UnixSeconds(min(wait, half, last_call(state, ctx)))


def check_by(state: Delivered | Checking, ctx: Ctx) -> UnixSeconds:
    """When the client ends a check that has not come to an end: a margin before its provider claims. One that was drawn goes
    on until the claim is there, or can no longer come."""
    if isinstance(state.claim, Claimed):
        return window_call(state.claim, ctx)
    if isinstance(state, Checking) and state.overtime:
        deal = state.terms.deal
        return UnixSeconds(state.commitment.at + deal.exec_seconds + deal.claim_seconds + 1)
    return UnixSeconds(silence_over(state, ctx) - ctx.env.params.deadline_margin)


def window_call(claim: Claimed, ctx: Ctx) -> UnixSeconds:
    """When a check of what is claimed already must end: two margins before the window does, and a quarter of it, because
    the dispute has to be on chain before then."""
    window = claim.terms.deal.window_seconds
    return UnixSeconds(claim.at + window - max(2 * ctx.env.params.deadline_margin, window // 4))


def bytes_by(claim: Claimed) -> UnixSeconds:
    """How long a provider that has claimed may take to tell its result and to serve it: half of the window."""
    return UnixSeconds(claim.at + claim.terms.deal.window_seconds // 2)


def last_call(state: OnChain, ctx: Ctx) -> UnixSeconds:
    """When a claim must be posted at the latest, so that it is on chain before the deal can expire."""
    deal = state.terms.deal
    return UnixSeconds(state.commitment.at + deal.exec_seconds + deal.claim_seconds - ctx.env.params.deadline_margin)

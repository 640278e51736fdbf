"""What is a run, and where does it stand? One submission of a job, from the client's point of view."""

from typing import Final

import msgspec

from protocols.messages.negotiation import InputRoot
from protocols.units import Cid, DealId, Hash32, JobId, PeerId, RunId, Tokens, UnixSeconds

__all__ = [
    "RETRY_CODES",
    "Cancelled",
    "Candidate",
    "Dealing",
    "Done",
    "Failed",
    "MarketTerms",
    "Run",
    "RunStatus",
    "Searching",
    "is_final",
]

RETRY_CODES: Final = frozenset({"no-capacity", "provider-lost", "infra-error"})
"""What ``retry.on`` may name."""


class MarketTerms(msgspec.Struct, frozen=True, kw_only=True):
    """On which terms the client buys. Amounts in wei of the deal's token."""

    mode: str = "market"
    """``market`` takes the best score, ``fixed`` the best offer at or under ``max_price``."""
    max_price: Tokens
    budget: Tokens
    """Covers retries, audits and fees, and is never exceeded."""
    bid_window_ms: int = 2_000
    target: PeerId | None = None
    """Ask this provider only; the checks stay."""
    min_reputation_ppm: int = 0
    deadline: UnixSeconds = UnixSeconds(0)
    """Wall clock after which the run fails as unmatched; 0 means ``search_s`` alone decides."""
    search_s: int = 60
    """How long one attempt looks for a provider."""
    retry_on: tuple[str, ...] = ("no-capacity", "provider-lost", "infra-error")
    max_attempts: int = 3
    settlement: str | msgspec.UnsetType = msgspec.UNSET
    """``auto``, ``commit`` or ``channel``; unset, as in every row of before channels: ``commit``."""
    channel_prices: int | msgspec.UnsetType = msgspec.UNSET
    """What a channel that this run opens holds, in its prices, within its budget; unset: what the network says."""
    audit_ppm: int | None = None
    """The client's own audit rate; None follows the provider's record."""
    enforcement: str | msgspec.UnsetType = msgspec.UNSET
    """``self`` or ``panel``; unset, as in every row of before panels: ``self``."""


class Searching(msgspec.Struct, frozen=True, tag=True):
    """Looking for a provider. The search itself is volatile and starts anew after a restart."""


class Dealing(msgspec.Struct, frozen=True, tag=True):
    """A deal is under way."""

    deal_id: DealId


class Done(msgspec.Struct, frozen=True, tag=True):
    """The result is here and checked."""

    deal_id: DealId
    root: Cid
    outcome: int
    exit_code: int
    checked: str
    settled: bool


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It ended without an accepted result. ``code``: no-match, funds, rejected, provider-lost, infra-error ..."""

    code: str
    detail: str
    deal_id: DealId | None = None


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """The owner ended it."""


RunStatus = Searching | Dealing | Done | Failed | Cancelled


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One offer a search looked at, and what came of it: the answer to "why not that one"."""

    provider: PeerId
    round: int
    verdict: str
    """``quoted``, ``indicative``, ``refused``, ``unsuitable``, ``silent``, ``chosen``."""
    price: Tokens | None
    """What it asks: of a quote, or of an offer that would fit but for its price."""
    code: str
    detail: str
    """In the provider's own signed words where it answered, else in ours."""
    attempt: int = 1
    """Which search of the run: each counts its rounds anew. (A row of before there was the field says nothing: the first.)"""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run and everything it needs after a restart."""

    run_id: RunId
    job_id: JobId
    run_nonce: int
    inputs: tuple[InputRoot, ...]
    market: MarketTerms
    entropy: Hash32
    submitted: UnixSeconds
    status: RunStatus
    next_index: int = 0
    deals: tuple[DealId, ...] = ()
    tried: tuple[PeerId, ...] = ()
    """Providers whose deals for this run failed; asked again only if nobody else fits."""
    candidates: tuple[Candidate, ...] = ()


def is_final(run: Run) -> bool:
    """Nothing more will happen to it by itself."""
    return isinstance(run.status, Done | Failed | Cancelled)

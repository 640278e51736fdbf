"""On which terms is a submission meant? The API's text as the rules' values."""

from mesh.api.types import Submission
from mesh.base.errors import UsageError
from protocols.job.peers import peer_from_text
from protocols.job.problems import BadValue
from protocols.runs import RETRY_CODES, MarketTerms
from protocols.units import Tokens, UnixSeconds

__all__ = ["market_terms"]


def market_terms(submission: Submission) -> MarketTerms:
    """The client's terms. Raises ``UsageError``."""
    try:
        target = peer_from_text(submission.target) if submission.target else None
        unknown = [code for code in submission.retry_on if code not in RETRY_CODES]
        if unknown:
            raise BadValue(f"retry on {unknown[0]!r} is not known", f"one of {', '.join(sorted(RETRY_CODES))}")
        return MarketTerms(
            mode=submission.mode,
            max_price=Tokens(int(submission.max_price)),
            budget=Tokens(int(submission.budget)),
            bid_window_ms=submission.bid_window_ms,
            target=target,
            min_reputation_ppm=submission.min_reputation_ppm,
            deadline=UnixSeconds(submission.deadline),
            search_s=submission.search_s,
            retry_on=submission.retry_on,
            max_attempts=submission.max_attempts,
            audit_ppm=submission.audit_ppm,
            settlement=_one_of("settlement", submission.settlement, ("auto", "commit", "channel")),
            enforcement=_one_of("enforcement", submission.enforcement, ("self", "panel")),
        )
    except (BadValue, ValueError) as error:
        raise UsageError("the submission's terms cannot be read", why=str(error), fix="mesh submit --help") from error


def _one_of(name: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise BadValue(f"{name} {text!r} is not known", f"one of {', '.join(known)}")
    return text

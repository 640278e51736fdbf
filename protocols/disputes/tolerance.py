"""When has a provider failed too often at a level where honest results may differ? Wald's sequential test, in integers.

One score per (owner of the provider, level), kept by the panel. A failure adds, a settled deal takes off in proportion to
how likely it was to be audited. Source: research/verification.md 3.4; A. Wald, Sequential Analysis (1947).
"""

from protocols.disputes.params import SPRT_DEAL, SPRT_FAILURE, SPRT_LIMIT
from protocols.units import PPM

__all__ = ["after_deal", "after_failure", "takes_all"]


def after_failure(score: int) -> int:
    """The score after one more failure; it stays at its limit, so that it can come down again."""
    return min(SPRT_LIMIT, score + SPRT_FAILURE)


def after_deal(score: int, audit_ppm: int) -> int:
    """The score after a settled deal of that level."""
    return max(0, score - SPRT_DEAL * audit_ppm // PPM)


def takes_all(score: int) -> bool:
    """Does a failure that brings the score here take all of C?"""
    return score >= SPRT_LIMIT

"""How far is a provider to be trusted? Evidence in, score out; from this node's own deals only."""

from math import isqrt

import msgspec

from protocols.units import PPM

__all__ = ["Record", "lower_bound"]


class Record(msgspec.Struct, frozen=True):
    """What this node's own finished deals say about one provider."""

    kept: int = 0
    """Deals that ended with an accepted result."""
    broken: int = 0
    """Deals that expired or whose result was rejected."""
    audited: int = 0
    """Deals whose result was re-executed and agreed."""


def lower_bound(record: Record) -> int | None:
    """One-sided 5 % lower bound of the share of kept deals, in ppm; None for a newcomer.

    Wilson score interval with z = 1.645, in integers (source: E. B. Wilson, JASA 22, 1927): every node computes the same.
    """
    n = record.kept + record.broken
    if n == 0:
        return None
    z = 1645  # thousandths
    p = record.kept * PPM // n
    z2 = z * z  # millionths
    centre = p + z2 // (2 * n)
    spread = z * isqrt((p * (PPM - p) + z2 * PPM // (4 * n)) // n) // 1000
    return max(0, (centre - spread) * PPM // (PPM + z2 // n))

"""Are two arrays the same numbers, within a tolerance?

``|a - b| <= atol + rtol * max(|a|, |b|)`` for a share of the elements. NaN equals NaN, an infinity only itself. The larger
magnitude stands where NumPy's `isclose` has that of b alone, so that swapping provider and auditor changes nothing.
"""

from typing import Final

import msgspec
import numpy as np

from protocols.units import PPM
from protocols.verify.comparators.outputs import Array, Comparison, agree, differ, numbers_of

__all__ = ["Tolerance", "close", "numeric"]

_CHUNK: Final = 1 << 20
"""Elements looked at in one go: the temporaries stay at a few times 8 MiB whatever the array's size."""


class Tolerance(msgspec.Struct, frozen=True):
    """As a job states it. Tolerances in units of 10^-12."""

    atol_e12: int = 0
    rtol_e12: int = 0
    fraction_ppm: int = PPM
    """Share of the elements that must be close."""


def numeric(one: Array, other: Array, tolerance: Tolerance) -> Comparison:
    """Compare two arrays of real numbers of any shape (equal shapes), element by element.

    Raises RemoteProtocolError(code="uncomparable") for anything but real numbers, or more than MAX_ELEMENTS of them.
    """
    one, other = numbers_of(one), numbers_of(other)
    if one.shape != other.shape:
        return differ(f"shapes {one.shape} and {other.shape}")
    flat_one, flat_other = one.reshape(-1), other.reshape(-1)
    good = 0
    for at in range(0, one.size, _CHUNK):
        good += int(np.count_nonzero(close(flat_one[at : at + _CHUNK], flat_other[at : at + _CHUNK], tolerance)))
    said = f"{one.size - good} of {one.size} numbers differ"
    return agree(said) if good * PPM >= tolerance.fraction_ppm * one.size else differ(said)


def close(one: Array, other: Array, tolerance: Tolerance) -> Array:
    """Which elements are close, as booleans of the same shape. Float64 throughout."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    # Equal in their own type: float64 would call 2^53 and 2^53 + 1 the same, and inf - inf is no number.
    equal = (one == other) | (np.isnan(a) & np.isnan(b))
    if tolerance.atol_e12 == 0 and tolerance.rtol_e12 == 0:
        return np.asarray(equal)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(over="ignore", invalid="ignore"):
        allowed = tolerance.atol_e12 / 1e12 + tolerance.rtol_e12 / 1e12 * np.maximum(np.abs(a), np.abs(b))
        near = np.abs(a - b) <= allowed
    return np.asarray(equal | (finite & near))

"""What is compared, and what does a comparison say?

A comparator is a pure function of two outputs. It never decodes media: whoever calls it has decoded files in the sandbox
and hands over arrays. Every comparator is reflexive and symmetric, and a looser tolerance never turns "same" into
"different".
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from protocols.errors import RemoteProtocolError
from protocols.units import PPM, Cid

__all__ = [
    "MAX_ELEMENTS",
    "MAX_FILES",
    "Array",
    "Comparison",
    "Content",
    "Output",
    "agree",
    "differ",
    "numbers_of",
    "uncomparable",
]

MAX_ELEMENTS: Final = 1 << 26
"""Numbers, or pixels times channels, of one array: 512 MiB as float64, an 8K image with room; more is refused unread."""
MAX_FILES: Final = 100_000
"""Files of one output: what a job may declare (`outputs[].max_files`)."""

Array = npt.NDArray[Any]
Content = bytes | Array
"""A file: its bytes, or the array that the caller has decoded from it."""


class Output(msgspec.Struct, frozen=True):
    """What one execution produced."""

    outcome: int
    exit_code: int
    fuel: int
    """Of wasm; 0 for the other executors. Part of what `exact` compares: it is what metered jobs are paid by."""
    root: Cid
    """Of the whole outcome folder."""
    files: Mapping[str, Content] = {}
    """By path, for the levels that look inside; `exact` needs none."""


class Comparison(msgspec.Struct, frozen=True):
    """The answer, and the measurement behind it in a person's words."""

    same: bool
    detail: str


def agree(detail: str) -> Comparison:
    """They agree."""
    return Comparison(True, detail)


def differ(detail: str) -> Comparison:
    """They do not."""
    return Comparison(False, detail)


def uncomparable(why: str) -> RemoteProtocolError:
    """What is raised for outputs that no verdict may rest on: beyond a bound, or not made of numbers."""
    return RemoteProtocolError(f"these outputs cannot be compared: {why}", code="uncomparable", penalty=0)


def numbers_of(array: Array) -> Array:
    """The array, if it holds plain real numbers within bounds. Raises RemoteProtocolError(code="uncomparable")."""
    if array.dtype.kind not in "biuf":
        raise uncomparable(f"an array of {array.dtype} holds no real numbers")
    if array.size > MAX_ELEMENTS:
        raise uncomparable(f"an array of {array.size} numbers, at most {MAX_ELEMENTS} are compared")
    return array


assert MAX_ELEMENTS * PPM < 1 << 63
assert np.dtype(np.float64).itemsize == 8

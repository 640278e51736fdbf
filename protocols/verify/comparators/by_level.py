"""Do two executions agree, at the level that the deal names?"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from protocols.errors import LocalProtocolError
from protocols.job.canonical import CanonicalVerify
from protocols.verify.comparators.canonical import canonical_form
from protocols.verify.comparators.numeric import Tolerance, numeric
from protocols.verify.comparators.outputs import MAX_FILES, Comparison, Content, Output, agree, differ, uncomparable
from protocols.verify.comparators.perceptual import Likeness, perceptual
from protocols.verify.replicas import Agreement, agreement, pairs_that_match

__all__ = ["compare", "compare_replicas"]

OneFile = Callable[[Content, Content], Comparison]

_SAID: Final = 4
"""Different findings that a comparison names; a result may have as many as files."""
_TALK: Final = frozenset({"stdout", "stderr"})
"""What a program says beside its outputs. Progress and timings differ between honest runs, so the tolerance levels leave
them out where there is an array to look at."""


def compare(verify: CanonicalVerify, one: Output, other: Output) -> Comparison:
    """Compare two outputs under a job's ``verify``. Symmetric; ``none`` and ``replicate`` compare exactly.

    Raises RemoteProtocolError(code="uncomparable"): no verdict may rest on it.
    """
    if one.outcome != other.outcome or one.exit_code != other.exit_code:
        return differ(f"ended {one.outcome}/{one.exit_code} and {other.outcome}/{other.exit_code}")
    match verify.level:
        case "canonical":
            return _files(one, other, lambda a, b: _canonical(verify, a, b), tolerant=False)
        case "numeric":
            tolerance = Tolerance(verify.atol_e12, verify.rtol_e12, verify.fraction_ppm)
            return _files(one, other, lambda a, b: _arrays(a, b, lambda x, y: numeric(x, y, tolerance)), tolerant=True)
        case "perceptual":
            likeness = Likeness(verify.hamming)
            return _files(
                one, other, lambda a, b: _arrays(a, b, lambda x, y: perceptual(x, y, likeness)), tolerant=True
            )
        case _:
            return _exact(one, other)


def compare_replicas(verify: CanonicalVerify, outputs: Sequence[Output]) -> Agreement:
    """The decision of ``replicate {n, agree}``: which of these agree, pair by pair, and who is in the minority."""
    if verify.level != "replicate":
        raise LocalProtocolError(f"replicas of a job at level {verify.level}")
    matches = pairs_that_match(outputs, lambda a, b: compare(verify, a, b).same)
    return agreement(len(outputs), matches, verify.agree)


def _exact(one: Output, other: Output) -> Comparison:
    if one.root != other.root:
        return differ("another content id")
    if one.fuel != other.fuel:
        return differ(f"{one.fuel} and {other.fuel} units of fuel")
    return agree("the same content id")


def _files(one: Output, other: Output, same: OneFile, *, tolerant: bool) -> Comparison:
    """File by file. The first that differs is named; nothing is skipped because the content ids are equal."""
    if len(one.files) > MAX_FILES or len(other.files) > MAX_FILES:
        raise uncomparable(f"more than {MAX_FILES} files")
    names, others = _names(one, other, tolerant=tolerant), _names(other, one, tolerant=tolerant)
    if names != others:
        return differ(f"one has {sorted(names ^ others)[0]!r}, the other has not")
    said: dict[str, None] = {}
    for name in sorted(names):
        found = same(one.files[name], other.files[name])
        if not found.same:
            return differ(f"{name}: {found.detail}")
        said[found.detail] = None
    return agree("; ".join((f"{len(names)} files", *list(said)[:_SAID])))


def _names(mine: Output, theirs: Output, *, tolerant: bool) -> set[str]:
    decoded = tolerant and any(isinstance(c, np.ndarray) for c in (*mine.files.values(), *theirs.files.values()))
    return {name for name in mine.files if not (decoded and name in _TALK)}


def _canonical(verify: CanonicalVerify, one: Content, other: Content) -> Comparison:
    if canonical_form(verify.canonicalisers, one) == canonical_form(verify.canonicalisers, other):
        return agree("the same normal form")
    return differ("another normal form")


def _arrays(one: Content, other: Content, same: Callable[[np.ndarray, np.ndarray], Comparison]) -> Comparison:
    """Arrays by tolerance, bytes as they are."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return same(one, other)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return differ("only one of the two could be decoded")
    return agree("the same bytes") if one == other else differ("other bytes")

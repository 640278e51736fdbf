"""Which of several results agree with each other, and who is in the minority?

Under a tolerance, agreeing is not transitive: A may match B and B match C while A does not match C. So a group is a set in
which *everybody* matches everybody (a clique). There are at most nine replicas, so every subset is looked at.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final, TypeVar

import msgspec

from protocols.errors import LocalProtocolError

__all__ = [
    "MAX_REPLICAS",
    "SLOW",
    "UNDECIDED",
    "Agreement",
    "agreement",
    "decision",
    "largest_groups",
    "pairs_that_match",
]

T = TypeVar("T")

MAX_REPLICAS: Final = 9
"""What a job may ask for, and more than any panel seats; 2^9 subsets take a millisecond."""


UNDECIDED: Final = "no agreement"
"""How the reason begins for which a result is not signed off although nobody knows that it is wrong."""


SLOW: Final = "no result in time"
"""How it begins for one that a slower machine may have ended so as well: no proof of a lie."""


class Agreement(msgspec.Struct, frozen=True):
    """What ``agree`` of ``n`` came to. Numbers are positions in the sequence of results."""

    winner: int | None
    """The result to take: the first that every largest group contains. None: no decision."""
    agreed: tuple[int, ...]
    """Everybody in a largest group, paid; without a decision, nobody."""
    minority: tuple[int, ...]
    """Everybody else, unpaid; without a decision, nobody: it is not known who is wrong."""


def pairs_that_match(results: Sequence[T], same: Callable[[T, T], bool]) -> frozenset[tuple[int, int]]:
    """Every (i, j), i < j, whose results are the same. ``same`` must be symmetric."""
    _bounded(len(results))
    return frozenset((i, j) for i, j in combinations(range(len(results)), 2) if same(results[i], results[j]))


def largest_groups(count: int, matches: frozenset[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """The largest sets of ``count`` members in which everybody matches everybody, in lexicographic order.

    ``matches`` holds (i, j) with i < j. A single member is a group of one.
    """
    _bounded(count)
    for size in range(count, 0, -1):
        found = [group for group in combinations(range(count), size) if matches.issuperset(combinations(group, 2))]
        if found:
            return tuple(found)
    return ()


def agreement(count: int, matches: frozenset[tuple[int, int]], agree: int) -> Agreement:
    """The decision of ``replicate {n: count, agree}``.

    Decided when the largest groups have at least ``agree`` members and share one: two rival groups of the same size
    decide nothing, two that overlap agree about the member they share.
    """
    groups = largest_groups(count, matches)
    shared = set.intersection(*(set(group) for group in groups)) if groups else set[int]()
    if not groups or len(groups[0]) < agree or not shared:
        return Agreement(None, (), ())
    agreed = sorted({member for group in groups for member in group})
    return Agreement(min(shared), tuple(agreed), tuple(sorted(set(range(count)) - set(agreed))))


def decision(count: int, matches: frozenset[tuple[int, int]], agree: int, missing: int) -> Agreement | None:
    """The decision as soon as ``missing`` results, which may still come, cannot change it; None while they can.

    Among exact results, where agreeing is transitive: whoever matches one of a group matches all of it.
    """
    groups = largest_groups(count, matches)
    largest = len(groups[0]) if groups else 0
    if missing == 0 or largest + missing < agree:
        return agreement(count, matches, agree)
    found = agreement(count, matches, agree)
    if found.winner is None:
        return None
    rivals = sorted(found.minority)
    among = frozenset((i, j) for i, j in combinations(range(len(rivals)), 2) if (rivals[i], rivals[j]) in matches)
    rival = largest_groups(len(rivals), among)
    return found if largest > (len(rival[0]) if rival else 0) + missing else None


def _bounded(count: int) -> None:
    if not 0 <= count <= MAX_REPLICAS:
        raise LocalProtocolError(f"{count} replicas, at most {MAX_REPLICAS} can be compared")

"""Do replicas that match each other win, and is nobody blamed when nobody can know who is right?"""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.verify.replicas import (
    MAX_REPLICAS,
    Agreement,
    agreement,
    decision,
    largest_groups,
    pairs_that_match,
)


def decide(results: list[int], agree: int, within: int = 0) -> Agreement:
    return agreement(len(results), pairs_that_match(results, lambda a, b: abs(a - b) <= within), agree)


@pytest.mark.parametrize(
    ("results", "agree", "within", "expected"),
    [
        ([7, 7, 7], 2, 0, Agreement(0, (0, 1, 2), ())),
        ([7, 8, 7], 2, 0, Agreement(0, (0, 2), (1,))),
        ([8, 7, 7], 2, 0, Agreement(1, (1, 2), (0,))),
        ([7, 8, 9], 2, 0, Agreement(None, (), ())),
        ([7, 7, 8, 8], 2, 0, Agreement(None, (), ())),  # two rivals of one size: nobody knows
        ([7, 8, 9], 2, 1, Agreement(1, (0, 1, 2), ())),  # both groups contain 8
        ([7, 8, 9, 30], 3, 1, Agreement(None, (), ())),  # a chain is no group of three
        ([7], 1, 0, Agreement(0, (0,), ())),
        ([], 1, 0, Agreement(None, (), ())),
    ],
)
def test_who_agrees(results: list[int], agree: int, within: int, expected: Agreement) -> None:
    assert decide(results, agree, within) == expected


@given(st.lists(st.integers(0, 6), max_size=MAX_REPLICAS), st.integers(1, MAX_REPLICAS), st.integers(0, 3))
def test_whoever_wins_matches_enough_others(results: list[int], agree: int, within: int) -> None:
    found = decide(results, agree, within)
    if found.winner is None:
        assert found.agreed == found.minority == ()
        return
    assert sorted(found.agreed + found.minority) == list(range(len(results)))
    near = [i for i in found.agreed if abs(results[i] - results[found.winner]) <= within]
    assert near == list(found.agreed), "the winner matches everybody who is paid"
    assert len(near) >= agree


@given(st.lists(st.integers(0, 4), min_size=1, max_size=MAX_REPLICAS), st.integers(1, MAX_REPLICAS))
def test_more_tolerance_loses_no_match(results: list[int], within: int) -> None:
    strict = pairs_that_match(results, lambda a, b: abs(a - b) < within)
    loose = pairs_that_match(results, lambda a, b: abs(a - b) <= within)
    assert strict <= loose
    assert len(largest_groups(len(results), strict)[0]) <= len(largest_groups(len(results), loose)[0])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=7))
def test_the_groups_are_the_largest(results: list[int]) -> None:
    """Equality is transitive, so the largest group is the commonest value."""
    groups = largest_groups(len(results), pairs_that_match(results, lambda a, b: a == b))
    assert len(groups[0]) == max(results.count(value) for value in results)
    for group in groups:
        assert all(results[i] == results[j] for i, j in combinations(group, 2))


def test_the_bound() -> None:
    assert decide([1] * MAX_REPLICAS, 5).winner == 0
    with pytest.raises(LocalProtocolError, match="at most 9"):
        decide([1] * (MAX_REPLICAS + 1), 5)


@given(st.lists(st.integers(0, 3), max_size=9), st.integers(2, 9), st.data())
def test_what_is_decided_early_stays_decided(classes: list[int], agree: int, data: st.DataObject) -> None:
    """Exact results, by the class they belong to; the last ones are still missing."""
    here = data.draw(st.integers(0, len(classes)))
    early = decision(here, equal(classes[:here]), agree, len(classes) - here)
    last = agreement(len(classes), equal(classes), agree)
    if early is None:
        return
    assert (early.winner is None) == (last.winner is None)
    if early.winner is not None and last.winner is not None:
        assert classes[early.winner] == classes[last.winner]
        assert set(early.agreed) <= set(last.agreed)
    assert decision(len(classes), equal(classes), agree, 0) == last


def equal(classes: list[int]) -> frozenset[tuple[int, int]]:
    return pairs_that_match(classes, lambda one, other: one == other)

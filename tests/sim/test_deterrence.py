"""Is a cheat caught as often as the formula says, convicted by a panel, and nobody else? The short form of the scenario."""

import pytest

from devnet.sim.deterrence import Deterrence, deterrence

SHORT = 120
OFTEN = 400_000
"""In so few deals a cheat must be frequent to be caught at all."""


@pytest.fixture(scope="module")
def short() -> Deterrence:
    return deterrence(7, SHORT, OFTEN)


def test_cheats_are_caught_as_the_formula_says_and_convicted(short: Deterrence) -> None:
    """Found once: a node heard of a conviction, and not of what it brought its client."""
    assert short.problems == ()
    assert short.deals == SHORT
    assert 0 < short.convicted == short.confirmed <= short.caught == short.drawn <= short.cheated
    assert short.wronged == 0
    assert short.cheats_earned < 0.9 < short.honest_earned < 1
    assert short.transactions["dispute"] == short.convicted


def test_one_seed_is_one_history_and_another_another() -> None:
    first = deterrence(7, 20, OFTEN)
    assert deterrence(7, 20, OFTEN) == first
    assert deterrence(8, 20, OFTEN).hash != first.hash


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(7, 12))
def test_a_thousand_deals(seed: int) -> None:
    told = deterrence(seed)
    assert told.problems == ()
    assert told.cheated > 25

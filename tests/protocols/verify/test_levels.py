"""Does the table of levels cover every level, and does it keep jobs that cannot be repeated away from a panel?"""

import itertools

import pytest

from protocols.deals.terms import Level, OutcomeCode
from protocols.job.keys_run import LEVELS as LEVEL_NAMES
from protocols.verify.levels import LEVELS, NEVER_GROUNDS, Consequence, auditable, panel_problem

EXECUTORS = ("wasm", "oci", "process")


def test_one_row_per_level_in_the_order_of_the_codes() -> None:
    assert [level.name.lower() for level in LEVELS] == list(LEVEL_NAMES)
    assert all(LEVELS[level].level == level for level in Level)


def test_a_check_is_better_than_a_coin_where_it_has_consequences() -> None:
    for rule in LEVELS.values():
        assert (rule.margin_ppm > 0) == (rule.consequence is not Consequence.NOTHING), rule
        assert bool(rule.panel_executors) == (rule.consequence is not Consequence.NOTHING), rule


def test_only_what_is_bit_for_bit_takes_collateral_at_once() -> None:
    at_once = {level for level, rule in LEVELS.items() if rule.consequence is Consequence.COLLATERAL}
    assert at_once == {Level.EXACT, Level.CANONICAL}
    assert {level for level, rule in LEVELS.items() if rule.tolerant} == {Level.NUMERIC, Level.PERCEPTUAL}


@pytest.mark.parametrize(("level", "executor", "vetted"), list(itertools.product(Level, EXECUTORS, (False, True))))
def test_who_may_use_a_level_under_a_panel(level: Level, executor: str, vetted: bool) -> None:
    strict = level in (Level.EXACT, Level.CANONICAL)
    allowed = level in (Level.NUMERIC, Level.PERCEPTUAL) or (strict and (executor == "wasm" or vetted))
    problem = panel_problem(level, executor, vetted=vetted)
    assert (problem == "") == allowed
    assert panel_problem(level, executor, vetted=vetted, open_ended=True), "network and secrets never go to a panel"
    if problem:
        assert level.name.lower() in problem
        assert "write" in problem, "a refusal says what to type"


def test_what_depends_on_the_machine_is_never_compared() -> None:
    machine = {OutcomeCode.TIMEOUT, OutcomeCode.OOM, OutcomeCode.DISK_LIMIT, OutcomeCode.CANCELLED}
    assert machine < NEVER_GROUNDS
    for outcome in OutcomeCode:
        assert auditable(Level.EXACT, outcome) == (outcome not in NEVER_GROUNDS)
        assert not auditable(Level.NONE, outcome)
        assert not auditable(Level.REPLICATE, outcome)
    assert auditable(Level.EXACT, OutcomeCode.FAILED), "a failed job is a result like any other"

"""Does the table of levels cover every level, and does it keep jobs that cannot be repeated away from a panel?"""

import itertools

import pytest

from protocols.deals.terms import Level, OutcomeCode
from protocols.job.keys_run import LEVELS as LEVEL_NAMES
from protocols.verify.levels import (
    LEVELS,
    NEVER_GROUNDS,
    Consequence,
    auditable,
    depends_on_machine,
    looked_at_always,
    panel_problem,
)

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


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_depends_on_the_machine_is_never_compared(executor: str) -> None:
    machine = {OutcomeCode.TIMEOUT, OutcomeCode.OOM, OutcomeCode.DISK_LIMIT, OutcomeCode.CANCELLED}
    assert machine < NEVER_GROUNDS
    for outcome in OutcomeCode:
        assert depends_on_machine(outcome, executor) <= (outcome in NEVER_GROUNDS)
        assert auditable(Level.EXACT, outcome, executor) >= (not depends_on_machine(outcome, executor))
        assert not auditable(Level.NONE, outcome, executor)
        assert not auditable(Level.REPLICATE, outcome, executor)
    assert auditable(Level.EXACT, OutcomeCode.FAILED, executor), "a failed job is a result like any other"


def test_in_wasm_memory_and_disk_end_a_job_by_rule_and_time_can_be_measured() -> None:
    for outcome in (OutcomeCode.OOM, OutcomeCode.DISK_LIMIT):
        assert not depends_on_machine(outcome, "wasm")
        assert looked_at_always(outcome)
        assert [auditable(Level.EXACT, outcome, one) for one in EXECUTORS] == [True, False, False]
    assert depends_on_machine(OutcomeCode.TIMEOUT, "wasm")
    assert not looked_at_always(OutcomeCode.TIMEOUT)
    assert [auditable(Level.EXACT, OutcomeCode.TIMEOUT, one) for one in EXECUTORS] == [True, False, False]
    for outcome in (OutcomeCode.CANCELLED, OutcomeCode.INFRA_ERROR):
        assert not auditable(Level.EXACT, outcome, "wasm")

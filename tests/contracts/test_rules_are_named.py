"""Is every invariant, every threat and every rule of verification and disputes shown by a test that carries its name?"""

import ast
import tomllib
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
RULES: Final = tomllib.loads((HERE / "rules.toml").read_text())
NAMED: Final = [(section, rule) for section, rules in RULES.items() for rule in rules]


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("section", "rule"), NAMED, ids=[f"{section}: {rule}" for section, rule in NAMED])
def test_a_rule_has_tests_that_exist(section: str, rule: str) -> None:
    tests = RULES[section][rule]
    assert tests
    for test in tests:
        file, name = test.split("::")
        assert name in functions(HERE / file), test


def test_none_is_left_out() -> None:
    for section, count in (("invariants", 10), ("threats", 18)):
        assert [int(rule.split()[0]) for rule in RULES[section]] == list(range(1, count + 1))


def test_every_rule_of_the_panel_is_on_the_list() -> None:
    """So that a test of a rule is not written without its sentence."""
    listed = {test for rules in RULES.values() for tests in rules.values() for test in tests}
    files = sorted((HERE / "panel").glob("test_panel_rules_*.py"))
    assert files
    written = {f"panel/{file.name}::{name}" for file in files for name in functions(file)}
    unlisted = {test.split("::")[1] for test in written - listed}
    assert unlisted <= DETAILS, f"name their sentences in rules.toml: {sorted(unlisted - DETAILS)}"


DETAILS: Final = frozenset(
    {
        "test_a_deal_without_a_panel_has_no_dispute",
        "test_a_deal_is_disputed_once",
        "test_a_seat_that_leaves_or_is_bound_elsewhere_is_not_drawn",
        "test_one_seat_alone_neither_convicts_nor_acquits",
        "test_without_any_seat_the_deal_is_void",
        "test_only_the_side_that_lost_appeals",
        "test_a_verdict_that_nobody_defends_falls_to_the_appellant",
        "test_a_deposit_gives_the_other_side_its_full_time",
        "test_a_dispute_that_the_escrow_has_voided_gives_everybody_its_own",
        "test_a_seat_in_a_dispute_is_not_retired",
        "test_money_reaches_the_panel_only_from_the_escrow",
        "test_a_bond_leaves_later_than_any_dispute_ends",
    }
)
"""What the protocol's page leaves to docs/protocol/disputes.md."""

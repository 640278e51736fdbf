"""Does a constraint mean what it says, and can nothing in it do harm?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.job.constraints import MICRO, Fact, parse_constraint, why_not
from protocols.job.problems import BadValue

FACTS = {
    "region": Fact("eu", False),
    "cpus": Fact(8 * MICRO, True),
    "inet_down": Fact(250 * MICRO, False),
    "reliability": Fact(970_000, True),
    "class": Fact("gpu-24", True),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("region in [eu, us]", True),
        ("region notin [eu, us]", False),
        ("region not in [us]", True),
        ("region == eu", True),
        ('region == "eu"', True),
        ("region != eu", False),
        ("reliability >= 0.95", True),
        ("reliability > 0.97", False),
        ("reliability >= 0.970000", True),
        ("cpus < 8", False),
        ("cpus <= 8", True),
        ("cpus in [4, 8]", True),
        ("cpus >= 4 and class == gpu-24", True),
        ("cpus >= 16 or region == eu", True),
        ("cpus >= 16 or region == us", False),
        ("cpus >= 16 and region == eu or reliability > 0.9", True),
        ("cpus >= 16 and (region == eu or reliability > 0.9)", False),
        ("unheard_of == eu", False),
        ("unheard_of != eu", False),
        ("unheard_of notin [eu]", False),
        ("measured.reliability >= 0.95", True),
        ("measured.inet_down >= 200", False),
        ("inet_down >= 200", True),
        ("region >= 3", False),
    ],
)
def test_meaning(text, holds):
    assert (why_not(parse_constraint(text).expression, FACTS) is None) is holds


def test_the_failing_part_and_what_was_found_are_named():
    texts = ("cpus >= 4 and measured.inet_down >= 200", "region == us", "gpus >= 1")
    failed = [why_not(parse_constraint(text).expression, FACTS) for text in texts]
    assert [(compare.name, got) for compare, got in failed] == [
        ("inet_down", "250 (only declared)"),
        ("region", "eu (declared)"),
        ("gpus", "not published"),
    ]


def test_open_names_are_left_to_somebody_else():
    expression = parse_constraint("latency_ms <= 50 and region == eu").expression
    assert why_not(expression, FACTS, frozenset({"latency_ms"})) is None
    assert why_not(expression, FACTS) is not None
    known = FACTS | {"latency_ms": Fact(80 * MICRO, True)}
    assert why_not(expression, known, frozenset({"latency_ms"})) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a constraint"),
        ("region", "expected an operator"),
        ("region = eu", "single ="),
        ("region ==", "expected a value"),
        ("region == ]", "expected a value"),
        ("region in eu", "expected a list"),
        ("region in [eu", "not closed"),
        ("region in []", "expected a value"),
        ("(region == eu", "not closed"),
        ("region == eu)", "left over"),
        ("region == eu us", "left over"),
        ("memory_mib >= 16GiB", "not a number"),
        ("Region == eu", "name of a property"),
        ("and == eu", "name of a property"),
        ('"region" == eu', "name of a property"),
        ("__import__('os')", "no sense"),
        ("a.__class__ == b", "name of a property"),
        ("region == eu; drop", "no sense"),
        ("x" * 300, "at most 256"),
        ("(" * 20 + "a == b" + ")" * 20, "nested"),
        (" or ".join(["a<1"] * 33), "comparisons"),
        (None, "is not a constraint"),
        (["a"], "is not a constraint"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(BadValue, match=message.replace("(", r"\(")) as caught:
        parse_constraint(text)
    assert caught.value.suggestion


@given(st.text(max_size=80) | st.text(alphabet='ab .()[],<>=!"01andorinmeasured', max_size=80))
def test_any_text_parses_or_is_refused(text):
    try:
        expression = parse_constraint(text).expression
    except BadValue:
        return
    why_not(expression, FACTS)

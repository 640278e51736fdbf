"""Do sizes, durations, ranges, fuel, money and times mean exactly the integers they say?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.job import units
from protocols.job.problems import BadValue
from protocols.job.units import Range
from protocols.units import Tokens


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1B", 1),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("512MiB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("0.3B", 1),
        ("2 TiB", 2 << 40),
    ],
)
def test_size(text, amount):
    assert units.size(text) == amount


@pytest.mark.parametrize(
    ("text", "advice"),
    [("512", "512MiB"), ("16Gi", "16GiB"), ("1gb", "1GB"), ("1GIB", "1GiB"), (512, "512MiB"), ("1m", "1MB")],
)
def test_size_without_a_proper_unit_says_what_to_write(text, advice):
    with pytest.raises(BadValue) as caught:
        units.size(text)
    assert advice in caught.value.suggestion


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500ms", 500), ("5s", 5000), ("5m", 300_000), ("1h30m", 5_400_000), ("1d", 86_400_000), ("1m500ms", 60_500)],
)
def test_duration(text, ms):
    assert units.duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "m", "30m1h", "1h1h", "-5m", "1.5h", "5 m", "5M", "٣s", "999999d", 5, True, None, []]
)
def test_duration_refuses(text):
    with pytest.raises(BadValue):
        units.duration_ms(text)


def test_seconds_refuses_parts():
    with pytest.raises(BadValue, match="whole number of seconds"):
        units.seconds("1500ms")


@pytest.mark.parametrize(("text", "amount"), [("50e9", 50 * 10**9), ("1.5e3", 1500), (7, 7), ("1E+2", 100)])
def test_fuel(text, amount):
    assert units.fuel(text) == amount


@pytest.mark.parametrize("text", ["0", "1.5", "1.55e1", "1e19", "1e-3", "-1", "inf", "nan", "0x10"])
def test_fuel_refuses(text):
    with pytest.raises(BadValue):
        units.fuel(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2", 2000, None),
        ("2+", 2000, None),
        ("2..", 2000, None),
        ("2..4", 2000, 4000),
        ("..4", 0, 4000),
        ("0.5", 500, None),
    ],
)
def test_ranges_of_cpus(text, low, high):
    assert units.range_of(text, units.cpu_millis) == Range(low, high)


@pytest.mark.parametrize("text", ["..", "4..2", "a..b", "1...2", "+", "1..2..3"])
def test_ranges_refuse(text):
    with pytest.raises(BadValue):
        units.range_of(text, units.cpu_millis)


def test_range_holds_its_ends():
    assert [Range(2, 4).holds(value) for value in (1, 2, 4, 5)] == [False, True, True, False]
    assert Range(2).holds(10**9)


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_money_is_exact_to_the_wei(wei):
    whole, part = divmod(wei, 10**18)
    assert units.money(f"{whole}.{part:018d} MESH").amount == wei


def test_money_is_not_a_float():
    # 0.1 + 0.2 in floats is 0.30000000000000004; 2.50 of 18 decimals is beyond what a float holds exactly.
    assert units.money("1.000000000000000001 MESH").amount == 10**18 + 1
    assert isinstance(units.money("2.50 MESH").amount, Tokens)


@pytest.mark.parametrize(
    "text", ["2.50", "MESH", "-1 MESH", "1e3 MESH", "1,5 MESH", "0.0000000000000000001 MESH", 2, None]
)
def test_money_refuses(text):
    with pytest.raises(BadValue):
        units.money(text)


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("2026-12-01T18:00Z", 1_796_148_000),
        ("2026-12-01T18:00:00Z", 1_796_148_000),
        ("2026-12-01T19:00+01:00", 1_796_148_000),
        ("2026-12-01 18:00Z", 1_796_148_000),
    ],
)
def test_moment(text, unix):
    assert units.moment(text) == unix


@pytest.mark.parametrize("text", ["2026-12-01", "2026-12-01T18:00", "2026-13-01T00:00Z", "1960-01-01T00:00Z", "soon"])
def test_moment_refuses(text):
    with pytest.raises(BadValue):
        units.moment(text)


@given(st.text(max_size=80) | st.integers() | st.booleans() | st.none() | st.lists(st.integers(), max_size=2))
def test_nothing_but_bad_value_comes_out(value):
    for read in (units.size, units.duration_ms, units.seconds, units.fuel, units.money, units.moment, units.cpu_millis):
        problem = None
        try:
            read(value)
        except BadValue as error:
            problem = error
        assert problem is None or (problem.message and problem.suggestion)

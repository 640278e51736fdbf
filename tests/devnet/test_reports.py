"""Do reports say what was measured, what was missed and what failed, to programs and to people?"""

from typing import Any

import pytest
import trio

from devnet.bench import BENCHES
from devnet.bench.targets import FLOORS, Floor, judge
from devnet.reporting import reported
from devnet.scenario import Failed, Report, check
from devnet.show import show_report
from mesh.base.errors import ChainOrFunds


def test_every_target_is_of_a_benchmark_that_exists() -> None:
    assert set(FLOORS) <= set(BENCHES)


def test_a_floor_is_reached_at_its_bound() -> None:
    assert Floor(5).reached(5)
    assert not Floor(5).reached(4.9)
    assert Floor(5, most=True).reached(5)
    assert not Floor(5, most=True).reached(5.1)


def test_only_what_decides_makes_a_benchmark_fail() -> None:
    judged, ok = judge("gossip", {"delivery": 0.9999, "latency_p50": {"value": 5_000.0, "unit": "ms"}, "nodes": 24})
    assert ok
    assert judged["delivery"]["reached"]
    assert judged["latency_p50"] == {"value": 5_000.0, "unit": "ms", "target": "<= 60", "reached": False}
    assert judged["nodes"] == {"value": 24}
    judged, ok = judge("gossip", {"delivery": 0.5})
    assert not ok
    assert judged["delivery"]["target"] == ">= 0.999"


def test_a_ratio_is_judged_by_its_ratio() -> None:
    judged, ok = judge("wire", {"stream": {"value": 900.0, "ratio": 0.05, "of": "plain TCP"}})
    assert not ok
    assert judged["stream"]["target"] == ">= 0.12 of plain TCP"


async def figures(found: dict[str, Any], error: BaseException | None = None, *, grouped: bool = False) -> Report:
    async def script() -> dict[str, Any]:
        if error is not None and grouped:
            async with trio.open_nursery():
                raise error
        if error is not None:
            raise error
        return found

    return await reported("x", 7, "sim", script)


async def test_what_was_measured_is_the_report() -> None:
    assert await figures({"n": 1}) == Report(name="x", ok=True, figures={"n": 1}, world="sim", seed=7)


@pytest.mark.parametrize("grouped", [False, True])
async def test_what_failed_is_the_report_too(grouped: bool) -> None:
    failed = await figures({}, Failed("two of three", {"failed": ["a", "b"]}), grouped=grouped)
    assert (failed.ok, failed.problem, failed.figures) == (False, "two of three", {"failed": ["a", "b"]})
    broke = await figures({}, ChainOrFunds("no endpoint", fix="mesh doctor"), grouped=grouped)
    assert not broke.ok
    assert "no endpoint" in broke.problem
    slow = await figures({}, trio.TooSlowError(), grouped=grouped)
    assert slow.problem.startswith("TooSlowError")


async def test_a_defect_is_not_hidden_in_a_report() -> None:
    with pytest.raises(ZeroDivisionError):
        await figures({}, ZeroDivisionError())
    with pytest.raises(ExceptionGroup):
        await figures({}, ZeroDivisionError(), grouped=True)


def test_check_raises_what_it_was_told() -> None:
    check(True, "never")
    with pytest.raises(Failed, match="it is so"):
        check(False, "it is so")


def test_people_see_figures_with_their_targets() -> None:
    shown = show_report(Report(name="gossip", ok=False, problem="late", figures=judge("gossip", {"delivery": 0.5})[0]))
    assert shown.startswith("gossip: NOT OK (late)\n")
    assert "delivery" in shown
    assert ">= 0.999" in shown
    assert show_report(Report(name="x", ok=True, figures={})) == "x: ok"

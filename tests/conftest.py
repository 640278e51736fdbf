"""Which rules hold for every test? No skip under MESH_CI, and random searches that replay.

A test that hangs is cancelled inside its own event loop, so that it costs one failure: pytest-timeout, the second wall,
leaves a loop behind in which no later test of that process can run. The limit is one of real time for every test; under
a virtual clock, a hundred seconds are nothing.

``MESH_CI=1``: a skip is a failure, because there a missing tool means that something was not tested.
``MESH_FULL=1``: ten times as many random examples. Hypothesis prints the blob that replays a failing one.
"""

import functools
import inspect
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings

from tests.clock import PatientClock

__all__: list[str] = []

# No deadline: it would be an assertion about the speed of a shared machine. pytest-timeout ends what hangs.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _COMMON)
# The same examples on every run: a change is judged by what it changes. `make full` searches on.
settings.register_profile("ci", _COMMON, derandomize=True)
settings.register_profile("full", _COMMON, max_examples=1000)
settings.load_profile("full" if os.environ.get("MESH_FULL") else "ci" if os.environ.get("MESH_CI") else "dev")

# Below pytest-timeout's limit.
_PATIENCE_S = 280


def pytest_itemcollected(item: pytest.Item) -> None:
    """Cancel an async test that waits for ever."""
    if not isinstance(item, pytest.Function):
        return
    test = item.obj
    if not inspect.iscoroutinefunction(test) or hasattr(test, "hypothesis"):
        return
    marker = item.get_closest_marker("timeout")
    patience = marker.args[0] * 0.9 if marker and marker.args else _PATIENCE_S

    @functools.wraps(test)
    async def bounded(*args: Any, **fixtures: Any) -> None:
        with _real_limit(patience) as scope:
            await test(*args, **fixtures)
        if scope.cancelled_caught:
            raise trio.TooSlowError

    item.obj = bounded


@contextmanager
def _real_limit(seconds: float) -> Iterator[trio.CancelScope]:
    """A scope that is cancelled after seconds of the real clock, whichever clock the loop goes by."""
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:
        timer = threading.Timer(seconds, token.run_sync_soon, [scope.cancel])
        timer.daemon = True
        timer.start()
        try:
            yield scope
        finally:
            timer.cancel()


@pytest.fixture
def autojump_clock() -> PatientClock:
    """Virtual time, which passes when nobody works: no task, and no thread at a disk."""
    return PatientClock()


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _forbid_skip(report: Report) -> Report:
    if os.environ.get("MESH_CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which MESH_CI forbids: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure."""
    return _forbid_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure."""
    return _forbid_skip((yield))

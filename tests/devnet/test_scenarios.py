"""Are the promised scenarios there, and do those of both worlds hold in the simulator?"""

from typing import Any

import pytest

from devnet.running import run_scenario, run_scenarios
from devnet.scenario import Cluster, Failed, Report, Scenario, ended, settled
from devnet.scenarios import NAMES, load_scenario
from mesh.api.types import RunInfo
from mesh.base.errors import UsageError

SCENARIOS = {name: load_scenario(name) for name in NAMES}
PROMISED = {
    "first-job",
    "provider-killed",
    "client-restarted",
    "daemonless-killed",
    "node-restarts",
    "audit-deterrence",
    "bad-inputs",
    "client-withholds-inputs",
    "wrong-result",
    "no-match",
    "client-vanishes",
    "provider-vanishes",
    "gas-spike",
    "reorg",
    "time-bomb-job",
    "rpc-failover",
    "two-deals-one-slot",
    "false-dispute",
    "output-ransom",
    "input-withheld-in-dispute",
    "mediator-silent",
    "mediator-junk",
    "split-verdict-appeal",
    "secret-withheld",
    "caught-and-silent",
    "junk-auditor",
    "channel-100",
    "stale-voucher-exit",
    "replicate",
    "spend",
}


def a_run(status: str, paid: bool) -> RunInfo:
    return RunInfo(
        run_id="0x",
        job_id="0x",
        name="pi",
        status=status,
        code="",
        detail="",
        submitted=0,
        root=None,
        outcome=None,
        exit_code=None,
        checked="",
        settled=paid,
        spent="0",
        max_price="0",
        budget="0",
        deals=(),
        candidates=(),
    )


def test_every_promised_scenario_is_there_under_its_name() -> None:
    assert set(NAMES) >= PROMISED
    assert all(name == one.name and one.about and one.worlds for name, one in SCENARIOS.items())
    assert all("processes" in one.worlds for name, one in SCENARIOS.items() if name != "audit-deterrence")


# Those in LONG are told in tests/sim: step by step, and in a short form.
LONG = ("node-restarts", "audit-deterrence")


@pytest.mark.parametrize("name", [n for n, one in SCENARIOS.items() if "sim" in one.worlds and n not in LONG])
async def test_it_holds_in_the_simulator(name: str) -> None:
    report = await run_scenario(SCENARIOS[name], "sim", 7, "pyevm")
    assert report.ok, report.problem
    assert report.figures


async def test_a_world_that_a_scenario_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match="does not run in world 'sim'"):
        await run_scenario(SCENARIOS["bad-inputs"], "sim", 7, "pyevm")


async def test_several_are_judged_one_by_one_and_one_that_fails_fails_them_all() -> None:
    async def breaks(cluster: Cluster, seed: int) -> dict[str, Any]:
        raise Failed("as it was meant to")

    broken = Scenario(name="broken", about="it fails", script=breaks)
    told: list[Report] = []
    found = await run_scenarios([broken, SCENARIOS["first-job"]], "sim", 7, "pyevm", told.append)
    assert [(one.name, one.ok) for one in told] == [("broken", False), ("first-job", True)]
    assert (found.ok, found.problem) == (False, "1 of 2 failed: broken")
    assert found.figures["scenarios"]["broken"]["problem"] == "as it was meant to"
    assert (await run_scenarios([SCENARIOS["no-match"]], "sim", 7, "pyevm", told.append)).ok


@pytest.mark.parametrize(
    ("status", "paid", "is_settled", "is_over"),
    [
        ("searching", False, False, False),
        ("done", False, False, False),
        ("done", True, True, True),
        ("failed", False, False, True),
        ("cancelled", False, False, True),
    ],
)
def test_when_a_run_is_over(status: str, paid: bool, is_settled: bool, is_over: bool) -> None:
    run = a_run(status, paid)
    assert (settled(run), ended(run)) == (is_settled, is_over)

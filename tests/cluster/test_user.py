"""Does a user get from a job file to a paid result, and see everything on the way, with commands alone?"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devnet.scenario import JOBS

pytestmark = pytest.mark.timeout(900)  # the first one starts the network and has a job run on it
PI = JOBS / "pi" / "job.yaml"
SMALL = ("--set", "command=[--samples, '2000000']", "--set", "seed=7")


def free(network: Any) -> int:
    """The client's free escrow, wei."""
    return int(network.mesh("wallet", "show", "-o", "json").data["free"])


@pytest.fixture(scope="module")
def money(network: Any) -> int:
    """What the client had before the run."""
    return free(network)


@pytest.fixture(scope="module")
def run(network: Any, money: int) -> Any:
    """A run that was submitted, waited for and paid."""
    sent = network.mesh("submit", str(PI), *SMALL, "-q")
    assert sent.code == 0, sent.talk
    run_id = sent.out.strip()
    assert len(run_id) == 66
    waited = network.mesh("wait", run_id, "-o", "json")
    assert waited.code == 0, waited.talk
    return waited.data


def test_the_run_is_done_checked_and_paid(run: Any) -> None:
    assert (run["status"], run["outcome"], run["exit_code"], run["settled"]) == ("done", "exited", 0, True)
    assert run["checked"] in ("bytes", "audited")
    (deal,) = run["deals"]
    assert len(deal["commit_tx"]) == len(deal["final_tx"]) == 66
    assert deal["final_how"] == "settled"
    assert run["spent"] == deal["price"] == deal["paid"]


def test_the_money_moved_once(network: Any, run: Any, money: int) -> None:
    assert money - free(network) == int(run["deals"][0]["price"])


def test_ps_and_describe_show_it(network: Any, run: Any) -> None:
    (listed,) = network.mesh("ps", "-a", "-o", "json").data
    assert listed["run_id"] == run["run_id"]
    told = network.mesh("describe", run["run_id"][:10])
    assert told.code == 0
    for part in (run["run_id"], run["deals"][0]["deal_id"][:6], "settled", "exited", "chosen"):
        assert part in told.out


def test_logs_and_result_are_the_jobs_own(network: Any, run: Any, tmp_path: Path) -> None:
    logs = network.mesh("logs", run["run_id"], "-s", "stdout")
    assert logs.out.startswith("pi ~ 3.1")
    folder = tmp_path / "result"
    got = network.mesh("get", run["run_id"], "-d", str(folder))
    assert got.code == 0, got.talk
    assert (folder / "stdout").read_text() == logs.out
    assert (folder / "exitCode").read_text() == "0\n"
    assert (folder / "result.json").exists()
    assert list((folder / "outputs" / "out").iterdir())


def test_the_same_job_here_gives_the_same_bytes(network: Any, run: Any) -> None:
    other = network.mesh("submit", str(PI), *SMALL, "--set", "verify.audit=1", "-o", "json")
    assert other.code == 0, other.talk
    assert other.data["root"] == run["root"]
    assert other.data["checked"] == "audited"


def test_events_tell_it_in_order(network: Any, run: Any) -> None:
    lines = network.mesh("events", run["run_id"], "-o", "json").data
    names = [one["name"] for one in lines]
    steps = ["run.submitted", "rfq.sent", "deal.proposed", "deal.signed", "deal.committed", "deal.resulted"]
    steps += ["deal.delivered", "deal.accepted", "deal.settled", "run.settled"]
    assert [name for name in names if name in steps] == steps
    assert [one["seq"] for one in lines] == sorted(one["seq"] for one in lines)


def test_the_documentation_tells_it_in_the_same_order(network: Any, run: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-a-job-flows.md").read_text()
    listed = re.findall(r"`([a-z]+\.[a-z_]+)`", page.partition("as a list with times")[2].partition("\n\n")[0])
    names = list(dict.fromkeys(one["name"] for one in network.mesh("events", run["run_id"], "-o", "json").data))
    assert [name for name in listed if name in names] == names
    assert set(listed) - set(names) <= {"deal.auditing"}


def test_evidence_is_checked_without_a_node(network: Any, run: Any, tmp_path: Path) -> None:
    file = tmp_path / "deal.dossier"
    written = network.mesh("deal", "evidence", run["deals"][0]["deal_id"], "--to", str(file))
    assert written.code == 0, written.talk
    verified = network.mesh("deal", "verify", str(file), "-o", "json")
    assert verified.code == 0, verified.talk
    assert verified.data["ok"]
    assert verified.data["deal"] == run["deals"][0]["deal_id"]
    proven = {one["name"] for one in verified.data["findings"]}
    assert {"chain: committed", "chain: settled"} <= proven, "proofs come from the chain itself"
    data = bytearray(file.read_bytes())
    data[100] ^= 1  # in the deal: what follows holds headers, and a reader compares their hashes
    file.write_bytes(data)
    assert network.mesh("deal", "verify", str(file)).code in (3, 7)


def test_both_parties_know_the_deal(network: Any, run: Any) -> None:
    deal = run["deals"][0]
    provider = next(name for name, one in network.nodes.items() if one["operator"] == deal["provider_operator"])
    theirs = network.mesh("deal", "show", deal["deal_id"], "-o", "json", node=provider).data
    assert (theirs["role"], theirs["final_tx"]) == ("provider", deal["final_tx"])


def test_the_market_is_seen(network: Any) -> None:
    offers = network.mesh("offers", "-o", "json").data
    assert {one["provider"] for one in offers} == {
        one["peer_id"] for name, one in network.nodes.items() if name.startswith("provider")
    }
    peers = {one["peer"] for one in network.mesh("peers", "-o", "json").data}
    assert {one["provider"] for one in offers} <= peers


def test_status_says_that_all_is_well(network: Any) -> None:
    status = network.mesh("status", "-o", "json").data
    assert (status["network"], status["live_deals"], status["outbox"]) == ("devnet", 0, 0)
    assert [one["serving"] for one in status["endpoints"]] == [True]


@pytest.mark.slow
def test_doctor_finds_nothing(network: Any) -> None:
    doctor = network.mesh("doctor", node="provider-1")
    assert doctor.code == 0, doctor.out + doctor.talk


def test_a_job_that_fits_nobody_says_why_and_ends_with_5(network: Any) -> None:
    unmet = network.mesh("submit", str(PI), "--set", "resources.memory=900GiB", "--set", "deadline=3s", "-q")
    assert unmet.code == 5
    assert "memory" in unmet.talk
    assert "try: mesh describe" in unmet.talk


def test_a_broken_job_file_ends_with_3(network: Any, tmp_path: Path) -> None:
    broken = tmp_path / "job.yaml"
    broken.write_text("version: 1\nmodule: ./pi.wasm\ncomand: [a]\n")
    refused = network.mesh("submit", str(broken))
    assert refused.code == 3
    assert "job.yaml:3: comand: unknown key" in refused.talk


def test_down_leaves_no_process(network: Any) -> None:
    """The last one: it ends the network."""
    assert network.left()
    down = subprocess.run(
        [sys.executable, "-m", "mesh.cli.app", "devnet", "down"],
        env=network.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert down.returncode == 0, down.stderr
    assert network.left() == []

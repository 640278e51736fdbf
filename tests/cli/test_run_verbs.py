"""Do the verbs that look after runs show, wait, copy, fetch and fail as they should?"""

import json
from pathlib import Path

import pytest

from mesh.base.errors import ChainOrFunds

RUN = "0x1f3a"


def test_ps_lists_what_is_not_over(mesh, node, run_of, searching) -> None:
    node.story = [searching, run_of()]
    said = mesh("ps")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["RUN", "0x1f3acdcd"]
    assert "searching" in said.out
    assert "done" in mesh("ps", "-a").out


def test_ps_with_nothing_to_show_says_where_the_rest_is(mesh, node) -> None:
    said = mesh("ps")
    assert said.code == 0
    assert "mesh ps -a" in said.talk


def test_ps_json_forms(mesh, node, run_of, searching) -> None:
    node.story = [run_of(), searching]
    assert [one["status"] for one in mesh("ps", "-a", "-o", "json").json] == ["done", "searching"]
    assert [one["status"] for one in mesh("ps", "-o", "jsonl").lines] == ["searching"]
    assert mesh("ps", "-o", "json", "-a").json[0]["deals"][0]["price"] == "500000000000000000"


@pytest.mark.parametrize(
    "arguments",
    [
        ["wait", RUN],
        ["cancel", RUN],
        ["retry", RUN],
        ["wallet", "deposit", "1"],
    ],
)
def test_without_node_and_contracts_the_error_of_the_nodes_start_is_shown(mesh, home, arguments, monkeypatch) -> None:
    monkeypatch.setenv(
        "MESH_NETWORK_BOOTSTRAP", "/ip4/127.0.0.1/tcp/9/p2p/16Uiu2HAm1111111111111111111111111111111111111111111"
    )
    monkeypatch.setenv("MESH_CHAIN_RPC", "http://127.0.0.1:9")
    home.mkdir()
    (home / "node.db").touch()
    mesh(*arguments).failed(3, "starting a client node", "no escrow is known on devnet", "mesh chain deploy")


@pytest.mark.parametrize("verb", ["describe", "events", "logs", "wait", "get", "cancel", "retry"])
def test_in_a_new_home_there_is_nothing_to_start_a_node_for(mesh, home, verb) -> None:
    mesh(verb, RUN).failed(2, "there are no runs yet", "mesh submit JOB.yaml")
    assert not home.exists()
    said = mesh("ps", "-o", "json")
    assert (said.code, said.json) == (0, [])
    assert "mesh submit" in mesh("ps").talk


@pytest.mark.parametrize("verb", ["describe", "events", "logs", "wait", "get", "cancel", "retry"])
def test_a_run_that_does_not_exist(mesh, node, verb) -> None:
    mesh(verb, "beef").failed(2, "beef names no run", "mesh ps -a")


def test_describe_shows_deals_and_answers(mesh, node) -> None:
    said = mesh("describe", RUN)
    for word in ("0x1f3a", "pi", "done", "settled", "0.5 MESH", "exited", "0x77aaefef", "refused", "no slot"):
        assert word in said.out
    assert mesh("describe", RUN, "-o", "json").json["run_id"].startswith(RUN)


def test_strangers_words_move_no_cursor(mesh, node, run_of) -> None:
    node.story = [run_of(status="failed", code="no-match", detail="\x1b[2Jgone\r\n")]
    for said in (mesh("describe", RUN), mesh("wait", RUN)):
        assert "\x1b" not in said.out + said.talk
        assert "\\x1b[2Jgone" in said.out + said.talk


def test_events(mesh, node) -> None:
    said = mesh("events", RUN)
    assert [line.split()[0] for line in said.out.splitlines()] == ["1", "2"]
    assert "run.submitted" in said.out
    assert "name=pi" in said.out
    assert [one["seq"] for one in mesh("events", RUN, "-o", "json").json] == [1, 2]
    assert [one["seq"] for one in mesh("events", RUN, "-o", "jsonl", "--since", "1").lines] == [2]


def test_events_of_the_whole_node(mesh, node) -> None:
    assert mesh("events").code == 0
    assert node.arguments("events") == {"run": "", "since": 0, "follow": False}


def test_events_and_logs_ask_for_the_whole_id(mesh, node) -> None:
    mesh("events", RUN)
    assert len(node.arguments("events")["run"]) == 66
    mesh("logs", RUN)
    assert len(node.arguments("logs")["run"]) == 66


def test_logs_go_to_their_own_streams(mesh, node) -> None:
    node.log = {"stdout": b"out\n", "stderr": b"err\n"}
    said = mesh("logs", RUN)
    assert (said.code, said.out, said.talk) == (0, "out\n", "err\n")
    assert mesh("logs", RUN, "-s", "stderr").out == ""
    assert mesh("logs", RUN, "-s", "stdout").talk == ""


def test_logs_of_a_job_that_runs_are_read_to_where_they_are(mesh, node) -> None:
    """They come in parts, here of four bytes."""
    node.log = {"stdout": b"0123456789", "stderr": b""}
    node.log_live = True
    assert mesh("logs", RUN).out == "0123456789"


def test_logs_tail(mesh, node) -> None:
    node.log = {"stdout": b"one\ntwo\nthree\n", "stderr": b""}
    assert mesh("logs", RUN, "--tail", "2").out == "two\nthree\n"
    assert mesh("logs", RUN, "--tail", "0").out == ""
    assert mesh("logs", RUN, "--tail", "9").out == "one\ntwo\nthree\n"


def test_logs_json(mesh, node) -> None:
    node.log = {"stdout": b"one\ntwo\n", "stderr": b"\xff"}
    parts = mesh("logs", RUN, "-o", "json", "--tail", "1").json
    assert parts == [
        {"stream": "stdout", "offset": 4, "text": "two\n"},
        {"stream": "stderr", "offset": 0, "text": "\ufffd"},
    ]
    assert mesh("logs", RUN, "-o", "jsonl", "-s", "stdout").lines == [
        {"stream": "stdout", "offset": 0, "text": "one\ntwo\n"}
    ]


@pytest.mark.parametrize("since", ["2027-01-15T08:00:01Z", "1h", "2027-01-15T09:00:00+01:00"])
def test_logs_since_a_time_at_which_the_job_still_ran(mesh, node, since) -> None:
    assert mesh("logs", RUN, "--since", since).out == "3.14159\n"


@pytest.mark.parametrize("since", ["2027-01-15T08:00:02Z", "2027-01-16T00:00Z"])
def test_logs_since_a_time_after_the_jobs_end(mesh, node, since) -> None:
    said = mesh("logs", RUN, "--since", since)
    assert (said.code, said.out) == (0, "")
    assert "the job ended before that, at 2027-01-15 08:00:01 UTC" in said.talk
    assert mesh("logs", RUN, "--since", since, "-o", "json").json == []


def test_logs_since_now_of_a_job_that_runs(mesh, node) -> None:
    node.trace = node.trace[:1]
    assert mesh("logs", RUN, "--since", "2099-01-01T00:00Z").out == ""
    assert mesh("logs", RUN, "--since", "1h").out == "3.14159\n"


@pytest.mark.parametrize("since", ["yesterday", "10", "2026-12-01"])
def test_logs_since_what_is_no_time(mesh, node, since) -> None:
    mesh("logs", RUN, "--since", since).failed(2, "neither a time nor a duration", "2026-12-01T18:00Z")


def test_logs_that_cannot_be_had(mesh, node) -> None:
    node.failing["logs"] = ChainOrFunds("the provider is gone", fix="mesh wait RUN")
    mesh("logs", RUN).failed(6, "the provider is gone")


def test_wait_follows_the_phases_and_sums_up(mesh, node, run_of, searching, deal_of) -> None:
    running = deal_of(phase="running", final_tx=None, outcome=None, checked="", paid=None)
    node.story = [searching, searching, run_of(status="dealing", deals=(running,), settled=False), run_of()]
    said = mesh("wait", RUN)
    assert said.code == 0
    phases = said.talk.splitlines()
    assert phases[0] == "1 quote"
    assert "committed 0x9b010101 > running" in said.talk
    assert phases[-1].endswith("settled 0xfefefefe")
    assert "paid        0.5 MESH" in said.out
    assert mesh("wait", RUN, "-o", "json").json["status"] == "done"


def test_wait_goes_on_until_the_money_has_moved(mesh, node, run_of) -> None:
    node.story = [run_of(settled=False), run_of(settled=False), run_of()]
    assert mesh("wait", RUN).code == 0
    assert len(node.story) == 1


@pytest.mark.parametrize(
    ("code", "exit_code", "hint"),
    [
        ("no-match", 5, "mesh describe 0x1f3acdcd"),
        ("no-capacity", 5, "mesh describe 0x1f3acdcd"),
        ("funds", 6, "mesh wallet deposit"),
        ("rejected", 7, "mesh deal evidence 0x77aaefef"),
        ("provider-lost", 1, "mesh retry 0x1f3acdcd"),
    ],
)
def test_wait_ends_with_the_code_of_what_went_wrong(mesh, node, run_of, code, exit_code, hint) -> None:
    node.story = [run_of(status="failed", code=code, detail="three said no", settled=False)]
    mesh("wait", RUN).failed(exit_code, "three said no", hint)


def test_get_writes_the_outcome_folder(mesh, node) -> None:
    said = mesh("get", RUN, "-d", "here")
    assert (said.code, said.out) == (0, "here\n")
    assert Path("here/stdout").read_bytes() == b"3.14159\n"
    assert json.loads(Path("here/result.json").read_text())["name"] == "pi"
    assert node.arguments("export")["destination"] == Path("here").absolute()


def test_get_names_a_folder_by_itself(mesh, node) -> None:
    assert mesh("get", RUN, "-o", "json").json["folder"] == "results/pi-1f3acdcd"
    assert Path("results/pi-1f3acdcd/result.json").exists()


def test_get_overwrites_nothing(mesh, node) -> None:
    Path("here").mkdir()
    mesh("get", RUN, "-d", "here").failed(1, "here exists already", "mesh get 0x1f3acdcd -d here-2")
    assert list(Path("here").iterdir()) == []


def test_get_before_there_is_a_result(mesh, node, searching) -> None:
    node.story = [searching]
    mesh("get", RUN).failed(1, "has no result yet", "mesh wait 0x1f3acdcd")
    assert not Path("results").exists()


def test_cancel_twice(mesh, node, searching) -> None:
    node.story = [searching]
    assert mesh("cancel", RUN).out == "0x1f3acdcd cancelled\n"
    assert mesh("cancel", RUN, "-o", "json").json["status"] == "cancelled"


def test_retry(mesh, node, run_of) -> None:
    node.story = [run_of(status="failed", code="no-match")]
    said = mesh("retry", RUN)
    assert said.out == "0x1f3acdcd searching\n"
    assert "mesh wait 0x1f3acdcd" in said.talk


def test_a_form_that_does_not_exist(mesh, node) -> None:
    said = mesh("ps", "-o", "yaml")
    assert said.code == 2
    assert "jsonl" in said.talk


@pytest.mark.parametrize(
    ("checked", "shown"),
    [
        ("audited", "audited"),
        ("unfinished", "bytes, an audit did not finish"),
        ("too-long", "run again, the time was up here too"),
        ("slow", "run again, here it ended in time"),
        ("contradicted", "run again, here it ended long before"),
    ],
)
def test_describe_says_what_was_done_to_a_result(mesh, node, run_of, deal_of, checked, shown) -> None:
    node.story = [run_of(checked=checked, deals=(deal_of(checked=checked),))]
    said = mesh("describe", RUN, "-o", "wide")
    assert said.out.count(f"checked: {shown}") == 2, said.out
    node.story = [run_of(checked=checked, deals=(deal_of(checked=checked),))]
    assert mesh("describe", RUN, "-o", "json").json["checked"] == checked

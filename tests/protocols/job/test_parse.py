"""Does a mapping become the job it describes, and does a wrong one get all its problems named at once?"""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.job import JobError, parse_job
from protocols.job.keys import JOB
from protocols.job.not_yet import NOT_YET
from protocols.job.problems import MAX_PROBLEMS
from protocols.job.schema import AbsoluteDeadline, InputSpec, OutputSpec, RelativeDeadline
from protocols.job.sources import Held, LocalPath
from protocols.job.units import Range
from protocols.units import UnixSeconds

FULL: dict[str, Any] = {
    "version": 1,
    "name": "pi",
    "labels": {"team": "demo"},
    "executor": "wasm",
    "module": "./pi.wasm",
    "command": ["--samples", 20_000_000],
    "env": {"SEED": "7", "EPOCHS": None},
    "inputs": [{"path": "/in", "source": "./data"}],
    "outputs": [{"path": "/out", "name": "result", "max_bytes": "1MiB", "max_files": 5, "public": False}],
    "resources": {"cpus": "1+", "memory": "512MiB..2GiB", "disk": "1GiB", "shm": "64MiB", "gpus": 0},
    "constraints": ["reliability >= 0.95", "region in [eu, us]"],
    "limits": {"wall": "5m", "fuel": "50e9", "pids": 64, "stdout": "1MiB"},
    "runtime": "any",
    "network": "none",
    "verify": {"level": "exact", "class": "any", "audit": "0.05"},
    "seed": 42,
    "market": {"mode": "market", "max_price": "2.50 MESH", "budget": "5.00 MESH", "bid_window": "2s", "target": None},
    "settlement": "commit",
    "deadline": "2026-12-01T18:00Z",
    "retry": {"on": ["provider-lost"], "max_attempts": 2},
    "array": 0,
    "num_nodes": 1,
}


def test_every_key_of_a_full_job():
    job = parse_job(FULL, {}, {"EPOCHS": "3"})
    assert job.module == LocalPath("./pi.wasm")
    assert job.command == ("--samples", "20000000")
    assert job.env == (("EPOCHS", "3"), ("SEED", "7"))
    assert job.inputs == (InputSpec("/in", LocalPath("./data")),)
    assert job.outputs == (OutputSpec("/out", "result", 1 << 20, 5),)
    assert job.resources.memory_mib == Range(512, 2048)
    assert [one.text for one in job.constraints] == FULL["constraints"]
    assert (job.limits.wall_s, job.limits.fuel) == (300, 50 * 10**9)
    assert job.verify.audit_ppm == 50_000
    assert job.seed == 42
    assert job.market.max_price is not None
    assert job.market.max_price.amount == 25 * 10**17
    assert job.deadline == AbsoluteDeadline(UnixSeconds(1_796_148_000))
    assert job.retry.on == ("provider-lost",)


def test_a_small_job_has_every_default(small):
    job = parse_job(small, {}, {})
    assert (job.name, job.executor, job.resources.cpus_milli, job.limits.wall_s) == ("job", "wasm", Range(1000), 300)
    assert (job.limits.fuel, job.seed, job.deadline, job.market.max_price) == (0, None, None, None)
    assert job.outputs == ()


def test_an_empty_value_is_the_default(small):
    keys = [key.name for key in JOB.keys if key.name not in small]
    assert parse_job(small | dict.fromkeys(keys), {}, {}) == parse_job(small, {}, {})


def test_a_deadline_from_now(small):
    job = parse_job(small | {"deadline": "2h"}, {}, {})
    assert job.deadline == RelativeDeadline(7200)
    assert job.deadline_at(UnixSeconds(100)) == 7300
    assert parse_job(small, {}, {}).deadline_at(UnixSeconds(100)) is None


def test_a_module_by_content_id(small):
    text = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    job = parse_job(small | {"module": text}, {}, {})
    assert isinstance(job.module, Held)
    assert len(job.module.cid) == 36


def test_all_problems_come_at_once_with_their_lines():
    wrong = copy.deepcopy(FULL)
    wrong["command"] = "run me"
    wrong["limits"]["wall"] = 300
    wrong["outputs"][0]["path"] = "out"
    wrong["market"]["max_prize"] = "3 MESH"
    wrong["network"] = {"allow": ["example.org"]}
    wrong["verify"]["level"] = "none"
    lines = {"command": 6, "limits": 12, "limits.wall": 13, "outputs": 9, "market": 20, "network": 17}
    with pytest.raises(JobError) as caught:
        parse_job(wrong, lines, {})
    found = [(problem.path, problem.line) for problem in caught.value.problems]
    assert found == [
        ("env.EPOCHS", 0),
        ("verify.audit", 0),
        ("command", 6),
        ("outputs[0].path", 9),
        ("limits.wall", 13),
        ("network", 17),
        ("market.max_prize", 20),
    ]
    assert all(problem.suggestion for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("modul", "module"),
        ("comand", "command"),
        ("resource", "resources"),
        ("environment", "env"),
        ("VERSION", "version"),
    ],
)
def test_an_unknown_key_names_the_nearest(small, typo, meant):
    with pytest.raises(JobError) as caught:
        parse_job(small | {typo: "x"}, {}, {})
    (problem,) = caught.value.problems
    assert problem.suggestion == f"did you mean {meant}?"


def test_a_misspelt_required_key_is_reported_once(problems_of):
    assert problems_of({"version": 1, "modul": "./pi.wasm"}) == {"modul": "unknown key"}


def test_an_unknown_key_unlike_any_lists_what_is_known(small):
    with pytest.raises(JobError) as caught:
        parse_job(small | {"limits": {"zzz": 1}}, {}, {})
    assert caught.value.problems[0].suggestion == "known keys here: wall, fuel, pids, stdout"


def test_problems_are_bounded(small):
    with pytest.raises(JobError) as caught:
        parse_job(small | {"command": [True] * 256}, {}, {})
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_values_demanded_from_the_environment(small, problems_of):
    job = {**small, "env": {"A": None, "B": None}}
    assert problems_of(job, {"A": "1"}) == {"env.B": "has no value, and your environment has none"}
    assert "env.A" in problems_of(job, {"A": "x" * 5000, "B": "1"})


def test_a_token_the_network_does_not_have(small, problems_of):
    job = {**small, "market": {"max_price": "1 DAI"}}
    assert problems_of(job, symbols={"MESH"}) == {"market.max_price": "this network has no token DAI"}
    assert parse_job(job, {}, {}, symbols={"DAI"}).market.max_price is not None


@pytest.mark.parametrize("verify", [{"level": "exact"}, {"level": "exact", "audit": "0.05"}, {"level": "none"}])
def test_a_channel_can_be_had_with_audits_and_without(small, verify):
    job = parse_job({**small, "settlement": "channel", "verify": verify}, {}, {})
    assert (job.settlement, job.verify.level) == ("channel", verify["level"])


@pytest.mark.parametrize(
    "verify",
    [
        {"level": "canonical", "canonicalisers": ["sort-json", "round-6"]},
        {"level": "numeric", "rtol": "1e-5", "atol": "1e-9", "fraction": "0.99"},
        {"level": "perceptual", "hamming": 6},
        {"level": "replicate", "n": 3, "agree": 2},
    ],
)
def test_the_levels_that_look_at_the_bytes_are_supported(small, verify):
    assert parse_job({**small, "verify": verify}, {}, {}).verify.level == verify["level"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"market": {"max_price": "2 MESH", "budget": "5 MESH"}}, "market.budget"),
        ({"settlement": "channel"}, "settlement"),
        ({"verify": {"level": "replicate", "n": 3, "agree": 2, "audit": 1}}, "verify.audit"),
        ({"verify": {"level": "replicate", "n": 3, "agree": 1}}, "verify.agree"),
    ],
)
def test_what_replicas_cannot_be_combined_with(small, problems_of, change, path):
    job = {**small, "verify": {"level": "replicate", "n": 3, "agree": 2}}
    assert list(problems_of({**job, **change})) == [path]


@pytest.mark.parametrize(("names", "path"), [([], "verify.canonicalisers"), (["sort-jsn"], "verify.canonicalisers[0]")])
def test_a_normal_form_is_named_and_built_in(small, problems_of, names, path):
    assert list(problems_of({**small, "verify": {"level": "canonical", "canonicalisers": names}})) == [path]


NOT_YET_JOBS: dict[str, dict[str, Any]] = {
    "executors oci and process": {"module": None, "image": "alpine"},
    "the shell form": {"run": "echo"},
    "packing a work folder": {"workdir": "./src"},
    "a setup step": {"setup": "make"},
    "secrets": {"secrets": ["TOKEN"]},
    "fetching inputs from elsewhere": {"inputs": [{"path": "/in", "source": "hf://org/model@r"}]},
    "public outputs": {"outputs": [{"path": "/o", "public": True}]},
    "GPU jobs": {
        "resources": {"gpus": {"count": 1, "memory": "16GiB..", "compute_capability": "8.0..", "name": ["H100"]}}
    },
    "shared memory": {"resources": {"shm": "1GiB"}},
    "asking for a fresh GPU proof": {"receipt": "2h"},
    "runtime runsc": {"runtime": "runsc"},
    "network access": {"network": {"allow": ["example.org"]}, "verify": {"level": "none"}},
    "numeric classes": {"verify": {"class": "same"}},
    "checkpoints": {"checkpoint": {"path": "/c", "interval": "1m"}},
    "arrays of runs": {"array": 4},
    "gangs of nodes": {"num_nodes": 2},
    "notifications": {"notify": {"on": ["done"], "webhook": "https://example.org/h"}},
}


@pytest.mark.parametrize("row", NOT_YET, ids=lambda row: row.what)
def test_what_is_not_built_is_refused_and_only_that(small, problems_of, row):
    (message,) = problems_of(small | NOT_YET_JOBS[row.what]).values()
    assert message == f"not supported by this version: {row.what}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"checkpoint": {"interval": "1m"}},
        {"network": {"allow": ["not a host!"]}, "verify": {"level": "none"}},
        {"notify": {"on": ["never"]}},
        {"inputs": [{"path": "/in", "source": "https://h/f"}]},
        {"inputs": [{"path": "/in", "source": "https://h/f", "digest": "md5:1"}]},
        {"resources": {"gpus": {"count": 1, "memory": "16"}}},
        {"verify": {"level": "replicate", "n": 2, "agree": 5}},
        {"secrets": ["no-dash"]},
        {"array": -1},
    ],
    ids=str,
)
def test_what_is_not_built_is_still_checked_in_form(small, problems_of, wrong):
    assert any("not supported" not in message for message in problems_of(small | wrong).values())


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([key.name for key in JOB.keys]), JSONISH, max_size=6) | JSONISH)
def test_whatever_comes_in_a_job_or_its_problems_come_out(mapping):
    job, problems = _outcome(mapping)
    assert (job is None) == bool(problems)
    assert all(problem.message for problem in problems)


@given(st.sampled_from(sorted(FULL)), JSONISH)
def test_one_wrong_value_never_hides_behind_a_crash(key, value):
    job, problems = _outcome(FULL | {key: value})
    assert (job is None) == bool(problems)


def _outcome(mapping):
    try:
        return parse_job(mapping, {}, {"EPOCHS": "3"}), ()
    except JobError as error:
        return None, error.problems

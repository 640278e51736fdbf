"""Do the tables of bad inputs hold where no network is needed, and does a verdict that failed show?"""

from pathlib import Path

from devnet.scenarios.hostile.envelopes import ENVELOPES
from devnet.scenarios.hostile.files import check_job_files, check_settings
from devnet.scenarios.hostile.modules import BAD_MODULES, job_text
from devnet.scenarios.hostile.records import RECORDS
from devnet.scenarios.hostile.streams import STREAMS
from devnet.scenarios.hostile.verdicts import Verdict, figures_of, held, judged
from mesh.cli.jobfile import parse_job_text


def test_every_bad_file_is_refused_with_place_cause_and_fix(tmp_path: Path) -> None:
    verdicts = check_job_files() + check_settings(tmp_path)
    assert len(verdicts) > 100
    assert figures_of(verdicts)["failed"] == []


def test_bad_modules_come_in_good_job_files() -> None:
    assert len(BAD_MODULES) >= 12
    for number, bad in enumerate(BAD_MODULES):
        assert parse_job_text(job_text(number, bad).encode(), "job.yaml", environ={}).name == f"bad-{number}"


def test_every_attack_has_a_name_of_its_own() -> None:
    names = [attack.name for attack in (*ENVELOPES, *STREAMS, *RECORDS)]
    assert len(set(names)) == len(names) >= 40


def test_a_verdict_that_failed_is_listed() -> None:
    found = figures_of(
        [
            Verdict("files", "a"),
            held("files", "b", False, "it was taken"),
            judged("nodes", "c", "x.toml:1: bad", "x.toml:1", "try: "),
        ]
    )
    assert (found["tried"], found["files"], found["nodes"]) == (3, 2, 1)
    assert found["failed"] == ["files: b: it was taken", "nodes: c: it does not say ['try: '] but: x.toml:1: bad"]

"""Does nobody sign what no mediator would judge?"""

import msgspec
import pytest

from devnet.sim.workload import toy_job
from protocols.deals.panel_terms import MAX_INPUT_BYTES, MAX_SHOWN_BYTES, cannot_be_judged
from protocols.deals.terms import Level
from protocols.disputes.fingerprint import BY_FINGERPRINT, JUDGED
from protocols.disputes.params import TOLERANCE
from protocols.job.canonical import CanonicalOutput, CanonicalVerify
from protocols.verify.levels import LEVELS


@pytest.mark.parametrize("level", list(Level))
def test_only_levels_that_mediators_judge_are_signed_with_a_panel(level: Level) -> None:
    job = msgspec.structs.replace(toy_job(7), verify=CanonicalVerify(level.name.lower()))  # type: ignore[arg-type]
    problem = cannot_be_judged(job)
    assert (problem == "") == (level in JUDGED)
    if problem:
        assert "enforcement: self" in problem or "write level" in problem


def test_what_is_judged_is_judged_by_fingerprint_or_by_a_tolerance() -> None:
    assert {rule.level for rule in LEVELS.values() if rule.margin_ppm} == JUDGED
    assert {level for level in JUDGED if LEVELS[level].tolerant} == JUDGED - BY_FINGERPRINT == TOLERANCE


@pytest.mark.parametrize("level", ["exact", "numeric", "perceptual"])
def test_under_a_tolerance_an_output_is_no_larger_than_ten_that_a_seat_pulls(level: str) -> None:
    job = msgspec.structs.replace(toy_job(1), verify=CanonicalVerify(level))  # type: ignore[arg-type]
    large = [CanonicalOutput("/out", "out", MAX_SHOWN_BYTES + more, 1, False) for more in (0, 1)]
    problems = [cannot_be_judged(msgspec.structs.replace(job, outputs=(one,))) for one in large]
    assert problems[0] == ""
    assert ("max_bytes" in problems[1]) == (level != "exact")


def test_nobody_signs_a_job_whose_inputs_no_seat_would_take() -> None:
    """A dispute about it would end void: who lied would lose nothing."""
    job = toy_job(1)
    assert cannot_be_judged(msgspec.structs.replace(job, module_size=MAX_INPUT_BYTES)) == ""
    problem = cannot_be_judged(msgspec.structs.replace(job, module_size=MAX_INPUT_BYTES + 1))
    assert "verify.enforcement: self" in problem

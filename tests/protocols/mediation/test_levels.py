"""Does nobody sign what no mediator would judge?"""

import msgspec
import pytest

from devnet.sim.workload import toy_job
from protocols.deals.panel_terms import cannot_be_judged
from protocols.deals.terms import Level
from protocols.disputes.fingerprint import BY_FINGERPRINT, JUDGED
from protocols.job.canonical import CanonicalVerify


@pytest.mark.parametrize("level", list(Level))
def test_only_levels_that_mediators_judge_are_signed_with_a_panel(level: Level) -> None:
    job = msgspec.structs.replace(toy_job(7), verify=CanonicalVerify(level.name.lower()))  # type: ignore[arg-type]
    problem = cannot_be_judged(job)
    assert (problem == "") == (level in JUDGED)
    if problem:
        assert "enforcement: self" in problem or "write level" in problem


def test_what_is_judged_is_judged_by_fingerprint() -> None:
    assert JUDGED <= BY_FINGERPRINT

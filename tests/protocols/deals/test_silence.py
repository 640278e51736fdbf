"""How long does a provider wait for its client's word before it claims? As long as the client may need to check."""

from msgspec.structs import replace

from devnet.sim.samples import Samples
from protocols.deals import client, provider
from protocols.deals.inputs import Ctx
from protocols.deals.states import Delivered, Resulted
from protocols.deals.waits import ROUNDS_LATE
from protocols.units import Seconds, UnixSeconds
from protocols.verify.audits import BEACON_LEAD

SAMPLES = Samples()
CTX = Ctx(SAMPLES.env(SAMPLES.provider), UnixSeconds(0))
SILENCE = CTX.env.params.silence_before_claim


def due(name: str, claim_seconds: int) -> tuple[int, int, int]:
    """(deadline after the result, the same counted from the commit, execution time)"""
    state = SAMPLES.states()[name]
    assert isinstance(state, Resulted | Delivered)
    deal = replace(state.terms.deal, claim_seconds=Seconds(claim_seconds))
    state = replace(state, terms=replace(state.terms, deal=deal))
    found = provider.deadline(state, CTX)
    assert found is not None
    return found - state.at, found - state.commitment.at, deal.exec_seconds


def test_a_client_that_said_nothing_has_the_silence() -> None:
    assert due("Resulted", 100_000)[0] == SILENCE


def test_a_client_that_holds_the_bytes_has_the_time_to_run_the_job_again() -> None:
    """A round of the beacon, the job here, and once more in a deal with somebody else."""
    after, _, execution = due("Delivered", 100_000)
    rounds = (BEACON_LEAD + ROUNDS_LATE) * CTX.env.params.beacon.period_s
    assert after == SILENCE + rounds + execution + CTX.env.params.commit_within + execution


def test_half_of_the_time_for_a_claim_is_the_providers() -> None:
    """It used to wait until a margin before the deal expired: an endpoint that failed just then cost it the collateral."""
    _, from_commit, execution = due("Delivered", 120)
    assert from_commit == execution + 60


def test_a_client_ends_its_check_a_margin_before_its_provider_claims() -> None:
    state = SAMPLES.states()["Checking"]
    claims, ends = provider.deadline(state, CTX), client.deadline(state, CTX)
    assert claims is not None
    assert ends == claims - CTX.env.params.deadline_margin


def test_a_claim_is_posted_in_time_whatever_the_client_does() -> None:
    for name in ("Resulted", "Delivered"):
        _, from_commit, execution = due(name, 4)
        assert from_commit <= execution + 4 - CTX.env.params.deadline_margin

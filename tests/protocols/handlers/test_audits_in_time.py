"""What becomes of a check that is not over when its provider may claim?"""

import msgspec

from protocols import events as ev
from protocols.deals.states import Checking, Claimed, Expired, Settled
from protocols.runs import Done, Failed
from protocols.verify.audits import RunHere
from tests.protocols.handlers.audited import Scene, result_here


def never_run(scene: Scene) -> str:
    """The client's own executor does not answer; the key under which it would have."""
    scene.until(lambda: scene.asks(RunHere))
    (key,) = [key for key in scene.client.outbox if key.startswith("run:")]
    scene.client.outbox.pop(key)
    return key


def overtime(scene: Scene) -> bool:
    return isinstance(scene.first, Checking) and scene.first.overtime is True


def test_a_check_that_is_not_over_when_its_provider_claims_goes_on_in_the_window() -> None:
    """It used to be signed off as checked by bytes: a liar was paid because the client's machine was busy."""
    scene = Scene(lies=True)
    key = never_run(scene)
    scene.until(lambda: overtime(scene))
    assert len(scene.told("deal.check_goes_on")) == 1
    scene.until(lambda: isinstance(scene.first, Checking) and isinstance(scene.first.claim, Claimed))
    deal_id = scene.first.terms.deal_id
    scene.client.post(ev.AuditCompleted(at=scene.world.now, deal_id=deal_id, result=result_here(scene)), (key,))
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert isinstance(scene.first, Claimed)
    assert "two re-executions agree" in scene.first.rejected
    assert not scene.client.state.records[scene.provider.me].days[0].kept


def test_an_honest_provider_whose_client_is_too_slow_is_paid_by_its_claim_and_the_outcome_says_so() -> None:
    scene = Scene()
    never_run(scene)
    scene.until(lambda: isinstance(scene.first, Settled))
    assert isinstance(scene.first, Settled)
    assert scene.first.checked == "unfinished"
    assert scene.first.paid == scene.first.terms.deal.price
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == "unfinished"
    assert [day.kept for day in scene.client.state.records[scene.provider.me].days] == [1]


def test_a_restart_in_the_window_goes_on_with_the_check() -> None:
    scene = Scene()
    never_run(scene)
    scene.until(lambda: overtime(scene))
    scene.client.kill()
    scene.client.start()
    assert overtime(scene)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert scene.run.status == msgspec.structs.replace(scene.run.status, checked="audited")


def test_a_provider_that_never_claims_what_is_not_signed_off_loses_by_its_own_silence() -> None:
    scene = Scene(lies=True)
    never_run(scene)
    scene.until(lambda: overtime(scene))
    scene.provider.kill()
    scene.until(lambda: isinstance(scene.first, Expired))

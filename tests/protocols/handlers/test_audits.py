"""Who checks a result, when, at whose cost, and what does a client do about what it finds?"""

from typing import Literal

import msgspec
import pytest

from protocols import events as ev
from protocols import views
from protocols.deals import eip712
from protocols.deals.states import Accepted, Checking, Claimed, Rejected, Settled
from protocols.job.canonical import level_params_of
from protocols.runs import Done, Failed
from protocols.units import PeerId
from protocols.verify.audits import AwaitRound, RunElsewhere, RunHere
from tests.protocols.handlers.audited import Scene, comparing, result_here, theirs


def test_the_receipt_names_a_round_that_nobody_has_seen_and_the_provider_keeps_it() -> None:
    scene = Scene()
    scene.until(lambda: scene.asks(AwaitRound))
    deal = scene.first
    assert isinstance(deal, Checking)
    assert deal.named is not None
    due = scene.world.params.beacon.round_at(scene.client.wall)
    assert deal.named.receipt.beacon_round == due + 3
    assert scene.client.state.beacon.known(due + 3) is None
    scene.until(lambda: isinstance(theirs(scene, deal.terms.deal_id), Checking))
    kept = theirs(scene, deal.terms.deal_id)
    assert isinstance(kept, Checking)
    assert (kept.named, kept.receipt) == (deal.named, deal.receipt)
    scene.until(lambda: isinstance(scene.first, Settled))
    paid = scene.first
    assert isinstance(paid, Settled)
    assert paid.sign_off is not None
    assert (paid.sign_off.receipt, paid.sign_off.receipt_signature) == (deal.named.receipt, deal.named.signature)


@pytest.mark.parametrize(("audit_ppm", "checked"), [(0, "bytes"), (1_000_000, "audited")])
def test_the_outcome_says_what_was_checked(audit_ppm: int, checked: str) -> None:
    scene = Scene(audit_ppm=audit_ppm)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == checked
    assert len(scene.deals) == 1


@pytest.mark.parametrize(
    ("passed", "level", "rate"), [(0, "exact", 250_000), (10, "exact", 125_000), (500, "exact", 20_000), (0, "none", 0)]
)
def test_the_rate_follows_the_record_and_the_level(passed: int, level: Literal["exact", "none"], rate: int) -> None:
    scene = Scene(audit_ppm=None, passed=passed, level=level)
    scene.until(lambda: scene.deals)
    assert scene.first.terms.deal.audit_ppm == rate


def test_a_wrong_result_is_confirmed_by_a_third_owner_and_not_signed_off() -> None:
    scene = Scene(lies=True)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    first, again = scene.deals
    assert isinstance(first, Rejected)
    assert first.confirmed
    assert first.named is not None
    assert first.receipt is not None
    assert again.terms.checks == first.terms.deal_id
    assert again.terms.provider != scene.provider.me
    assert again.terms.deal.index == 1
    assert isinstance(scene.run.status, Failed)
    assert scene.run.status.code == "rejected"
    assert len(scene.told("deal.mismatch_confirmed")) == 1
    assert scene.told("deal.accepted")[0]["why"] == "it is a re-execution itself"
    scene.until(lambda: isinstance(scene.deals[1], Settled))


def test_the_owner_gets_the_right_result_elsewhere_by_a_retry() -> None:
    scene = Scene(lies=True)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    market = msgspec.structs.replace(scene.run.market, target=None)
    scene.client.state.durable.put_run(msgspec.structs.replace(scene.run, market=market))
    scene.client.post(ev.RetryRequested(at=scene.world.now, run_id=scene.run.run_id))
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == "audited"
    assert scene.deals[-1].terms.provider != scene.provider.me
    assert [deal.terms.deal.index for deal in scene.deals] == [0, 1, 2]


def test_a_client_that_is_wrong_itself_accepts_what_a_third_owner_confirms() -> None:
    scene = Scene()
    scene.until(lambda: scene.asks(RunHere))
    (key,) = [key for key in scene.client.outbox if key.startswith("run:")]
    wrong = msgspec.structs.replace(result_here(scene), fuel=1)
    scene.client.post(ev.AuditCompleted(at=scene.world.now, deal_id=scene.first.terms.deal_id, result=wrong), (key,))
    assert scene.asks(RunElsewhere)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == "audited"
    assert scene.told("deal.audit_outvoted") == [
        {"deal": scene.first.terms.deal_id.hex(), "owner": "0x" + scene.client.env.signer.address.hex()}
    ]


@pytest.mark.parametrize("why", ["nobody else", "no money"])
def test_a_mismatch_that_nobody_confirms_is_shown_and_not_signed(why: str) -> None:
    scene = Scene(providers=1 if why == "nobody else" else 3, lies=True)
    if why == "no money":
        scene.until(lambda: scene.deals)
        price = scene.first.terms.deal.price
        market = msgspec.structs.replace(scene.run.market, budget=price)
        scene.client.state.durable.put_run(msgspec.structs.replace(scene.run, market=market))
    scene.until(lambda: isinstance(scene.run.status, Failed))
    (first,) = scene.deals
    assert isinstance(first, Rejected | Claimed)
    assert scene.told("deal.mismatch_confirmed") == []
    assert "a re-execution differs" in scene.told("deal.rejected")[0]["detail"]


def test_a_beacon_that_falls_silent_costs_the_audit_and_nobody_money() -> None:
    scene = Scene()
    scene.until(lambda: scene.asks(AwaitRound))
    scene.silence()
    scene.until(lambda: isinstance(scene.first, Settled))
    assert isinstance(scene.first, Settled)
    assert (scene.first.how, scene.first.checked) == ("settled", "bytes")
    assert scene.world.chain.done.get("claim", 0) == 0


@pytest.mark.parametrize("asked", [AwaitRound, RunHere, RunElsewhere])
def test_a_restart_goes_on_with_the_check(asked: type) -> None:
    scene = Scene(lies=asked is RunElsewhere)
    scene.until(lambda: scene.asks(asked))
    before = scene.first
    assert isinstance(before, Checking)
    scene.client.kill()
    scene.client.start()
    assert isinstance(scene.first, Checking)
    assert scene.first.named == before.named
    scene.until(lambda: isinstance(scene.run.status, Done | Failed))
    if asked is RunElsewhere:
        assert isinstance(scene.first, Rejected | Claimed)
        assert len(scene.deals) == 2
    else:
        assert isinstance(scene.run.status, Done)
        assert scene.run.status.checked == "audited"


def test_a_re_execution_that_fails_is_tried_with_somebody_else() -> None:
    scene = Scene(lies=True)
    for other in scene.providers[1:]:
        other.habits.infra_ppm = 1_000_000
    scene.until(lambda: len(scene.deals) == 2)
    failing: PeerId = scene.deals[1].terms.provider
    for other in scene.providers[1:]:
        other.habits.infra_ppm = 1 if other.me != failing else 1_000_000
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert len(scene.deals) == 3
    assert scene.deals[2].terms.provider not in (failing, scene.provider.me)
    assert isinstance(scene.first, Rejected)
    assert scene.first.confirmed


def test_a_second_receipt_changes_nothing_at_the_provider() -> None:
    scene = Scene()
    scene.until(lambda: scene.deals and isinstance(scene.first, Accepted | Checking))
    deal_id = scene.first.terms.deal_id
    scene.until(lambda: isinstance(theirs(scene, deal_id), Checking))
    kept = theirs(scene, deal_id)
    assert isinstance(kept, Checking)
    assert kept.named is not None
    receipt = msgspec.structs.replace(kept.named.receipt, beacon_round=kept.named.receipt.beacon_round + 1)
    signature = scene.client.env.signer.sign(eip712.digest(scene.world.domain, receipt))
    other = msgspec.structs.replace(kept.named, receipt=receipt, signature=signature)
    data = scene.client.env.seal(other)[1]
    scene.provider.post(ev.MessageArrived(at=scene.world.now, peer=scene.client.me, data=data))
    again = theirs(scene, deal_id)
    assert isinstance(again, Checking)
    assert again.named == kept.named


def test_a_run_pays_for_its_re_execution_out_of_its_budget() -> None:
    scene = Scene(lies=True)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    scene.world.run(scene.world.now + 900_000)
    assert all(isinstance(deal, Settled) for deal in scene.deals)
    spent = sum(deal.paid for deal in scene.deals if isinstance(deal, Settled))
    assert spent == sum(deal.terms.deal.price for deal in scene.deals)
    assert spent <= scene.run.market.budget
    (view,) = views.runs(scene.client.state)
    assert view.spent == spent
    assert [one.deal_id for one in view.deals] == [scene.first.terms.deal_id]
    assert [(one.deal_id, one.checks) for one in view.rechecks] == [
        (scene.deals[1].terms.deal_id, scene.first.terms.deal_id)
    ]


@pytest.mark.parametrize("level", ["canonical", "numeric", "perceptual"])
def test_other_bytes_that_are_the_same_result_at_the_deals_level_are_accepted(
    level: Literal["canonical", "numeric", "perceptual"],
) -> None:
    scene = Scene(level=level, noisy=True)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == "audited"
    (told,) = scene.told("deal.compared")
    assert (told["level"], told["found"]) == (level, "the same")
    assert scene.first.terms.deal.level == eip712.Level[level.upper()]
    assert scene.first.terms.deal.level_params == level_params_of(scene.job.verify)


def test_exact_takes_no_other_bytes_and_looks_at_none() -> None:
    scene = Scene(noisy=True)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert scene.told("deal.compared") == []


def test_another_result_is_refused_at_a_level_that_looks_at_the_bytes() -> None:
    """The first look is at the result; the second, of a third owner's, at the result and at the first re-execution."""
    scene = Scene(level="numeric", lies=True)
    for one in scene.providers[1:]:
        one.habits.noisy = True
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert isinstance(scene.first, Rejected)
    assert scene.first.confirmed
    assert [one["found"] for one in scene.told("deal.compared")] == ["another result"] * 2


def test_a_restart_goes_on_with_a_comparison() -> None:
    scene = Scene(level="numeric", noisy=True)
    scene.until(lambda: comparing(scene))
    scene.client.kill()
    scene.client.start()
    assert comparing(scene)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert len(scene.told("deal.compared")) == 1


def test_outputs_that_cannot_be_compared_are_computed_by_somebody_else() -> None:
    scene = Scene(level="numeric", noisy=True)
    scene.until(lambda: comparing(scene))
    (key,) = [key for key in scene.client.outbox if key.startswith("compare:")]
    answer = ev.OutputsCompared(
        at=scene.world.now,
        deal_id=scene.first.terms.deal_id,
        owner=scene.client.env.signer.address,
        same=(),
        detail="too large",
    )
    scene.client.post(answer, (key,))
    assert scene.asks(RunElsewhere)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert len(scene.deals) == 2


def test_time_that_is_up_ends_a_comparison_too() -> None:
    scene = Scene(level="numeric", noisy=True)
    scene.until(lambda: comparing(scene))
    (key,) = [key for key in scene.client.outbox if key.startswith("compare:")]
    scene.client.outbox.pop(key)  # it never answers
    scene.until(lambda: isinstance(scene.first, Settled))
    assert isinstance(scene.first, Settled)
    assert (scene.first.checked, scene.first.how) == ("unfinished", "settled")
    assert scene.first.claim is not None, "the window had been the time for it"

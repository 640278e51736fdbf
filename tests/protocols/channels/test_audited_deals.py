"""Does a client in a channel find a wrong result before it pays, and does it never deal there again? Two cores and more."""

from collections.abc import Callable
from typing import Any

import pytest

from protocols import events as ev
from protocols.channels.states import Closed
from protocols.deals import in_channel
from protocols.deals.dossier import dossier_of, read_dossier
from protocols.deals.in_channel import WRONG
from protocols.deals.states import Abandoned, Checking, Delivered, Settled, Unsealing
from protocols.handlers.deals import context
from protocols.messages.deal import ResultNotice
from protocols.reputation import evidence_of, work_kind
from protocols.runs import Done, Failed
from protocols.spending import spending
from protocols.units import PPM
from protocols.verify.audits import RunElsewhere, RunHere, drawn
from protocols.views import deal_view, run_view
from tests.protocols.channels.pair import LIMIT, Pair

ALWAYS = PPM
BUDGET = 4 * LIMIT


def until(pair: Pair, holds: Callable[[], Any]) -> None:
    for _ in range(40_000):
        if holds():
            return
        pair.world.run(pair.world.now + 5)
    raise AssertionError(f"it did not come to that: {pair.client.state.durable.deals}")


def mine(pair: Pair, number: int = 1, index: int = 0) -> Any:
    """The client's deal of this run with this index; None before there is one."""
    for half in pair.client.state.durable.deals.values():
        deal = half.state.terms.deal
        if (deal.run_nonce, deal.index) == (number, index):
            return half.state
    return None


def asks(pair: Pair, what: type, number: int = 1) -> bool:
    deal = mine(pair, number)
    return isinstance(deal, Checking) and deal.audit is not None and isinstance(deal.audit.asked, what)


@pytest.mark.parametrize("trust", [0, 5])
def test_a_result_that_is_drawn_is_computed_again_and_paid(trust: int) -> None:
    """Unsealed before the voucher, sealed after it: the outcome says so, and the record counts the pass."""
    pair = Pair(channel_trust=trust)
    pair.submit(1, audit_ppm=ALWAYS)
    until(pair, lambda: asks(pair, RunHere))
    paid_first = pair.book(pair.client).paid
    assert paid_first == (pair.price if trust else 0)
    assert spending(pair.client.state).total.paid == paid_first
    pair.passes(20)
    deal = mine(pair)
    assert isinstance(deal, Settled)
    assert (deal.how, deal.checked, deal.paid) == ("voucher", "audited", pair.price)
    run = pair.run(1)
    assert isinstance(run.status, Done)
    assert (run.status.checked, run.status.settled) == ("audited", True)
    kind = work_kind(deal.terms.deal.image, deal.terms.deal.numeric_class)
    assert pair.client.state.records[pair.provider.me].audited(kind) == 1
    assert pair.book(pair.provider).paid == pair.book(pair.client).paid == pair.price
    assert pair.world.channels.posted == ["fund"]
    assert not pair.client.outbox


def test_what_is_not_drawn_is_paid_at_once() -> None:
    """The draw is the client's own: no round is awaited and no receipt signed."""
    pair = Pair()
    pair.world.tap = []
    for number in range(1, 9):
        pair.submit(number, audit_ppm=PPM // 4)
        pair.passes(14)
    settled = [mine(pair, number) for number in range(1, 9)]
    ctx = context(pair.client.state, pair.client.env)
    expected = [
        "audited" if drawn(in_channel.ticket(one.terms, ctx), one.terms.deal_id, PPM // 4) else "bytes"
        for one in settled
    ]
    assert [one.checked for one in settled] == expected
    assert {"bytes", "audited"} == set(expected), "the seed draws all of them, or none"
    assert not pair.client.state.beacon.known(1)
    assert pair.book(pair.provider).paid == 8 * pair.price


def test_a_wrong_result_gets_no_voucher_and_the_channel_ends() -> None:
    pair = Pair(others=2)
    pair.submit(1, audit_ppm=0)
    pair.passes(14)
    pair.provider.habits.honest = False
    pair.submit(2, audit_ppm=ALWAYS, budget=BUDGET)
    until(pair, lambda: isinstance(pair.run(2).status, Failed))
    wrong, again = mine(pair, 2), mine(pair, 2, 1)
    assert isinstance(wrong, Abandoned)
    assert isinstance(wrong.disowned, ResultNotice), "what the provider has signed is kept"
    assert wrong.code == "wrong-result"
    assert "two re-executions agree" in wrong.detail
    assert again.terms.checks == wrong.terms.deal_id
    assert again.terms.provider in {other.me for other in pair.others}
    evidence = evidence_of(wrong)
    assert evidence is not None
    assert not evidence.kept
    status = pair.run(2).status
    assert isinstance(status, Failed)
    assert (status.code, status.deal_id) == ("rejected", wrong.terms.deal_id)
    job = pair.client.state.durable.jobs[wrong.terms.deal.job_id]
    dossier = read_dossier(dossier_of(wrong, job, pair.world.domain))
    assert dossier.result == wrong.disowned
    assert dossier.refused is not None
    assert dossier.refused.code == "wrong-result"
    view = deal_view(pair.client.state, wrong.terms.deal_id)
    assert view is not None
    assert view.root == wrong.disowned.root
    pair.passes(300)
    assert pair.book(pair.client).paid == pair.price, "one was paid, and the wrong one is not"
    assert isinstance(pair.channel(pair.client), Closed)
    assert pair.world.channels.posted.count("redeem") == 1
    assert isinstance(mine(pair, 2, 1), Settled), "who computed it again is paid"


@pytest.mark.parametrize("settlement", ["channel", "auto"])
def test_a_provider_that_was_caught_gets_no_further_deal_of_a_channel(settlement: str) -> None:
    pair = Pair(others=2, channel_history=0)
    pair.provider.habits.honest = False
    pair.submit(1, audit_ppm=ALWAYS, budget=BUDGET)
    until(pair, lambda: isinstance(pair.run(1).status, Failed))
    pair.submit(2, settlement)
    pair.passes(120)
    second = mine(pair, 2)
    assert second is None or not in_channel.in_channel(second.terms)
    assert pair.book(pair.client).paid == 0


def test_a_wrong_result_that_was_sealed_is_paid_once_and_never_again() -> None:
    pair = Pair(channel_trust=5, others=2)
    pair.provider.habits.honest = False
    pair.submit(1, audit_ppm=ALWAYS, budget=BUDGET)
    until(pair, lambda: isinstance(pair.run(1).status, Failed))
    lost = mine(pair)
    assert isinstance(lost, Settled)
    assert (lost.how, lost.paid, lost.checked) == (WRONG, pair.price, "audited")
    assert isinstance(lost.result, ResultNotice)
    assert isinstance(lost.seal, Unsealing), "what the provider has promised is kept"
    assert "two re-executions agree" in (lost.refused or "")
    evidence = evidence_of(lost)
    assert evidence is not None
    assert not evidence.kept
    status = pair.run(1).status
    assert isinstance(status, Failed)
    assert status.code == "rejected"
    pair.submit(2)
    pair.passes(120)
    assert mine(pair, 2) is None
    pair.passes(300)
    assert isinstance(pair.channel(pair.client), Closed)
    again = mine(pair, 1, 1)
    total = spending(pair.client.state).total
    assert total.paid == pair.price + again.terms.deal.price
    assert total.promised == total.locked == 0
    assert run_view(pair.client.state, pair.run(1), "").spent == total.paid


def test_a_client_that_is_wrong_itself_pays_what_another_confirms() -> None:
    pair = Pair(others=2)
    pair.client.habits.misjudges = True
    pair.submit(1, audit_ppm=ALWAYS, budget=BUDGET)
    until(pair, lambda: isinstance(pair.run(1).status, Done))
    pair.passes(5)
    deal = mine(pair)
    assert isinstance(deal, Settled)
    assert (deal.how, deal.checked) == ("voucher", "audited")
    assert pair.book(pair.provider).paid == pair.price


def test_a_provider_waits_for_the_voucher_as_long_as_its_client_may_check() -> None:
    pair = Pair()
    pair.submit(1, audit_ppm=ALWAYS)
    until(pair, lambda: asks(pair, RunHere))
    terms, params = mine(pair).terms, pair.world.params
    (theirs,) = [half.state for half in pair.provider.state.durable.deals.values()]
    assert in_channel.patience(terms, params) > params.silence_before_claim + 2 * terms.deal.exec_seconds
    due = pair.provider.state.deadlines.next()
    assert due == theirs.at + in_channel.patience(terms, params)  # type: ignore[union-attr]
    ends = pair.client.state.deadlines.next()
    assert ends is not None
    assert due is not None
    assert ends < due


@pytest.mark.parametrize("trust", [0, 5])
def test_a_check_that_comes_to_no_end_does_not_hold_the_voucher_back_for_ever(trust: int) -> None:
    pair = Pair(channel_trust=trust)
    pair.submit(1, audit_ppm=ALWAYS)
    until(pair, lambda: asks(pair, RunHere))
    (key,) = [key for key in pair.client.outbox if key.startswith("run:")]
    pair.client.outbox.pop(key)  # its executor never answers
    pair.passes(in_channel.patience(mine(pair).terms, pair.world.params) + 5)
    deal = mine(pair)
    assert isinstance(deal, Settled)
    assert (deal.how, deal.checked) == ("voucher", "unfinished")
    assert pair.book(pair.provider).paid == pair.price


@pytest.mark.parametrize(("trust", "what"), [(0, RunHere), (5, RunHere), (0, RunElsewhere), (5, RunElsewhere)])
def test_a_restart_goes_on_with_the_check(trust: int, what: type) -> None:
    pair = Pair(channel_trust=trust, others=2)
    pair.provider.habits.honest = what is RunHere
    pair.submit(1, audit_ppm=ALWAYS, budget=BUDGET)
    until(pair, lambda: asks(pair, what))
    before = mine(pair)
    pair.client.kill()
    pair.client.start()
    assert mine(pair) == before
    until(pair, lambda: isinstance(pair.run(1).status, Done | Failed))
    assert isinstance(pair.run(1).status, Done) == (what is RunHere)
    assert pair.book(pair.client).paid == (pair.price if trust or what is RunHere else 0)


@pytest.mark.parametrize("who", ["client", "provider"])
def test_a_restart_at_any_moment_of_an_audited_deal_pays_once(who: str) -> None:
    for after in range(1, 30, 3):
        pair = Pair()
        pair.submit(1, audit_ppm=ALWAYS)
        pair.world.run(pair.world.now + after * 450)
        node = getattr(pair, who)
        node.kill()
        node.start()
        pair.passes(90)
        status = pair.run(1).status
        assert isinstance(status, Done), after
        assert status.checked == "audited"
        assert pair.book(pair.provider).paid == pair.book(pair.client).paid == pair.price


def test_a_result_that_passed_waits_for_a_channel_that_holds_too_little() -> None:
    """Checked is checked: when the money comes, it is paid and not computed once more."""
    pair = Pair()
    pair.submit(1, audit_ppm=ALWAYS)
    until(pair, lambda: asks(pair, RunHere))
    checking = mine(pair)
    passed, _ = in_channel.accept(checking, "audited", "why")
    assert isinstance(passed, Delivered)
    assert passed.checked == "audited"
    assert passed.receipt == checking.receipt
    pair.client.post(ev.Ticked(at=pair.world.now, wall=pair.client.wall))
    until(pair, lambda: isinstance(pair.run(1).status, Done))
    assert mine(pair).checked == "audited"

"""Does a pair trade through a channel, from the first fund to the last wei? Two cores, the simulator's chain."""

import pytest

from protocols import events as ev
from protocols.channels.inputs import post
from protocols.channels.states import Closed, Open, Opening
from protocols.contracts.channels import deals_root
from protocols.deals.states import Abandoned, Delivered, Running, Sealed, Settled
from protocols.runs import Done, Failed
from protocols.spending import spending
from tests.protocols.channels.pair import Pair


def test_a_hundred_deals_cost_two_transactions_and_every_wei_is_somewhere() -> None:
    pair = Pair(channel_prices=100)
    before, all_ = dict(pair.world.escrow.free), pair.owned()
    for number in range(1, 101):
        pair.submit(number, budget=100 * pair.price)
        pair.passes(14)
        assert isinstance(pair.run(number).status, Done)
    assert pair.world.channels.posted == ["fund"]
    book = pair.book(pair.provider)
    paid = [deal.terms.deal_id for n in range(1, 101) if isinstance(deal := pair.deal(pair.provider, n), Settled)]
    assert len(paid) == 100
    assert (book.paid, book.deals.count, book.deals.root) == (100 * pair.price, 100, deals_root(paid))
    pair.command(pair.client, "close")
    pair.passes(10)
    assert pair.world.channels.posted == ["fund", "close_together"]
    assert isinstance(pair.channel(pair.client), Closed)
    assert isinstance(pair.channel(pair.provider), Closed)
    free, client, provider = pair.world.escrow.free, pair.client.env.signer.address, pair.provider.env.signer.address
    assert before[client] - free[client] == 100 * pair.price
    assert free[provider] - before.get(provider, 0) == 100 * pair.price - pair.price
    assert pair.owned() == all_
    assert not pair.client.outbox
    assert not pair.provider.outbox


def test_the_first_deal_opens_a_channel_within_the_budget() -> None:
    pair = Pair()
    pair.submit(1, budget=3 * pair.price)
    pair.passes()
    deal = pair.deal(pair.client, 1)
    assert isinstance(deal, Settled)
    assert (deal.how, deal.paid) == ("voucher", pair.price)
    assert pair.book(pair.client).deposit == 3 * pair.price
    assert pair.world.chain.done == {"fund": 1}


def test_when_little_is_left_it_is_topped_up() -> None:
    pair = Pair(channel_prices=2)
    for number in range(1, 6):
        pair.submit(number)
        pair.passes(14)
        assert isinstance(pair.run(number).status, Done)
    assert pair.world.channels.posted == ["fund"] * 3
    assert pair.book(pair.client).paid == 5 * pair.price


def test_auto_commits_until_the_pair_has_a_history_and_then_opens_a_channel() -> None:
    pair = Pair(channel_history=1, channel_trust=1)
    pair.submit(1, "auto")
    pair.passes()
    assert pair.world.chain.done["commit"] == 1
    pair.submit(2, "auto")
    pair.passes()
    assert isinstance(pair.deal(pair.client, 2), Settled)
    assert pair.world.chain.done["commit"] == 1
    assert pair.world.channels.posted == ["fund"]


def test_a_client_that_takes_the_result_and_does_not_pay_gets_no_second_deal() -> None:
    pair = Pair()
    pair.submit(1)
    pair.passes(14)
    pair.submit(2)
    while len(pair.provider.results) < 2:
        pair.world.run(pair.world.now + 5)
    pair.client.kill()
    pair.passes(pair.deal(pair.provider, 2).terms.deal.exec_seconds + pair.world.params.silence_before_claim + 10)
    assert isinstance(pair.deal(pair.provider, 2), Abandoned)
    book = pair.book(pair.provider)
    assert book.owing is not None
    assert book.paid == pair.price
    pair.client.start()
    pair.submit(3)
    pair.passes(40)
    assert isinstance(pair.run(3).status, Failed)
    assert pair.book(pair.provider).owing == book.owing


def test_a_voucher_that_comes_late_still_counts() -> None:
    late = []
    for step in range(1, 20):
        pair = Pair()
        pair.submit(1)
        pair.passes(14)
        pair.client.die_at = (pair.client.steps + step, "after")
        pair.submit(2)
        pair.passes(14)
        pair.client.kill()
        if not any(half.state.terms.deal.run_nonce == 2 for half in pair.provider.state.durable.deals.values()):
            continue
        pair.passes(pair.deal(pair.provider, 2).terms.deal.exec_seconds + pair.world.params.silence_before_claim + 10)
        pair.client.start()
        pair.passes(60)
        if isinstance(pair.deal(pair.client, 2), Settled) and isinstance(pair.deal(pair.provider, 2), Abandoned):
            assert pair.book(pair.provider).paid == 2 * pair.price
            assert pair.book(pair.provider).owing is None
            late.append(step)
    assert late, "no step of the client lies between its voucher's signature and its way to the provider"


def test_a_client_whose_provider_is_gone_gets_its_money_back_by_the_exit_delay() -> None:
    pair = Pair()
    pair.submit(1)
    pair.passes(14)
    pair.provider.kill()
    pair.command(pair.client, "close")
    for _ in range(60):
        pair.passes(2)
        pair.client.post(ev.Ticked(at=pair.world.now, wall=pair.client.wall))
    assert pair.world.channels.posted == ["fund", "request_close", "close"]
    assert isinstance(pair.channel(pair.client), Closed)


def test_a_provider_redeems_before_a_client_that_leaves_can_close() -> None:
    pair = Pair()
    pair.submit(1)
    pair.passes(14)
    book = pair.book(pair.client)
    pair.world.chain.post(pair.client, post(book, "request_close", "by hand"))
    pair.passes(9)
    assert pair.world.channels.posted == ["fund", "request_close", "redeem"]
    assert pair.book(pair.provider).redeemed == pair.price


def test_money_that_a_reorganisation_took_for_good_covers_nothing_until_it_is_there_again() -> None:
    """Found by chaos: both sides went on trading for a deposit that the client had back."""
    pair = Pair()
    pair.submit(1)
    pair.passes(14)
    free, me = pair.world.escrow.free, pair.client.env.signer.address
    (name, word), *_ = pair.world.channels.words.items()
    free[me] += word.deposit
    pair.world.channels.words.pop(name)
    for node in (pair.client, pair.provider):
        node.post(pair.world.channels.seen(me, pair.provider.env.signer.address))
        assert pair.book(node).room == 0
    pair.submit(2)
    pair.passes(20)
    assert isinstance(pair.run(2).status, Done)
    assert pair.world.channels.posted == ["fund", "fund"]
    pair.command(pair.provider, "redeem")
    pair.passes(9)
    assert pair.book(pair.provider).redeemed == pair.book(pair.client).paid == 2 * pair.price


@pytest.mark.parametrize("trust", [0, 5])
def test_a_deal_whose_provider_closes_the_channel_and_then_delivers_comes_to_an_end(trust: int) -> None:
    """No voucher can pay it any more. Its run would otherwise go on for ever, and nobody else would be asked."""
    pair = Pair(channel_trust=trust)
    pair.submit(1)
    pair.passes(2)
    while not isinstance(pair.deal(pair.provider, 1), Running):
        pair.world.run(pair.world.now + 5)
    pair.world.chain.post(pair.provider, post(pair.book(pair.client), "close", "by hand"))
    pair.passes(20)
    unpaid = pair.deal(pair.client, 1)
    assert isinstance(unpaid, Sealed if trust else Delivered)
    pair.passes(unpaid.terms.deal.exec_seconds + pair.world.params.silence_before_claim + 10)
    left = pair.deal(pair.client, 1)
    assert isinstance(left, Abandoned)
    assert left.code == "not-covered"
    assert isinstance(pair.deal(pair.provider, 1), Abandoned)
    pair.passes(30)
    assert isinstance(pair.run(1).status, Done)
    assert spending(pair.client.state).total.paid == pair.price


@pytest.mark.parametrize("who", ["client", "provider"])
def test_a_restart_at_any_moment_loses_no_deal_and_no_voucher(who: str) -> None:
    for after in range(1, 15, 2):
        pair = Pair()
        pair.submit(1)
        pair.world.run(pair.world.now + after * 700)
        node = getattr(pair, who)
        node.kill()
        node.start()
        pair.passes(60)
        assert isinstance(pair.run(1).status, Done), after
        assert pair.book(pair.provider).paid == pair.book(pair.client).paid
        assert isinstance(pair.channel(pair.provider), Open)
        assert not isinstance(pair.channel(pair.client), Opening)


def test_an_owner_opens_a_channel_before_its_first_deal_and_auto_takes_it_checked_or_not() -> None:
    pair = Pair()
    pair.command(pair.client, "fund", 7 * pair.price)
    pair.passes(5)
    assert pair.book(pair.client).deposit == 7 * pair.price
    pair.submit(1, "auto", audit_ppm=0)
    pair.passes(20)
    pair.submit(2, "auto", audit_ppm=1_000_000)
    pair.passes(40)
    deals = [state for n in (1, 2) if isinstance(state := pair.deal(pair.client, n), Settled)]
    assert [(deal.how, deal.checked) for deal in deals] == [("voucher", "bytes"), ("voucher", "audited")]
    assert pair.book(pair.provider).paid == 2 * pair.price
    assert pair.world.channels.posted == ["fund"]
    pair.command(pair.provider, "redeem")
    pair.passes(5)
    assert pair.world.channels.posted == ["fund", "redeem"]

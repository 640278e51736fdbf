"""Is the next deal of a channel made ready while one is executed, started only when that one is paid, and cleanly ended else?

The chain, the links and the executors are the simulator's; the rules are those that run anywhere.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from devnet.sim.samples import NOW, Samples
from protocols import events as ev
from protocols.canonical import encode
from protocols.channels import inputs as ins
from protocols.channels import provider
from protocols.channels.states import ENDS_SOON, Closed, Closing, Open, Owing, pair_of
from protocols.contracts.channels import ChannelWord
from protocols.deals.channel_provider import UNPAID
from protocols.deals.sealing import KEYLESS
from protocols.deals.states import Abandoned, DealState, Ready, Resulted, Running, Settled
from protocols.deals.terms import OutcomeCode
from protocols.handlers import deals as handled
from protocols.handlers import vouchers
from protocols.messages.deal import Rejection
from protocols.runs import Cancelled, Done, Failed
from protocols.state import PROVIDER, ChannelHalf, NodeState
from protocols.units import PPM, DealId, Millis, Seconds, Tokens, UnixSeconds
from tests.protocols.channels.pair import LIMIT, Pair
from tests.protocols.deals.test_table import local_result

SAMPLES = Samples(10**15)
EXECUTING = Running | Resulted


def states(pair: Pair, kind: Any) -> list[DealState]:
    halves = pair.provider.state.durable.deals.values()
    return [half.state for half in halves if half.role == "provider" and isinstance(half.state, kind)]


def one_ahead(trust: int = 0) -> Pair:
    """A pair with an open channel: deal 2 is executed, deal 3 is ready behind it. ``trust``: how many results the provider
    seals; its client has known it for long."""
    pair = Pair(channel_trust=trust)
    trusting = msgspec.structs.replace(pair.client.env.params, channel_trust=0)
    pair.client.env = msgspec.structs.replace(pair.client.env, params=trusting)
    pair.submit(1)
    pair.passes(14)
    pair.submit(2)
    until(pair, lambda: bool(states(pair, Running)))
    pair.submit(3)
    until(pair, lambda: bool(states(pair, Ready)))
    assert isinstance(pair.deal(pair.provider, 2), EXECUTING)
    return pair


def until(pair: Pair, holds: Callable[[], bool], steps: int = 4_000) -> None:
    for _ in range(steps):
        if holds():
            return
        pair.world.run(pair.world.now + 5)
    raise AssertionError("it never came to that")


def never_two(pair: Pair, steps: int = 6_000) -> None:
    """At most one deal of the channel has been begun and not paid, at every moment."""
    for _ in range(steps):
        unpaid = states(pair, EXECUTING)
        assert len(unpaid) <= 1, unpaid
        pair.world.run(pair.world.now + 5)


@pytest.mark.parametrize("trust", [0, 10])
def test_the_next_deal_is_ready_while_one_is_executed_and_starts_when_it_is_paid(trust: int) -> None:
    pair = one_ahead(trust)
    book = pair.book(pair.provider)
    assert book.owing is not None
    assert book.ahead
    assert (book.owing.deal_id, book.ahead.deal_id) == tuple(pair.deal(pair.provider, n).terms.deal_id for n in (2, 3))
    never_two(pair)
    for number in (1, 2, 3):
        assert isinstance(pair.deal(pair.client, number), Settled)
        assert isinstance(pair.deal(pair.provider, number), Settled)
    book = pair.book(pair.provider)
    assert (book.paid, book.owing, book.ahead) == (3 * pair.price, None, msgspec.UNSET)


def test_there_is_never_a_second_one_ahead() -> None:
    pair = one_ahead()
    pair.submit(4)
    pair.submit(5)
    for _ in range(6_000):
        live = states(pair, EXECUTING), states(pair, Ready)
        assert len(live[0]) <= 1
        assert len(live[0]) + len(live[1]) <= 2
        pair.world.run(pair.world.now + 5)
    assert all(isinstance(pair.run(number).status, Done) for number in range(1, 6))
    assert pair.book(pair.provider).paid == 5 * pair.price


def test_a_channel_that_covers_one_deal_takes_none_ahead() -> None:
    pair = Pair()
    pair.command(pair.client, "fund", 2 * pair.price)
    pair.passes(5)
    pair.submit(1)
    pair.passes(14)
    pair.submit(2)
    until(pair, lambda: bool(states(pair, Running)))
    pair.submit(3)
    while isinstance(pair.deal(pair.provider, 2), EXECUTING):
        assert not pair.book(pair.provider).ahead
        pair.world.run(pair.world.now + 5)
    pair.passes(30)
    assert isinstance(pair.run(3).status, Done), "it is topped up then, as ever"


def test_a_client_that_never_pays_the_first_has_the_second_refused_and_not_run() -> None:
    pair = one_ahead()
    second = pair.deal(pair.provider, 3).terms
    until(pair, lambda: isinstance(pair.deal(pair.provider, 2), Resulted))
    pair.client.kill()
    wait_s = pair.deal(pair.provider, 2).terms.deal.exec_seconds + pair.world.params.silence_before_claim + 10
    pair.passes(wait_s)
    first, left = pair.deal(pair.provider, 2), pair.provider.state.durable.deals[second.deal_id].state
    assert isinstance(first, Abandoned)
    assert isinstance(left, Abandoned)
    assert left.code in ("busy", "not-funded"), "whichever comes first"
    book = pair.book(pair.provider)
    assert book.owing is not None
    assert (book.owing.deal_id, book.ahead, book.paid) == (first.terms.deal_id, msgspec.UNSET, pair.price)
    assert second.deal_id not in pair.provider.results
    pair.client.start()
    pair.passes(120)
    assert not handled.live_deals(pair.client.state, pair.provider.me)
    assert second.deal_id not in pair.provider.results


def test_what_is_refused_unpaid_ends_the_one_behind_it_at_once() -> None:
    pair = one_ahead()
    first, second = (pair.deal(pair.provider, n).terms.deal_id for n in (2, 3))
    until(pair, lambda: isinstance(pair.provider.state.durable.deals[first].state, Resulted))
    pair.client.kill()
    pair.say(pair.client, Rejection(deal_id=first, code="bad-result", detail="it says"))
    pair.passes(1)
    ended, behind = (pair.provider.state.durable.deals[one].state for one in (first, second))
    assert isinstance(ended, Abandoned)
    assert isinstance(behind, Abandoned)
    assert (ended.code, behind.code) == ("rejected-unpaid", "busy")
    assert behind.detail == "the deal before it in this channel was not paid"
    book = pair.book(pair.provider)
    assert book.owing is not None
    assert (book.owing.deal_id, book.ahead) == (first, msgspec.UNSET)
    no = vouchers.objection(pair.provider.state, pair.client.me, 0, pair.price, pair.provider.env)
    assert no is not None
    assert (no[0], "is unpaid" in no[1]) == ("settlement", True), "none waits for a debt"


def test_a_provider_that_drops_the_first_goes_on_with_the_second() -> None:
    pair = one_ahead()
    first, second = (pair.deal(pair.provider, number).terms.deal_id for number in (2, 3))
    failed = local_result(outcome=OutcomeCode.INFRA_ERROR)
    pair.provider.post(ev.JobEnded(at=pair.world.now, deal_id=first, result=failed))
    until(pair, lambda: isinstance(pair.provider.state.durable.deals[first].state, Abandoned), 100)
    book = pair.book(pair.provider)
    assert book.owing is not None
    assert (book.owing.deal_id, book.ahead) == (second, msgspec.UNSET)
    never_two(pair)
    assert isinstance(pair.deal(pair.provider, 3), Settled)
    assert all(isinstance(pair.run(number).status, Done) for number in (2, 3)), "the first is bought again"
    assert pair.book(pair.provider).paid == 3 * pair.price


@pytest.mark.parametrize("who", ["client", "provider"])
def test_a_channel_that_is_closed_with_one_ahead_ends_both_deals(who: str) -> None:
    pair = one_ahead()
    pair.command(getattr(pair, who), "close")
    never_two(pair)
    pair.passes(120)
    for number in (2, 3):
        assert not isinstance(pair.deal(pair.provider, number), EXECUTING | Ready)
    assert not handled.live_deals(pair.client.state, pair.provider.me)
    if who == "client":
        assert isinstance(pair.channel(pair.client), Closing | Closed)
    book = pair.book(pair.provider)
    assert book.paid == pair.price * sum(isinstance(pair.deal(pair.provider, n), Settled) for n in (1, 2, 3))


@pytest.mark.parametrize("who", ["client", "provider"])
@pytest.mark.parametrize("trust", [0, 10])
def test_a_restart_at_any_moment_with_one_ahead_pays_each_deal_once(who: str, trust: int) -> None:
    for after_ms in range(0, 12_000, 700):
        pair = one_ahead(trust)
        pair.world.run(pair.world.now + after_ms)
        node = getattr(pair, who)
        node.kill()
        never_two(pair, 100)
        node.start()
        never_two(pair, 8_000)
        assert all(isinstance(pair.run(number).status, Done) for number in (1, 2, 3)), after_ms
        book = pair.book(pair.provider)
        assert (book.paid, book.owing, book.ahead) == (3 * pair.price, None, msgspec.UNSET), after_ms
        assert pair.book(pair.client).paid == book.paid, after_ms


def test_two_deals_at_once_with_one_provider_are_refused_by_nobody_and_a_third_is() -> None:
    pair = one_ahead()
    assert not [one for one in pair.run(3).candidates if one.verdict == "refused"]
    pair.submit(4)
    pair.passes(1)
    (asked,) = [search for search in pair.client.state.searches.values() if search.run.run_nonce == 4]
    (answer,) = asked.candidates.values()
    assert (answer.verdict, answer.code) == ("refused", "busy")
    assert "its voucher comes first" in answer.detail


def test_who_was_refused_asks_again_when_the_next_result_is_here_and_not_when_its_rest_is_over() -> None:
    pair = one_ahead()
    pair.submit(4)
    pair.passes(1)
    (asked,) = [search for search in pair.client.state.searches.values() if search.run.run_nonce == 4]
    asked.resting[pair.provider.me] = Millis(pair.world.now + 3_600_000)
    until(pair, lambda: isinstance(pair.deal(pair.client, 3), Resulted | Settled))
    until(pair, lambda: any(half.state.terms.deal.run_nonce == 4 for half in pair.client.state.durable.deals.values()))
    never_two(pair)
    assert isinstance(pair.run(4).status, Done)


def test_the_job_of_the_next_deal_starts_only_as_the_one_owed_for_in_an_open_channel_that_covers_it() -> None:
    pair = one_ahead()
    book, ready = pair.book(pair.provider), pair.deal(pair.provider, 3)
    assert isinstance(ready, Ready)
    assert book.owing is not None
    name = pair_of(book.channel.client, book.channel.provider)
    paid = book.plus(book.owing.deal_id, book.owing.price)
    poor = msgspec.structs.replace(paid, deposit=Tokens(paid.paid + pair.price - 1))
    for state, may in (
        (Open(book), False),
        (Open(paid), True),
        (Open(book.without(book.owing.deal_id)), True),
        (Open(poor), False),
        (Open(paid.gone()), False),
        (Closing(paid), False),
        (Closed(paid), False),
    ):
        pair.provider.state.durable.put_channel(name, ChannelHalf(PROVIDER, state))
        assert vouchers.may_start(pair.provider.state, ready) is may, state


def test_a_reorganisation_takes_the_money_of_both_back_and_what_waits_goes_along() -> None:
    book, env = SAMPLES.book(), SAMPLES.env(SAMPLES.provider)
    ctx, later = ins.Ctx(env, NOW), UnixSeconds(NOW + 2 * ENDS_SOON)
    waits = Owing(DealId(b"\x07" * 32), Tokens(5))
    state: Any = Open(msgspec.structs.replace(book, ahead=waits, until=later))
    for generation, until_s in ((-1, 0), (0, later), (1, later)):
        channel = msgspec.structs.replace(book.channel, generation=book.channel.generation + generation)
        word = ChannelWord(UnixSeconds(until_s), channel.generation, Tokens(10**18 if until_s else 0), Tokens(0))
        state, _ = provider.advance(state, ins.Seen(channel, book.peer, word), ctx)
        assert isinstance(state, Open)
        assert (state.book.owing, state.book.ahead) == (book.owing, waits)
        assert state.book.deposit == word.deposit


def test_a_channel_that_is_over_ends_what_waited_at_once() -> None:
    pair = one_ahead()
    book, waits = pair.book(pair.provider), pair.deal(pair.provider, 3).terms.deal_id
    pair.client.kill()
    name = pair_of(book.channel.client, book.channel.provider)
    pair.provider.state.durable.put_channel(name, ChannelHalf(PROVIDER, Closing(book)))
    gone = ChannelWord(UnixSeconds(0), book.channel.generation, Tokens(0), Tokens(0))
    pair.provider.post(ev.ChannelSeen(at=pair.world.now, channel=book.channel, word=gone))
    pair.world.run(pair.world.now + 5)
    left = pair.provider.state.durable.deals[waits].state
    assert isinstance(left, Abandoned)
    assert (left.code, left.detail) == ("busy", "the channel that was to pay it is closed")
    closed = pair.book(pair.provider)
    assert (closed.owing, closed.ahead) == (book.owing, msgspec.UNSET), "what was begun stays owed for"


@pytest.mark.parametrize("number", [2, 3])
def test_a_run_that_is_cancelled_makes_way(number: int) -> None:
    """The first is executed no more, and the second starts; or the second waits no more, and another may."""
    pair = one_ahead()
    pair.client.post(ev.CancelRequested(at=pair.world.now, run_id=pair.run(number).run_id))
    other = 5 - number
    until(pair, lambda: not pair.book(pair.provider).ahead)
    book = pair.book(pair.provider)
    assert book.owing is not None
    assert book.owing.deal_id == pair.deal(pair.provider, other).terms.deal_id
    pair.submit(4)
    never_two(pair)
    assert isinstance(pair.run(number).status, Cancelled)
    assert all(isinstance(pair.run(one).status, Done) for one in (other, 4))
    assert pair.book(pair.provider).paid == 3 * pair.price


@pytest.mark.parametrize("code", sorted(UNPAID))
def test_a_client_that_calls_a_deal_unpaid_that_never_began_owes_nothing_for_it(code: str) -> None:
    """Its own word for it would else keep it in the book: owed for, and never worked for."""
    pair = one_ahead()
    waits = pair.deal(pair.provider, 3).terms.deal_id
    pair.client.kill()
    pair.say(pair.client, Rejection(deal_id=waits, code=code, detail="it says"))
    pair.passes(1)
    left = pair.provider.state.durable.deals[waits].state
    assert isinstance(left, Abandoned)
    assert left.code == "cancelled"
    assert not pair.book(pair.provider).ahead


def test_a_provider_that_keeps_the_key_of_the_first_is_not_paid_for_the_second() -> None:
    pair = one_ahead(trust=10)
    pair.provider.habits.keeps_keys = True
    pair.passes(900)
    lost, second = pair.deal(pair.client, 2), pair.deal(pair.client, 3)
    assert isinstance(lost, Settled)
    assert lost.how == KEYLESS
    assert not isinstance(second, Settled)
    assert pair.book(pair.client).paid == 2 * pair.price, "the first of all, which had its key, and this one"


def test_a_wrong_result_of_the_first_ends_the_second_before_it_begins() -> None:
    pair = Pair(others=2)
    pair.submit(1)
    pair.passes(14)
    pair.provider.habits.honest = False
    pair.submit(2, audit_ppm=PPM, budget=4 * LIMIT)
    until(pair, lambda: bool(states(pair, Running)))
    pair.submit(3)
    until(pair, lambda: bool(states(pair, Ready)))
    waits = pair.deal(pair.provider, 3).terms.deal_id
    never_two(pair, 30_000)
    assert isinstance(pair.run(2).status, Failed)
    assert isinstance(pair.provider.state.durable.deals[waits].state, Abandoned)
    assert waits not in pair.provider.results
    assert pair.book(pair.client).paid == pair.price


def test_rows_of_before_there_was_one_ahead_are_read_and_those_with_one_survive() -> None:
    book, name = SAMPLES.book(), bytes(40)
    old = encode(ChannelHalf(PROVIDER, Open(book)))
    assert b"ahead" not in old
    waits = Owing(DealId(b"\x07" * 32), Tokens(5))
    for row, ahead in (
        (old, msgspec.UNSET),
        (encode(ChannelHalf(PROVIDER, Open(msgspec.structs.replace(book, ahead=waits)))), waits),
    ):
        state = NodeState("devnet")
        state.durable.restore("channel", name, row)
        half = state.durable.channels[name]
        assert isinstance(half.state, Open)
        assert half.state.book.ahead == ahead
        assert encode(half) == row


def test_none_is_taken_ahead_that_might_wait_longer_than_its_commit_by() -> None:
    """Nor behind one that has not begun, nor without the money for both."""
    pair = one_ahead()
    book, first, env = pair.book(pair.provider), pair.deal(pair.provider, 2), pair.provider.env
    assert isinstance(first, Running)
    name = pair_of(book.channel.client, book.channel.provider)
    state = pair.provider.state

    def may(within: int, deposit: int, behind: DealState) -> bool:
        params = msgspec.structs.replace(env.params, commit_within=Seconds(within))
        owing = Owing(behind.terms.deal_id, pair.price)
        alone = msgspec.structs.replace(book, owing=owing, ahead=msgspec.UNSET, deposit=Tokens(deposit))
        state.durable.put_channel(name, ChannelHalf(PROVIDER, Open(alone)))
        asked = msgspec.structs.replace(env, params=params)
        return vouchers.objection(state, pair.client.me, 0, pair.price, asked) is None

    longest = first.commitment.at + first.terms.deal.exec_seconds - state.chain_now
    enough = book.paid + 2 * pair.price
    assert may(longest, enough, first)
    assert not may(longest - 1, enough, first)
    assert not may(longest, enough - 1, first)
    assert not may(longest, enough, pair.deal(pair.provider, 3)), "it has not begun"

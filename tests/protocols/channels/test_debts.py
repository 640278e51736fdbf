"""What does either side risk with somebody who does not keep its word: one price, also over several deals and generations?"""

from typing import Any

import msgspec
import pytest

from devnet.sim.samples import NOW, Samples
from protocols import events as ev
from protocols.channels import client, provider
from protocols.channels import inputs as ins
from protocols.channels.merkle import Frontier
from protocols.channels.states import ENDS_SOON, Book, Closed, Closing, Open, Owing, pair_of
from protocols.contracts.channels import Channel, ChannelWord
from protocols.deals.eip712 import digest
from protocols.deals.sealing import KEYLESS, release_of
from protocols.deals.states import Abandoned, Settled, Unsealing
from protocols.effects import PostChannelTx, ReadChannel
from protocols.errors import RemoteProtocolError
from protocols.limits import MAX_CHANNELS
from protocols.messages.channel import VoucherNotice
from protocols.runs import Done, Searching
from protocols.state import PROVIDER, ChannelHalf, NodeState
from protocols.units import DealId, Tokens, UnixSeconds
from tests.protocols.channels.pair import LIMIT, Pair

SAMPLES = Samples(10**15)
ENV = SAMPLES.env(SAMPLES.provider)
CTX = ins.Ctx(ENV, NOW)
LATER = UnixSeconds(NOW + 2 * ENDS_SOON)


def owed() -> tuple[Book, Owing]:
    book = msgspec.structs.replace(SAMPLES.book(), until=LATER)
    assert book.owing is not None
    return book, book.owing


def seen(book: Book, until: int, generation: int = 0) -> ins.Seen:
    channel = msgspec.structs.replace(book.channel, generation=book.channel.generation + generation)
    word = ChannelWord(UnixSeconds(until), channel.generation, Tokens(10**18), Tokens(0))
    return ins.Seen(channel, book.peer, word)


def taken(book: Book, deal_id: bytes) -> ins.DealTaken:
    channel: Channel = book.channel
    return ins.DealTaken(channel.client, channel.provider, book.peer, DealId(deal_id), Tokens(5))


def advance(state: Any, *events: ins.ChannelInput) -> Any:
    for event in events:
        state, _ = provider.advance(state, event, CTX)
    return state


def test_who_closes_a_channel_and_opens_the_next_one_still_owes() -> None:
    book, debt = owed()
    closed = advance(Open(book), seen(book, NOW + 5), seen(book, 0))
    assert isinstance(closed, Closed)
    assert closed.book.owing == debt
    with pytest.raises(RemoteProtocolError, match="voucher comes first"):
        advance(closed, taken(book, bytes(32)))
    again = advance(closed, seen(book, LATER, generation=1))
    assert isinstance(again, Open)
    assert (again.book.owing, again.book.paid) == (debt, 0)
    waiting = advance(again, taken(book, bytes(32)))
    assert waiting.book.owing == debt, "another could only wait behind it"
    with pytest.raises(RemoteProtocolError, match="voucher comes first"):
        advance(waiting, taken(book, b"\x01" * 32))
    due = again.book.plus(debt.deal_id, debt.price).voucher  # in the new channel, and then all is well
    voucher = ins.VoucherArrived(debt.deal_id, due, SAMPLES.signed(SAMPLES.client, due))
    paid = advance(again, voucher)
    assert paid.book.owing is None
    assert advance(paid, taken(book, bytes(32))).book == advance(waiting, voucher).book
    assert advance(waiting, voucher).book.owing.deal_id == bytes(32)


def test_a_debt_ends_when_its_deal_was_no_debt_or_the_owner_writes_it_off() -> None:
    book, debt = owed()
    closed = advance(Closing(book), seen(book, 0))
    assert closed.book.owing == debt
    assert advance(closed, ins.DealDropped(debt.deal_id)).book.owing is None
    assert advance(closed, ins.DealDropped(DealId(bytes(32)))).book.owing == debt
    assert advance(closed, ins.CloseWanted()).book.owing is None
    waiting = msgspec.structs.replace(book, ahead=Owing(DealId(bytes(32)), Tokens(5)))
    assert advance(Closing(waiting), seen(book, 0)) == closed, "what waited behind it has not begun, and never does"
    # Only the provider itself can have closed a channel that had a year to go.
    assert advance(Open(book), seen(book, 0)).book.owing is None


def test_a_debtors_row_is_forgotten_after_all_others() -> None:
    state, (book, debt) = NodeState("devnet"), owed()
    debtor, others = Closed(book), Closed(msgspec.structs.replace(book, owing=None))
    for number in range(MAX_CHANNELS):
        state.durable.put_channel(number.to_bytes(40), ChannelHalf(PROVIDER, debtor if number == 0 else others))
    state.durable.put_channel(b"\xff" * 40, ChannelHalf(PROVIDER, Open(book)))
    assert len(state.durable.channels) == MAX_CHANNELS
    assert bytes(40) in state.durable.channels
    assert (1).to_bytes(40) not in state.durable.channels
    assert debt.price > 0


@pytest.mark.parametrize("deposit", [0, 10**18])
def test_a_strangers_channel_that_has_paid_nothing_leaves_no_row(deposit: int) -> None:
    """Found once: `fundChannel` with nothing, and a deal that is never covered, kept a row for a year; ten thousand of them
    kept everybody else from a channel."""
    book, debt = owed()
    empty = msgspec.structs.replace(
        book, deposit=Tokens(deposit), paid=Tokens(0), deals=Frontier(), signature=None, owing=debt
    )
    for state in (Open(empty), Closing(empty), Closed(empty)):
        assert advance(state, ins.DealDropped(DealId(bytes(32)))) == state, "another deal's end changes nothing"
        assert advance(state, ins.DealDropped(debt.deal_id)) is None
    assert advance(Open(book), ins.DealDropped(debt.deal_id)).book.paid == book.paid > 0, "what it signed is kept"


def test_a_channel_whose_row_was_forgotten_pays_the_next_deal() -> None:
    pair = Pair()
    pair.provider.habits.infra_ppm = 1_000_000
    pair.submit(1)
    pair.passes(60)
    assert pair.channel(pair.provider) is None
    assert isinstance(pair.channel(pair.client), Open)
    pair.provider.habits.infra_ppm = 0
    pair.submit(2)
    pair.passes(30)
    assert isinstance(pair.deal(pair.client, 2), Settled)
    assert pair.world.channels.posted.count("fund") == 1


def test_a_voucher_has_only_its_own_clients_key_sent_again() -> None:
    """Found once: any peer's signature under any voucher made a provider send some client's key once more."""
    pair = Pair(channel_trust=5)
    pair.submit(1)
    pair.passes(20)
    deal = pair.deal(pair.provider, 1)
    assert isinstance(deal, Settled)
    stranger = pair.world.add(free=0, stake=0)
    stranger.start()
    book = pair.book(pair.client)
    for node, keys in ((stranger, 0), (pair.client, 1)):
        signature = node.env.signer.sign(digest(node.env.domain, book.voucher))
        message = VoucherNotice(deal.terms.deal_id, book.voucher, signature)
        pair.world.tap = []
        pair.provider.post(ev.MessageArrived(at=pair.world.now, peer=node.me, data=node.env.seal(message)[1]))
        pair.passes(2)
        sent = [to for sender, to, data in pair.world.tap if sender == pair.provider.me and b"key/1" in data]
        assert sent == [pair.client.me] * keys


@pytest.mark.parametrize("state", ["Opening", "ToppingUp"])
def test_money_that_never_shows_is_sent_once_more_and_looked_for(state: str) -> None:
    """Found once: a transaction that a reorganisation lost between its block and its log left the channel waiting for ever."""
    ctx = ins.Ctx(SAMPLES.env(SAMPLES.client), NOW)
    book = msgspec.structs.replace(SAMPLES.book(), until=LATER, owing=None)
    channel = book.channel
    wanted = ins.FundWanted(channel.client, channel.provider, book.peer, Tokens(7))
    waits, first = client.fund(wanted, ctx) if state == "Opening" else client.advance(Open(book), wanted, ctx)
    assert waits is not None
    due = client.deadline(waits, ctx)
    assert due == NOW + client.FUND_PATIENCE
    later = ins.Ctx(ctx.env, due)
    again, effects = client.advance(waits, ins.TimePassed(), later)
    assert type(again) is type(waits)
    assert client.deadline(again, later) == due + client.FUND_PATIENCE
    fund, read = effects
    assert isinstance(fund, PostChannelTx)
    assert isinstance(read, ReadChannel)
    assert (fund.purpose, fund.amount) == ("fund", 7)
    third = client.advance(again, ins.TimePassed(), later)[1][0]
    assert isinstance(third, PostChannelTx)
    assert third.key == fund.key, "a further try is the same transaction"
    assert state == "Opening" or [fund.key] == [one.key for one in first if isinstance(one, PostChannelTx)]


def test_a_client_that_lets_its_channel_run_out_pays_what_it_owes_before_there_is_another() -> None:
    pair = Pair()
    pair.submit(1)
    pair.passes(14)
    book = pair.book(pair.provider)
    unpaid = msgspec.structs.replace(book, owing=Owing(DealId(b"\x07" * 32), pair.price))
    name = pair_of(book.channel.client, book.channel.provider)
    pair.provider.state.durable.put_channel(name, ChannelHalf(PROVIDER, Open(unpaid)))
    pair.command(pair.client, "close")
    pair.passes(900)
    assert isinstance(pair.channel(pair.provider), Closed)
    pair.submit(2)
    pair.passes(60)
    assert not any(half.state.terms.deal.run_nonce == 2 for half in pair.client.state.durable.deals.values())
    why = pair.run(2).candidates[-1]
    assert (why.code, "unpaid" in why.detail) == ("settlement", True)
    pair.submit(3, settlement="commit")
    pair.passes(30)
    assert isinstance(pair.deal(pair.client, 3), Settled)
    pair.command(pair.provider, "close")  # written off
    pair.submit(4)
    pair.passes(30)
    assert isinstance(pair.deal(pair.client, 4), Settled)


def test_auto_commits_while_a_debt_of_its_channel_stands() -> None:
    """Found once: the channel was open and had room, so `auto` asked for it, was told `busy`, and asked until it gave up."""
    pair = Pair(channel_history=0)
    pair.submit(1, settlement="auto")
    pair.passes(14)
    book = pair.book(pair.provider)
    unpaid = msgspec.structs.replace(book, owing=Owing(DealId(b"\x07" * 32), pair.price))
    name = pair_of(book.channel.client, book.channel.provider)
    pair.provider.state.durable.put_channel(name, ChannelHalf(PROVIDER, Open(unpaid)))
    pair.submit(2)
    pair.passes(60)
    why = pair.run(2).candidates[-1]
    assert (why.code, "0707" in why.detail) == ("settlement", True), (
        "who insists on the channel is told which deal it is"
    )
    pair.submit(3, settlement="auto")
    pair.passes(30)
    deal = pair.deal(pair.client, 3)
    assert isinstance(deal, Settled)
    assert deal.how == "settled", "by a commitment"


def test_a_provider_that_keeps_its_keys_gets_one_price_however_many_deals_are_under_way() -> None:
    """The provider decides what it seals: one that its client has known for long can begin to."""
    pair = Pair(channel_trust=5)
    trusting = msgspec.structs.replace(pair.client.env.params, channel_trust=0)
    pair.client.env = msgspec.structs.replace(pair.client.env, params=trusting)
    pair.provider.habits.keeps_keys = True
    for number in (1, 2, 3):
        pair.submit(number, budget=LIMIT)
    pair.passes(30)
    states = [half.state for half in pair.client.state.durable.deals.values()]
    assert sum(isinstance(one, Unsealing) for one in states) == 1
    assert pair.book(pair.client).paid == pair.price
    pair.passes(600)
    ends = [half.state for half in pair.client.state.durable.deals.values()]
    assert all(isinstance(one, Settled | Abandoned) for one in ends)
    assert [one.how for one in ends if isinstance(one, Settled)] == [KEYLESS]
    assert pair.book(pair.client).paid == pair.price


def test_a_sealed_result_is_paid_for_when_the_key_before_it_is_here() -> None:
    pair = Pair(channel_trust=5)
    trusting = msgspec.structs.replace(pair.client.env.params, channel_trust=0)
    pair.client.env = msgspec.structs.replace(pair.client.env, params=trusting)
    for number in (1, 2, 3):
        pair.submit(number, budget=LIMIT)
    pair.passes(120)
    ends = [half.state for half in pair.client.state.durable.deals.values()]
    assert [one.how for one in ends if isinstance(one, Settled)] == ["voucher"] * 3
    assert pair.book(pair.client).paid == 3 * pair.price


def test_a_run_whose_key_comes_late_looks_for_nobody_else_any_more() -> None:
    """Found by the machines: it signed a second deal when it was done."""
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    pair.submit(1)
    while not any(isinstance(half.state, Settled) for half in pair.client.state.durable.deals.values()):
        pair.passes(1)
    assert isinstance(pair.run(1).status, Searching)
    assert pair.client.state.searches
    lost = pair.deal(pair.client, 1)
    pair.say(pair.provider, release_of(pair.provider.env.signer, lost.terms.deal_id))
    pair.passes(1)
    assert isinstance(pair.run(1).status, Done)
    assert not pair.client.state.searches

"""What becomes of what a provider has earned when its client's operator trades for another owner from now on?

The money of another owner makes another channel of the same two operators. A client could have two owners in turn, and
let the second open one with nothing in it.
"""

import msgspec
import pytest

from devnet.sim.samples import NOW, Samples
from protocols.channels import client, provider
from protocols.channels import inputs as ins
from protocols.channels.states import ENDS_SOON, Book, ChannelState, Closing, Open, Opening, book_of
from protocols.contracts.channels import Channel, ChannelWord
from protocols.effects import Effect, PostChannelTx, ReadChannel
from protocols.handlers import channels
from protocols.units import Address, Tokens, UnixSeconds
from tests.protocols.channels.pair import Pair

SAMPLES = Samples(10**15)
LATER = UnixSeconds(NOW + 2 * ENDS_SOON)
OTHER = Address(b"\x0f" * 20)
CTX = ins.Ctx(SAMPLES.env(SAMPLES.provider), NOW)
NOTHING = ChannelWord(until=UnixSeconds(0), generation=0, deposit=Tokens(0), redeemed=Tokens(0))


def earned() -> Book:
    """One deal is paid by voucher, and nothing redeemed."""
    book = msgspec.structs.replace(SAMPLES.book(), until=LATER, redeemed=Tokens(0))
    assert book.owing is not None
    paid = book.plus(book.owing.deal_id, book.owing.price)
    signature = SAMPLES.signed(SAMPLES.client, paid.voucher)
    return msgspec.structs.replace(paid, deposit=Tokens(3 * paid.paid), signature=signature)


def of_another_owner(book: Book, generation: int, deposit: int = 0) -> ins.Seen:
    word = ChannelWord(until=LATER, generation=generation, deposit=Tokens(deposit), redeemed=Tokens(0))
    channel = Channel(book.channel.client, book.channel.provider, OTHER, generation)
    return ins.Seen(channel, book.peer, word)


BOTH = pytest.mark.parametrize("state", [Open(earned()), Closing(earned())], ids=["open", "closing"])


@pytest.mark.parametrize("generation", [1, 2, 3])
@BOTH
def test_what_was_earned_is_fetched_and_not_forgotten(state: Open | Closing, generation: int) -> None:
    new, effects = provider.advance(state, of_another_owner(state.book, generation), CTX)
    assert new == state
    (redeem,) = effects
    assert isinstance(redeem, PostChannelTx)
    assert (redeem.purpose, redeem.channel, redeem.amount) == ("redeem", state.book.channel, state.book.paid)


@BOTH
def test_a_channel_that_the_new_owner_does_not_have_says_nothing_of_ours(state: Open | Closing) -> None:
    event = ins.Seen(
        Channel(state.book.channel.client, state.book.channel.provider, OTHER, 0), state.book.peer, NOTHING
    )
    assert provider.advance(state, event, CTX) == (state, ())
    assert client.advance(state, event, CTX) == (state, ())


def redeemed(state: ChannelState) -> tuple[ChannelState | None, tuple[Effect, ...]]:
    book = book_of(state)
    assert book is not None
    word = ChannelWord(until=LATER, generation=book.channel.generation, deposit=book.deposit, redeemed=book.paid)
    return provider.advance(state, ins.Seen(book.channel, book.peer, word), CTX)


def test_calls_about_the_channels_of_two_owners_are_two_calls() -> None:
    """A call that was made is not made again: the same amount earned in both must be fetched from both."""
    book = earned()
    theirs = msgspec.structs.replace(book, channel=msgspec.structs.replace(book.channel, client_owner=OTHER))
    assert ins.post(book, "redeem", book.paid).key != ins.post(theirs, "redeem", theirs.paid).key
    wanted = ins.FundWanted(book.channel.client, book.channel.provider, book.peer, Tokens(5))
    keys = [client.advance(Open(one), wanted, CTX)[1][0].key for one in (book, theirs)]  # type: ignore[attr-defined]
    assert keys[0] != keys[1]


def test_when_it_is_fetched_the_new_owners_channel_takes_its_place() -> None:
    book = earned()
    new, effects = redeemed(Open(book))
    assert effects == (ReadChannel(client=book.channel.client, provider=book.channel.provider),)
    assert new is not None
    after, effects = provider.advance(new, of_another_owner(book, 1, deposit=5), CTX)
    assert effects == ()
    assert isinstance(after, Open)
    assert (after.book.channel.client_owner, after.book.deposit, after.book.paid) == (OTHER, 5, 0)


def test_a_client_pays_from_its_new_owners_channel() -> None:
    book = earned()
    after, _ = client.advance(Open(book), of_another_owner(book, 1, deposit=5), CTX)
    assert isinstance(after, Open)
    assert after.book.channel.client_owner == OTHER


def test_a_deal_that_comes_to_nothing_leaves_no_row_behind() -> None:
    """A provider keeps so many channels: clients that never open theirs must not fill them up."""
    book = SAMPLES.book()
    assert book.owing is not None
    waiting = Opening(book.channel.client, book.channel.provider, book.peer, Tokens(0), book.owing)
    assert provider.advance(waiting, ins.DealDropped(book.owing.deal_id), CTX) == (None, ())


def test_after_a_restart_the_channel_is_read_in_which_money_was_earned() -> None:
    """And not that of the owner whom the client's operator has by then: it would be none."""
    pair = Pair()
    pair.submit(1)
    pair.passes()
    book = book_of(pair.channel(pair.provider))
    assert book is not None
    assert book.paid == pair.price
    asked = [one for one in channels.started(pair.provider.state, pair.provider.env) if isinstance(one, ReadChannel)]
    assert [one.owner for one in asked] == [book.channel.client_owner]

"""Is the page of a channel's edges what the two halves do? Every state meets every input, in its telling variants."""

from collections.abc import Iterator

import msgspec

from devnet.sim.samples import NOW, Samples
from protocols.channels import client, provider
from protocols.channels import inputs as ins
from protocols.channels.merkle import Frontier
from protocols.channels.states import ENDS_SOON, ChannelState, Closed, Opening, book_of
from protocols.channels.table import EDGES, STATES, Edge
from protocols.contracts.channels import ChannelWord
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.units import DealId, Tokens, UnixSeconds

SAMPLES = Samples(10**15)
LATER = UnixSeconds(NOW + 2 * ENDS_SOON)


def inputs(half: str) -> Iterator[tuple[str, ins.ChannelInput]]:
    book = SAMPLES.book()
    channel, peer = book.channel, book.peer
    for name, until, deposit in (
        ("chain: open", LATER, 2 * book.deposit),
        ("chain: ends soon", UnixSeconds(NOW + 5), book.deposit),
        ("chain: closed", UnixSeconds(0), book.deposit),
    ):
        word = ChannelWord(until=until, generation=2, deposit=Tokens(deposit), redeemed=Tokens(0))
        yield name, ins.Seen(channel, peer, word)
    if half == "client":
        yield "fund", ins.FundWanted(channel.client, channel.provider, peer, Tokens(5))
        yield "accepted", ins.DealPaid(DealId(bytes(32)), Tokens(0))
    else:
        assert book.owing is not None
        yield "signed", ins.DealTaken(channel.client, channel.provider, peer, book.owing.deal_id, book.owing.price)
        yield "dropped", ins.DealDropped(book.owing.deal_id)
        due = book.plus(book.owing.deal_id, book.owing.price).voucher
        yield "voucher", ins.VoucherArrived(book.owing.deal_id, due, SAMPLES.signed(SAMPLES.client, due))
        yield "redeem", ins.RedeemWanted()
        last = SAMPLES.channel_close()
        yield "close consent", ins.CloseArrived(last, SAMPLES.signed(SAMPLES.client, last))
    yield "close", ins.CloseWanted()
    yield "deadline", ins.TimePassed()
    yield "tx refused", ins.TxRefused("fund" if half == "client" else "close_together", "refused")


def variants(state: ChannelState) -> Iterator[ChannelState]:
    """With a year to go and a deal owed for, with room for it; with nothing owed; and before anything was paid."""
    if isinstance(state, Opening):
        yield state
        return
    book = book_of(state)
    assert book is not None
    roomy = msgspec.structs.replace(book, until=LATER, deposit=Tokens(3 * book.deposit))
    yield msgspec.structs.replace(state, book=msgspec.structs.replace(book, until=LATER))
    yield msgspec.structs.replace(state, book=roomy)
    yield msgspec.structs.replace(state, book=msgspec.structs.replace(roomy, owing=None))
    unused = msgspec.structs.replace(roomy, paid=Tokens(0), deals=Frontier(), signature=None)
    yield msgspec.structs.replace(state, book=unused)


def walk() -> set[Edge]:
    found = set()
    for half, machine, key in (("client", client, SAMPLES.client), ("provider", provider, SAMPLES.provider)):
        ctx = ins.Ctx(SAMPLES.env(key), NOW)
        for name, sample in SAMPLES.channel_states().items():
            if half == "provider" and name == "ToppingUp":
                continue
            for state in variants(sample):
                for on, event in inputs(half):
                    try:
                        new, _ = machine.advance(state, event, ctx)
                    except (RemoteProtocolError, LocalProtocolError):
                        continue
                    after = type(new).__name__ if new is not None else "none"
                    if after != name:
                        found.add(Edge(half, name, on, after))
    return found


def test_the_edges_are_those_of_the_page() -> None:
    assert walk() == EDGES


def test_every_state_has_a_row_and_a_way_on() -> None:
    named = {row.name for row in STATES}
    assert named == set(SAMPLES.channel_states())
    assert named == {edge.before for edge in EDGES}
    assert Closed.__name__ in {edge.after for edge in EDGES}

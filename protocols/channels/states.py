"""Which states can a channel be in, seen from one of its parties, and what does its book say?

Both halves share these types; `protocols.channels.table` says what moves between them.
"""

import msgspec

from protocols.channels.merkle import Frontier
from protocols.contracts.channels import Channel, ChannelWord, Voucher
from protocols.units import Address, DealId, PeerId, Seconds, Signature, Tokens, UnixSeconds

__all__ = [
    "ENDS_SOON",
    "Book",
    "ChannelState",
    "Closed",
    "Closing",
    "Open",
    "Opening",
    "Owing",
    "ToppingUp",
    "book_of",
    "pair_of",
]

ENDS_SOON = Seconds(30 * 24 * 3600)
"""A channel that ends within 30 days is as good as closing: far more than any exit delay, far less than its year."""


def pair_of(client: Address, provider: Address) -> bytes:
    """The name of a pair's channel among a node's rows: both operators, 40 bytes."""
    return client + provider


class Owing(msgspec.Struct, frozen=True, array_like=True):
    """A deal of the channel that is not paid. The one owed for is what the provider stands to lose."""

    deal_id: DealId
    price: Tokens


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of a channel. ``deposit``, ``redeemed`` and ``until`` are the chain's, the rest is the pair's."""

    channel: Channel
    peer: PeerId
    """The other party."""
    deposit: Tokens
    redeemed: Tokens
    until: UnixSeconds
    paid: Tokens = Tokens(0)
    """What the last voucher is worth in all."""
    deals: Frontier = Frontier()
    signature: Signature | None = None
    """The client's, of `voucher`; None before the first."""
    owing: Owing | None = None
    """Provider: at most one, so exposure is never above one price. A client pays what it has accepted at once."""
    ahead: Owing | msgspec.UnsetType = msgspec.UNSET
    """Provider: the next deal, made ready meanwhile; never one without `owing`. Its job starts when it is the one owed for, and
    not before."""

    @property
    def voucher(self) -> Voucher:
        """The last voucher: all that is owed, and for which deals."""
        return Voucher(self.channel.channel_id, self.paid, self.deals.count, self.deals.root)

    @property
    def room(self) -> Tokens:
        """What the deposit still covers."""
        return Tokens(max(self.deposit - self.paid, 0))

    def seen(self, word: ChannelWord) -> "Book":
        """What the chain says now. What was redeemed is what was signed: never less than it."""
        return msgspec.structs.replace(self, deposit=word.deposit, redeemed=word.redeemed, until=word.until)

    def gone(self) -> "Book":
        """The chain does not know this generation, or not any more: a reorganisation took its money back, and nothing is
        covered until it is there again. What was signed stays signed: the same generation may come back."""
        return msgspec.structs.replace(self, deposit=Tokens(0))

    def plus(self, deal_id: DealId, price: Tokens) -> "Book":
        """One more deal paid, not yet signed. What waited behind it is next."""
        paid = Tokens(self.paid + price)
        deals = self.deals.append(deal_id)
        return msgspec.structs.replace(self, paid=paid, deals=deals, signature=None).next()

    def without(self, deal_id: DealId) -> "Book":
        """That deal is not owed for any more, and does not wait; what waited behind it is next. The book itself, if it had
        no place in it."""
        if self.owing is not None and self.owing.deal_id == deal_id:
            return self.next()
        if self.ahead and self.ahead.deal_id == deal_id:
            return msgspec.structs.replace(self, ahead=msgspec.UNSET)
        return self

    def next(self) -> "Book":
        """What waited is owed for now."""
        return msgspec.structs.replace(self, owing=self.ahead or None, ahead=msgspec.UNSET)


class Opening(msgspec.Struct, frozen=True, tag=True):
    """The client's money is on its way; the chain shows no channel yet."""

    client: Address
    provider: Address
    peer: PeerId
    amount: Tokens
    """Zero for the provider, which is not told."""
    owing: Owing | None = None
    asked: UnixSeconds | msgspec.UnsetType = msgspec.UNSET
    """Client: chain time at which it last sent its money. Unset in rows of before there was the field: long ago."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """Deals may be paid by it."""

    book: Book


class ToppingUp(msgspec.Struct, frozen=True, tag=True):
    """Client: more is on its way. Deals that fit go on."""

    book: Book
    amount: Tokens
    asked: UnixSeconds | msgspec.UnsetType = msgspec.UNSET
    """As in `Opening`."""


class Closing(msgspec.Struct, frozen=True, tag=True):
    """It ends; no new deals. ``asked``: chain time at which its client wanted it closed; zero when the chain's word is all."""

    book: Book
    asked: UnixSeconds = UnixSeconds(0)


class Closed(msgspec.Struct, frozen=True, tag=True):
    """Over, until the pair opens its next generation."""

    book: Book


ChannelState = Opening | Open | ToppingUp | Closing | Closed


def book_of(state: ChannelState | None) -> Book | None:
    """The book, where there is one."""
    return None if state is None or isinstance(state, Opening) else state.book

"""How does a channel go, seen by the provider whom it pays?

It works for one unpaid deal at a time, and lets one more be made ready meanwhile. It takes only the voucher that pays
exactly the deal owed for, and redeems before the channel can be closed. Vouchers are durable with the state, before the
transport acknowledges them.
"""

from typing import Final

import msgspec

from protocols.channels.inputs import (
    ChannelInput,
    CloseArrived,
    CloseWanted,
    Ctx,
    DealDropped,
    DealTaken,
    Handler,
    RedeemWanted,
    Seen,
    Step,
    TimePassed,
    TxRefused,
    VoucherArrived,
    post,
)
from protocols.channels.states import ENDS_SOON, Book, ChannelState, Closed, Closing, Open, Opening, Owing
from protocols.effects import Effect, ReadChannel
from protocols.errors import RemoteProtocolError
from protocols.units import Tokens, UnixSeconds

__all__ = ["TABLE", "advance", "awaited", "deadline", "taken"]


def awaited(event: Seen, ctx: Ctx) -> Step:
    """A channel that this node had not heard of."""
    return (None, ()) if event.word.until == 0 else (_standing(_fresh(event, None), ctx), ())


def taken(event: DealTaken) -> Step:
    """The pair's first deal: its client is about to open the channel."""
    owing = Owing(event.deal_id, event.price)
    opening = Opening(event.client, event.provider, event.peer, Tokens(0), owing)
    return opening, (ReadChannel(client=event.client, provider=event.provider),)


def _take(state: Opening | Open | Closed, event: DealTaken, ctx: Ctx) -> Step:
    """At most one deal is owed for, also when the channel that should have paid it is closed: a client that opens the next
    generation has not paid by that. At most one more waits behind it, in a channel that is open."""
    owing = state.owing if isinstance(state, Opening) else state.book.owing
    if owing is not None and owing.deal_id != event.deal_id:
        if isinstance(state, Open) and (not state.book.ahead or state.book.ahead.deal_id == event.deal_id):
            book = msgspec.structs.replace(state.book, ahead=Owing(event.deal_id, event.price))
            return Open(book), ()
        raise RemoteProtocolError(
            "a deal of this channel is under way or unpaid; its voucher comes first", code="unpaid", penalty=0
        )
    if isinstance(state, Closed):
        return taken(event)
    return _owing(state, Owing(event.deal_id, event.price)), ()


def _owing(state: Opening | Open | Closing | Closed, owing: Owing | None) -> Opening | Open | Closing | Closed:
    if isinstance(state, Opening):
        return msgspec.structs.replace(state, owing=owing)
    return msgspec.structs.replace(state, book=msgspec.structs.replace(state.book, owing=owing))


def _dropped(state: Opening | Open | Closing | Closed, event: DealDropped, ctx: Ctx) -> Step:
    """A channel that has paid nothing is forgotten: clients that open none, or empty ones, must not fill up what a node keeps.
    All that is known of it is the chain's, which is asked when there is another deal."""
    if isinstance(state, Opening):
        dropped = state.owing is not None and state.owing.deal_id == event.deal_id
        return None if dropped else state, ()
    left = state.book.without(event.deal_id)
    if left is state.book:
        return state, ()
    return (None if left.paid == 0 and left.owing is None else msgspec.structs.replace(state, book=left)), ()


def _fresh(event: Seen, owing: Owing | None, ahead: Owing | msgspec.UnsetType = msgspec.UNSET) -> Book:
    """The channel as the chain has it, nothing paid yet. What is owed for, and what waits behind it, goes along."""
    word = event.word
    return Book(
        channel=event.channel,
        peer=event.peer,
        deposit=word.deposit,
        redeemed=word.redeemed,
        until=word.until,
        owing=owing,
        ahead=ahead,
    )


def _standing(book: Book, ctx: Ctx) -> Open | Closing:
    return Closing(book) if book.until - ctx.now < ENDS_SOON else Open(book)


def _opened(state: Opening, event: Seen, ctx: Ctx) -> Step:
    return (state, ()) if event.word.until == 0 else (_standing(_fresh(event, state.owing), ctx), ())


def _other_money(state: Open | Closing, event: Seen, ctx: Ctx) -> Step:
    """The client's operator trades for another owner now, whose channel is another one. It takes the place of ours when all
    that was earned in ours is fetched: a client with two owners could have it forgotten otherwise."""
    if event.word.until == 0:
        return state, ()
    redeem = _redeem(state.book)
    return (state, redeem) if redeem else (_standing(_fresh(event, state.book.owing, state.book.ahead), ctx), ())


def _seen(state: Open | Closing, event: Seen, ctx: Ctx) -> Step:
    """The chain moved. When the end comes near, what was earned is fetched at once."""
    if event.channel.client_owner != state.book.channel.client_owner:
        return _other_money(state, event, ctx)
    if event.channel.generation < state.book.channel.generation:
        return msgspec.structs.replace(state, book=state.book.gone()), ()
    if event.channel != state.book.channel:
        fresh = _fresh(event, state.book.owing, state.book.ahead)
        return (_standing(fresh, ctx), ()) if event.word.until else (state, ())
    book = state.book.seen(event.word)
    if event.word.until == 0:
        return _closed(state, book), ()
    new = _standing(book, ctx)
    if book.redeemed >= book.paid > state.book.redeemed:  # all is fetched: another owner's channel may wait for that
        return new, (ReadChannel(client=book.channel.client, provider=book.channel.provider),)
    return new, _redeem(book) if isinstance(new, Closing) else ()


def _closed(state: Open | Closing, book: Book) -> Closed:
    """What its client has not paid stays owed for. But only this node can close a channel whose end was far away, and then it
    is its own fault that it is not paid. What waited behind it never begins."""
    owing = book.owing if isinstance(state, Closing) else None
    return Closed(msgspec.structs.replace(book, deposit=state.book.deposit, owing=owing, ahead=msgspec.UNSET))


def _reopened(state: Closed, event: Seen, ctx: Ctx) -> Step:
    if event.word.until == 0 or event.channel.generation < state.book.channel.generation:
        return state, ()
    same = event.channel == state.book.channel
    return _standing(state.book.seen(event.word) if same else _fresh(event, state.book.owing), ctx), ()


def _written_off(state: Closed, event: CloseWanted, ctx: Ctx) -> Step:
    """The owner expects no voucher any more: this client may have a channel again."""
    return (state, ()) if state.book.owing is None else (_owing(state, None), ())


def _redeem(book: Book) -> tuple[Effect, ...]:
    """Post the last voucher, if it is worth more than what was redeemed."""
    return (post(book, "redeem", book.paid),) if book.signature and book.paid > book.redeemed else ()


def _voucher(state: Open | Closing, event: VoucherArrived, ctx: Ctx) -> Step:
    """Exactly the owed deal, on top of everything before; a repetition of the last one changes nothing."""
    book, voucher = state.book, event.voucher
    if voucher.channel_id != book.channel.channel_id:
        raise RemoteProtocolError("a voucher of another channel", code="other_channel")
    if voucher == book.voucher:
        return state, ()
    if voucher.cumulative <= book.paid or voucher.count <= book.deals.count:
        raise RemoteProtocolError(
            f"a voucher for {voucher.cumulative} wei after one for {book.paid}; vouchers only rise",
            code="stale_voucher",
            penalty=50,
        )
    if book.owing is None or book.owing.deal_id != event.deal_id:
        raise RemoteProtocolError("a voucher for a deal that is not owed for", code="not_owed", penalty=0)
    paid = book.plus(event.deal_id, book.owing.price)
    if voucher != paid.voucher:
        raise RemoteProtocolError(
            f"a voucher for {voucher.cumulative} wei and {voucher.count} deals, where {paid.paid} wei and the root of "
            f"{paid.deals.count} deals were due",
            code="wrong_voucher",
            penalty=50,
        )
    if voucher.cumulative > book.deposit:
        raise RemoteProtocolError("a voucher for more than the channel holds", code="overdrawn")
    book = msgspec.structs.replace(paid, signature=event.signature)
    new = msgspec.structs.replace(state, book=book)
    return new, _redeem(book) if isinstance(new, Closing) else ()


def _close_together(state: Open | Closing, event: CloseArrived, ctx: Ctx) -> Step:
    """End it with what was earned; a client that would pay less than it has signed is redeemed from instead."""
    book, last = state.book, event.last
    if last.words() != book.voucher.words():
        raise RemoteProtocolError(
            f"a close with {last.cumulative} wei where vouchers say {book.paid}", code="stale_close", penalty=50
        )
    if book.owing is not None:
        return state, _redeem(book)
    return Closing(book), (post(book, "close_together", book.paid, signature=event.signature),)


def _let_go(state: Open | Closing, event: CloseWanted, ctx: Ctx) -> Step:
    """Fetch what was earned; the rest is the client's to close."""
    return state, _redeem(state.book)


def _redeem_now(state: Open | Closing, event: RedeemWanted | TimePassed, ctx: Ctx) -> Step:
    new = state if isinstance(state, Closing) else _standing(state.book, ctx)
    return new, _redeem(state.book)


def _refused(state: Open | Closing, event: TxRefused, ctx: Ctx) -> Step:
    """A close that the contract refused (the client was faster, or topped up): what was earned is fetched alone."""
    if event.purpose != "close_together":
        return state, ()
    return _standing(state.book, ctx), _redeem(state.book)


_LIVE: Final = (Open, Closing)

TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Opening, Seen): _opened,
    (Opening, DealTaken): _take,
    (Opening, DealDropped): _dropped,
    (Open, DealTaken): _take,
    (Closed, DealTaken): _take,
    (Closed, Seen): _reopened,
    (Closed, DealDropped): _dropped,
    (Closed, CloseWanted): _written_off,
    **{(state, Seen): _seen for state in _LIVE},
    **{(state, DealDropped): _dropped for state in _LIVE},
    **{(state, VoucherArrived): _voucher for state in _LIVE},
    **{(state, CloseArrived): _close_together for state in _LIVE},
    **{(state, CloseWanted): _let_go for state in _LIVE},
    **{(state, RedeemWanted): _redeem_now for state in _LIVE},
    **{(state, TimePassed): _redeem_now for state in _LIVE},
    **{(state, TxRefused): _refused for state in _LIVE},
}


def advance(state: ChannelState, event: ChannelInput, ctx: Ctx) -> Step:
    """The provider's half of the channel table. Raises ``RemoteProtocolError`` for what its client did wrong."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: ChannelState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due: a month before the end, so that what was earned is fetched in time."""
    match state:
        case Open(book=book):
            return UnixSeconds(max(book.until - ENDS_SOON, 0) + 1)
        case _:
            return None

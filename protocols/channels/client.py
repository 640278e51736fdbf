"""How does a channel go, seen by the client whose money it holds?

It funds, signs one voucher per accepted result, and gets the rest back: with the provider's help at once, else by the
exit delay. It believes the chain about deposits and nobody about anything else.
"""

from typing import Final

import msgspec

from protocols.channels.inputs import (
    ChannelInput,
    CloseWanted,
    Ctx,
    DealPaid,
    FundWanted,
    Handler,
    Seen,
    Step,
    TimePassed,
    TxRefused,
    post,
)
from protocols.channels.states import ENDS_SOON, Book, ChannelState, Closed, Closing, Open, Opening, ToppingUp, pair_of
from protocols.contracts.channels import Channel, ChannelClose
from protocols.deals import eip712
from protocols.effects import PostChannelTx, ReadChannel, SendDurably
from protocols.errors import LocalProtocolError
from protocols.messages.channel import CloseConsent, VoucherNotice
from protocols.units import ZERO_ADDRESS, ZERO_HASH, DealId, Seconds, Signature, UnixSeconds

__all__ = ["CLOSE_PATIENCE", "FUND_PATIENCE", "TABLE", "advance", "deadline", "fund"]

CLOSE_PATIENCE: Final = Seconds(30)
"""How long a client waits for its provider to close together before it asks the chain: ten blocks of a slow sequencer."""


FUND_PATIENCE: Final = Seconds(1_800)
"""How long a client waits for the chain to show its money before it sends it once more, and looks. A transaction may be lost for
good between the block that had it and the logs that are read; what is only late still has its key, and is not sent twice."""


def fund(wanted: FundWanted, ctx: Ctx) -> Step:
    """Open the pair's channel."""
    state = Opening(wanted.client, wanted.provider, wanted.peer, wanted.amount, asked=ctx.now)
    return state, (_fund(wanted, "new"),)


def _fund(wanted: FundWanted, tag: str) -> PostChannelTx:
    pair = pair_of(wanted.client, wanted.provider)
    return PostChannelTx(
        key=f"channel:{pair.hex()}:fund:{tag}",
        pair=pair,
        purpose="fund",
        channel=Channel(wanted.client, wanted.provider, ZERO_ADDRESS, 0),
        amount=wanted.amount,
        count=0,
        deals_root=ZERO_HASH,
        signature=Signature(b""),
    )


def _fund_again(state: Closed, event: FundWanted, ctx: Ctx) -> Step:
    opening, _ = fund(event, ctx)
    return opening, (_fund(event, f"after-{state.book.channel.generation}"),)


def _top_up(state: Open, event: FundWanted, ctx: Ctx) -> Step:
    return ToppingUp(state.book, event.amount, ctx.now), (_fund(event, _more(state.book)),)


def _more(book: Book) -> str:
    return f"{book.channel.channel_id.hex()[:16]}-{book.deposit}"


def _unseen(state: Opening | ToppingUp, event: TimePassed, ctx: Ctx) -> Step:
    """Its money is nowhere to be seen. One key for all further tries: they are one transaction, while it is not on chain."""
    if isinstance(state, Opening):
        client, provider, peer, tag = state.client, state.provider, state.peer, "again"
    else:
        channel = state.book.channel
        client, provider, peer, tag = channel.client, channel.provider, state.book.peer, _more(state.book)
    again = FundWanted(client, provider, peer, state.amount)
    waits = msgspec.structs.replace(state, asked=ctx.now)
    return waits, (_fund(again, tag), ReadChannel(client=client, provider=provider))


def _opened(state: Opening, event: Seen, ctx: Ctx) -> Step:
    return (state, ()) if event.word.until == 0 else (_standing(_fresh(event), ctx), ())


def _fresh(event: Seen) -> Book:
    word = event.word
    return Book(channel=event.channel, peer=event.peer, deposit=word.deposit, redeemed=word.redeemed, until=word.until)


def _standing(book: Book, ctx: Ctx) -> Open | Closing:
    return Closing(book) if book.until - ctx.now < ENDS_SOON else Open(book)


def _seen(state: Open | ToppingUp | Closing, event: Seen, ctx: Ctx) -> Step:
    if event.channel.client_owner != state.book.channel.client_owner:  # our operator trades for another owner now
        return (_standing(_fresh(event), ctx), ()) if event.word.until else (state, ())
    if event.channel.generation < state.book.channel.generation:
        return msgspec.structs.replace(state, book=state.book.gone()), ()
    if event.channel != state.book.channel:
        return (_standing(_fresh(event), ctx), ()) if event.word.until else (state, ())
    book = state.book.seen(event.word)
    if event.word.until == 0:
        return Closed(msgspec.structs.replace(state.book, redeemed=book.redeemed, until=book.until)), ()
    if isinstance(state, ToppingUp) and book.deposit <= state.book.deposit:
        return ToppingUp(book, state.amount, state.asked), ()
    if isinstance(state, Closing) and state.asked and book.until - ctx.now >= ENDS_SOON:
        return Closing(book, state.asked), ()
    return _standing(book, ctx), ()


def _reopened(state: Closed, event: Seen, ctx: Ctx) -> Step:
    """The next generation; or the closing was taken back by a reorganisation."""
    if event.word.until == 0 or event.channel.generation < state.book.channel.generation:
        return state, ()
    same = event.channel == state.book.channel
    return _standing(state.book.seen(event.word) if same else _fresh(event), ctx), ()


def _pay(state: Open | ToppingUp | Closing, event: DealPaid, ctx: Ctx) -> Step:
    """Sign for one more deal. The rules ask only when the deposit covers it."""
    if state.book.room < event.price:
        raise LocalProtocolError(f"the channel has {state.book.room} wei left, and the deal costs {event.price}")
    book = state.book.plus(event.deal_id, event.price)
    voucher = book.voucher
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, voucher))
    book = msgspec.structs.replace(book, signature=signature)
    notice = VoucherNotice(deal_id=event.deal_id, voucher=voucher, signature=signature)
    return msgspec.structs.replace(state, book=book), (_send(book, ctx, notice, event.deal_id),)


def _send(book: Book, ctx: Ctx, message: VoucherNotice | CloseConsent, about: DealId) -> SendDurably:
    protocol, data = ctx.env.seal(message)
    key = f"voucher:{about.hex()}:{type(message).__name__}"
    return SendDurably(key=key, peer=book.peer, protocol=protocol, data=data)


def _leave(state: Open | ToppingUp, event: CloseWanted, ctx: Ctx) -> Step:
    """Offer the provider to end it now, which spares both the delay."""
    book = state.book
    last = ChannelClose(book.channel.channel_id, book.paid, book.deals.count, book.deals.root)
    signature = ctx.env.signer.sign(eip712.digest(ctx.env.domain, last))
    consent = CloseConsent(last=last, signature=signature)
    return Closing(book, UnixSeconds(max(ctx.now, 1))), (_send(book, ctx, consent, DealId(last.channel_id)),)


def _overdue(state: Closing, event: TimePassed, ctx: Ctx) -> Step:
    book = state.book
    if book.until >= ctx.now:
        return Closing(book), (post(book, "request_close", book.until),)
    return state, (post(book, "close", book.until),)


def _refused(state: Opening | ToppingUp, event: TxRefused, ctx: Ctx) -> Step:
    if event.purpose != "fund":
        return state, ()
    return (None, ()) if isinstance(state, Opening) else (Open(state.book), ())


TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Opening, Seen): _opened,
    (Opening, TxRefused): _refused,
    (Opening, TimePassed): _unseen,
    (ToppingUp, TimePassed): _unseen,
    (Open, FundWanted): _top_up,
    (Open, DealPaid): _pay,
    (Open, CloseWanted): _leave,
    (ToppingUp, DealPaid): _pay,
    (ToppingUp, CloseWanted): _leave,
    (ToppingUp, TxRefused): _refused,
    (Closing, DealPaid): _pay,
    (Closing, TimePassed): _overdue,
    (Closed, FundWanted): _fund_again,
    (Closed, Seen): _reopened,
    **{(state, Seen): _seen for state in (Open, ToppingUp, Closing)},
}


def advance(state: ChannelState, event: ChannelInput, ctx: Ctx) -> Step:
    """The client's half of the channel table."""
    handler = TABLE.get((type(state), type(event)))
    return handler(state, event, ctx) if handler else (state, ())


def deadline(state: ChannelState, ctx: Ctx) -> UnixSeconds | None:
    """Chain time at which `TimePassed` is due in this state."""
    match state:
        case Opening(asked=asked) | ToppingUp(asked=asked):
            return UnixSeconds((asked or 0) + FUND_PATIENCE)
        case Closing(book=book, asked=asked) if asked and book.until - ctx.now >= ENDS_SOON:
            return UnixSeconds(asked + CLOSE_PATIENCE)
        case Closing(book=book):
            return UnixSeconds(book.until + 1)
        case _:
            return None

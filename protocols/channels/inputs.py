"""What moves a channel? The inputs both halves understand, and the effects they share."""

from collections.abc import Callable
from typing import Any

import msgspec

from protocols.channels.states import Book, ChannelState, pair_of
from protocols.contracts.channels import Channel, ChannelClose, ChannelWord, Voucher
from protocols.effects import Effect, PostChannelTx
from protocols.env import Env
from protocols.units import Address, DealId, PeerId, Signature, Tokens, UnixSeconds

__all__ = [
    "ChannelInput",
    "CloseArrived",
    "CloseWanted",
    "Ctx",
    "DealDropped",
    "DealPaid",
    "DealTaken",
    "FundWanted",
    "Handler",
    "RedeemWanted",
    "Seen",
    "Step",
    "TimePassed",
    "TxRefused",
    "VoucherArrived",
    "post",
]


class Ctx(msgspec.Struct, frozen=True):
    """What a step may look at besides state and input."""

    env: Env
    now: UnixSeconds
    """The chain's clock."""


class ChannelInput(msgspec.Struct, frozen=True):
    """Something that happened to one channel; signatures in it are already checked."""


class Seen(ChannelInput, frozen=True):
    """The chain was read: this is the pair's channel now. Absolute, so it may come twice, late, or after a reorganisation."""

    channel: Channel
    peer: PeerId
    word: ChannelWord


class FundWanted(ChannelInput, frozen=True):
    """Client: lock ``amount`` (more)."""

    client: Address
    provider: Address
    peer: PeerId
    amount: Tokens


class DealTaken(ChannelInput, frozen=True):
    """Provider: it has countersigned a deal that this channel is to pay."""

    client: Address
    provider: Address
    peer: PeerId
    deal_id: DealId
    price: Tokens


class DealDropped(ChannelInput, frozen=True):
    """Provider: that deal ended before it worked for it; nothing is owed."""

    deal_id: DealId


class DealPaid(ChannelInput, frozen=True):
    """Client: it has accepted a result, which is to be paid now."""

    deal_id: DealId
    price: Tokens


class VoucherArrived(ChannelInput, frozen=True):
    """Provider: its client's signature over this voucher holds."""

    deal_id: DealId
    voucher: Voucher
    signature: Signature


class CloseWanted(ChannelInput, frozen=True):
    """The owner wants the money back, or lets go."""


class CloseArrived(ChannelInput, frozen=True):
    """Provider: the client agrees to end it with these numbers."""

    last: ChannelClose
    signature: Signature


class RedeemWanted(ChannelInput, frozen=True):
    """Provider: the owner wants to be paid now."""


class TimePassed(ChannelInput, frozen=True):
    """This state's deadline has passed on the chain's clock."""


class TxRefused(ChannelInput, frozen=True):
    """A transaction of ours cannot succeed."""

    purpose: str
    reason: str


Step = tuple[ChannelState | None, tuple[Effect, ...]]
"""Where the channel stands now (None: there is none), and what follows."""
Handler = Callable[[Any, Any, Ctx], Step]


def post(book: Book, purpose: str, tag: object, *, signature: Signature | None = None) -> PostChannelTx:
    """One escrow call about a channel that the chain knows, with the numbers of its last voucher.

    ``tag`` tells two calls of one purpose apart. ``signature`` is the other party's; the voucher's by default.
    """
    channel, last = book.channel, book.voucher
    pair = pair_of(channel.client, channel.provider)
    return PostChannelTx(
        key=f"channel:{pair.hex()}:{purpose}:{channel.channel_id.hex()[:16]}:{tag}",
        pair=pair,
        purpose=purpose,
        channel=channel,
        amount=last.cumulative,
        count=last.count,
        deals_root=last.deals_root,
        signature=signature or book.signature or Signature(b""),
    )

"""What does a node sign and send for a channel, and how are many deals one hash?

A channel holds a client's money for one provider (docs/protocol/channels.md). The client's vouchers are cumulative: the
last one is worth all of them. Its ``deals_root`` commits to every DealId paid so far, in the order of payment, so that a
deal can later be shown to be among them.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from protocols.contracts.calls import compact, selector
from protocols.deals.eip712 import SignedStruct
from protocols.errors import LocalProtocolError
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Signature, Tokens, UnixSeconds

__all__ = [
    "MAX_CHANNEL_TOKENS",
    "MAX_REDEMPTIONS",
    "Channel",
    "ChannelClose",
    "ChannelWord",
    "Redemption",
    "Voucher",
    "close",
    "close_together",
    "deals_root",
    "fund",
    "net_of",
    "redeem",
    "redeem_many",
    "request_close",
]

MAX_CHANNEL_TOKENS: Final = (1 << 96) - 1
"""What one channel can hold, in wei: two amounts, a time and a count share a word of storage."""
MAX_REDEMPTIONS: Final = 256
"""Vouchers in one ``redeem_many``: 5 M gas, far below a block's 32 M, and 90 KiB of calldata."""

_WORD: Final = 32
_FEE_DIVISOR: Final = 100
_CHANNEL: Final = "(address,address,address,uint64)"
_EARNED: Final = "(uint256,uint256,bytes32,bytes32,bytes32)"


class Channel(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which channel: ``Channels.Channel``. The owner is the one behind the client's operator when it was opened."""

    client: Address
    provider: Address
    client_owner: Address
    generation: int
    """How often these three have opened it, this time included; the first is 1."""

    def words(self) -> bytes:
        """4 words, 128 bytes: calldata, and the preimage of the id."""
        pad = bytes(12)
        return pad + self.client + pad + self.provider + pad + self.client_owner + self.generation.to_bytes(_WORD)

    @property
    def channel_id(self) -> Hash32:
        """What vouchers name. An id is used once."""
        return keccak256(self.words())


class ChannelWord(msgspec.Struct, frozen=True):
    """All that the escrow holds of a channel. ``until`` is zero when it is closed."""

    until: UnixSeconds
    generation: int
    deposit: Tokens
    redeemed: Tokens

    @classmethod
    def of(cls, word: int) -> "ChannelWord":
        """The word that a ``ChannelFunded`` log carries."""
        return cls(
            until=UnixSeconds(word >> 216),
            generation=word >> 192 & (1 << 24) - 1,
            deposit=Tokens(word >> 96 & MAX_CHANNEL_TOKENS),
            redeemed=Tokens(word & MAX_CHANNEL_TOKENS),
        )


class Voucher(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The client owes ``cumulative`` for the first ``count`` deals. Replaces every voucher of the channel before it."""

    TYPE: ClassVar[str] = "Voucher(bytes32 channelId,uint128 cumulative,uint64 count,bytes32 dealsRoot)"

    channel_id: Hash32
    cumulative: Tokens
    """What the provider has earned in all since the channel was opened."""
    count: int
    """Deals paid since the channel was opened."""
    deals_root: Hash32
    """``deals_root`` of their DealIds in the order of payment."""

    def words(self) -> bytes:
        return self.channel_id + self.cumulative.to_bytes(_WORD) + self.count.to_bytes(_WORD) + self.deals_root


class ChannelClose(SignedStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One party's consent to end the channel now with ``cumulative`` to the provider in all; the other one sends it."""

    TYPE: ClassVar[str] = "ChannelClose(bytes32 channelId,uint128 cumulative,uint64 count,bytes32 dealsRoot)"

    channel_id: Hash32
    cumulative: Tokens
    count: int
    deals_root: Hash32

    def words(self) -> bytes:
        return self.channel_id + self.cumulative.to_bytes(_WORD) + self.count.to_bytes(_WORD) + self.deals_root


class Redemption(msgspec.Struct, frozen=True):
    """A channel's last voucher, ready to be redeemed."""

    channel: Channel
    voucher: Voucher
    client_signature: Signature


def deals_root(deals: Sequence[DealId]) -> Hash32:
    """Merkle root of DealIds in the order of payment; zero for none.

    Leaves and inner nodes are hashed under different first bytes, and a node without a neighbour moves up as it is, as in
    RFC 6962: so no two lists of whatever lengths share a root.
    """
    if not deals:
        return ZERO_HASH
    level = [keccak256(b"\x00", deal) for deal in deals]
    while len(level) > 1:
        pairs = [keccak256(b"\x01", level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]


def net_of(cumulative: Tokens, redeemed: Tokens) -> Tokens:
    """What reaches the provider when ``redeemed`` rises to ``cumulative``; the rest is burned when the channel closes.

    Many redemptions burn to the wei what one would.
    """
    return Tokens((cumulative - cumulative // _FEE_DIVISOR) - (redeemed - redeemed // _FEE_DIVISOR))


_FUND: Final = selector("fundChannel(uint256,address)")
_REQUEST_CLOSE: Final = selector(f"requestClose({_CHANNEL})")
_REDEEM: Final = selector(f"redeem({_CHANNEL},{_EARNED})")
_REDEEM_MANY: Final = selector(f"redeemMany(({_CHANNEL},{_EARNED})[])")
_CLOSE_TOGETHER: Final = selector(f"closeTogether({_CHANNEL},{_EARNED})")
_CLOSE: Final = selector(f"close({_CHANNEL})")


def fund(provider: Address, amount: Tokens) -> bytes:
    """Open a channel with ``amount``, or add it to the open one. Sent by the client's operator."""
    return _FUND + amount.to_bytes(_WORD) + bytes(12) + provider


def request_close(channel: Channel) -> bytes:
    """End the channel one exit delay from now. Sent by the client's operator, or the owner whose money it holds."""
    return _REQUEST_CLOSE + channel.words()


def redeem(channel: Channel, voucher: Voucher, client_signature: Signature) -> bytes:
    """Be paid what this voucher adds. Sent by the provider's operator."""
    return _REDEEM + _redemption(Redemption(channel, voucher, client_signature))


def redeem_many(redemptions: Sequence[Redemption]) -> bytes:
    """Redeem vouchers of several channels of the sender, all or none."""
    if not 1 <= len(redemptions) <= MAX_REDEMPTIONS:
        raise LocalProtocolError(f"redeem 1 to {MAX_REDEMPTIONS} vouchers at once, not {len(redemptions)}")
    head = _WORD.to_bytes(_WORD) + len(redemptions).to_bytes(_WORD)
    return _REDEEM_MANY + head + b"".join(map(_redemption, redemptions))


def close_together(channel: Channel, last: ChannelClose, other_signature: Signature) -> bytes:
    """Pay and end now. Sent by one party; the other has signed ``last``."""
    return _CLOSE_TOGETHER + channel.words() + _earned(last, other_signature)


def close(channel: Channel) -> bytes:
    """Return what was not redeemed. Sent by the provider's operator, or by anyone after the channel's end."""
    return _CLOSE + channel.words()


def _redemption(item: Redemption) -> bytes:
    return item.channel.words() + _earned(item.voucher, item.client_signature)


def _earned(value: Voucher | ChannelClose, signature: Signature) -> bytes:
    return value.words()[_WORD:] + compact(signature)

"""What do the two parties of a channel say to each other? What is owed, and that it may end."""

from typing import Annotated

import msgspec
from msgspec import Meta

from protocols.contracts.channels import ChannelClose, Voucher
from protocols.units import DealId, Signature

__all__ = ["CloseConsent", "VoucherNotice"]

Signed = Annotated[Signature, Meta(min_length=65, max_length=65)]


class VoucherNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: this deal is accepted, and paid by the voucher, as is every deal of the channel before it."""

    deal_id: Annotated[DealId, Meta(min_length=32, max_length=32)]
    voucher: Voucher
    signature: Signed


class CloseConsent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: end the channel now, with these numbers."""

    last: ChannelClose
    signature: Signed

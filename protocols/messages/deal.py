"""What do the two parties of a signed deal say to each other?"""

from typing import Annotated

import msgspec
from msgspec import Meta

from protocols.deals.eip712 import Cancellation, DeliveryReceipt, ResultCommit, ResultReceipt, Settlement
from protocols.limits import MAX_REASON_CHARS
from protocols.units import Cid, DealId, Hash32, Signature

__all__ = [
    "CancelConsent",
    "Delivered",
    "KeyRelease",
    "Progress",
    "ReceiptNotice",
    "Rejection",
    "ResultNotice",
    "ResultPull",
    "SealedNotice",
    "SignOff",
]

Named = Annotated[DealId, Meta(min_length=32, max_length=32)]
Signed = Annotated[Signature, Meta(min_length=65, max_length=65)]
Size = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class ResultNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: the committed result, the salt that opens it, and where its bytes are."""

    commit: ResultCommit
    signature: Signed
    root: Annotated[Cid, Meta(min_length=36, max_length=36)]
    """UnixFS directory: stdout, stderr, exitCode, outputs/..."""
    salt: Annotated[Hash32, Meta(min_length=32, max_length=32)]
    size: Size
    """Bytes of the whole directory, so that the client can refuse before it pulls."""


class SealedNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client, in a pair's first deals of a channel: the committed result, and where its sealed bytes are.

    ``promise`` is the provider's signature that ``key_hash`` is of the key that opens them (`deals.sealing.promise_of`).
    """

    commit: ResultCommit
    signature: Signed
    root: Annotated[Cid, Meta(min_length=36, max_length=36)]
    """Of the sealed bytes: a file. The result's own root comes with the key."""
    size: Size
    """Sealed bytes, so that the client can refuse before it pulls."""
    key_hash: Annotated[Hash32, Meta(min_length=32, max_length=32)]
    promise: Signed


class KeyRelease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: the voucher is here; this opens the sealed bytes, and the commitment."""

    deal_id: Named
    key: Annotated[Hash32, Meta(min_length=32, max_length=32)]
    salt: Annotated[Hash32, Meta(min_length=32, max_length=32)]


class ResultPull(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: this deal was paid for while I was away; tell me its result once more."""

    deal_id: Named


class Delivered(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: all bytes held and verified."""

    receipt: DeliveryReceipt
    signature: Signed


class ReceiptNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: I have your commitment; whether I run the job again is drawn on this beacon round."""

    receipt: ResultReceipt
    signature: Signed


class SignOff(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: checked and accepted; this settles the deal on chain."""

    receipt: ResultReceipt
    receipt_signature: Signed
    settlement: Settlement
    signature: Signed


class Rejection(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: I do not sign this off, and why."""

    deal_id: Named
    code: Annotated[str, Meta(max_length=40)]
    detail: Annotated[str, Meta(max_length=MAX_REASON_CHARS)]


class CancelConsent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Either party: cancel the committed deal, with this amount to the provider."""

    cancellation: Cancellation
    signature: Signed


class Progress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: where the deal stands. A hint for the phase line; no money moves on it."""

    deal_id: Named
    phase: Annotated[str, Meta(max_length=16)]
    done: Size
    total: Size

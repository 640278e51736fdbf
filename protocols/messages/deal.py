"""What do the two parties of a signed deal say to each other?"""

import msgspec

from protocols.deals.eip712 import Cancellation, DeliveryReceipt, ResultCommit, ResultReceipt, Settlement
from protocols.units import Cid, DealId, Hash32, Signature

__all__ = ["CancelConsent", "Delivered", "Progress", "Rejection", "ResultNotice", "SignOff"]


class ResultNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: the committed result, the salt that opens it, and where its bytes are."""

    commit: ResultCommit
    signature: Signature
    root: Cid
    """UnixFS directory: stdout, stderr, exitCode, outputs/..."""
    salt: Hash32
    size: int
    """Bytes of the whole directory, so that the client can refuse before it pulls."""


class Delivered(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: all bytes held and verified."""

    receipt: DeliveryReceipt
    signature: Signature


class SignOff(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: checked and accepted; this settles the deal on chain."""

    receipt: ResultReceipt
    receipt_signature: Signature
    settlement: Settlement
    signature: Signature


class Rejection(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: I do not sign this off, and why."""

    deal_id: DealId
    code: str
    detail: str


class CancelConsent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Either party: cancel the committed deal, with this amount to the provider."""

    cancellation: Cancellation
    signature: Signature


class Progress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: where the deal stands. A hint for the phase line; no money moves on it."""

    deal_id: DealId
    phase: str
    done: int
    total: int

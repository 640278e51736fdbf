"""What do a client and a provider say to each other before a deal is signed?

Every message is one-way, inside a signed envelope; the transport's acknowledgement says only that it is durable.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from protocols.deals.eip712 import MAX_DEAL_GPUS, Deal
from protocols.limits import MAX_JOB_BYTES, MAX_REASON_CHARS
from protocols.units import PPM, Address, Cid, DealId, Hash32, RunId, Signature, Tokens, UnixSeconds

__all__ = [
    "ChannelRfq",
    "DealAcceptance",
    "DealProposal",
    "DealRefusal",
    "HoldRelease",
    "InputRoot",
    "PanelRfq",
    "Quote",
    "Refusal",
    "Rfq",
]

Id = Annotated[Hash32, Meta(min_length=32, max_length=32)]
Named = Annotated[DealId, Meta(min_length=32, max_length=32)]
Signed = Annotated[Signature, Meta(min_length=65, max_length=65)]
Size = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Number32 = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Code = Annotated[str, Meta(max_length=40)]
Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARS)]


class InputRoot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A content id that the provider must hold before it commits, and its size in bytes."""

    root: Annotated[Cid, Meta(min_length=36, max_length=36)]
    size: Size


class Rfq(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: what would this job cost with you? ``rfq_id`` is the client's, unique per round and provider."""

    rfq_id: Id
    run_id: Annotated[RunId, Meta(min_length=32, max_length=32)]
    run_nonce: Annotated[int, Meta(ge=0)]
    index: Number32
    job: Annotated[bytes, Meta(max_length=MAX_JOB_BYTES)]
    """Canonical bytes of the job, at most MAX_JOB_BYTES."""
    inputs: Annotated[tuple[InputRoot, ...], Meta(max_length=65)]
    """The module and everything the job reads, at most 64 of them: what must be there before `commit`."""
    max_price: Tokens
    """The client's limit, so that a provider need not quote in vain. The quote may lie far below it."""
    token: Annotated[Address, Meta(min_length=20, max_length=20)]
    enforcement: Annotated[int, Meta(ge=0, le=255)]
    deadline: Annotated[UnixSeconds, Meta(ge=0, le=1 << 40)]
    SETTLEMENT: ClassVar[int] = 0
    """How the client would pay, and what the quote is for: by a commitment."""


class ChannelRfq(Rfq, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The same question, with another way to pay: a voucher in the pair's channel, which may still have to be opened."""

    SETTLEMENT: ClassVar[int] = 1


class PanelRfq(Rfq, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The same question for a deal that a panel judges: how often the client checks, and who may be called."""

    audit_ppm: Annotated[int, Meta(ge=0, le=PPM)]
    """The collateral follows from it: PROTOCOL.md 6, numbers."""
    seat_class: Number32
    seat_snapshot: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    """Seats that the class has now: who joins later is not drawn."""


class Quote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: its price and terms. A firm quote holds a slot for ``hold_ms``; an indicative one holds nothing."""

    rfq_id: Id
    firm: bool
    hold_ms: Number32
    price: Tokens
    collateral: Tokens
    provider_secret_hash: Id
    exec_seconds: Number32
    claim_seconds: Number32
    window_seconds: Number32
    starts_in_s: Number32
    gpus: Annotated[tuple[Id, ...], Meta(max_length=MAX_DEAL_GPUS)]
    numeric_class: Id
    detail: Reason


class Refusal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: no, and why. ``code`` is a stable word, ``detail`` a sentence in the provider's own words."""

    rfq_id: Id
    code: Code
    detail: Reason
    free_in_s: Number32
    """Seconds until it may say yes (``busy``); 0 when it cannot tell."""


class HoldRelease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: somebody else won, the slot is yours again."""

    rfq_id: Id


class DealProposal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: the deal of your quote, signed by me."""

    rfq_id: Id
    deal: Deal
    signature: Signed


class DealAcceptance(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: countersigned. From here on the deal binds both."""

    deal_id: Named
    signature: Signed


class DealRefusal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: I will not sign this deal after all (the hold lapsed, a term differs)."""

    deal_id: Named
    code: Code
    detail: Reason

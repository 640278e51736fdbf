"""What do a client and a provider say to each other before a deal is signed?

Every message is one-way, inside a signed envelope; the transport's acknowledgement says only that it is durable.
"""

import msgspec

from protocols.deals.eip712 import Deal
from protocols.units import Address, Cid, DealId, Hash32, RunId, Signature, Tokens, UnixSeconds

__all__ = ["DealAcceptance", "DealProposal", "DealRefusal", "HoldRelease", "InputRoot", "Quote", "Refusal", "Rfq"]


class InputRoot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A content id that the provider must hold before it commits, and its size in bytes."""

    root: Cid
    size: int


class Rfq(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: what would this job cost with you? ``rfq_id`` is the client's, unique per round and provider."""

    rfq_id: Hash32
    run_id: RunId
    run_nonce: int
    index: int
    job: bytes
    """Canonical bytes of the job, at most MAX_JOB_BYTES."""
    inputs: tuple[InputRoot, ...]
    max_price: Tokens
    """The client's limit, so that a provider need not quote in vain. The quote may lie far below it."""
    token: Address
    enforcement: int
    deadline: UnixSeconds


class Quote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: its price and terms. A firm quote holds a slot for ``hold_ms``; an indicative one holds nothing."""

    rfq_id: Hash32
    firm: bool
    hold_ms: int
    price: Tokens
    collateral: Tokens
    provider_secret_hash: Hash32
    exec_seconds: int
    claim_seconds: int
    window_seconds: int
    starts_in_s: int
    gpus: tuple[Hash32, ...]
    numeric_class: Hash32
    detail: str


class Refusal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: no, and why. ``code`` is a stable word, ``detail`` a sentence in the provider's own words."""

    rfq_id: Hash32
    code: str
    detail: str
    free_in_s: int
    """Seconds until it may say yes (``busy``); 0 when it cannot tell."""


class HoldRelease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: somebody else won, the slot is yours again."""

    rfq_id: Hash32


class DealProposal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to provider: the deal of your quote, signed by me."""

    rfq_id: Hash32
    deal: Deal
    signature: Signature


class DealAcceptance(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: countersigned. From here on the deal binds both."""

    deal_id: DealId
    signature: Signature


class DealRefusal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Provider to client: I will not sign this deal after all (the hold lapsed, a term differs)."""

    deal_id: DealId
    code: str
    detail: str

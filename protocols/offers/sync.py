"""How does a node that joins learn the live offers, from a peer, without asking for what it has (`/mesh/sync/1`)?"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.canonical import decode_strict, encode
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.offers.book import BUCKETS, JobBook, OfferBook

__all__ = [
    "MAX_PAGE_BYTES",
    "SYNC_PROTOCOL",
    "SyncPage",
    "SyncRequest",
    "next_request",
    "page_for",
    "read_page",
    "read_request",
    "to_wire",
]

SYNC_PROTOCOL: Final = "/mesh/sync/1"
MAX_PAGE_BYTES: Final = 60 * 1024
"""Envelopes in one answer; with its own framing it stays below ``MAX_MESSAGE_BYTES``."""
_MAX_WIRE: Final = MAX_PAGE_BYTES + 4096


class SyncRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The asker's digest, and after which (author, slot) to go on; an empty ``author`` begins."""

    buckets: Annotated[tuple[Annotated[bytes, Meta(min_length=16, max_length=16)], ...], Meta(max_length=BUCKETS)]
    author: Annotated[bytes, Meta(max_length=39)] = b""
    slot: Annotated[int, Meta(ge=0, le=15)] = 0


class SyncPage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Signed envelopes, each to be validated like gossip; ``more``: ask again after the last one's author and slot."""

    records: Annotated[
        tuple[Annotated[bytes, Meta(max_length=MAX_GOSSIP_BYTES)], ...], Meta(max_length=MAX_PAGE_BYTES // 128)
    ]
    author: Annotated[bytes, Meta(max_length=39)] = b""
    slot: Annotated[int, Meta(ge=0, le=15)] = 0
    more: bool = False


def page_for(book: OfferBook | JobBook, request: SyncRequest) -> SyncPage:
    """The next page of what the asker lacks, by author and slot. At most ``MAX_PAGE_BYTES`` of envelopes."""
    records: list[bytes] = []
    weight = 0
    last = (request.author, request.slot)
    for (author, slot), envelope in book.differing(request.buckets):
        if request.author and (author, slot) <= (request.author, request.slot):
            continue
        if weight + len(envelope) > MAX_PAGE_BYTES or len(records) >= MAX_PAGE_BYTES // 128:
            return SyncPage(tuple(records), last[0], last[1], True)
        records.append(envelope)
        weight += len(envelope)
        last = (author, slot)
    return SyncPage(tuple(records), last[0], last[1], False)


def read_request(data: bytes) -> SyncRequest:
    """Decode a request from a peer. Raises ``RemoteProtocolError``."""
    return decode_strict(SyncRequest, data, max_bytes=4096)


def read_page(data: bytes) -> SyncPage:
    """Decode a page from a peer. Raises ``RemoteProtocolError``."""
    return decode_strict(SyncPage, data, max_bytes=_MAX_WIRE)


def next_request(request: SyncRequest, page: SyncPage) -> SyncRequest | None:
    """What to ask after this page; None when it was the last one or does not advance (a peer that loops us)."""
    here, there = (request.author, request.slot), (page.author, page.slot)
    return SyncRequest(request.buckets, page.author, page.slot) if page.more and there > here else None


def to_wire(message: SyncRequest | SyncPage) -> bytes:
    """The bytes of a request or a page."""
    return encode(message)

"""Is this gossip record worth keeping and passing on?

Accept (the record is returned), ignore (``GossipIgnore``: nobody is to blame) or reject (``GossipReject``: whoever
forwarded it loses score). The order is by cost: size, envelope, type, payload, author, topic, expiry, rate, sequence;
then the one signature check; only the caller, after all of it, remembers the record as seen. Looking changes nothing.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from protocols.canonical import decode_strict
from protocols.envelope import Envelope, parse_envelope
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.offers.book import MAX_RECORDS, Book, Change, JobBook, OfferBook
from protocols.offers.rates import Rates
from protocols.offers.records import (
    JOB_OFFER_TAG,
    MAX_PAYLOAD_BYTES,
    OFFER_TAG,
    WITHDRAWN_TAG,
    JobOffer,
    OfferWithdrawn,
    Record,
    ResourceOffer,
)
from protocols.offers.topics import CPU, GPU_CLASSES, jobs_topic, offers_topic
from protocols.units import Millis, UnixSeconds

__all__ = ["CLOCK_SKEW_S", "MAX_LIFETIME_S", "Market", "admit", "check_record"]

MAX_LIFETIME_S: Final = 600
"""Seconds a record may live: long enough for a slow heartbeat, short enough that a dead node is forgotten."""
CLOCK_SKEW_S: Final = 60
"""Seconds that an author's clock may run ahead of ours."""

Verify = Callable[[Envelope], object]
"""Checks an envelope's signature; raises ``RemoteProtocolError``."""


class Market(msgspec.Struct, frozen=True):
    """What a node remembers about gossip of the market. The three parts are changed by ``admit`` and nothing else."""

    network: str
    offers: OfferBook
    jobs: JobBook
    rates: Rates


_TYPES: Final[dict[str, type[Record]]] = {
    OFFER_TAG: ResourceOffer,
    JOB_OFFER_TAG: JobOffer,
    WITHDRAWN_TAG: OfferWithdrawn,
}


def check_record(market: Market, topic: str, data: bytes, now: UnixSeconds, at: Millis, verify: Verify) -> Record:
    """The record in a gossip message. Raises ``GossipIgnore`` or ``GossipReject``; changes nothing.

    ``now`` is wall-clock time for expiry, ``at`` the monotonic clock for rates.
    """
    if len(data) > MAX_GOSSIP_BYTES:
        raise GossipReject(f"{len(data)} bytes, at most {MAX_GOSSIP_BYTES} allowed")
    try:
        envelope, record = _opened(data)
        _cheap(market, topic, envelope, record, now, at)
        verify(envelope)
    except RemoteProtocolError as error:
        raise GossipReject(f"{error.code}: {error}") from error
    return record


@lru_cache(maxsize=MAX_RECORDS)
def _opened(data: bytes) -> tuple[Envelope, Record]:
    """What the bytes say; a function of them alone, so a record that several peers hold is decoded once.

    16 MiB at most. What is malformed raises and is not remembered; nothing here has been verified.
    """
    envelope = parse_envelope(data, max_bytes=MAX_GOSSIP_BYTES)
    kind = _TYPES.get(envelope.type)
    if kind is None:
        raise GossipIgnore(f"unknown record type {envelope.type[:40]!r}")
    record: Record = decode_strict(kind, envelope.payload, max_bytes=MAX_PAYLOAD_BYTES)
    if record.author != envelope.signer:
        raise GossipReject("a record is signed by somebody else than its author")
    return envelope, record


def admit(market: Market, record: Record, data: bytes, now: UnixSeconds, at: Millis) -> Change:
    """Remember an accepted record: charge its author's rate and change the book."""
    market.rates.charge(record.author, at)
    match record:
        case ResourceOffer():
            return market.offers.put(record, data, now)
        case JobOffer():
            return market.jobs.put(record, data, now)
        case OfferWithdrawn(kind="offer"):
            return market.offers.withdraw(record, now)
        case OfferWithdrawn():
            return market.jobs.withdraw(record, now)


def _cheap(market: Market, topic: str, envelope: Envelope, record: Record, now: UnixSeconds, at: Millis) -> None:
    if isinstance(record, ResourceOffer):  # nearly every record: two questions in one
        belongs = topic == offers_topic(market.network, record.capability)
        book: Book[ResourceOffer] | Book[JobOffer] = market.offers
    else:
        belongs, book = topic in _topics(market.network, record), _book(market, record)
    if not belongs:
        raise GossipReject(f"a {envelope.type} of this class does not belong on {topic[:80]!r}")
    if record.expires <= now:
        raise GossipIgnore("the record has expired")
    if record.expires > now + MAX_LIFETIME_S + CLOCK_SKEW_S:
        raise GossipReject(f"a record lives at most {MAX_LIFETIME_S} s")
    author = record.author
    if not market.rates.allows(author, at):
        raise GossipIgnore("the author publishes too fast")
    if not book.newer(author, record.slot, record.sequence):
        raise GossipIgnore("seen already, or older than what is known")


def _book(market: Market, record: JobOffer | OfferWithdrawn) -> Book[ResourceOffer] | Book[JobOffer]:
    return market.offers if isinstance(record, OfferWithdrawn) and record.kind == "offer" else market.jobs


def _topics(network: str, record: JobOffer | OfferWithdrawn) -> tuple[str, ...]:
    match record:
        case JobOffer():
            return (jobs_topic(network, record.capability),)
        case OfferWithdrawn():  # it does not say which class it had: any of them, known ones only
            one = offers_topic if record.kind == "offer" else jobs_topic
            return tuple(one(network, capability) for capability in (CPU, *GPU_CLASSES))

"""Is this notice of a case worth keeping and passing on?

Accept (author and notice are returned), ignore (``GossipIgnore``: nobody is to blame) or reject (``GossipReject``: whoever
forwarded it loses score). Every node knows from the chain which disputes are open and whose they are, so a stranger's notice
goes no further than its first peer. By cost: size, form, expiry, what is known, rate; the signature last. Looking changes
nothing.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from protocols.canonical import decode_strict
from protocols.envelope import Envelope, parse_envelope
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.mediation.book import CaseBook, members
from protocols.messages.dispute import CASE_TAG, CaseNotice
from protocols.offers.rates import Rates
from protocols.offers.records import MAX_PAYLOAD_BYTES
from protocols.offers.validators import CLOCK_SKEW_S, MAX_LIFETIME_S
from protocols.signing import address_of_peer
from protocols.units import Millis, PeerId, UnixSeconds

__all__ = ["Verify", "check_notice"]

Verify = Callable[[Envelope], object]
"""Checks an envelope's signature; raises ``RemoteProtocolError``."""
_OPENED: Final = 1_024
"""Notices whose form is remembered, the last that came: 4 MiB, and the same one comes from every peer."""


def check_notice(
    book: CaseBook, rates: Rates, data: bytes, now: UnixSeconds, at: Millis, verify: Verify
) -> tuple[PeerId, CaseNotice]:
    """Who has which case. Raises ``GossipIgnore`` or ``GossipReject``.

    ``now`` is wall-clock time for expiry, ``at`` the monotonic clock for rates.
    """
    if len(data) > MAX_GOSSIP_BYTES:
        raise GossipReject(f"{len(data)} bytes, at most {MAX_GOSSIP_BYTES} allowed")
    try:
        envelope, notice = _opened(data)
        _cheap(book, rates, envelope.signer, notice, now, at)
        verify(envelope)
    except RemoteProtocolError as error:
        raise GossipReject(f"{error.code}: {error}") from error
    return envelope.signer, notice


@lru_cache(maxsize=_OPENED)
def _opened(data: bytes) -> tuple[Envelope, CaseNotice]:
    """What the bytes say; a function of them alone. What is malformed raises and is not remembered; nothing here has been
    verified."""
    envelope = parse_envelope(data, max_bytes=MAX_GOSSIP_BYTES)
    if envelope.type != CASE_TAG:
        raise GossipIgnore(f"unknown record type {envelope.type[:40]!r}")
    return envelope, decode_strict(CaseNotice, envelope.payload, max_bytes=MAX_PAYLOAD_BYTES)


def _cheap(book: CaseBook, rates: Rates, author: PeerId, notice: CaseNotice, now: UnixSeconds, at: Millis) -> None:
    if notice.expires <= now:
        raise GossipIgnore("the notice has expired")
    if notice.expires > now + MAX_LIFETIME_S + CLOCK_SKEW_S:
        raise GossipReject(f"a record lives at most {MAX_LIFETIME_S} s")
    known = book.notices.get((notice.deal_id, author))
    if known is not None and known.expires >= notice.expires:
        raise GossipIgnore("seen already, or older than what is known")
    record = book.records.get(notice.deal_id)
    if record is None:
        raise GossipIgnore("a dispute that this node has not heard of, or that is over")
    if address_of_peer(author) not in members(record):
        # No reject: the author may have been called in a block that this node has not seen.
        raise GossipIgnore("its author is no party of the deal and has no place in its panel")
    if not rates.allows(author, at):
        raise GossipIgnore("the author publishes too fast")

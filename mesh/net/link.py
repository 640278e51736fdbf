"""What does the rest of the node know about the network? This seam, and nothing else.

``Libp2pLink`` is the real one, ``SimLink`` the virtual one, ``MemoryLink`` a small one for tests. Nothing above the
seam imports libp2p. Peers are ``PeerId`` bytes, and authenticated: each proved that it holds its key.
"""

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio

from protocols.units import PeerId

__all__ = [
    "CALL_MAX_BYTES",
    "GOSSIP_MAX_BYTES",
    "AcceptRecord",
    "CallHandler",
    "CallRefused",
    "CallTimeout",
    "Link",
    "LinkError",
    "LinkStatistics",
    "MessageTooLarge",
    "PeerDown",
    "PeerEvent",
    "PeerState",
    "PeerUnreachable",
    "PeerUp",
    "StreamHandler",
    "Verdict",
]

GOSSIP_MAX_BYTES: Final = 16 * 1024
"""Largest record on a topic, bytes: 8 times the protocol's 2 KiB record, so that a later version has room."""
CALL_MAX_BYTES: Final = 1024 * 1024
"""Largest answer of a call, bytes. Anything larger is a blob and travels over ``open``."""


class Verdict(enum.Enum):
    """What a validator says about a record from a topic."""

    ACCEPT = "accept"
    """Deliver and forward it."""
    IGNORE = "ignore"
    """Neither deliver nor forward; nobody is to blame (stale, not ours)."""
    REJECT = "reject"
    """Neither deliver nor forward; whoever forwarded it loses score, and in the end its connection."""


class LinkError(Exception):
    """The network could not do what was asked."""


class PeerUnreachable(LinkError):
    """No connection to the peer exists and none could be made, or it broke while in use."""


class CallTimeout(LinkError):
    """The peer did not answer in time. It may have carried out the request."""


class CallRefused(LinkError):
    """The peer answered, but not with a result: it does not speak the protocol, is at its limit, or its handler failed.

    A handler raises it to refuse: the text (at most 256 bytes of UTF-8 travel) reaches the caller.
    """


class MessageTooLarge(LinkError):
    """A record, request or answer is larger than its bound. Nothing was sent if it was ours."""


class PeerState(msgspec.Struct, frozen=True, kw_only=True):
    """One connected peer."""

    peer: PeerId
    address: str
    """Where the connection ends, as a multiaddr, for people and logs. Not authenticated."""
    since_s: float
    """When it connected, on the link's monotonic clock, seconds."""
    dialled: bool
    """True if we dialled, False if it did."""
    score: int
    """0 or below: what it lost by misbehaving, minus what it regained with time."""
    round_trip_ms: float | None
    """Last ping, milliseconds; None until the first."""


class PeerUp(msgspec.Struct, frozen=True, tag=True):
    """The first connection to a peer was made."""

    peer: PeerId


class PeerDown(msgspec.Struct, frozen=True, tag=True):
    """The last connection to a peer is gone."""

    peer: PeerId


PeerEvent = PeerUp | PeerDown


class LinkStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the link started, except ``peers`` and ``streams``, which are now."""

    peers: int = 0
    streams: int = 0
    """Streams open now, both directions, without those of gossip."""
    published: int = 0
    delivered: int = 0
    """Records given to subscribers."""
    duplicates: int = 0
    ignored: int = 0
    rejected: int = 0
    dropped: int = 0
    """Records lost because a subscriber was too slow for its queue."""
    calls: int = 0
    calls_failed: int = 0
    served: int = 0
    contained: int = 0
    """Failures caused by peers' bytes, or by handlers, that were kept from spreading."""
    dials: int = 0
    dials_failed: int = 0
    handshakes_evicted: int = 0
    """Unfinished handshakes closed to make room for newer ones."""
    disconnected_silent: int = 0
    """Peers dropped because they did not answer a ping."""
    disconnected_score: int = 0
    """Peers dropped because of their score."""


AcceptRecord = Callable[[PeerId, bytes], Verdict]
"""``accept(forwarder, record)``: synchronous, pure, quick. One that raises counts as ``IGNORE``."""
CallHandler = Callable[[PeerId, bytes], Awaitable[bytes]]
"""``handler(caller, request) -> answer``."""
StreamHandler = Callable[[PeerId, trio.abc.HalfCloseableStream], Awaitable[None]]
"""``handler(opener, stream)``: the stream is closed for it when it returns or raises."""


class Link(Protocol):
    """A node's way to its peers.

    Gossip is a hint: a record may be lost, never delivered twice to a subscription. Calls and streams are direct and
    authenticated. A handler that raises costs its caller a refusal, never the node.
    """

    @property
    def me(self) -> PeerId:
        """This node's PeerId."""
        ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node listens: multiaddrs that end in ``/p2p/<me>``."""
        ...

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a record to everybody on the topic; returns when it is queued. Our own subscription does not hear it.

        Raises ``MessageTooLarge`` over ``GOSSIP_MAX_BYTES``.
        """
        ...

    def subscribe(self, topic: str, accept: AcceptRecord) -> AsyncIterator[tuple[PeerId, bytes]]:
        """Join the topic; yields ``(forwarder, record)`` for accepted records, each content once within 10 minutes.

        Never raises while iterated; it ends when the link closes. Leave by ``aclose`` or by ending the link.
        One subscription per topic: a second one raises ``ValueError``.
        """
        ...

    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes:
        """Ask and wait for the answer, at most ``timeout`` seconds, dialling first if need be.

        All calls to one peer and protocol share one stream and may overlap. Raises ``PeerUnreachable``,
        ``CallTimeout``, ``CallRefused``, ``MessageTooLarge``. Cancelled: the peer may still carry the request out.
        """
        ...

    def serve(self, protocol: str, handler: CallHandler, max_bytes: int) -> None:
        """Answer calls; requests over ``max_bytes`` are refused unread and end the stream. Once per protocol."""
        ...

    async def open(self, peer: PeerId, protocol: str) -> trio.abc.HalfCloseableStream:
        """A stream of bytes to the peer, dialling first if need be.

        Raises ``PeerUnreachable``, ``CallRefused`` (protocol not spoken). The stream raises trio's own errors
        (``BrokenResourceError``, ``ClosedResourceError``). **A receiver that stops reading for 5 s may break the
        stream**: pull what you can take, and be able to resume. A stream is done for after a cancelled ``send_all``.
        """
        ...

    def accept(self, protocol: str, handler: StreamHandler) -> None:
        """Take streams that peers open. Once per protocol."""
        ...

    def peers(self) -> Mapping[PeerId, PeerState]:
        """The connected peers, as a snapshot."""
        ...

    def events(self) -> AsyncIterator[PeerEvent]:
        """Peers coming and going from now on, preceded by a ``PeerUp`` for each one connected now. Never raises."""
        ...

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Hint where a peer may be dialled (multiaddrs). Malformed ones are left out; the newest 8 are kept."""
        ...

    def penalise(self, peer: PeerId, points: int) -> None:
        """Take score from a peer that broke a rule; below the floor it is disconnected and not dialled for a while."""
        ...

    def statistics(self) -> LinkStatistics:
        """Counters and gauges now."""
        ...

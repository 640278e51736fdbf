"""How do a few parts talk in a test without sockets? Over ``MemoryLink``, on trio's clock, virtual or real.

>>> async with open_hub(latency_s=0.01) as hub:
...     a, b = hub.link(peer_a), hub.link(peer_b)

Every link of a hub is connected to every other until ``cut``. Not for large networks: that is the simulator's work.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from devnet.sim.memory_pipe import PipeStream, pipe_pair
from mesh.net.link import (
    CALL_MAX_BYTES,
    GOSSIP_MAX_BYTES,
    AcceptRecord,
    CallHandler,
    CallRefused,
    CallTimeout,
    LinkStatistics,
    MessageTooLarge,
    PeerDown,
    PeerEvent,
    PeerState,
    PeerUnreachable,
    PeerUp,
    StreamHandler,
    Verdict,
)
from protocols.units import PeerId

__all__ = ["MemoryHub", "MemoryLink", "open_hub"]

_QUEUE_ITEMS: Final = 4096
"""Records or events a slow subscriber may owe before the next are dropped: as in ``Libp2pLink``."""


class MemoryHub:
    """The wire between the links it made."""

    def __init__(self, nursery: trio.Nursery, latency_s: float) -> None:
        self.nursery = nursery
        self.latency_s = latency_s
        self._links: dict[PeerId, MemoryLink] = {}
        self._cut: set[frozenset[PeerId]] = set()
        self._streams: dict[PipeStream, frozenset[PeerId]] = {}

    def link(self, me: PeerId) -> "MemoryLink":
        """A new link of a peer that is not on the hub yet."""
        if me in self._links:
            raise ValueError("this peer has a link on this hub already")
        link = MemoryLink(self, me)
        for other in self._links.values():
            other.tell(PeerUp(me))
        self._links[me] = link
        return link

    def connected(self, a: PeerId, b: PeerId) -> bool:
        """Whether both are on the hub and not cut from each other."""
        return a != b and a in self._links and b in self._links and frozenset((a, b)) not in self._cut

    def others(self, me: PeerId) -> "list[MemoryLink]":
        """The links ``me`` reaches now, in the order in which they were made."""
        return [link for peer, link in self._links.items() if self.connected(me, peer)]

    def reach(self, me: PeerId, peer: PeerId) -> "MemoryLink":
        """The link of a connected peer. Raises ``PeerUnreachable``."""
        if not self.connected(me, peer):
            raise PeerUnreachable(f"no way from {me.hex()[-8:]} to {peer.hex()[-8:]} on this hub")
        return self._links[peer]

    def stream(self, a: PeerId, b: PeerId) -> tuple[PipeStream, PipeStream]:
        """A connected pair that ``cut`` breaks."""
        ends = pipe_pair(self.latency_s)
        self._streams = {s: pair for s, pair in self._streams.items() if not s.closed}
        self._streams.update(dict.fromkeys(ends, frozenset((a, b))))
        return ends

    async def cut(self, a: PeerId, b: PeerId) -> None:
        """Breaks every stream between two peers, and the way for new ones until ``heal``."""
        pair = frozenset((a, b))
        if not self.connected(a, b):
            return
        self._cut.add(pair)
        for stream, ends in list(self._streams.items()):
            if ends == pair:
                await stream.cut()
                del self._streams[stream]
        self._links[a].tell(PeerDown(b))
        self._links[b].tell(PeerDown(a))

    def heal(self, a: PeerId, b: PeerId) -> None:
        """Lets two peers reach each other again."""
        pair = frozenset((a, b))
        if pair in self._cut:
            self._cut.discard(pair)
            self._links[a].tell(PeerUp(b))
            self._links[b].tell(PeerUp(a))


class MemoryLink:
    """A ``Link`` over a hub. Records reach every connected peer directly, each once."""

    def __init__(self, hub: MemoryHub, me: PeerId) -> None:
        self._hub = hub
        self._me = me
        self._topics: dict[str, tuple[AcceptRecord, trio.MemorySendChannel[tuple[PeerId, bytes]]]] = {}
        self._calls: dict[str, tuple[CallHandler, int]] = {}
        self._handlers: dict[str, StreamHandler] = {}
        self._watchers: list[trio.MemorySendChannel[PeerEvent]] = []
        self._scores: dict[PeerId, int] = {}
        self._seen: dict[tuple[str, bytes], None] = {}
        self._counts: dict[str, int] = {}

    @property
    def me(self) -> PeerId:
        return self._me

    @property
    def addresses(self) -> tuple[str, ...]:
        return ()

    async def publish(self, topic: str, data: bytes) -> None:
        if len(data) > GOSSIP_MAX_BYTES:
            raise MessageTooLarge(f"a record is at most {GOSSIP_MAX_BYTES} bytes, this one has {len(data)}")
        self._count("published")
        for other in self._hub.others(self._me):
            self._hub.nursery.start_soon(other.hear, self._me, topic, data)
        await trio.lowlevel.checkpoint()

    async def hear(self, forwarder: PeerId, topic: str, data: bytes) -> None:
        """Takes a record from the hub, after its latency."""
        await trio.sleep(self._hub.latency_s)
        if topic not in self._topics:
            return
        if (topic, data) in self._seen:
            self._count("duplicates")
            return
        if len(self._seen) >= _QUEUE_ITEMS:
            del self._seen[next(iter(self._seen))]
        self._seen[(topic, data)] = None
        accept, channel = self._topics[topic]
        verdict = accept(forwarder, data)
        if verdict is not Verdict.ACCEPT:
            self._count("ignored" if verdict is Verdict.IGNORE else "rejected")
            return
        try:
            channel.send_nowait((forwarder, data))
            self._count("delivered")
        except (trio.WouldBlock, trio.BrokenResourceError):
            self._count("dropped")

    def subscribe(self, topic: str, accept: AcceptRecord) -> AsyncIterator[tuple[PeerId, bytes]]:
        if topic in self._topics:
            raise ValueError(f"topic {topic} has a subscription already")
        send, receive = trio.open_memory_channel[tuple[PeerId, bytes]](_QUEUE_ITEMS)
        self._topics[topic] = (accept, send)
        return receive

    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes:
        self._count("calls")
        try:
            with trio.fail_after(timeout):
                await trio.sleep(self._hub.latency_s)
                answer = await self._hub.reach(self._me, peer).answer(self._me, protocol, request)
                await trio.sleep(self._hub.latency_s)
        except trio.TooSlowError:
            raise CallTimeout(f"no answer on {protocol} within {timeout} s") from None
        self._hub.reach(self._me, peer)  # cut while it worked
        if len(answer) > CALL_MAX_BYTES:
            raise MessageTooLarge(f"an answer is at most {CALL_MAX_BYTES} bytes, this one has {len(answer)}")
        return answer

    async def answer(self, caller: PeerId, protocol: str, request: bytes) -> bytes:
        """Runs our handler for a caller; what it raises becomes ``CallRefused``."""
        handler, max_bytes = self._calls.get(protocol, (None, 0))
        if handler is None:
            raise CallRefused(f"the peer does not speak {protocol}")
        if len(request) > max_bytes:
            raise CallRefused(f"requests on {protocol} are at most {max_bytes} bytes")
        self._count("served")
        try:
            return await handler(caller, request)
        except CallRefused:
            raise
        except Exception as error:
            self._count("contained")
            raise CallRefused(f"the handler failed: {type(error).__name__}") from error

    def serve(self, protocol: str, handler: CallHandler, max_bytes: int) -> None:
        if protocol in self._calls:
            raise ValueError(f"{protocol} is served already")
        self._calls[protocol] = (handler, max_bytes)

    async def open(self, peer: PeerId, protocol: str) -> trio.abc.HalfCloseableStream:
        await trio.sleep(2 * self._hub.latency_s)
        other = self._hub.reach(self._me, peer)
        ours, theirs = self._hub.stream(self._me, peer)
        other.take(self._me, protocol, theirs)
        return ours

    def take(self, opener: PeerId, protocol: str, stream: PipeStream) -> None:
        """Starts our handler on a stream. Raises ``CallRefused`` if we have none."""
        if protocol not in self._handlers:
            raise CallRefused(f"the peer does not speak {protocol}")
        self._hub.nursery.start_soon(self._handle, self._handlers[protocol], opener, stream)

    async def _handle(self, handler: StreamHandler, opener: PeerId, stream: PipeStream) -> None:
        async with stream:
            try:
                await handler(opener, stream)
            except Exception:
                self._count("contained")

    def accept(self, protocol: str, handler: StreamHandler) -> None:
        if protocol in self._handlers:
            raise ValueError(f"{protocol} has a handler already")
        self._handlers[protocol] = handler

    def peers(self) -> Mapping[PeerId, PeerState]:
        return {
            other.me: PeerState(
                peer=other.me,
                address="",
                since_s=0.0,
                dialled=True,
                score=self._scores.get(other.me, 0),
                round_trip_ms=2000 * self._hub.latency_s,
            )
            for other in self._hub.others(self._me)
        }

    def events(self) -> AsyncIterator[PeerEvent]:
        send, receive = trio.open_memory_channel[PeerEvent](_QUEUE_ITEMS)
        for peer in self.peers():
            send.send_nowait(PeerUp(peer))
        self._watchers.append(send)
        return receive

    def tell(self, event: PeerEvent) -> None:
        """Gives an event to everybody who iterates ``events``."""
        for watcher in list(self._watchers):
            try:
                watcher.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._watchers.remove(watcher)

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Nothing to learn: everybody on the hub is connected."""

    def penalise(self, peer: PeerId, points: int) -> None:
        self._scores[peer] = self._scores.get(peer, 0) - points

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(peers=len(self.peers()), **self._counts)

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1


@asynccontextmanager
async def open_hub(latency_s: float = 0.01) -> AsyncIterator[MemoryHub]:
    """A hub for the block; leaving it ends every handler and breaks what is in flight."""
    async with trio.open_nursery() as nursery:
        yield MemoryHub(nursery, latency_s)
        nursery.cancel_scope.cancel()

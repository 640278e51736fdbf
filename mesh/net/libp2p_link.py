"""How does the node talk to real peers? ``Libp2pLink``: the ``Link`` seam over libp2p, TCP, noise, yamux, gossipsub.

Start it with ``await nursery.start(link.run)``; handlers and subscriptions may be registered before or after.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from mesh.net import libp2p_fixes
from mesh.net.addresses import parse_address, peer_id_of_secret, peer_text
from mesh.net.call_pool import CallPool
from mesh.net.calls import FrameError, answer_calls
from mesh.net.dialer import Dialer
from mesh.net.discovery import EXCHANGE, EXCHANGE_MAX_BYTES, Discovery
from mesh.net.libp2p_host import SturdyHost, SturdySwarm, build_host
from mesh.net.libp2p_peers import ConnectedPeers
from mesh.net.libp2p_pubsub import SturdyGossip, SturdyPubsub
from mesh.net.libp2p_stream import MeshStream, linger
from mesh.net.link import (
    CALL_MAX_BYTES,
    GOSSIP_MAX_BYTES,
    AcceptRecord,
    CallHandler,
    CallRefused,
    LinkError,
    LinkStatistics,
    MessageTooLarge,
    PeerEvent,
    PeerState,
    PeerUnreachable,
    StreamHandler,
    Verdict,
)
from mesh.net.link_config import LinkConfig
from mesh.net.mdns import Neighbours
from mesh.net.peer_book import PeerBook
from mesh.net.peer_events import PeerEvents
from mesh.net.scores import REJECT_POINTS, PeerScores
from mesh.net.side_port import SIDE, SIDE_MAX_BYTES, SidePort, SideStream
from mesh.net.topics import Topics
from protocols.units import PeerId

__all__ = ["Libp2pLink", "LinkConfig"]

BLOCKED_MAX: Final = 4096
"""Peers that an owner may keep out."""
CLOSE_LIMIT_S: Final = 3.0
"""For saying goodbye to all peers; afterwards the sockets are closed under them."""

_log = structlog.get_logger(__name__)


class Libp2pLink:
    """A ``Link`` to real peers. ``secret`` is the node's raw 32-byte secp256k1 key: PeerId and operator in one."""

    def __init__(
        self, secret: bytes, config: LinkConfig | None = None, jitter: Callable[[], float] | None = None
    ) -> None:
        """Raises ``ValueError`` for a key or address that is malformed, ``LibraryMismatch`` for another libp2p."""
        libp2p_fixes.apply()
        self._config = config or LinkConfig()
        self._listen = [parse_address(text) for text in self._config.listen]
        self._me = peer_id_of_secret(secret)
        self._book = PeerBook(self._me, jitter or random.SystemRandom().random)
        self._book.learn_bootstrap(self._config.bootstrap)
        self._topics = Topics()
        self._events = PeerEvents()
        self._scores = PeerScores()
        self._blocked: set[PeerId] = set()
        self._counts = dict.fromkeys(("published", "served", "contained", "streams"), 0)
        self._disconnected_score = 0
        self._host: SturdyHost = build_host(secret, self._contained)
        if self._host.get_id().to_bytes() != self._me:
            raise ValueError("libp2p derives another PeerId from this key than the protocol does")  # a broken install
        self._router = SturdyGossip(lambda error: self._contained(None, error))
        self._pubsub = SturdyPubsub(self._host, self._router, self._deliver, self._blame)
        self._peers = ConnectedPeers(self._swarm, self._events, self.banned)
        self._swarm.register_notifee(self._peers)
        self._dialer = Dialer(self._swarm, self._book)
        self._discovery = Discovery(self, self._book, self._config.keep_connected, self._config.cache)
        self._calls = CallPool(self._stream, self._spawn)
        self._protocols: dict[str, StreamHandler | None] = {}
        self._side = SidePort(self, self._host.get_private_key(), self._handle_side, self._takes_streams)
        self._nursery: trio.Nursery | None = None
        self._started = trio.Event()
        self._bound: tuple[str, ...] = ()
        self.serve(EXCHANGE, self._discovery.answer, EXCHANGE_MAX_BYTES)
        if self._config.side_port:
            self.serve(SIDE, self._side.answer, SIDE_MAX_BYTES)

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Listens, reports started, and runs until cancelled; then closes every connection, socket and thread.

        Raises ``LinkError`` if no listen address could be bound.
        """
        try:
            async with self._host.run([Multiaddr(str(address)) for address in self._listen]):
                listening = len(self._swarm.listeners) == len(self._listen)
                if listening:
                    self._bound = tuple(f"{a}/p2p/{peer_text(self._me)}" for a in self._host.get_transport_addrs())
                    await self._run_services(task_status)
        finally:
            self._topics.close_all()
            self._events.close()
        if not listening:  # raised here, because the library's nurseries would wrap it
            raise LinkError(
                f"cannot listen on {', '.join(self._config.listen)}: another program, perhaps another node, has the "
                "port. Stop it, or choose another port with --listen (0 takes a free one)."
            )

    async def _run_services(self, task_status: Any) -> None:
        async with background_trio_service(self._router), background_trio_service(self._pubsub):
            await self._pubsub.wait_until_ready()
            try:
                await self._work(task_status)
            finally:
                await self._close()

    async def _work(self, task_status: Any) -> None:
        if self._config.cache is not None:
            await trio.to_thread.run_sync(self._book.load, self._config.cache)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for topic in self._topics.names():
                await self._pubsub.subscribe(topic)
            nursery.start_soon(self._discovery.run, self._events.watch(self._peers.ids()))
            if self._config.side_port:
                nursery.start_soon(self._side.run, self._listen[0].host, self._events.watch([]))
            if self._config.mdns:
                nursery.start_soon(Neighbours(self._me, self._bound, self.learn).run)
            self._started.set()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def _close(self) -> None:
        """Leaves nothing behind: stock ``run`` forgets the connections and a thread."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(CLOSE_LIMIT_S):
                await self._host.close()
            await self._swarm.sever_all()

    # --- gossip --------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, data: bytes) -> None:
        """See ``Link.publish``. Waits for the link to start."""
        if len(data) > GOSSIP_MAX_BYTES:
            raise MessageTooLarge(f"a record is at most {GOSSIP_MAX_BYTES} bytes, this one has {len(data)}")
        await self._started.wait()
        self._topics.remember(topic, data)
        await self._pubsub.publish(topic, data)
        self._counts["published"] += 1

    def subscribe(self, topic: str, accept: AcceptRecord) -> AsyncIterator[tuple[PeerId, bytes]]:
        """See ``Link.subscribe``."""
        subscription = self._topics.open(topic, accept)
        subscription.when_closed = partial(self._leave, topic)
        if self._nursery is not None:
            self._nursery.start_soon(self._pubsub.subscribe, topic)
        return subscription

    def _leave(self, topic: str) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._pubsub.unsubscribe, topic)

    def _deliver(self, forwarder: ID, topic: str, record: bytes) -> Verdict:
        peer = PeerId(forwarder.to_bytes())
        verdict = self._topics.deliver(peer, topic, record)
        if verdict is Verdict.REJECT:
            self.penalise(peer, REJECT_POINTS)
        return verdict

    # --- calls and streams -----------------------------------------------------------------------------------------

    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes:
        """See ``Link.call``."""
        return await self._calls.call(peer, protocol, request, timeout)

    def serve(self, protocol: str, handler: CallHandler, max_bytes: int) -> None:
        """See ``Link.serve``."""
        if not 0 < max_bytes <= CALL_MAX_BYTES:
            raise ValueError(f"max_bytes of {protocol} must lie in 1..{CALL_MAX_BYTES}")

        async def on_stream(peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
            async def answer(request: bytes) -> bytes:
                self._counts["served"] += 1
                try:
                    return await handler(peer, request)
                except CallRefused:
                    raise
                except Exception as error:
                    self._contained(ID(peer), error)
                    raise

            try:
                await answer_calls(stream, answer, max_bytes)
            except FrameError:
                self.penalise(peer, REJECT_POINTS)

        self._register(protocol, on_stream)

    async def open(self, peer: PeerId, protocol: str) -> trio.abc.HalfCloseableStream:
        """See ``Link.open``."""
        await self.connect(peer)
        beside = await self._side.open(peer, protocol) if self._config.side_port else None
        return beside or await self._stream(peer, protocol)

    async def _stream(self, peer: PeerId, protocol: str) -> MeshStream:
        """A stream of the link itself."""
        await self.connect(peer)
        try:
            raw = await self._host.new_stream(ID(peer), [TProtocol(protocol)])
        except Exception as error:
            if self._dialer.connected(peer):
                raise CallRefused(f"{peer_text(peer)} does not speak {protocol}") from error
            raise PeerUnreachable(f"the connection to {peer_text(peer)} broke") from error
        assert isinstance(raw, NetStream)
        return self._wrap(raw)

    def accept(self, protocol: str, handler: StreamHandler) -> None:
        """See ``Link.accept``."""
        self._register(protocol, handler)
        self._protocols[protocol] = handler

    def _takes_streams(self, protocol: str) -> bool:
        return self._protocols.get(protocol) is not None

    async def _handle_side(self, peer: PeerId, protocol: str, stream: SideStream) -> None:
        """A stream that came by the side port; its ticket named a protocol that is accepted here."""
        handler = self._protocols[protocol]
        assert handler is not None
        try:
            await handler(peer, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            _log.debug("stream ended early", protocol=protocol)
        except Exception as error:
            stream.cut()
            self._contained(ID(peer), error)

    def _register(self, protocol: str, handler: StreamHandler) -> None:
        if protocol in self._protocols:
            raise ValueError(f"{protocol} has a handler already")
        self._protocols[protocol] = None

        async def on_stream(raw: INetStream) -> None:
            assert isinstance(raw, NetStream)
            peer = PeerId(raw.muxed_conn.peer_id.to_bytes())
            async with self._wrap(raw) as stream:
                try:
                    await handler(peer, stream)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    _log.debug("stream ended early", protocol=protocol)

        self._host.set_stream_handler(TProtocol(protocol), on_stream)

    def _wrap(self, raw: NetStream) -> MeshStream:
        self._counts["streams"] += 1
        return MeshStream(raw, self._after_close)

    def _after_close(self, raw: NetStream, ended: bool) -> None:
        self._counts["streams"] -= 1
        if not ended:
            self._spawn(linger, raw)

    # --- peers -----------------------------------------------------------------------------------------------------

    @property
    def me(self) -> PeerId:
        """See ``Link.me``."""
        return self._me

    @property
    def addresses(self) -> tuple[str, ...]:
        """See ``Link.addresses``; empty until the link has started."""
        return self._bound

    @property
    def _swarm(self) -> SturdySwarm:
        network = self._host.get_network()
        assert isinstance(network, SturdySwarm)
        return network

    async def connect(self, peer: PeerId) -> None:
        """Returns when the peer is connected. Raises ``PeerUnreachable``."""
        await self._started.wait()
        if peer == self._me:
            raise PeerUnreachable("this node does not dial itself")
        if self.banned(peer):
            raise PeerUnreachable(f"{peer_text(peer)} is kept out for misbehaving")
        await self._dialer.connect(peer)

    def peers(self) -> Mapping[PeerId, PeerState]:
        """See ``Link.peers``."""
        now = trio.current_time()
        return self._peers.states(lambda peer: self._scores.score(peer, now))

    def connected_peers(self) -> Sequence[PeerId]:
        """PeerIds connected now."""
        return self._peers.ids()

    def remote_host(self, peer: PeerId) -> str | None:
        """Where a peer's connection comes from."""
        return self._peers.remote_host(peer)

    def events(self) -> AsyncIterator[PeerEvent]:
        """See ``Link.events``."""
        return self._events.watch(self._peers.ids())

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """See ``Link.learn``."""
        self._book.learn(peer, addresses)
        self._discovery.wake()

    def penalise(self, peer: PeerId, points: int) -> None:
        """See ``Link.penalise``."""
        if self._scores.penalise(peer, points, trio.current_time()):
            self._disconnected_score += 1
            _log.warning("peer disconnected for misbehaving", peer=peer_text(peer))
            self._spawn(self._peers.sever, peer)

    def block(self, peer: PeerId, blocked: bool) -> None:
        """By the owner's wish: refuse every connection with a peer, or take it back."""
        if not blocked:
            self._blocked.discard(peer)
            self._discovery.wake()
        elif len(self._blocked) < BLOCKED_MAX:
            self._blocked.add(peer)
            self._spawn(self._peers.sever, peer)

    def banned(self, peer: PeerId) -> bool:
        """Whether a peer is kept out: by its score for now, or by the owner."""
        return peer in self._blocked or self._scores.banned(peer, trio.current_time())

    def _blame(self, peer: ID, reason: str) -> None:
        self._counts["contained"] += 1
        _log.debug("peer penalised", peer=peer.to_base58(), reason=reason)
        self.penalise(PeerId(peer.to_bytes()), REJECT_POINTS)

    def _contained(self, peer: ID | None, error: BaseException) -> None:
        """Something a peer sent, or a handler of ours, raised: it ends here."""
        self._counts["contained"] += 1
        _log.warning("contained", peer=peer and peer.to_base58(), error=repr(error))

    def _spawn(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(task, *args)

    def statistics(self) -> LinkStatistics:
        """See ``Link.statistics``."""
        topics, counts = self._topics, self._counts
        return LinkStatistics(
            peers=len(self._peers),
            delivered=topics.delivered,
            duplicates=topics.duplicates + self._pubsub.duplicates,
            ignored=topics.ignored,
            rejected=topics.rejected,
            dropped=topics.dropped + self._router.dropped,
            contained=counts["contained"] + topics.contained,
            dials=self._dialer.dials,
            dials_failed=self._dialer.failures,
            handshakes_evicted=self._swarm.gate.evicted,
            disconnected_silent=self._peers.silent,
            disconnected_score=self._disconnected_score,
            streams=counts["streams"] + len(self._side),
            calls=self._calls.made,
            calls_failed=self._calls.failed,
            published=counts["published"],
            served=counts["served"],
        )

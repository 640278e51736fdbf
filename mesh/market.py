"""How does gossip of the market reach the rules, and how does a joining node catch up?

Records come from topics or from a peer's live set; both pass the same validator before they become events.
"""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
from multiaddr import Multiaddr

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.engine import Engine
from mesh.net.link import CallRefused, Link, LinkError, PeerDown, PeerUp, Verdict
from protocols.envelope import Envelope, open_
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.events import GossipArrived, MessageArrived, PeerCameUp, PeerWentDown
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.registry import CASE_PROTOCOL, DEAL_PROTOCOL, RFQ_PROTOCOL
from protocols.offers.records import Record, ResourceOffer
from protocols.offers.sync import SYNC_PROTOCOL, SyncRequest, next_request, page_for, read_page, read_request, to_wire
from protocols.offers.topics import CPU, GPU_CLASSES, jobs_topic, offers_topic
from protocols.offers.validators import check_record
from protocols.state import NodeState
from protocols.units import PeerId

__all__ = ["Gossip", "serve_messages", "texts_of", "watch_peers"]

SYNC_PEERS: Final = 3
SYNC_TIMEOUT_S: Final = 3.0
SYNC_PAGES: Final = 64
"""Pages asked of one peer at most: 4 MiB, the whole book of the largest network planned for."""

log = get_log("market")


class Gossip:
    """Subscribes to the market's topics, validates, and pulls the live set from the first peers."""

    def __init__(self, engine: Engine, link: Link, clock: Clock, classes: Sequence[str] = (CPU, *GPU_CLASSES)) -> None:
        self._engine = engine
        self._link = link
        self._clock = clock
        network = engine.env.params.name
        self._topics = [name(network, one) for one in classes for name in (offers_topic, jobs_topic)]
        self._synced: set[PeerId] = set()
        link.serve(SYNC_PROTOCOL, self._answer_sync, 4096)

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Listen to every topic until cancelled."""
        async with trio.open_nursery() as nursery:
            for topic in self._topics:
                await nursery.start(partial(self._listen, topic))
            task_status.started()

    async def _listen(self, topic: str, *, task_status: Started) -> None:
        records = self._link.subscribe(topic, lambda _, data: self._verdict(topic, data))
        task_status.started()
        async for _, data in records:
            await self._take(topic, data)

    def _check(self, state: NodeState, topic: str, data: bytes) -> Record:
        now, at = self._clock.unix_s(), self._clock.monotonic_ms()
        return check_record(state.market, topic, data, now, at, self._verify)

    def _verify(self, envelope: Envelope) -> PeerId:
        return open_(self._engine.env.signer, self._engine.env.params.name, envelope)

    def _verdict(self, topic: str, data: bytes) -> Verdict:
        try:
            self._engine.view(lambda state: self._check(state, topic, data))
        except GossipIgnore:
            return Verdict.IGNORE
        except GossipReject:
            return Verdict.REJECT
        return Verdict.ACCEPT

    async def _take(self, topic: str, data: bytes) -> bool:
        try:
            record = self._engine.view(lambda state: self._check(state, topic, data))
        except (GossipIgnore, GossipReject):
            return False
        if isinstance(record, ResourceOffer):
            self._link.learn(record.provider, dialable(record))
        await self._engine.post(GossipArrived(at=self._clock.monotonic_ms(), record=record, data=data))
        return True

    async def _answer_sync(self, peer: PeerId, request: bytes) -> bytes:
        try:
            wanted = read_request(request)
        except RemoteProtocolError as error:
            raise CallRefused(str(error)) from error
        return to_wire(self._engine.view(lambda state: page_for(state.market.offers, wanted)))

    async def catch_up(self, peer: PeerId) -> None:
        """Pull what a peer's book has and ours lacks; at most once per peer and connection, from three peers in all."""
        if peer in self._synced or len(self._synced) >= SYNC_PEERS:
            return
        self._synced.add(peer)
        digest = self._engine.view(lambda state: state.market.offers.digest())
        request: SyncRequest | None = SyncRequest(digest)
        try:
            for _ in range(SYNC_PAGES):
                if request is None:
                    return
                page = read_page(await self._link.call(peer, SYNC_PROTOCOL, to_wire(request), SYNC_TIMEOUT_S))
                if page.more and not page.records:
                    raise RemoteProtocolError("a page without records promises more", code="empty_page")
                for record in page.records:
                    await self._take_any(record)
                request = next_request(request, page)
        except LinkError as error:
            self._synced.discard(peer)
            log.info("sync.failed", peer=peer.hex()[-8:], reason=str(error))
        except RemoteProtocolError as error:
            self._synced.discard(peer)
            self._link.penalise(peer, error.penalty)
            log.info("sync.refused", peer=peer.hex()[-8:], code=error.code, reason=str(error))

    def forget(self, peer: PeerId) -> None:
        """A peer is gone: when it returns, or another comes in its place, there may be something to catch up with."""
        self._synced.discard(peer)

    async def _take_any(self, data: bytes) -> None:
        """A record from a peer's book does not say its topic: it belongs to the one that accepts it.

        Raises ``RemoteProtocolError`` for one that belongs on none: an honest book can't hold it.
        """
        for topic in self._topics:
            verdict = self._verdict(topic, data)
            if verdict is Verdict.ACCEPT:
                await self._take(topic, data)
            if verdict is not Verdict.REJECT:
                return
        raise RemoteProtocolError("a record that belongs on no topic", code="bad_record")


def dialable(offer: ResourceOffer) -> list[str]:
    """Where an offer says its provider may be dialled."""
    return texts_of(offer.addresses)


def texts_of(addresses: Sequence[bytes]) -> list[str]:
    """Where a record says its author may be dialled; what is no multiaddr is left out."""
    found = []
    for raw in addresses:
        with contextlib.suppress(ValueError, LookupError):
            found.append(str(Multiaddr(raw)))
    return found


async def watch_peers(engine: Engine, link: Link, gossip: Gossip, clock: Clock, *, task_status: Started) -> None:
    """Tell the rules who comes and goes, and catch up with newcomers."""
    events = link.events()
    task_status.started()
    async with trio.open_nursery() as nursery:
        async for event in events:
            match event:
                case PeerUp(peer=peer):
                    nursery.start_soon(gossip.catch_up, peer)
                    await engine.post(PeerCameUp(at=clock.monotonic_ms(), peer=peer))
                case PeerDown(peer=peer):
                    gossip.forget(peer)
                    await engine.post(PeerWentDown(at=clock.monotonic_ms(), peer=peer))


def serve_messages(engine: Engine, link: Link, clock: Clock) -> None:
    """Take signed envelopes from peers; the empty answer says that their consequences are durable here."""

    async def take(peer: PeerId, data: bytes) -> bytes:
        await engine.post(MessageArrived(at=clock.monotonic_ms(), peer=peer, data=data))
        return b""

    for protocol in (RFQ_PROTOCOL, DEAL_PROTOCOL, CASE_PROTOCOL):
        link.serve(protocol, take, MAX_MESSAGE_BYTES)

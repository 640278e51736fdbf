"""What is wrong with libp2p's gossipsub, and what runs in its place?

The library keeps the topic mesh (grafts, prunes, IHAVE and IWANT); reading, validating, forwarding and sending are
ours: a hostile RPC ends the process in the stock classes, and each delivered message costs them 20 ms.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetStream
from libp2p.exceptions import ParseError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator
from libp2p.tools.timed_cache.last_seen_cache import LastSeenCache
from libp2p.utils.varint import encode_varint_prefixed

from mesh.net.link import GOSSIP_MAX_BYTES, Verdict

__all__ = ["MESHSUB", "SeenCache", "SturdyGossip", "SturdyPubsub"]

MESHSUB: Final = "/meshsub/1.1.0"
"""The one version offered. 1.2 costs a message per message (IDONTWANT), and the library's later ones are its own."""
RPC_MAX_BYTES: Final = 256 * 1024
"""One inbound RPC: 16 records of the largest size, or 5,000 message ids. Stock allows 1 MiB."""
READ_BYTES: Final = 64 * 1024
WRITE_BYTES: Final = 64 * 1024
"""RPCs that wait for the same peer leave together, up to one multiplexer frame."""
SEEN_TTL_S: Final = 120.0
"""How long a message id counts as seen: the library's own value."""
SEEN_MAX: Final = 65_536
"""Ids kept, about 10 MB: 120 s at 500 messages a second."""
TOPIC_MAX_CHARS: Final = 128
"""Longest topic a peer may subscribe to. With the library's 100 topics a peer costs at most 12 KiB."""
CONTROL_IDS_MAX: Final = 5_000
"""Message ids read from one IHAVE: the specification's bound."""
IWANT_REPLY_MAX: Final = 64
"""Messages sent for one IWANT: 1 MiB of the largest records."""
VARINT_MAX_BYTES: Final = 5

Penalise = Callable[[ID, str], None]


class SeenCache(LastSeenCache):
    """Message ids seen lately. The stock one has a thread that outlives its node, and no bound."""

    def __init__(self, ttl_s: float = SEEN_TTL_S, most: int = SEEN_MAX) -> None:
        self._ttl_s, self._most = ttl_s, most
        self._expiry: OrderedDict[bytes, float] = OrderedDict()

    def add(self, key: bytes) -> bool:
        """True if the key was not there."""
        now = trio.current_time()
        while self._expiry and (len(self._expiry) >= self._most or next(iter(self._expiry.values())) <= now):
            self._expiry.popitem(last=False)
        fresh = key not in self._expiry
        if fresh:
            self._expiry[key] = now + self._ttl_s
        return fresh

    def has(self, key: bytes) -> bool:
        """True if the key was added within the lifetime."""
        expiry = self._expiry.get(key)
        return expiry is not None and expiry > trio.current_time()

    def length(self) -> int:
        """Keys kept."""
        return len(self._expiry)

    def stop(self) -> None:
        """Nothing runs, so nothing stops."""


class SturdyGossip(GossipSub):
    """The topic mesh, with the explicit settings of research/libp2p.md 2 and without what grows or costs."""

    pubsub: "SturdyPubsub | None"

    def __init__(self, on_contained: Callable[[BaseException], None]) -> None:
        super().__init__(
            protocols=[MESHSUB],  # type: ignore[list-item]  # a NewType of str
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,
            heartbeat_initial_delay=0.2,
            gossip_window=3,
            gossip_history=6,
            prune_back_off=10,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
            do_px=False,
        )
        self.scorer = None  # our own peer score decides; the stock one is asked several times per message and peer
        self.dropped = 0
        self._on_contained = on_contained

    async def heartbeat(self) -> None:
        """Mesh maintenance, once a second. What a round raises is counted, and the next round runs."""
        await trio.sleep(self.heartbeat_initial_delay)
        while True:
            try:
                grafts, prunes = self.mesh_heartbeat()
                self.fanout_heartbeat()
                await self._emit_control_msgs(grafts, prunes, self.gossip_heartbeat())
                self.mcache.shift()
                self._periodic_security_cleanup()
            except Exception as error:
                self._on_contained(error)
            await trio.sleep(self.heartbeat_interval)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Forwards a validated message. Stock also keeps 1,000 whole messages and a timestamp of each, for ever."""
        self.forward(msg_forwarder, pubsub_msg)

    def forward(self, forwarder: ID, message: rpc_pb2.Message) -> None:
        """Queues a validated message for the topic mesh; our own also for others while the topic mesh is small."""
        assert self.pubsub is not None
        self.mcache.put(message)
        topic = message.topicIDs[0]
        origin = ID(message.from_id)
        targets = set(self._get_peers_to_send([topic], forwarder, origin))
        if origin == self.pubsub.my_id and len(targets) < self.degree_low:
            known = self.pubsub.peer_topics.get(topic, set()) - targets
            targets.update(sorted(known, key=lambda peer: peer.to_bytes())[: self.degree])
        self.time_since_last_publish[topic] = int(time.time())  # compared with time.time() by the library
        frame = encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString())
        for peer in targets:
            queue = self.pubsub.peer_queues.get(peer)
            if queue is not None and not queue.push(frame):  # type: ignore[arg-type]  # our sender takes bytes too
                self.dropped += 1

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Gives a new subscriber the last seconds of a topic, through its queue. Stock writes beside the queue."""
        messages = [self.mcache.get(mid) for mid in self.mcache.window(topic)]
        for message in messages[-IWANT_REPLY_MAX:]:
            if message is not None:
                self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message]))

    def _handle_dropped_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, reason: str) -> None:
        self.dropped += 1
        super()._handle_dropped_rpc(peer_id, rpc, reason)

    async def _emit_control_msgs(
        self,
        peers_to_graft: Mapping[ID, list[str]],
        peers_to_prune: Mapping[ID, list[str]],
        peers_to_gossip: Mapping[ID, dict[str, list[bytes]]],
    ) -> None:
        """One control message per peer. Stock lets each peer also hear the grafts meant for those before it."""
        for peer in {*peers_to_graft, *peers_to_prune, *peers_to_gossip}:
            control = rpc_pb2.ControlMessage(
                graft=[rpc_pb2.ControlGraft(topicID=topic) for topic in peers_to_graft.get(peer, ())],
                prune=[rpc_pb2.ControlPrune(topicID=topic) for topic in peers_to_prune.get(peer, ())],
                ihave=[
                    rpc_pb2.ControlIHave(topicID=topic, messageIDs=ids[:CONTROL_IDS_MAX])
                    for topic, ids in peers_to_gossip.get(peer, {}).items()
                ],
            )
            await self.emit_control_message(control, peer)

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        """Queues a control message ahead of records."""
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    async def handle_ihave(self, ihave_msg: rpc_pb2.ControlIHave, sender_peer_id: ID) -> None:
        """Asks for what we have not seen, on topics of ours, up to the bound."""
        if ihave_msg.topicID in self.mesh:
            del ihave_msg.messageIDs[CONTROL_IDS_MAX:]
            await super().handle_ihave(ihave_msg, sender_peer_id)

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        """Sends what is asked for and still cached, up to the bound."""
        if not self._check_iwant_rate_limit(sender_peer_id):
            return
        wanted = dict.fromkeys(bytes(mid) for mid in iwant_msg.messageIDs[:CONTROL_IDS_MAX])
        for message in [found for mid in wanted if (found := self.mcache.get(mid))][:IWANT_REPLY_MAX]:
            self.send_rpc(sender_peer_id, rpc_pb2.RPC(publish=[message]))

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        """Heeds prunes of our topics. Stock remembers a backoff for every topic name a stranger makes up."""
        if prune_msg.topicID in self.mesh:
            del prune_msg.peers[:]
            await super().handle_prune(prune_msg, sender_peer_id)


class SturdyPubsub(Pubsub):
    """Reading, validating and sending RPCs. ``deliver(forwarder, topic, record)`` is synchronous and never raises."""

    router: SturdyGossip

    def __init__(
        self,
        host: "object",
        router: SturdyGossip,
        deliver: Callable[[ID, str, bytes], Verdict],
        penalise: Penalise,
    ) -> None:
        super().__init__(host, router, strict_signing=True, max_inbound_rpc_size=RPC_MAX_BYTES)  # type: ignore[arg-type]
        self.seen_messages.stop()
        self.seen_messages = SeenCache()
        self._deliver = deliver
        self._penalise = penalise
        self.duplicates = 0

    def get_hello_packet(self) -> rpc_pb2.RPC:
        """Our subscriptions. Stock adds a signed address record to this and to every message after it."""
        return rpc_pb2.RPC(
            subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic) for topic in self.topic_ids]
        )

    def _build_announce_rpc(self, topic_id: str, subscribe: bool) -> tuple[rpc_pb2.RPC, rpc_pb2.RPC.SubOpts]:
        announce = rpc_pb2.RPC.SubOpts(subscribe=subscribe, topicid=topic_id)
        return rpc_pb2.RPC(subscriptions=[announce]), announce

    async def publish(self, topic_id: str | list[str], data: bytes) -> None:
        """Signs a record and queues it for the topic mesh. Returns when it is queued."""
        assert isinstance(topic_id, str)
        assert self.sign_key is not None
        message = rpc_pb2.Message(
            data=data, topicIDs=[topic_id], from_id=self.my_id.to_bytes(), seqno=self._next_seqno()
        )
        message.signature = self.sign_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
        message.key = self.host.get_public_key().serialize()
        self._mark_msg_seen(message)
        self.router.forward(self.my_id, message)
        await trio.lowlevel.checkpoint()

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Takes a message from a peer."""
        self.receive(msg_forwarder, msg)

    def receive(self, forwarder: ID, message: rpc_pb2.Message) -> None:
        """Validates a message from a peer, delivers and forwards it. Raises nothing, whatever the message holds."""
        if len(message.topicIDs) != 1 or len(message.from_id) > 64 or len(message.seqno) > 16:
            self._penalise(forwarder, "malformed message")
            return
        topic = message.topicIDs[0]
        if topic not in self.subscribed_topics_receive:
            return
        if self._is_msg_seen(message):
            self.duplicates += 1
            return
        if len(message.data) > GOSSIP_MAX_BYTES or not _signed(message):
            self._penalise(forwarder, "oversized or unsigned message")
            return
        self._mark_msg_seen(message)
        if message.from_id == self.my_id.to_bytes():
            return
        if self._deliver(forwarder, topic, message.data) is Verdict.ACCEPT:
            self.router.forward(forwarder, message)

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Reads a peer's RPCs until its stream ends. Bytes that are no RPC cost the peer score and the stream."""
        peer = stream.muxed_conn.peer_id
        buffer = bytearray()
        try:
            while self.manager.is_running:
                chunk = await stream.read(READ_BYTES)
                if not chunk:
                    return
                buffer += chunk
                for frame in _frames(buffer):
                    await self._take_rpc(peer, rpc_pb2.RPC.FromString(frame))
        except (DecodeError, ParseError):
            self._penalise(peer, "malformed gossip RPC")
            await stream.reset()
            self._handle_dead_peer(peer)

    async def _take_rpc(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        for message in rpc.publish:
            self.receive(peer, message)
            await trio.lowlevel.checkpoint()
        if len(rpc.subscriptions) > self.max_subscriptions_per_peer:
            self._penalise(peer, "too many subscriptions")
            return
        for subscription in rpc.subscriptions:
            if 0 < len(subscription.topicid) <= TOPIC_MAX_CHARS:
                self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc_pb2.RPC(control=rpc.control), peer)

    async def handle_sending_messages(self, peer_id: ID, stream: INetStream, queue: RpcQueue) -> None:
        """Sends a peer's queue; what waits together leaves together. Ends with the queue or the stream."""
        try:
            while (item := await queue.pop()) is not None:
                block = bytearray(_encoded(item))
                while len(block) < WRITE_BYTES and (more := queue._queue.pop()) is not None:
                    block += _encoded(more)
                await stream.write(bytes(block))
        except Exception:
            self._handle_dead_peer(peer_id)


def _encoded(item: rpc_pb2.RPC | bytes) -> bytes:
    """An RPC as it leaves; forwarded messages were encoded once for all peers."""
    return item if isinstance(item, bytes) else encode_varint_prefixed(item.SerializeToString())


def _frames(buffer: bytearray) -> Iterable[bytes]:
    """Takes the complete length-prefixed frames off the front. Raises ``ParseError`` for a length over the bound."""
    start = 0
    try:
        while True:
            length, size = 0, 0
            for size, byte in enumerate(memoryview(buffer)[start : start + VARINT_MAX_BYTES], 1):
                length |= (byte & 0x7F) << (7 * (size - 1))
                if byte < 0x80:
                    break
            else:
                if size == VARINT_MAX_BYTES:
                    raise ParseError("the length of an RPC has too many bytes")
                return
            if length > RPC_MAX_BYTES:
                raise ParseError(f"an RPC of {length} bytes is over the bound of {RPC_MAX_BYTES}")
            end = start + size + length
            if end > len(buffer):
                return
            yield bytes(buffer[start + size : end])
            start = end
    finally:
        del buffer[:start]


def _signed(message: rpc_pb2.Message) -> bool:
    """Whether the signature is the origin's. Stock raises for a garbage key, which ends its process."""
    try:
        return signature_validator(message)
    except Exception:
        return False

"""What does gossip cost, keep and send, stock or sturdy? Run as a program with the mode; prints the facts as JSON."""

import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
import trio
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes
from multiaddr import Multiaddr

STURDY = sys.argv[1] == "sturdy"
TOPIC, MESHSUB = "t", "/meshsub/1.1.0"
LISTEN = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
BURST = 200
LIMIT_S = 60


class Node:
    """A host with gossip of the mode under test, and the records it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.news = trio.Event()
        if STURDY:
            from mesh.net.libp2p_host import build_host
            from mesh.net.libp2p_pubsub import SturdyGossip, SturdyPubsub
            from mesh.net.link import Verdict

            def deliver(_peer: ID, _topic: str, record: bytes) -> Verdict:
                self.hear(record)
                return Verdict.ACCEPT

            self.host: Any = build_host(os.urandom(32), lambda _peer, _error: None)
            self.router: Any = SturdyGossip(lambda _error: None)
            self.pubsub: Any = SturdyPubsub(self.host, self.router, deliver, lambda _peer, _reason: None)
        else:
            self.host = new_host(key_pair=create_new_key_pair(), listen_addrs=LISTEN)
            self.router = GossipSub(
                [MESHSUB], 6, 4, 12, heartbeat_interval=1, heartbeat_initial_delay=0.1, spam_protection_enabled=False
            )
            self.pubsub = Pubsub(self.host, self.router, strict_signing=True)

    def hear(self, record: bytes) -> None:
        self.heard.append(record)
        self.news.set()
        self.news = trio.Event()

    async def wait_for(self, count: int, limit_s: float) -> int:
        """How many records arrived within the limit, at most ``count``."""
        with trio.move_on_after(limit_s):
            while len(self.heard) < count:
                await self.news.wait()
        return len(self.heard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PeerInfo]:
        async with (
            self.host.run(LISTEN),
            background_trio_service(self.router),
            background_trio_service(self.pubsub),
            trio.open_nursery() as nursery,
        ):
            await self.pubsub.wait_until_ready()
            subscription = await self.pubsub.subscribe(TOPIC)
            if not STURDY:
                nursery.start_soon(self._drain, subscription)
            yield PeerInfo(self.host.get_id(), self.host.get_transport_addrs())
            await self.host.close()
            nursery.cancel_scope.cancel()

    async def _drain(self, subscription: Any) -> None:
        while True:
            self.hear((await subscription.get()).data)


async def burst() -> dict[str, object]:
    """How many of 200 records published at once arrive, how many reads and tasks does it take, and what is kept?"""
    sender, receiver = Node(), Node()
    async with sender.running() as info, receiver.running():
        await receiver.host.connect(info)
        await sender.pubsub.wait_for_subscription(receiver.host.get_id(), TOPIC, LIMIT_S)
        await sender.router.wait_for_mesh(receiver.host.get_id(), TOPIC, LIMIT_S)
        tasks_before = receiver.pubsub.manager.stats.tasks.total_count
        for number in range(BURST):
            await sender.pubsub.publish(TOPIC, b"record %d" % number)
        arrived = await receiver.wait_for(BURST, LIMIT_S if STURDY else 5)
        tasks = receiver.pubsub.manager.stats.tasks.total_count - tasks_before
        kept = len(receiver.router.equivocation_detection)
        stamps = sum(map(len, receiver.router.recent_message_deliveries.values()))
    return {"arrived": arrived, "tasks": tasks, "messages_kept": kept, "timestamps_kept": stamps}


async def by_hand() -> dict[str, object]:
    """What does a peer that speaks raw gossipsub see, and how are its RPCs read?"""
    node, stranger = Node(), new_host(key_pair=create_new_key_pair(), listen_addrs=LISTEN)
    records = 0
    received = trio.Event()

    async def read(stream: Any) -> None:
        nonlocal records
        while True:
            rpc = rpc_pb2.RPC.FromString(await read_varint_prefixed_bytes(stream))
            if rpc.publish:
                records += bool(rpc.senderRecord)
                received.set()

    stranger.set_stream_handler(MESHSUB, read)
    async with node.running() as info, stranger.run(LISTEN):
        await stranger.connect(info)
        stream = await stranger.new_stream(info.peer_id, [MESHSUB])
        hello = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)])
        await stream.write(encode_varint_prefixed(hello.SerializeToString()))
        await node.pubsub.wait_for_subscription(stranger.get_id(), TOPIC, LIMIT_S)
        await node.router.wait_for_mesh(stranger.get_id(), TOPIC, LIMIT_S)
        await node.pubsub.publish(TOPIC, b"ours")
        with trio.fail_after(LIMIT_S):
            await received.wait()
        reads = await _reads_of_burst(node, stranger, stream)
        await stranger.close()
    return {"sender_records": records, "reads": reads}


async def _reads_of_burst(node: Node, stranger: Any, stream: Any) -> int:
    """How often does the node read from a stream that brings 100 RPCs in one write?"""
    (connection,) = node.host.get_network().get_connections(stranger.get_id())
    incoming = next(s for s in connection.get_streams() if not s.muxed_stream.is_initiator and s.protocol_id == MESHSUB)
    reads = 0
    stock_read = incoming.read

    async def counted(n: int | None = None) -> bytes:
        nonlocal reads
        reads += 1
        return bytes(await stock_read(n))

    incoming.read = counted
    block = b""
    for number in range(100):
        message = rpc_pb2.Message(
            data=b"n%d" % number,
            topicIDs=[TOPIC],
            from_id=stranger.get_id().to_bytes(),
            seqno=number.to_bytes(8, "big"),
        )
        message.signature = stranger.get_private_key().sign(b"libp2p-pubsub:" + message.SerializeToString())
        block += encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString())
    already = len(node.heard)
    await stream.write(block)
    await node.wait_for(already + 32, LIMIT_S)  # stock loses what is over 32
    return reads


async def control_messages() -> dict[str, object]:
    """Two peers, each grafted on a topic of its own: which topics does each hear of?"""
    node = Node()
    told: dict[str, set[str]] = {}

    async def note(control: rpc_pb2.ControlMessage, peer: ID) -> None:
        told.setdefault(peer.to_bytes().decode(), set()).update(graft.topicID for graft in control.graft)

    node.router.emit_control_message = note
    grafts = {ID(b"first"): ["one"], ID(b"second"): ["two"]}
    await node.router._emit_control_msgs(grafts, {}, {})
    node.pubsub.seen_messages.stop()
    return {"grafts": {peer: sorted(topics) for peer, topics in told.items()}}


async def threads() -> dict[str, object]:
    """How many threads does a gossip service leave behind?"""
    before = threading.active_count()
    async with Node().running():
        pass
    return {"left": threading.active_count() - before}


CHECKS: list[Callable[[], Awaitable[dict[str, object]]]] = [burst, by_hand, control_messages, threads]


async def main() -> None:
    if STURDY:
        import logging

        from mesh.net import libp2p_fixes

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        libp2p_fixes.apply()
    facts = {}
    for check in CHECKS:
        with trio.fail_after(240):
            facts[check.__name__] = await check()
    print(json.dumps(facts))


if __name__ == "__main__":
    trio.run(main)

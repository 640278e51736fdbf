"""Does a peer's packet end the victim? Run as a program: ``crashes.py stock`` or ``crashes.py sturdy``; prints JSON.

The victim runs in its own nursery. After each attack an honest peer must still connect, be echoed and be heard.
"""

import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog
import trio
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

LISTEN = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
TOPIC, MESHSUB, ECHO, FAULTY = "t", "/meshsub/1.1.0", "/echo/1", "/faulty/1"
PATIENCE_S = {"sturdy": 90.0, "stock": 20.0}
Victim = Callable[[trio.Nursery, Callable[[bytes], bool]], Awaitable[tuple[str, trio.Event]]]


def judge(heard: trio.Event, record: bytes) -> bool:
    """The victim's validator: has a defect that one record triggers."""
    if record == b"trigger":
        raise RuntimeError("a defect in a validator")
    if record == b"honest":
        heard.set()
    return True


async def run_stock(judged: Callable[[bytes], bool], *, task_status: Any) -> None:
    host = new_host(key_pair=create_new_key_pair(), listen_addrs=LISTEN)
    router = GossipSub([MESHSUB], 6, 4, 12, heartbeat_interval=1, heartbeat_initial_delay=0.1)
    pubsub = Pubsub(host, router, strict_signing=True)

    async def echo(stream: Any) -> None:
        await stream.write(await stream.read(100))
        await stream.close()

    async def faulty(stream: Any) -> None:
        raise RuntimeError("a defect in a handler")

    host.set_stream_handler(ECHO, echo)
    host.set_stream_handler(FAULTY, faulty)
    async with host.run(LISTEN), background_trio_service(router), background_trio_service(pubsub):
        await pubsub.wait_until_ready()
        pubsub.set_topic_validator(TOPIC, lambda _peer, message: judged(message.data), False)
        await pubsub.subscribe(TOPIC)
        task_status.started(str(host.get_addrs()[0]))
        await trio.sleep_forever()


async def run_sturdy(judged: Callable[[bytes], bool], *, task_status: Any) -> None:
    from mesh.net.libp2p_link import Libp2pLink, LinkConfig
    from mesh.net.link import Verdict

    link = Libp2pLink(os.urandom(32), LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False))

    async def echo(_peer: object, stream: Any) -> None:
        await stream.send_all(await stream.receive_some(100))

    async def faulty(_peer: object, stream: Any) -> None:
        raise RuntimeError("a defect in a handler")

    link.accept(ECHO, echo)
    link.accept(FAULTY, faulty)
    link.subscribe(TOPIC, lambda _peer, record: Verdict.ACCEPT if judged(record) else Verdict.REJECT)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        task_status.started(link.addresses[0])


async def attacker(stack: AsyncExitStack) -> BasicHost:
    host = new_host(key_pair=create_new_key_pair(), listen_addrs=LISTEN)
    await stack.enter_async_context(host.run(LISTEN))
    stack.push_async_callback(host.close)
    return host


async def send_gossip(host: BasicHost, victim: ID, body: bytes) -> None:
    """Opens a gossip stream by hand and sends one frame."""
    stream = await host.new_stream(victim, [MESHSUB])
    await stream.write(encode_varint_prefixed(body))


def signed_message(host: BasicHost, data: bytes) -> rpc_pb2.Message:
    message = rpc_pb2.Message(data=data, topicIDs=[TOPIC], from_id=host.get_id().to_bytes(), seqno=bytes(8))
    message.signature = host.get_private_key().sign(b"libp2p-pubsub:" + message.SerializeToString())
    message.key = host.get_public_key().serialize()
    return message


async def malformed_rpc(host: BasicHost, victim: ID) -> None:
    await send_gossip(host, victim, b"\xff\xff\xff\xff\xff")


async def garbage_key(host: BasicHost, victim: ID) -> None:
    message = rpc_pb2.Message(data=b"x", topicIDs=[TOPIC], from_id=b"\x12\x20" + bytes(32), seqno=bytes(8))
    message.key, message.signature = b"\xff\xff\xff", b"x"
    await send_gossip(host, victim, rpc_pb2.RPC(publish=[message]).SerializeToString())


async def faulty_validator(host: BasicHost, victim: ID) -> None:
    message = signed_message(host, b"trigger")
    await send_gossip(host, victim, rpc_pb2.RPC(publish=[message]).SerializeToString())


async def faulty_handler(host: BasicHost, victim: ID) -> None:
    await host.new_stream(victim, [FAULTY])


ATTACKS = [malformed_rpc, garbage_key, faulty_validator, faulty_handler]


async def honest_visit(address: str, heard: trio.Event) -> None:
    async with AsyncExitStack() as stack:
        host = await attacker(stack)
        info = info_from_p2p_addr(Multiaddr(address))
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [ECHO])
        await stream.write(b"hello")
        assert await stream.read(5) == b"hello"
        message = signed_message(host, b"honest")
        await send_gossip(host, info.peer_id, rpc_pb2.RPC(publish=[message]).SerializeToString())
        await heard.wait()


async def outcome(
    run_victim: Callable[..., Awaitable[None]], attack: Callable[..., Awaitable[None]], patience_s: float
) -> str:
    """``survived`` or ``died: <exception>``."""
    heard = trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            address: str = await nursery.start(partial(run_victim, partial(judge, heard)))
            info = info_from_p2p_addr(Multiaddr(address))
            with trio.fail_after(patience_s):
                async with AsyncExitStack() as stack:
                    host = await attacker(stack)
                    await host.connect(info)
                    await attack(host, info.peer_id)
                    await honest_visit(address, heard)
            nursery.cancel_scope.cancel()
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return f"died: {type(error).__name__}"
    return "survived"


async def main(mode: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    run_victim = {"stock": run_stock, "sturdy": run_sturdy}[mode]
    print(json.dumps({attack.__name__: await outcome(run_victim, attack, PATIENCE_S[mode]) for attack in ATTACKS}))


if __name__ == "__main__":
    trio.run(main, sys.argv[1])

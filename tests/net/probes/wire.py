"""What do connections and streams do, stock or sturdy? Run as a program with the mode; prints the facts as JSON."""

import json
import logging
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig
from libp2p.peer.peerinfo import PeerInfo
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub import pubsub
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.tcp import tcp
from libp2p.utils import encode_delim
from multiaddr import Multiaddr

STURDY = sys.argv[1] == "sturdy"
SINK, ECHO = "/sink/1", "/echo/1"
PATIENCE_S = 60.0 if STURDY else 2.5
"""For what ours does, and what the stock library does not do however long it is waited for."""
TRY_S = 60.0
"""For what both do, or refuse at once."""
MIB = 1024 * 1024


def make_host(**config: Any) -> BasicHost:
    """A host of the mode under test."""
    if not STURDY:
        settings = ConnectionConfig(**config) if config else None
        return new_host(
            key_pair=create_new_key_pair(), connection_config=settings, listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]
        )
    import os

    from mesh.net.libp2p_host import build_host

    host = build_host(os.urandom(32), lambda _peer, _error: None)
    for name, value in config.items():
        setattr(host.get_network().connection_config, name, value)
    return host


@asynccontextmanager
async def running(host: BasicHost, port: int = 0) -> AsyncIterator[PeerInfo]:
    async with host.run([Multiaddr(f"/ip4/127.0.0.1/tcp/{port}")]):
        yield PeerInfo(host.get_id(), host.get_transport_addrs())
        await host.close()


@asynccontextmanager
async def pair(**config: Any) -> AsyncIterator[tuple[BasicHost, BasicHost, PeerInfo]]:
    """A dialler connected to a listener that serves an echo and a sink which reads nothing."""
    listener, dialler = make_host(**config), make_host()

    async def echo(stream: Any) -> None:
        while data := await stream.read(65536):
            await stream.write(data)

    async def sink(stream: Any) -> None:
        await trio.sleep_forever()

    listener.set_stream_handler(ECHO, echo)
    listener.set_stream_handler(SINK, sink)
    async with running(listener) as info, running(dialler):
        await dialler.connect(info)
        yield listener, dialler, info


async def echoes(host: BasicHost, info: PeerInfo) -> bool:
    """Whether the listener still answers."""
    try:
        with trio.fail_after(PATIENCE_S):
            stream = await host.new_stream(info.peer_id, [ECHO])
            await stream.write(b"hello")
            answered = await stream.read(5) == b"hello"
            await stream.reset()
            return answered
    except Exception:
        return False


def connection_of(host: BasicHost, peer: Any) -> Any:
    return host.get_network().get_connections(peer)[0].muxed_conn


async def window_updates() -> dict[str, object]:
    """How many window updates does the reader of 2 MiB send?"""
    async with pair() as (listener, dialler, info):
        updates = 0
        done = trio.Event()

        async def read_all(stream: Any) -> None:
            nonlocal updates
            muxed = stream.muxed_stream
            send = muxed.send_window_update

            async def counted(increment: int, skip_lock: bool = False) -> None:
                nonlocal updates
                updates += 1
                await send(increment, skip_lock)

            muxed.send_window_update = counted
            left = 2 * MIB
            while left:
                left -= len(await stream.read(min(4096, left)))
            done.set()

        listener.set_stream_handler("/read/1", read_all)
        stream = await dialler.new_stream(info.peer_id, ["/read/1"])
        await stream.write(bytes(2 * MIB))
        await done.wait()
        return {"updates": updates}


async def overrun() -> dict[str, object]:
    """What does a listener hold of a peer that ignores its window and sends 2 MiB to a stream nobody reads?"""
    async with pair() as (listener, dialler, info):
        stream = await dialler.new_stream(info.peer_id, [SINK])
        attacker = connection_of(dialler, info.peer_id)
        victim = connection_of(listener, dialler.get_id())
        number = stream.muxed_stream.stream_id
        header = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_DATA, 0, number, 65536)
        with suppress(Exception):  # the victim may hang up meanwhile
            for _ in range(32):
                await attacker._write_frame(header + bytes(65536))
        with trio.move_on_after(PATIENCE_S):
            await victim.event_closed.wait()
        held = max([len(buffer) for buffer in victim.stream_buffers.values()], default=0)
        return {"held": held, "closed": victim.is_closed}


async def cancelled_writes() -> dict[str, object]:
    """Is the connection usable after writers were cancelled at every step of a write?"""
    async with pair() as (_listener, dialler, info):
        stream = await dialler.new_stream(info.peer_id, [SINK])
        with suppress(BaseExceptionGroup):  # the connection may break meanwhile
            for steps in range(24):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.write, b"x")
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
        return {"usable": await echoes(dialler, info)}


async def multiplexer() -> dict[str, object]:
    """Which class multiplexes?"""
    async with pair() as (_listener, dialler, info):
        return {"muxer": type(connection_of(dialler, info.peer_id)).__name__}


async def inbound_slots() -> dict[str, object]:
    """With room for 4, how many of 10 visitors that come and go one after the other are served?"""
    listener = make_host(max_connections=4, high_watermark=4, low_watermark=0, min_connections=0)

    async def echo(stream: Any) -> None:
        await stream.write(await stream.read(5))

    listener.set_stream_handler(ECHO, echo)
    served = 0
    async with running(listener) as info:
        for _ in range(10):
            visitor = make_host()
            async with running(visitor):
                try:
                    with trio.fail_after(TRY_S):
                        await visitor.connect(info)
                        served += await echoes(visitor, info)
                except Exception:
                    break
            with trio.move_on_after(PATIENCE_S):
                while listener.get_network().get_connections(visitor.get_id()):
                    await trio.sleep(0.02)
    return {"served": served}


async def silent_sockets() -> dict[str, object]:
    """Can an honest peer get in while 300 sockets are held that say nothing?"""
    listener, honest = make_host(), make_host()

    async def echo(stream: Any) -> None:
        await stream.write(await stream.read(5))

    listener.set_stream_handler(ECHO, echo)
    async with running(listener) as info, running(honest):
        port = int(info.addrs[0].value_for_protocol("tcp"))
        held = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(300)]
        entered = False
        with trio.move_on_after(PATIENCE_S):
            try:
                await honest.connect(info)
                entered = await echoes(honest, info)
            except Exception:
                entered = False
        for stream in held:
            await trio.aclose_forcefully(stream)
    return {"entered": entered}


async def many_streams() -> dict[str, object]:
    """How many of 200 streams that one peer opens are kept?"""
    async with pair() as (listener, dialler, info):
        for _ in range(200):
            try:
                with trio.fail_after(TRY_S):
                    await dialler.new_stream(info.peer_id, [SINK])
            except Exception:
                break
        (connection,) = listener.get_network().get_connections(dialler.get_id())
        return {"kept": len(connection.get_streams()), "usable": True}


class CountingStream(trio.abc.ReceiveStream):
    """Gives what it was given, and counts how often it was asked."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.asked += 1
        chunk, self.data = self.data[:max_bytes], self.data[max_bytes or len(self.data) :]
        return chunk

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def socket_reads() -> dict[str, object]:
    """How often is the socket asked for 100 messages of 100 bytes, each read as noise does it?"""
    source = CountingStream(bytes(100 * 102))
    stream = tcp.TrioTCPStream(source)
    for _ in range(100):
        assert len(await stream.read(2)) == 2
        assert len(await stream.read(100)) == 100
    return {"asked": source.asked}


class CountSteps(trio.abc.Instrument):
    """Counts how often the scheduler ran a task."""

    steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1


async def steps_per_echo() -> dict[str, object]:
    """How many steps of the scheduler does a message there and back take?"""
    async with pair() as (_listener, dialler, info):
        stream = await dialler.new_stream(info.peer_id, [ECHO])
        count = CountSteps()
        trio.lowlevel.add_instrument(count)
        for _ in range(100):
            await stream.write(b"hello")
            assert await stream.read(5) == b"hello"
        trio.lowlevel.remove_instrument(count)
        return {"steps": count.steps / 100}


async def noise_messages() -> dict[str, object]:
    """Into how many noise messages do 240 KiB go, written at once?"""
    async with pair() as (_listener, dialler, info):
        stream = await dialler.new_stream(info.peer_id, [SINK])
        noise = connection_of(dialler, info.peer_id).secured_conn.conn.noise_state.noise_protocol
        before = noise.cipher_state_encrypt.n
        await stream.write(bytes(240 * 1024))
        return {"messages": noise.cipher_state_encrypt.n - before}


class Listener:
    """The other end of a negotiation that agrees to everything; notes what it knew when it was first asked."""

    def __init__(self, protocol: str) -> None:
        self.heard, self.known_first = b"", b""
        self.answer = encode_delim(b"/multistream/1.0.0") + encode_delim(protocol.encode())

    async def write(self, data: bytes) -> None:
        self.heard += data

    async def read(self, n: int | None = None) -> bytes:
        self.known_first = self.known_first or self.heard
        chunk, self.answer = self.answer[:n], self.answer[n:]
        return chunk


async def negotiation() -> dict[str, object]:
    """How many of the three kinds of negotiation name the protocol before they wait for an answer?"""
    host = make_host()
    upgrader = host.get_network().upgrader
    eager = 0
    for client in (
        upgrader.security_multistream.multiselect_client,
        upgrader.muxer_multistream.multiselect_client,
        host.multiselect_client,
    ):
        listener = Listener(ECHO)
        assert await client.select_one_of([ECHO], MultiselectCommunicator(listener)) == ECHO
        eager += ECHO.encode() in listener.known_first
    return {"eager": eager}


async def reset_streams() -> dict[str, object]:
    """What does a listener hold of 20 streams on which a peer sent 100 KiB that nobody read, and which it then reset?"""
    async with pair() as (listener, dialler, info):
        for _ in range(20):
            stream = await dialler.new_stream(info.peer_id, [SINK])
            await stream.write(bytes(100 * 1024))
            await stream.reset()
        assert await echoes(dialler, info)
        victim = connection_of(listener, dialler.get_id())
        return {"held": sum(len(buffer) for buffer in victim.stream_buffers.values())}


async def same_port() -> dict[str, object]:
    """Does a second host on the same port notice?"""
    first, second = make_host(), make_host()
    async with running(first) as info:
        port = int(info.addrs[0].value_for_protocol("tcp"))
        async with running(second, port):
            return {"second_listens": len(second.get_network().listeners) > 0}


async def dial_time() -> dict[str, object]:
    """The shortest of 5 dials, seconds."""
    listener = make_host()
    times = []
    async with running(listener) as info:
        for _ in range(5):
            visitor = make_host()
            async with running(visitor):
                start = trio.current_time()
                await visitor.connect(info)
                times.append(trio.current_time() - start)
    return {"seconds": min(times)}


async def auto_dial() -> dict[str, object]:
    """With both watermarks at 0, does the library dial a peer that it merely heard of?"""
    known = make_host()
    quiet = make_host(max_connections=64, high_watermark=64, low_watermark=0, min_connections=0)
    met = trio.Event()

    async def meet(_network: object, _connection: object) -> None:
        met.set()

    async with running(known) as info, running(quiet):
        known.get_network().notifees[0].connected = meet
        quiet.get_peerstore().add_addrs(info.peer_id, info.addrs, 3600)
        await quiet.get_network().auto_connector.maybe_connect()
        with trio.move_on_after(2.0 if STURDY else TRY_S):
            await met.wait()
    return {"dialled": met.is_set()}


async def constants() -> dict[str, object]:
    """Facts that need no network."""
    from libp2p.crypto import ecc

    queue = pubsub.RpcQueue()
    pushed = sum(queue.push(b"") for _ in range(200))
    try:
        key = ecc.create_new_key_pair("P-256").public_key
        p256 = ecc.ECCPublicKey.from_bytes(key.to_bytes(), "P-256").to_bytes() == key.to_bytes()
    except Exception:
        p256 = False
    quiet = not logging.getLogger("libp2p.host.basic_host").isEnabledFor(logging.ERROR)
    return {"queued": pushed, "p256": p256, "quiet": quiet, "socket": hasattr(socket, "SO_REUSEPORT")}


CHECKS: list[Callable[[], Awaitable[dict[str, object]]]] = [
    window_updates, overrun, cancelled_writes, multiplexer, inbound_slots, silent_sockets, many_streams, socket_reads,
    steps_per_echo, noise_messages, negotiation, reset_streams, same_port, dial_time, auto_dial, constants,
]  # fmt: skip


async def main() -> None:
    if STURDY:
        import structlog

        from mesh.net import libp2p_fixes

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        libp2p_fixes.apply()
    assert issubclass(tcp.TrioTCPStream, TrioTCPStream)
    facts = {}
    for check in CHECKS:
        with trio.fail_after(240):
            facts[check.__name__] = await check()
    print(json.dumps(facts))


if __name__ == "__main__":
    trio.run(main)

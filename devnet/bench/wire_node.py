"""Who is at the other end in the wire bench? A process that gives the same bytes by every way, until its input ends."""

import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio
from libp2p.crypto.secp256k1 import create_new_key_pair

from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.net.tls_once import server_context
from protocols.units import PeerId

__all__ = ["BLOB", "CHUNK_BYTES", "ECHO", "LISTEN"]

BLOB, ECHO, LISTEN = "/bench/blob/1", "/bench/echo/1", "/ip4/127.0.0.1/tcp/0"
CHUNK_BYTES = 256 * 1024
Stream = trio.abc.Stream


async def give(stream: Stream) -> None:
    """Reads how many bytes are wanted (8 bytes), sends them."""
    wanted = b""
    while len(wanted) < 8:
        chunk = await stream.receive_some(8 - len(wanted))
        if not chunk:
            return
        wanted += chunk
    left, block = int.from_bytes(wanted, "big"), bytes(CHUNK_BYTES)
    while left:
        size = min(left, CHUNK_BYTES)
        await stream.send_all(block[:size])
        left -= size


async def serve_plain(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> int:
    """Serves a TCP port; returns it."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handler, listeners)
    return int(listeners[0].socket.getsockname()[1])


async def start_link(nursery: trio.Nursery, *, side_port: bool) -> str:
    """A link that gives blobs and echoes; returns its address."""
    link = Libp2pLink(os.urandom(32), LinkConfig(listen=(LISTEN,), mdns=False, side_port=side_port))

    async def blob(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        await give(stream)

    async def echo(_peer: PeerId, request: bytes) -> bytes:
        return request

    link.accept(BLOB, blob)
    link.serve(ECHO, echo, max_bytes=4096)
    await nursery.start(link.run)
    return link.addresses[0]


async def start_stock(nursery: trio.Nursery) -> str:
    """A stock libp2p host that gives blobs; returns its address. For a process in which nothing of ours was applied."""
    from libp2p import new_host
    from multiaddr import Multiaddr

    host: Any = new_host(listen_addrs=[Multiaddr(LISTEN)])

    async def blob(stream: Any) -> None:
        left, block = int.from_bytes(await stream.read(8), "big"), bytes(CHUNK_BYTES)
        while left:
            await stream.write(block[: min(left, CHUNK_BYTES)])
            left -= min(left, CHUNK_BYTES)

    host.set_stream_handler(BLOB, blob)
    address: str = await nursery.start(_run_stock, host)
    return address


async def _run_stock(host: Any, task_status: Any) -> None:
    from multiaddr import Multiaddr

    async with host.run([Multiaddr(LISTEN)]):
        task_status.started(str(host.get_addrs()[0]))
        await trio.sleep_forever()


async def take_stock(address: str, size: int) -> float:
    """Seconds that a stock client needs for ``size`` bytes of a stock server."""
    from libp2p import new_host
    from libp2p.peer.peerinfo import info_from_p2p_addr
    from multiaddr import Multiaddr

    host: Any = new_host(listen_addrs=[Multiaddr(LISTEN)])
    async with host.run([Multiaddr(LISTEN)]):
        info = info_from_p2p_addr(Multiaddr(address))
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [BLOB])
        start = trio.current_time()
        await stream.write(size.to_bytes(8, "big"))
        left = size
        while left:
            left -= len(await stream.read(CHUNK_BYTES))
        return trio.current_time() - start


async def main(mode: str) -> None:
    """``ours``, ``stock``, or ``take-stock``, which obeys lines of ``[address, size]``."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    async with trio.open_nursery() as nursery:
        if mode == "ours":
            context, _ = server_context(create_new_key_pair().private_key)

            async def give_tls(socket: trio.SocketStream) -> None:
                await give(trio.SSLStream(socket, context, server_side=True, https_compatible=True))

            where: dict[str, object] = {
                "raw": await serve_plain(nursery, give),
                "tls": await serve_plain(nursery, give_tls),
                "link": await start_link(nursery, side_port=True),
            }
        elif mode == "stock":
            where = {"stock": await start_stock(nursery)}
        else:
            where = {}
        print(json.dumps(where), flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            address, size = json.loads(line)
            print(json.dumps(await take_stock(address, size)), flush=True)
        os._exit(0)  # stock hosts take seconds to leave, and nothing is left to measure


if __name__ == "__main__":
    trio.run(main, sys.argv[1])

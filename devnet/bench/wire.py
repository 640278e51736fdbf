"""How fast is the wire, and how soon is a dead peer noticed? Two real processes; bare TCP, TLS and stock libp2p beside it.

Figures: ``stream`` (one stream of the link, against raw TCP), ``artifact`` (``Link.open``, against TLS), ``rpc_p50``,
``dial_p50``, ``killed_noticed``, ``frozen_noticed``, ``dial_past_held_sockets``.
"""

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from devnet.bench.gossip import Worker
from devnet.bench.wire_node import BLOB, CHUNK_BYTES, ECHO, LISTEN
from mesh.net.addresses import parse_address
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.net.tls_once import client_context
from protocols.units import PeerId

__all__ = ["run"]

ROUNDS: Final = 3
"""Of each way, interleaved; medians count."""
HELD_SOCKETS: Final = 300
MIB: Final = 1024 * 1024
Figure = dict[str, object]


@asynccontextmanager
async def child(mode: str) -> AsyncIterator[tuple[Worker, trio.Process, dict[str, Any]]]:
    """The other process, killed at the end of the block."""
    command = [sys.executable, "-W", "ignore", "-m", "devnet.bench.wire_node", mode]
    start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(start)
        worker = Worker(process)
        yield worker, process, await worker.line()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def our_link(*, side_port: bool = True) -> AsyncIterator[Libp2pLink]:
    """A link of this process for the block."""
    async with trio.open_nursery() as nursery:
        link = Libp2pLink(os.urandom(32), LinkConfig(listen=(LISTEN,), mdns=False, side_port=side_port))
        await nursery.start(link.run)
        yield link
        nursery.cancel_scope.cancel()


def _known(link: Libp2pLink, address: str) -> PeerId:
    peer = parse_address(address).peer
    assert peer is not None
    link.learn(peer, [address])
    return peer


async def _take(stream: trio.abc.Stream, size: int) -> float:
    """Seconds until ``size`` bytes came."""
    start = trio.current_time()
    await stream.send_all(size.to_bytes(8, "big"))
    left = size
    while left:
        chunk = await stream.receive_some(CHUNK_BYTES)
        if not chunk:
            raise RuntimeError("the stream of the wire bench ended early")
        left -= len(chunk)
    return trio.current_time() - start


async def _raw(port: int, size: int) -> float:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        return await _take(stream, size)


async def _tls(port: int, size: int) -> float:
    socket = await trio.open_tcp_stream("127.0.0.1", port)
    async with trio.SSLStream(socket, client_context(), https_compatible=True) as stream:
        await stream.do_handshake()
        return await _take(stream, size)


async def _link(link: Libp2pLink, peer: PeerId, size: int) -> float:
    async with await link.open(peer, BLOB) as stream:
        return await _take(stream, size)


async def _throughput(where: dict[str, Any], size: int) -> dict[str, Figure]:
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(our_link(side_port=False))
        beside = await stack.enter_async_context(our_link())
        _, _, stock = await stack.enter_async_context(child("stock"))
        taker, _, _ = await stack.enter_async_context(child("take-stock"))
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "raw": partial(_raw, where["raw"], size),
            "tls": partial(_tls, where["tls"], size),
            "stream": partial(_link, plain, _known(plain, where["link"]), size),
            "artifact": partial(_link, beside, _known(beside, where["link"]), size),
            "stock": partial(taker.ask, [stock["stock"], size]),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                rates[name].append(size / MIB / await way())
    speed = {name: statistics.median(found) for name, found in rates.items()}
    shown = {name: {"value": round(rate, 1), "unit": "MiB/s"} for name, rate in speed.items()}
    stream: Figure = {**shown["stream"], "ratio": round(speed["stream"] / speed["raw"], 3), "of": "raw TCP"}
    artifact: Figure = {**shown["artifact"], "ratio": round(speed["artifact"] / speed["tls"], 3), "of": "TLS"}
    return {
        "stream": {**stream, "target_ratio": 0.12},
        "artifact": {**artifact, "target_ratio": 0.7},
        "stock_stream": {**shown["stock"], "ratio": round(speed["stock"] / speed["raw"], 3), "of": "raw TCP"},
        "raw_tcp": dict(shown["raw"]),
        "tls": dict(shown["tls"]),
    }


async def _rpc(address: str, calls: int) -> Figure:
    times = []
    async with our_link() as link:
        peer = _known(link, address)
        await link.call(peer, ECHO, b"warm", 30)
        for _ in range(calls):
            start = trio.current_time()
            await link.call(peer, ECHO, bytes(300), 30)
            times.append(1000 * (trio.current_time() - start))
    return {"value": round(statistics.median(times), 3), "unit": "ms", "target": 1.0}


async def _dials(address: str, count: int) -> Figure:
    times = []
    for _ in range(count):
        async with our_link() as link:
            peer = _known(link, address)
            start = trio.current_time()
            await link.connect(peer)
            times.append(1000 * (trio.current_time() - start))
    return {"value": round(statistics.median(times), 2), "unit": "ms", "target": 30.0}


async def _noticed(how: signal.Signals, target_s: float) -> Figure:
    """Seconds from a signal to another node until the link says that it is gone."""
    async with child("ours") as (_, process, where), our_link() as link:
        peer = _known(link, where["link"])
        await link.connect(peer)
        start = trio.current_time()
        process.send_signal(how)
        with trio.fail_after(60):
            async for event in link.events():
                if event.peer == peer and peer not in link.peers():
                    break
        return {"value": round(trio.current_time() - start, 2), "unit": "s", "target": target_s}


async def _past_held_sockets(address: str) -> Figure:
    """Seconds an honest dial takes while 300 sockets are held that say nothing."""
    endpoint = parse_address(address)
    held = [await trio.open_tcp_stream(endpoint.host, endpoint.port) for _ in range(HELD_SOCKETS)]
    try:
        async with our_link() as link:
            peer = _known(link, address)
            start = trio.current_time()
            await link.connect(peer)
            await link.call(peer, ECHO, b"in", 30)
            return {"value": round(trio.current_time() - start, 3), "unit": "s", "target": 2.0}
    finally:
        for stream in held:
            await trio.aclose_forcefully(stream)


async def run(quick: bool, seed: int) -> dict[str, Figure]:
    """Runs the bench: about 40 s in its quick form. Nothing in it is random: ``seed`` is taken for the sake of the seam."""
    del seed
    async with child("ours") as (_, _, where):
        figures = await _throughput(where, (32 if quick else 256) * MIB)
        figures["rpc_p50"] = await _rpc(where["link"], 300 if quick else 2000)
        figures["dial_p50"] = await _dials(where["link"], 10 if quick else 40)
        figures["dial_past_held_sockets"] = await _past_held_sockets(where["link"])
    figures["killed_noticed"] = await _noticed(signal.SIGKILL, 1.0)
    figures["frozen_noticed"] = await _noticed(signal.SIGSTOP, 10.0)
    return figures

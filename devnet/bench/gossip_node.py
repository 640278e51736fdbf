"""Who gossips in the gossip bench? A process with a few nodes, stock or ours, driven by lines of JSON on its input.

Commands: ``{"connect": [[address, ...] per node]}``, ``{"publish": rate per node and second, "seconds": s}``,
``{"burst": n}`` (first node only), ``{"report": true}``. Each is answered by one line when it is done.
Records carry ``time.monotonic_ns``, which all processes of one machine share.
"""

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
import trio

__all__ = ["Driver", "OurNode", "StockNode"]

TOPIC = "/mesh/bench/offers/cpu/1"
RECORD_BYTES = 1024
LISTEN = "/ip4/127.0.0.1/tcp/0"
Hear = Callable[[bytes], None]


class Node(Protocol):
    """What the bench needs of a node."""

    address: str

    async def connect(self, address: str) -> None: ...
    async def publish(self, record: bytes) -> None: ...


class OurNode:
    """A node of this project."""

    address = ""

    async def start(self, nursery: trio.Nursery, hear: Hear, keep: int) -> None:
        from mesh.net.libp2p_link import Libp2pLink, LinkConfig
        from mesh.net.link import Verdict

        self._link = Libp2pLink(os.urandom(32), LinkConfig(listen=(LISTEN,), mdns=False, keep_connected=keep))
        records = self._link.subscribe(TOPIC, lambda _peer, _record: Verdict.ACCEPT)
        await nursery.start(self._link.run)
        self.address = self._link.addresses[0]

        async def drain() -> None:
            async for _, record in records:
                hear(record)

        nursery.start_soon(drain)

    async def connect(self, address: str) -> None:
        from mesh.net.addresses import parse_address

        peer = parse_address(address).peer
        assert peer is not None
        self._link.learn(peer, [address])
        await self._link.connect(peer)

    async def publish(self, record: bytes) -> None:
        await self._link.publish(TOPIC, record)


class StockNode:
    """libp2p as it is, with the constructor arguments that help it most."""

    address = ""

    async def start(self, nursery: trio.Nursery, hear: Hear, keep: int) -> None:
        from libp2p import generate_new_ed25519_identity, new_host
        from libp2p.pubsub.gossipsub import GossipSub
        from libp2p.pubsub.pubsub import Pubsub
        from libp2p.tools.anyio_service import background_trio_service
        from multiaddr import Multiaddr

        self._host: Any = new_host(key_pair=generate_new_ed25519_identity(), listen_addrs=[Multiaddr(LISTEN)])
        protocols: Any = ["/meshsub/1.2.0", "/meshsub/1.1.0"]
        router = GossipSub(
            protocols, 6, 4, 12, heartbeat_interval=1, heartbeat_initial_delay=0.2, gossip_history=6,
            adaptive_gossip_enabled=False, spam_protection_enabled=False, eclipse_protection_enabled=False,
        )  # fmt: skip
        self._pubsub = Pubsub(self._host, router, strict_signing=True)
        started = trio.Event()

        async def live() -> None:
            async with (
                self._host.run([Multiaddr(LISTEN)]),
                background_trio_service(router),
                background_trio_service(self._pubsub),
            ):
                await self._pubsub.wait_until_ready()
                subscription = await self._pubsub.subscribe(TOPIC)
                self.address = str(self._host.get_addrs()[0])
                started.set()
                while True:
                    message = await subscription.get()
                    if message.from_id != self._host.get_id().to_bytes():
                        hear(message.data)

        nursery.start_soon(live)
        await started.wait()

    async def connect(self, address: str) -> None:
        from libp2p.peer.peerinfo import info_from_p2p_addr
        from multiaddr import Multiaddr

        await self._host.connect(info_from_p2p_addr(Multiaddr(address)))

    async def publish(self, record: bytes) -> None:
        await self._pubsub.publish(TOPIC, record)


class Driver:
    """Runs the commands and keeps what was measured since the last report."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.latencies_ms: list[float] = []
        self.published = 0
        self.cpu_s = _cpu_s()
        self._serial = int.from_bytes(os.urandom(6), "big")

    def hear(self, record: bytes) -> None:
        """Notes the age of a record."""
        self.latencies_ms.append((time.monotonic_ns() - int.from_bytes(record[:8], "big")) / 1e6)

    def _record(self) -> bytes:
        self._serial += 1
        head = time.monotonic_ns().to_bytes(8, "big") + self._serial.to_bytes(8, "big")
        self.published += 1
        return head + bytes(RECORD_BYTES - len(head))

    async def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carries out one command."""
        if "connect" in command:
            for node, addresses in zip(self.nodes, command["connect"], strict=True):
                for address in addresses:
                    await node.connect(address)
        elif "publish" in command:
            await self._publish(float(command["publish"]), float(command["seconds"]))
        elif "burst" in command:
            for _ in range(int(command["burst"])):
                await self.nodes[0].publish(self._record())
        elif "report" in command:
            measured = {
                "published": self.published,
                "latencies_ms": [round(x, 2) for x in self.latencies_ms],
                "cpu_s": _cpu_s() - self.cpu_s,
            }
            self.published, self.latencies_ms, self.cpu_s = 0, [], _cpu_s()
            return measured
        return {}

    async def _publish(self, rate: float, seconds: float) -> None:
        async def one(node: Node, offset_s: float) -> None:
            end = trio.current_time() + seconds
            await trio.sleep(offset_s / rate)
            while trio.current_time() < end:
                await node.publish(self._record())
                await trio.sleep(1 / rate)

        async with trio.open_nursery() as nursery:
            for number, node in enumerate(self.nodes):
                offset_s = (int.from_bytes(os.urandom(2), "big") / 65536 + number) / len(self.nodes)
                nursery.start_soon(one, node, offset_s % 1)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(mode: str, count: int, keep: int) -> None:
    """Starts the nodes, prints their addresses, obeys until standard input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    nodes: Any = [OurNode() if mode == "ours" else StockNode() for _ in range(count)]
    driver = Driver(nodes)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await node.start(nursery, driver.hear, keep)
        logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # importing the library sets it anew
        print(json.dumps([node.address for node in nodes]), flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            print(json.dumps(await driver.run(json.loads(line))), flush=True)
        os._exit(0)  # stock nodes take seconds to leave, and nothing is left to measure


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

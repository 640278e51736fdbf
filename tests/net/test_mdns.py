"""Do nodes on one LAN find each other, and is nothing left behind?"""

import socket
import threading
from collections.abc import Sequence

import pytest
import trio

from mesh.net.addresses import peer_id_of_secret
from mesh.net.mdns import Neighbours, _on_the_lan
from protocols.units import PeerId

A, B = peer_id_of_secret(b"a" * 32), peer_id_of_secret(b"b" * 32)


def lan_address() -> str:
    """This machine's address on a LAN. Nothing is sent: connecting a datagram socket only asks for the route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no network but loopback, so nobody can be found on it")
        return str(probe.getsockname()[0])


async def test_two_nodes_meet_and_leave_no_thread() -> None:
    host = lan_address()
    before = set(threading.enumerate())
    met: dict[PeerId, Sequence[str]] = {}
    both = trio.Event()

    def meet(peer: PeerId, addresses: Sequence[str]) -> None:
        met[peer] = addresses
        if {A, B} <= met.keys():
            both.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Neighbours(A, [f"/ip4/{host}/tcp/4001"], meet).run)
        nursery.start_soon(Neighbours(B, ["/ip4/0.0.0.0/tcp/4002", "/ip4/127.0.0.1/tcp/4003"], meet).run)
        with trio.fail_after(60):
            await both.wait()
        nursery.cancel_scope.cancel()
    assert any(f"/ip4/{host}/tcp/4001" in address for address in met[A])
    assert any(f"/ip4/{host}/tcp/4002" in address for address in met[B])
    assert not any("127.0.0.1" in address for address in met[B])
    left = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith("Trio thread")]
    assert left == []


def test_loopback_is_not_announced() -> None:
    assert _on_the_lan(["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2"]) == []
    assert _on_the_lan(["/ip4/192.0.2.7/tcp/3"]) == ["/ip4/192.0.2.7/tcp/3"]

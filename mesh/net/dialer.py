"""How is a peer reached? Its addresses are tried one shortly after the other; the first that proves its key wins.

The library's own dial waits out 250 ms, tries two addresses, and refuses a peer for a minute after a failure.
"""

from collections.abc import Sequence
from typing import Final

import trio
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from mesh.net.addresses import Address
from mesh.net.link import PeerUnreachable
from mesh.net.peer_book import PeerBook
from protocols.units import PeerId

__all__ = ["DIAL_LIMIT_S", "Dialer"]

DIAL_LIMIT_S: Final = 5.0
"""One address: connect and handshake."""
STAGGER_S: Final = 0.25
"""Head start of an address before the next is tried beside it (RFC 8305)."""
DIALS_AT_ONCE_MAX: Final = 16
"""Handshakes we start at the same time: 15 ms of work each."""


class Dialer:
    """Makes connections, at most one attempt per peer at a time."""

    def __init__(self, swarm: Swarm, book: PeerBook) -> None:
        self._swarm, self._book = swarm, book
        self._free = trio.CapacityLimiter(DIALS_AT_ONCE_MAX)
        self._ongoing: dict[PeerId, trio.Event] = {}
        self.dials = 0
        self.failures = 0

    def connected(self, peer: PeerId) -> bool:
        """Whether a connection to the peer stands."""
        return any(not connection.is_closed for connection in self._swarm.get_connections(ID(peer)))

    async def connect(self, peer: PeerId) -> None:
        """Returns when the peer is connected. Raises ``PeerUnreachable``. Cancelled: the attempt ends, too."""
        while not self.connected(peer):
            ongoing = self._ongoing.get(peer)
            if ongoing is None:
                await self._dial(peer)
                return
            await ongoing.wait()
            if not self.connected(peer) and peer not in self._ongoing:
                raise PeerUnreachable("the dial that was under way failed")

    async def _dial(self, peer: PeerId) -> None:
        addresses = self._book.addresses(peer)
        if not addresses:
            raise PeerUnreachable("no address of this peer is known; it must be seen by gossip or exchange first")
        done = self._ongoing[peer] = trio.Event()
        self.dials += 1
        try:
            async with self._free:
                won, reasons = await self._race(peer, addresses)
            now = trio.current_time()
            if won is None:
                self.failures += 1
                self._book.failed(peer, now)
                raise PeerUnreachable("; ".join(reasons)[:1000])
            self._book.succeeded(peer, won, now)
        finally:
            del self._ongoing[peer]
            done.set()

    async def _race(self, peer: PeerId, addresses: Sequence[Address]) -> tuple[Address | None, list[str]]:
        won: list[Address] = []
        reasons: list[str] = []
        async with trio.open_nursery() as nursery:

            async def attempt(address: Address, over: trio.Event) -> None:
                try:
                    with trio.fail_after(DIAL_LIMIT_S):
                        await self._swarm.dial_addr(Multiaddr(address.transport), ID(peer))
                    won.append(address)
                    nursery.cancel_scope.cancel()
                except trio.TooSlowError:
                    reasons.append(f"{address.transport}: no answer within {DIAL_LIMIT_S:g} s")
                except Exception as error:
                    reasons.append(f"{address.transport}: {error.__cause__ or error}")
                over.set()

            for address in addresses:
                over = trio.Event()
                nursery.start_soon(attempt, address, over)
                with trio.move_on_after(STAGGER_S):
                    await over.wait()
        return (won[0] if won else None), reasons

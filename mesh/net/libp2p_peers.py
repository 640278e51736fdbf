"""Who is connected now? Kept from the swarm's notices; a peer counts once, however many connections it has."""

from collections.abc import Callable, Mapping

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from multiaddr import Multiaddr

from mesh.net.libp2p_yamux import SturdyYamux
from mesh.net.link import PeerDown, PeerState, PeerUp
from mesh.net.peer_events import PeerEvents
from protocols.units import PeerId

__all__ = ["ConnectedPeers"]


class ConnectedPeers(INotifee):
    """The peers with at least one connection, in the order in which they came."""

    def __init__(self, swarm: Swarm, events: PeerEvents, banned: Callable[[PeerId], bool]) -> None:
        self._swarm, self._events, self._banned = swarm, events, banned
        self._since: dict[PeerId, float] = {}
        self.silent = 0
        """Connections given up because nothing came from them."""

    def ids(self) -> list[PeerId]:
        """Connected peers."""
        return list(self._since)

    def __contains__(self, peer: object) -> bool:
        return peer in self._since

    def __len__(self) -> int:
        return len(self._since)

    def states(self, score: Callable[[PeerId], int]) -> Mapping[PeerId, PeerState]:
        """A snapshot, with ``score`` asked for each."""
        found = {}
        for peer, since_s in self._since.items():
            connections = self._connections(peer)
            if connections:
                best = connections[0]
                muxed = best.muxed_conn
                rtt_s = muxed.rtt() if isinstance(muxed, SturdyYamux) else 0.0
                found[peer] = PeerState(
                    peer=peer,
                    address=_remote(best) or "",
                    since_s=since_s,
                    dialled=getattr(best, "direction", None) is Direction.OUTBOUND,
                    score=score(peer),
                    round_trip_ms=rtt_s * 1000 or None,
                )
        return found

    def remote_host(self, peer: PeerId) -> str | None:
        """The IP address a peer's connection comes from, if it is connected."""
        for connection in self._connections(peer):
            remote = connection.muxed_conn.get_remote_address()  # type: ignore[attr-defined]  # Yamux has it
            if remote is not None:
                return str(remote[0])
        return None

    async def sever(self, peer: PeerId) -> None:
        """Closes all connections of a peer at once, without waiting for it."""
        for connection in self._connections(peer):
            if isinstance(connection.muxed_conn, SturdyYamux):
                await connection.muxed_conn.sever()

    def _connections(self, peer: PeerId) -> list[INetConn]:
        return [c for c in self._swarm.get_connections(ID(peer)) if not c.is_closed]

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        """The swarm has a new connection."""
        peer = PeerId(conn.muxed_conn.peer_id.to_bytes())
        if self._banned(peer):
            await self.sever(peer)
        elif peer not in self._since:
            self._since[peer] = trio.current_time()
            self._events.tell(PeerUp(peer))

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        """The swarm lost a connection."""
        peer = PeerId(conn.muxed_conn.peer_id.to_bytes())
        if isinstance(conn.muxed_conn, SturdyYamux) and conn.muxed_conn.silent:
            self.silent += 1
        if peer in self._since and not self._connections(peer):
            del self._since[peer]
            self._events.tell(PeerDown(peer))

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Of no interest here, as are the next three; the interface demands them."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """See ``opened_stream``."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """See ``opened_stream``."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """See ``opened_stream``."""


def _remote(connection: INetConn) -> str | None:
    remote = connection.muxed_conn.get_remote_address()  # type: ignore[attr-defined]  # Yamux has it
    if remote is None:
        return None
    host, port = remote
    return f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}"

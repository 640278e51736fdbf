"""How is a libp2p host put together here? TCP, noise and yamux only, one secp256k1 key, and the stock traps removed.

Traps removed in this file: exceptions that end the process, inbound slots that never come back, an accept queue that
silent sockets fill, unbounded streams per peer, a port that two nodes can share without noticing.
"""

from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakSet

import structlog
import trio
from libp2p.abc import INetStream
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from mesh.net.accept_gate import AcceptGate
from mesh.net.libp2p_select import EagerSelect
from mesh.net.libp2p_yamux import SturdyMuxers, SturdyYamux

__all__ = [
    "CONNECTIONS_MAX",
    "HANDSHAKE_LIMIT_S",
    "STREAMS_PER_CONNECTION_MAX",
    "SturdyHost",
    "SturdySwarm",
    "build_host",
]

CONNECTIONS_MAX: Final = 256
"""Connections of a node, both directions: about 100 KiB each when idle."""
HANDSHAKE_LIMIT_S: Final = 5.0
"""An honest handshake takes 15 ms of work and two round trips; a silent one is closed after this."""
NEGOTIATION_LIMIT_S: Final = 5.0
"""For choosing the protocol of a new stream."""
STREAMS_PER_CONNECTION_MAX: Final = 64
"""Streams a peer may hold open to us: gossip, a dozen protocols, parallel blob pulls. Each buffers 256 KiB or more."""

_log = structlog.get_logger(__name__)


class _IdleConnector(AutoConnector):
    """Dials nobody. The stock one dials up to 128 remembered peers, also banned ones, whatever the limits say."""

    async def start(self) -> None:
        """Never started, so ``maybe_connect`` returns at once."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        """Nothing to run."""


class SturdySwarm(Swarm):
    """Connections, with a gate before the handshake and every slot returned."""

    gate: AcceptGate
    live: WeakSet[SturdyYamux]

    async def sever_all(self) -> None:
        """Closes the socket of every connection ever made here. Stock leaves some open when both ends close at once."""
        for muxed in list(self.live):
            await muxed.sever()

    async def _handle_inbound_connection(self, read_write_closer: ReadWriteCloser, maddr: Multiaddr) -> None:
        """One accepted socket: handshake inside the gate, then stay until the connection ends.

        Stock takes one of 250 slots here and returns it only when the node stops, so the 251st visitor is refused for
        good; and it lets sockets that say nothing hold all of them.
        """
        remote = read_write_closer.get_remote_address()
        entry = self.gate.enter(remote[0] if remote else "")
        muxed = None
        try:
            with entry.scope:
                muxed = await self.upgrade_inbound_raw_conn(RawConnection(read_write_closer, False), maddr)
        except Exception as error:
            _log.debug("handshake failed", remote=remote, error=repr(error))
        finally:
            self.gate.leave(entry)
        if isinstance(muxed, SturdyYamux):
            await muxed.event_closed.wait()


class SturdyHost(BasicHost):
    """Streams, with a bound on their number and a guard around their handlers."""

    on_contained: Callable[[ID, BaseException], None]

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        """Negotiates and runs the handler; whatever either raises ends this stream only. Stock ends the process."""
        peer = net_stream.muxed_conn.peer_id
        connection = net_stream.swarm_conn if isinstance(net_stream, NetStream) else None
        if connection is not None and len(connection.streams) > STREAMS_PER_CONNECTION_MAX:
            await net_stream.reset()
            return
        try:
            await super()._swarm_stream_handler(net_stream)
        except Exception as error:
            self.on_contained(peer, error)
            with trio.CancelScope(shield=True):
                await net_stream.reset()


def build_host(secret: bytes, on_contained: Callable[[ID, BaseException], None]) -> SturdyHost:
    """A host with the raw 32-byte secp256k1 key ``secret``, not listening yet. Raises ``ValueError`` for a bad key."""
    keys = create_new_key_pair(secret)
    me = ID.from_pubkey(keys.public_key)
    upgrader = TransportUpgrader(
        secure_transports_by_protocol={NOISE: Noise(keys, noise_privkey=create_noise_key_pair().private_key)},
        muxer_transports_by_protocol={},
    )
    muxers = upgrader.muxer_multistream = SturdyMuxers({TProtocol(YAMUX): SturdyYamux}, int(NEGOTIATION_LIMIT_S))
    for multistream in (upgrader.security_multistream, muxers):
        multistream._selector.multiselect_client = EagerSelect()
    peers = PeerStore()
    peers.add_key_pair(me, keys)
    swarm = SturdySwarm(
        me,
        peers,
        upgrader,
        transports=[TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            max_connections=CONNECTIONS_MAX,
            high_watermark=CONNECTIONS_MAX,
            min_connections=0,
            low_watermark=0,
            inbound_upgrade_timeout=HANDSHAKE_LIMIT_S,
            outbound_upgrade_timeout=HANDSHAKE_LIMIT_S,
            outbound_stream_protocol_negotiation_timeout=NEGOTIATION_LIMIT_S,
            inbound_stream_protocol_negotiation_timeout=NEGOTIATION_LIMIT_S,
        ),
    )
    swarm.gate = AcceptGate()
    swarm.auto_connector = _IdleConnector(swarm)
    swarm.live = muxers.live
    host = SturdyHost(swarm, negotiate_timeout=int(NEGOTIATION_LIMIT_S))
    host.multiselect_client = EagerSelect()
    host.on_contained = on_contained
    return host


def listen_addresses(host: SturdyHost) -> Sequence[str]:
    """Where the host listens, as text, without the ``/p2p`` part."""
    return [str(address) for address in host.get_transport_addrs()]

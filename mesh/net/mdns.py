"""Which nodes are on the same LAN? libp2p's mDNS finds them and announces us; dialling is ours."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio
from libp2p.discovery.events.peerDiscovery import peerDiscovery
from libp2p.discovery.mdns import PeerBroadcaster, PeerListener
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStore
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr
from zeroconf import Zeroconf

from mesh.net.addresses import is_loopback, parse_addresses, peer_text
from protocols.units import PeerId

__all__ = ["Neighbours"]

SERVICE: Final = "_p2p._udp.local."
"""The libp2p specification's name: other implementations find us, too."""

_log = structlog.get_logger(__name__)
Met = Callable[[PeerId, Sequence[str]], None]


class Neighbours:
    """Announces this node on the LAN and tells of others, for as long as ``run`` runs."""

    def __init__(self, me: PeerId, listening: Sequence[str], met: Met) -> None:
        self._me, self._met = me, met
        self._listening = [address.transport for address in parse_addresses(listening)]

    async def run(self) -> None:
        """Runs until cancelled. A machine without multicast costs a log line, not the node. Leaves no thread behind."""
        try:
            zeroconf = await trio.to_thread.run_sync(Zeroconf)
        except OSError as error:
            _log.warning("no mDNS on this machine; peers on the LAN are not found by it", error=str(error))
            return
        token = trio.lowlevel.current_trio_token()

        def found(info: PeerInfo) -> None:  # in zeroconf's thread
            token.run_sync_soon(self._met, PeerId(info.peer_id.to_bytes()), [str(a) for a in info.addrs])

        peerDiscovery.register_peer_discovered_handler(found)
        name = f"{peer_text(self._me)[-32:].lower()}.{SERVICE}"
        try:
            listener = await trio.to_thread.run_sync(PeerListener, PeerStore(), zeroconf, SERVICE, name)
            try:
                await trio.to_thread.run_sync(self._announce, zeroconf, name)
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(listener.stop)
        finally:
            peerDiscovery.unregister_peer_discovered_handler(found)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(zeroconf.close)

    def _announce(self, zeroconf: Zeroconf, name: str) -> None:
        """In a worker thread: zeroconf probes for a second before it announces."""
        reachable = _on_the_lan(self._listening)
        if reachable:
            port = parse_addresses(reachable)[0].port
            PeerBroadcaster(zeroconf, SERVICE, name, peer_text(self._me), port, listen_addrs=reachable).register()


def _on_the_lan(listening: Sequence[str]) -> list[str]:
    """Addresses with the machine's own in place of unspecified ones, without loopback."""
    expanded = [str(one) for text in listening for one in expand_wildcard_address(Multiaddr(text))]
    return [str(address) for address in parse_addresses(expanded) if not is_loopback(address.host)]

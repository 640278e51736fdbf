"""What may a node choose about its network?"""

from pathlib import Path

import msgspec

__all__ = ["LinkConfig"]


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a node may choose about its network."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/0",)
    """Multiaddrs to listen on; port 0 takes a free one."""
    bootstrap: tuple[str, ...] = ()
    """Multiaddrs, with ``/p2p/...``, of peers to begin with."""
    cache: Path | None = None
    """File that remembers peers between runs."""
    mdns: bool = True
    """Find peers on the same LAN, and be found. Off on devnet, where all share one machine."""
    side_port: bool = True
    """Offer and use TLS connections beside the link for ``open``: faster than streams of the link."""
    keep_connected: int = 12
    """Peers to stay connected to by dialling: two topic meshes' worth."""

"""Links for tests: real ones on loopback, started and stopped by the test's own nursery."""

import hashlib
from collections.abc import Awaitable, Callable

import pytest
import trio

from mesh.net.libp2p_link import Libp2pLink, LinkConfig

StartLink = Callable[..., Awaitable[Libp2pLink]]


def key(name: str) -> bytes:
    """A node key that is always the same for a name."""
    return hashlib.sha256(b"test key of " + name.encode()).digest()


@pytest.fixture
def start_link(nursery: trio.Nursery) -> StartLink:
    """``await start_link("alice", bootstrap=...)`` starts a link that ends with the test."""

    async def start(
        name: str, setup: Callable[[Libp2pLink], None] = lambda _link: None, **config: object
    ) -> Libp2pLink:
        settings = {"listen": ("/ip4/127.0.0.1/tcp/0",), "mdns": False, **config}
        link = Libp2pLink(key(name), LinkConfig(**settings), jitter=lambda: 0.5)  # type: ignore[arg-type]
        setup(link)
        await nursery.start(link.run)
        return link

    return start

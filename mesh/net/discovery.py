"""How does a node find peers and keep enough of them? Bootstrap list, cache of earlier peers, exchange, mDNS.

Exchange (``/mesh/peers/1``): whoever connects tells where it listens and is told of a few peers that worked. No peer is
special; a bootstrap node is one whose address is known beforehand.
"""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
import structlog
import trio

from mesh.net.addresses import Address, is_loopback, parse_addresses
from mesh.net.link import LinkError, PeerUp
from mesh.net.peer_book import ADDRESSES_PER_PEER, PeerBook, write_atomically
from mesh.net.peer_events import PeerWatch
from protocols.units import PeerId

__all__ = ["EXCHANGE", "EXCHANGE_MAX_BYTES", "Discovery"]

EXCHANGE: Final = "/mesh/peers/1"
EXCHANGE_PEERS_MAX: Final = 16
"""Peers told of in one exchange: enough to fill a topic mesh twice."""
EXCHANGE_MAX_BYTES: Final = 16 * 1024
EXCHANGE_LIMIT_S: Final = 5.0
DIALS_PER_ROUND: Final = 4
"""Dials started at once; the next round follows when they end."""
ROUND_MAX_S: Final = 5.0
"""Look again at least this often, when nothing else woke us."""
SAVE_PAUSE_FIRST_S: Final = 0.5
"""After the first peer is saved, at once: a node without a bootstrap list that is killed young must find it again."""
SAVE_PAUSE_MAX_S: Final = 60.0
"""Between two saves later on: pauses double, so that no peer makes the disk work."""
YIELD_S: Final = 0.5
"""Of two peers that hear of each other at the same time the one with the larger id waits, so that one dial is made."""

_Texts = Annotated[list[Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=ADDRESSES_PER_PEER)]
_log = structlog.get_logger(__name__)


class Exchange(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Both the question and the answer."""

    mine: _Texts
    """Where the sender listens; an unspecified host stands for wherever its connection comes from."""
    others: Annotated[
        list[tuple[Annotated[bytes, msgspec.Meta(max_length=64)], _Texts]],
        msgspec.Meta(max_length=EXCHANGE_PEERS_MAX),
    ]


class Ports(Protocol):
    """What discovery needs of the link."""

    @property
    def me(self) -> PeerId: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...
    def connected_peers(self) -> Sequence[PeerId]: ...
    def remote_host(self, peer: PeerId) -> str | None: ...
    def banned(self, peer: PeerId) -> bool: ...
    async def connect(self, peer: PeerId) -> None: ...
    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes: ...


class Discovery:
    """Keeps ``target`` peers connected. Everything it hears is a hint; the handshake proves it."""

    def __init__(self, link: Ports, book: PeerBook, target: int, cache: Path | None) -> None:
        self._link, self._book, self._target, self._cache = link, book, target, cache
        self._wake = trio.Event()
        self._news = trio.Event()

    def wake(self) -> None:
        """Something was learned or lost: look again now."""
        self._wake.set()

    async def run(self, events: PeerWatch) -> None:
        """Dials, exchanges and saves until cancelled; saves once more then."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._greet, events, nursery)
                nursery.start_soon(self._save_now_and_then)
                await self._keep_connected()
        finally:
            for peer in self._link.connected_peers():
                self._book.succeeded(peer, None, trio.current_time())
            with trio.CancelScope(shield=True):
                await self.save()

    async def _keep_connected(self) -> None:
        while True:
            self._wake = trio.Event()
            now = trio.current_time()
            connected = self._link.connected_peers()
            missing = self._target - len(connected)
            due = [peer for peer in self._book.due(now, connected) if not self._link.banned(peer)]
            if missing > 0 and due:
                async with trio.open_nursery() as nursery:
                    for peer in due[: min(missing, DIALS_PER_ROUND)]:
                        nursery.start_soon(self._try, peer)
                continue
            wait_s = (
                min(ROUND_MAX_S, max(0.05, self._book.next_due_at(connected) - now)) if missing > 0 else ROUND_MAX_S
            )
            with trio.move_on_after(wait_s):
                await self._wake.wait()

    async def _try(self, peer: PeerId) -> None:
        try:
            await self._link.connect(peer)
        except LinkError as error:
            _log.debug("dial failed", error=str(error))

    async def _greet(self, events: PeerWatch, nursery: trio.Nursery) -> None:
        async for event in events:
            self._news.set()
            if isinstance(event, PeerUp):
                nursery.start_soon(self._exchange, event.peer)
            else:
                self.wake()

    async def _exchange(self, peer: PeerId) -> None:
        question = msgspec.msgpack.encode(Exchange(self._mine_for(peer), []))
        try:
            answer = await self._link.call(peer, EXCHANGE, question, EXCHANGE_LIMIT_S)
            self._learn(peer, msgspec.msgpack.decode(answer, type=Exchange))
        except (LinkError, msgspec.MsgspecError) as error:
            _log.debug("peer exchange failed", error=str(error))  # another kind of node, or one that just left

    async def answer(self, peer: PeerId, request: bytes) -> bytes:
        """Serves ``/mesh/peers/1``. Raises ``msgspec.MsgspecError`` for a malformed question."""
        self._learn(peer, msgspec.msgpack.decode(request, type=Exchange))
        near = is_loopback(self._link.remote_host(peer))
        others = [
            (bytes(other), [a.transport for a in addresses if near or not is_loopback(a.host)])
            for other, addresses in self._book.sample(EXCHANGE_PEERS_MAX + 1)
            if other != peer
        ]
        return msgspec.msgpack.encode(Exchange(self._mine_for(peer), [o for o in others if o[1]][:EXCHANGE_PEERS_MAX]))

    def _learn(self, peer: PeerId, told: Exchange) -> None:
        now = trio.current_time()
        host = self._link.remote_host(peer)
        seen = [_at(address, host) for address in parse_addresses(told.mine)]
        self._book.learn(peer, [str(address) for address in seen if address is not None])
        self._book.succeeded(peer, None, now)
        for other, texts in told.others:
            yield_until = now + YIELD_S if self._link.me > other else now
            self._book.learn(PeerId(other), texts, delay_until=yield_until)
        self._news.set()
        self.wake()

    def _mine_for(self, peer: PeerId) -> list[str]:
        near = is_loopback(self._link.remote_host(peer))
        mine = [msgspec.structs.replace(a, peer=None) for a in parse_addresses(self._link.addresses)]
        return [str(a) for a in mine if near or not is_loopback(a.host)][:ADDRESSES_PER_PEER]

    async def _save_now_and_then(self) -> None:
        pause_s = SAVE_PAUSE_FIRST_S
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if self._cache is not None and self._book.changed:
                await self.save()
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, SAVE_PAUSE_MAX_S)

    async def save(self) -> None:
        """Writes the cache if something changed. A disk that refuses costs a log line: the cache is only a cache."""
        if self._cache is None or not self._book.changed:
            return
        try:
            await trio.to_thread.run_sync(write_atomically, self._cache, self._book.snapshot())
        except OSError as error:
            _log.warning("peer cache not saved", path=str(self._cache), error=str(error))


def _at(address: Address, host: str | None) -> Address | None:
    """An address with an unspecified host becomes one where the connection came from; None if that is unknown."""
    try:
        unspecified = ipaddress.ip_address(address.host).is_unspecified
    except ValueError:
        return address
    if not unspecified:
        return address
    return None if host is None else Address("ip6" if ":" in host else "ip4", host, address.port)

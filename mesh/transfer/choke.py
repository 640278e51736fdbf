"""Whose turn is it to be sent a block? Whoever waits and has been sent least.

A few turns run at once, one per peer, so that a slow reader holds up itself and not the others; among those who wait,
the peer that was sent the fewest bytes lately goes first (start-time fair queueing). An optional rate bounds the sum.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from protocols.units import PeerId

__all__ = ["TURNS", "Choke"]

TURNS: Final = 8
"""Peers sent to at once. The others wait their turn, a megabyte away."""
_MAX_PEERS: Final = 1024
"""Peers whose shares are remembered; the one sent least recently is forgotten."""


class _Share:
    """What a peer has been sent, counted from where the others were when it came."""

    __slots__ = ("sent_bytes", "turns", "waiting")

    def __init__(self, sent_bytes: int) -> None:
        self.sent_bytes = sent_bytes
        self.turns = 0
        self.waiting: list[trio.Event] = []


class Choke:
    """Hands out turns. ``rate_bytes_per_s`` is None for no bound."""

    def __init__(self, rate_bytes_per_s: int | None = None) -> None:
        self._rate = rate_bytes_per_s
        self._free_at_s = 0.0
        self._shares: dict[PeerId, _Share] = {}
        self._running = 0
        self._floor_bytes = 0

    @asynccontextmanager
    async def turn(self, peer: PeerId) -> AsyncIterator[None]:
        """Waits for the peer's turn and holds it during the block; one turn per peer at a time."""
        share = self._share(peer)
        await self._wait(share)
        try:
            yield
        finally:
            self._release(share)

    async def sent(self, peer: PeerId, size: int) -> None:
        """Counts bytes sent in a turn; sleeps as long as the rate asks for."""
        self._share(peer).sent_bytes += size
        if self._rate is not None:
            now_s = trio.current_time()
            self._free_at_s = max(self._free_at_s, now_s) + size / self._rate
            await trio.sleep_until(self._free_at_s)

    def _share(self, peer: PeerId) -> _Share:
        share = self._shares.get(peer)
        if share is None:
            if len(self._shares) >= _MAX_PEERS:
                self._forget_idle()
            share = self._shares[peer] = _Share(self._floor_bytes)
        return share

    def _forget_idle(self) -> None:
        for peer, share in list(self._shares.items()):
            if not share.turns and not share.waiting:
                del self._shares[peer]
                return

    async def _wait(self, share: _Share) -> None:
        share.sent_bytes = max(share.sent_bytes, self._floor_bytes)
        event = trio.Event()
        share.waiting.append(event)
        self._next()
        try:
            await event.wait()
        except trio.Cancelled:
            if event.is_set():
                self._release(share)
            else:
                share.waiting.remove(event)
            raise

    def _release(self, share: _Share) -> None:
        """The next turn is given out a moment later, so that whoever just had one may stand in line for it too."""
        share.turns -= 1
        self._running -= 1
        trio.lowlevel.current_trio_token().run_sync_soon(self._next, idempotent=True)

    def _next(self) -> None:
        while self._running < TURNS:
            ready = [share for share in self._shares.values() if share.waiting and not share.turns]
            if not ready:
                return
            share = min(ready, key=lambda waiting: waiting.sent_bytes)
            self._floor_bytes = max(self._floor_bytes, share.sent_bytes)
            share.turns += 1
            self._running += 1
            share.waiting.pop(0).set()

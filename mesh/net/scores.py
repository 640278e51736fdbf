"""When is a peer too bad to keep? It loses points for what it does wrong and regains them with time."""

from typing import Final

from protocols.units import PeerId

__all__ = ["REJECT_POINTS", "PeerScores"]

REJECT_POINTS: Final = 10
"""For one rejected record or malformed message: ten of them within minutes and the peer is out."""
FLOOR: Final = -100
"""At or below this a peer is disconnected and kept out."""
REGAIN_PER_S: Final = 0.1
"""Points regained: a lone bad record is forgotten in 100 s."""
BAN_S: Final = 600.0
"""How long a peer that hit the floor is kept out."""
TRACKED_MAX: Final = 4096
"""Peers remembered. Keys are free to make, so those with the least to their name are forgotten first."""


class PeerScores:
    """Points of peers, at most 0. Times are on the caller's monotonic clock, seconds."""

    def __init__(self) -> None:
        self._points: dict[PeerId, tuple[float, float]] = {}
        self._banned_until: dict[PeerId, float] = {}

    def score(self, peer: PeerId, now: float) -> int:
        """0 for a peer in good standing, negative otherwise."""
        points, at = self._points.get(peer, (0.0, now))
        return int(min(0.0, points + (now - at) * REGAIN_PER_S))

    def penalise(self, peer: PeerId, points: int, now: float) -> bool:
        """Takes points (0 or more). True if the peer just hit the floor: disconnect it."""
        left = self.score(peer, now) - max(0, points)
        self._points.pop(peer, None)
        if len(self._points) >= TRACKED_MAX:
            self._forget_some(now)
        self._points[peer] = (left, now)
        if left > FLOOR or self.banned(peer, now):
            return False
        if len(self._banned_until) >= TRACKED_MAX:
            del self._banned_until[min(self._banned_until, key=lambda p: self._banned_until[p])]
        self._banned_until[peer] = now + BAN_S
        return True

    def banned(self, peer: PeerId, now: float) -> bool:
        """Whether the peer is kept out. When the time is over it starts at half the floor."""
        until = self._banned_until.get(peer)
        if until is not None and until <= now:
            del self._banned_until[peer]
            self._points[peer] = (FLOOR / 2, now)
            return False
        return until is not None

    def _forget_some(self, now: float) -> None:
        """Forgets an eighth at once: one by one, each stranger would cost a scan of all."""
        ranked = sorted(self._points, key=lambda peer: self.score(peer, now), reverse=True)
        for peer in ranked[: TRACKED_MAX // 8]:
            del self._points[peer]

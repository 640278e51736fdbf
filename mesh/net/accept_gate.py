"""Whose unfinished handshake gives way when there are too many? The oldest of the address that holds the most.

Without this, 300 sockets that say nothing shut a stock libp2p node for every honest peer (research: libp2p.md 3d).
"""

from collections import OrderedDict
from typing import Final

import trio

__all__ = ["AcceptGate", "Unfinished"]

UNFINISHED_MAX: Final = 128
"""Handshakes in progress, all addresses: each costs a socket and about 40 KiB for at most 5 s."""
UNFINISHED_PER_IP_MAX: Final = 64
"""Handshakes in progress from one address: half, so that one host alone never evicts others. A NAT fits behind it."""


class Unfinished:
    """One handshake in progress; ``scope`` is cancelled to evict it."""

    __slots__ = ("ip", "scope")

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.scope = trio.CancelScope()


class AcceptGate:
    """Bounds the handshakes in progress. Newcomers always enter: an honest one is done in milliseconds."""

    def __init__(self, total: int = UNFINISHED_MAX, per_ip: int = UNFINISHED_PER_IP_MAX) -> None:
        self._total, self._per_ip = total, per_ip
        self._waiting: dict[str, OrderedDict[Unfinished, None]] = {}
        self.evicted = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def enter(self, ip: str) -> Unfinished:
        """Registers a handshake, evicting another if a bound is reached."""
        queue = self._waiting.get(ip, OrderedDict())
        if len(queue) >= self._per_ip:
            self._evict(ip)
        elif len(self) >= self._total:
            self._evict(max(self._waiting, key=lambda address: len(self._waiting[address])))
        entry = Unfinished(ip)
        self._waiting.setdefault(ip, OrderedDict())[entry] = None
        return entry

    def leave(self, entry: Unfinished) -> None:
        """The handshake ended, one way or the other. Harmless when it was evicted before."""
        queue = self._waiting.get(entry.ip)
        if queue is not None:
            queue.pop(entry, None)
            if not queue:
                del self._waiting[entry.ip]

    def _evict(self, ip: str) -> None:
        entry = next(iter(self._waiting[ip]))
        self.leave(entry)
        entry.scope.cancel()
        self.evicted += 1

"""Which peers do we know, where may they be dialled, and when is it worth trying again?

Everything in it is a hint from somebody: a dial proves it, because the handshake fails unless the key is the one named.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from mesh.net.addresses import Address, parse_address, parse_addresses, parse_peer, peer_text
from protocols.units import PeerId

__all__ = ["ADDRESSES_PER_PEER", "KNOWN_PEERS_MAX", "PeerBook"]

ADDRESSES_PER_PEER: Final = 8
"""Newest addresses kept per peer: a machine rarely has more, and a liar is cheap to try."""
KNOWN_PEERS_MAX: Final = 1024
"""Peers known, about 1 MiB: many times what one node connects to."""
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 300.0
BACKOFF_BOOTSTRAP_MAX_S: Final = 30.0
"""A bootstrap node is worth trying often: without one a newcomer has nobody."""
CACHE_BYTES_MAX: Final = 4 * 1024 * 1024


class _Entry:
    """What we know of one peer."""

    __slots__ = ("addresses", "bootstrap", "failures", "last_good_at", "not_before")

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self.bootstrap = False
        self.failures = 0
        self.not_before = 0.0
        self.last_good_at = 0.0


class _CachedPeer(msgspec.Struct):
    peer: Annotated[str, msgspec.Meta(max_length=64)]
    addresses: Annotated[list[str], msgspec.Meta(max_length=ADDRESSES_PER_PEER)]


class PeerBook:
    """Addresses and backoff. Times are on the caller's monotonic clock, seconds; ``jitter()`` lies in [0, 1)."""

    def __init__(self, me: PeerId, jitter: Callable[[], float]) -> None:
        self._me = me
        self._jitter = jitter
        self._entries: dict[PeerId, _Entry] = {}
        self.changed = False
        """Something worth saving happened since the last ``save``."""

    def __len__(self) -> int:
        return len(self._entries)

    def learn(self, peer: PeerId, texts: Sequence[str], *, bootstrap: bool = False, delay_until: float = 0.0) -> None:
        """Notes where a peer may be dialled, newest first. Malformed addresses, and ourselves, are left out."""
        addresses = [msgspec.structs.replace(a, peer=peer) for a in parse_addresses(texts) if a.peer in (None, peer)]
        if peer == self._me or not addresses or not self._room_for(peer):
            return
        entry = self._entries.setdefault(peer, _Entry())
        if not entry.addresses:
            entry.not_before = delay_until
        entry.bootstrap = entry.bootstrap or bootstrap
        merged = list(dict.fromkeys([*addresses, *entry.addresses]))[:ADDRESSES_PER_PEER]
        self.changed = self.changed or merged != entry.addresses
        entry.addresses = merged

    def learn_bootstrap(self, texts: Iterable[str]) -> None:
        """Adds the configured entry points. Raises ``ValueError`` for one that is malformed or lacks ``/p2p/...``."""
        for text in texts:
            address = parse_address(text)
            if address.peer is None:
                raise ValueError(
                    f"bootstrap address {text!r} lacks its /p2p/16Uiu2HA... part: whom should it prove to be?"
                )
            self.learn(address.peer, [text], bootstrap=True)

    def addresses(self, peer: PeerId) -> list[Address]:
        """Where to dial a peer, best first; empty if it is unknown."""
        entry = self._entries.get(peer)
        return list(entry.addresses) if entry else []

    def due(self, now: float, connected: Iterable[PeerId]) -> list[PeerId]:
        """Peers worth dialling now: bootstrap ones last (they have enough to do), then by fewest failures."""
        skip = set(connected)
        ready = [peer for peer, entry in self._entries.items() if peer not in skip and entry.not_before <= now]
        return sorted(ready, key=lambda p: (self._entries[p].bootstrap, self._entries[p].failures, self._jitter()))

    def next_due_at(self, connected: Iterable[PeerId]) -> float:
        """When the next peer becomes due; infinity if none ever does."""
        skip = set(connected)
        return min((e.not_before for peer, e in self._entries.items() if peer not in skip), default=float("inf"))

    def succeeded(self, peer: PeerId, address: Address | None, now: float) -> None:
        """A connection stands. The address that worked comes first from now on."""
        entry = self._entries.get(peer)
        if entry is None:
            return
        self.changed = self.changed or not entry.last_good_at
        entry.failures, entry.last_good_at, entry.not_before = 0, now, now + BACKOFF_FIRST_S * (1 + self._jitter())
        if address in entry.addresses and entry.addresses[0] != address:
            entry.addresses.remove(address)
            entry.addresses.insert(0, address)
            self.changed = True

    def failed(self, peer: PeerId, now: float) -> None:
        """A dial failed: wait twice as long as before, with jitter so that a restart does not bring a stampede."""
        entry = self._entries.get(peer)
        if entry is None:
            return
        longest = BACKOFF_BOOTSTRAP_MAX_S if entry.bootstrap else BACKOFF_MAX_S
        pause = min(longest, BACKOFF_FIRST_S * 2 ** min(entry.failures, 20))
        entry.failures += 1
        entry.not_before = now + pause * (0.5 + 0.5 * self._jitter())

    def sample(self, count: int) -> list[tuple[PeerId, list[Address]]]:
        """Peers that worked, newest first: what we tell others and keep for the next start."""
        good = [(entry.last_good_at, peer) for peer, entry in self._entries.items() if entry.last_good_at]
        return [(peer, self.addresses(peer)) for _, peer in sorted(good, reverse=True)[:count]]

    def load(self, path: Path) -> None:
        """Adds the peers of an earlier run. A missing or damaged file counts as empty: it is only a cache."""
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            if path.stat().st_size <= CACHE_BYTES_MAX:
                cached = msgspec.json.decode(path.read_bytes(), type=list[_CachedPeer])
                for item in cached[:KNOWN_PEERS_MAX]:
                    self.learn(parse_peer(item.peer), item.addresses)
        self.changed = False

    def snapshot(self) -> bytes:
        """The file to write: peers that worked, and those never tried, as JSON."""
        self.changed = False
        peers = [peer for peer, _ in self.sample(KNOWN_PEERS_MAX)]
        peers += [peer for peer, entry in self._entries.items() if not entry.last_good_at and entry.failures == 0]
        items = [_CachedPeer(peer_text(peer), [a.transport for a in self.addresses(peer)]) for peer in peers]
        return msgspec.json.format(msgspec.json.encode(items), indent=1)

    def _room_for(self, peer: PeerId) -> bool:
        """Makes room by forgetting the peer that failed most; False if all are better than a newcomer."""
        if peer in self._entries or len(self._entries) < KNOWN_PEERS_MAX:
            return True
        worst = max(self._entries, key=lambda p: (not self._entries[p].bootstrap, self._entries[p].failures))
        if self._entries[worst].bootstrap or not self._entries[worst].failures:
            return False
        del self._entries[worst]
        return True


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file in one step, so that a crash leaves the old or the new one. Blocking; raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise

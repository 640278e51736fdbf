"""Which blocks hang below a root, as far as they are held here?

Needed twice: to keep what is pinned, and to let a peer have what its deal covers and nothing else. Iterators that
block in small steps, so that a caller in an event loop may run each step in a thread and stop between two.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from mesh.store.blobs.errors import BlobStoreFailed
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import digest_of, is_raw
from protocols.transfer.dagpb import children_of
from protocols.units import Cid

__all__ = ["MAX_REACH_BLOCKS", "DigestSet", "Reach", "reach_steps"]

MAX_REACH_BLOCKS: Final = 4 * 1024 * 1024
"""Links followed in one reckoning: a TiB in leaves of 256 KiB, and 64 MiB as a ``DigestSet``."""

_KEY_BYTES: Final = 16
"""Of each digest: nobody finds a second preimage of 128 bits."""
_NODES_PER_STEP: Final = 32
"""About 10 ms of reading and decoding file nodes."""


class DigestSet:
    """A frozen set of blocks in 16 bytes each."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = b"".join(sorted(set(keys)))

    def __contains__(self, cid: Cid) -> bool:
        key = digest_of(cid)[:_KEY_BYTES]
        at = bisect_left(range(len(self)), key, key=self._key)
        return at < len(self) and self._key(at) == key

    def __len__(self) -> int:
        return len(self._keys) // _KEY_BYTES

    def _key(self, at: int) -> bytes:
        return self._keys[at * _KEY_BYTES : (at + 1) * _KEY_BYTES]


class Reach:
    """Filled by ``reach_steps``; whole when its steps are through."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self.complete = True
        """Whether every node below was held: if not, there may be more blocks than these."""

    def add(self, cid: Cid) -> None:
        """One more block. Raises ``BlobStoreFailed`` above ``MAX_REACH_BLOCKS``."""
        self._keys.append(digest_of(cid)[:_KEY_BYTES])
        if len(self._keys) > MAX_REACH_BLOCKS:
            raise BlobStoreFailed(
                "the blobs hold too many blocks to keep track of",
                why=f"more than {MAX_REACH_BLOCKS} links",
                fix="split the input or output into trees of less than 1 TiB",
            )

    def freeze(self) -> DigestSet:
        """The blocks found. Sorts: 1 s per million."""
        return DigestSet(self._keys)


def reach_steps(read: Callable[[Cid], bytes | None], roots: Iterable[Cid], reach: Reach) -> Iterator[None]:
    """Follows links breadth-first; each step reads at most 32 nodes. ``read`` answers None for one that is not here."""
    seen: set[Cid] = set()
    waiting: list[Cid] = []
    for root in roots:
        _meet(root, reach, seen, waiting)
    done = 0
    while waiting:
        cid = waiting.pop()
        for child in _children(read, cid, reach):
            _meet(child, reach, seen, waiting)
        done += 1
        if done % _NODES_PER_STEP == 0:
            yield


def _meet(cid: Cid, reach: Reach, seen: set[Cid], waiting: list[Cid]) -> None:
    if cid in seen:
        return
    reach.add(cid)
    if not is_raw(cid):
        seen.add(cid)
        waiting.append(cid)


def _children(read: Callable[[Cid], bytes | None], cid: Cid, reach: Reach) -> tuple[Cid, ...]:
    block = read(cid)
    if block is None:
        reach.complete = False
        return ()
    try:
        return children_of(cid, block)
    except RemoteProtocolError:
        return ()  # no tree of ours, and nobody fetches past it

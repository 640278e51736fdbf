"""Which blocks may a peer have? Those below the roots that a deal grants it, and no others.

Knowing a name is not a right to the block: names leak, and a job's inputs are nobody else's business.
"""

from collections.abc import Callable, Iterable
from typing import Final

import trio

from mesh.store.blobs import BlobStore, DigestSet
from protocols.errors import LocalProtocolError
from protocols.units import Cid, DealId, PeerId

__all__ = ["MAX_GRANTS", "Grants", "MoreRoots"]

MoreRoots = Callable[[PeerId, DealId], tuple[Cid, ...]]
"""Roots that a peer may have under a deal although nobody granted them: asked anew for every turn, so it must be quick."""

MAX_GRANTS: Final = 65_536
"""Roots granted at once: six for each of 10,000 active deals."""
MAX_INDEX_BLOCKS: Final = 8 * 1024 * 1024
"""Blocks in all indexes in memory: 128 MiB. The oldest index goes, and is made again when asked for."""


_REMAKE_S: Final = 1.0
"""An index of a tree that is still arriving is made again at most this often, whatever a peer asks for."""


class _Index:
    def __init__(self, blocks: DigestSet, *, complete: bool, stored: int) -> None:
        self.blocks = blocks
        self.complete = complete
        self._stored = stored
        self._made_at_s = trio.current_time()

    def answers(self, wanted: set[Cid], stored: int) -> bool:
        """Whether making it again could not tell more about these."""
        if self.complete or self._stored == stored or trio.current_time() - self._made_at_s < _REMAKE_S:
            return True
        return all(cid in self.blocks for cid in wanted)


class Grants:
    """Grants by (peer, deal), and what can be reached from each granted root."""

    def __init__(self, store: BlobStore, more: MoreRoots | None = None) -> None:
        self._store = store
        self._more = more
        self._roots: dict[DealId, dict[PeerId | None, set[Cid]]] = {}
        self._count = 0
        self._indexes: dict[Cid, _Index] = {}
        self._making = trio.Lock()

    def add(self, peer: PeerId | None, root: Cid, key: DealId) -> None:
        """Lets a peer (None: anybody who names the deal) have what is below a root. Twice is once."""
        roots = self._roots.setdefault(key, {}).setdefault(peer, set())
        if root not in roots:
            if self._count >= MAX_GRANTS:
                raise LocalProtocolError(f"more than {MAX_GRANTS} grants at once: revoke those of ended deals")
            roots.add(root)
            self._count += 1

    def revoke(self, key: DealId) -> None:
        """Ends every grant of a deal."""
        ended = self._roots.pop(key, {})
        self._count -= sum(len(roots) for roots in ended.values())
        live = {root for peers in self._roots.values() for roots in peers.values() for root in roots}
        self._indexes = {root: index for root, index in self._indexes.items() if root in live}

    def roots(self, peer: PeerId, key: DealId) -> tuple[Cid, ...]:
        """What a peer may have under a deal."""
        peers = self._roots.get(key, {})
        granted = tuple(peers.get(peer, set()) | peers.get(None, set()))
        return tuple(dict.fromkeys((*granted, *self._more(peer, key)))) if self._more else granted

    async def allowed(self, peer: PeerId, key: DealId, cids: Iterable[Cid]) -> tuple[set[Cid], set[Cid]]:
        """Of these: those the peer may have, and those of which it cannot be told yet.

        The second set is not empty only while a granted tree is still on its way here itself.
        """
        left = set(cids)
        may: set[Cid] = set()
        unsure = False
        for root in self.roots(peer, key):
            if not left:
                break
            index = await self._index(root, left)
            found = {cid for cid in left if cid == root or cid in index.blocks}
            may |= found
            left -= found
            unsure = unsure or not index.complete
        if not self.roots(peer, key):
            return set(), set()  # revoked while an index was made
        return may, left if unsure else set()

    async def _index(self, root: Cid, wanted: set[Cid]) -> _Index:
        async with self._making:
            index = self._indexes.get(root)
            stored = self._store.statistics().blocks_written
            if index is not None and index.answers(wanted, stored):
                return index
            blocks, complete = await self._store.reach(root)
            self._indexes.pop(root, None)
            index = self._indexes[root] = _Index(blocks, complete=complete, stored=stored)
            self._make_room()
            return index

    def _make_room(self) -> None:
        while len(self._indexes) > 1 and sum(len(i.blocks) for i in self._indexes.values()) > MAX_INDEX_BLOCKS:
            del self._indexes[next(iter(self._indexes))]

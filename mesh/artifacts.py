"""How do the rules' words about blobs become pulls, grants and folders? Blob store and transfer behind two small ports."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from mesh.base.observe import get_log
from mesh.ports import FetchGaveUp, Waits
from mesh.store.blobs.errors import BlobAbsent, BlobStoreFailed, QuotaExceeded
from mesh.store.blobs.importing import ImportRules
from mesh.store.blobs.store import BlobStore
from mesh.transfer import BlobFetcher, BlobServer, FetchError, FetchNoRoom, FetchRefused, FetchTimeout
from protocols.messages.negotiation import InputRoot
from protocols.transfer.cid import cid_text
from protocols.transfer.dagpb import DirectoryNode, decode_node
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId, PeerId

__all__ = ["MAX_LOCAL_BYTES", "Blobs", "Held"]

MAX_LOCAL_BYTES: Final = 1 << 40
"""A terabyte: what a user may import or export at once; the store's quota ends it sooner."""
REFUSALS: Final = 40
"""A peer that has just restarted refuses until it has loaded its grants: be patient for about 20 s."""
PAUSE_S: Final = 0.5
ROOM_PAUSE_S: Final = 5.0
"""Between two looks whether this disk has room again."""
FIRST_TURN_S: Final = 2.0
TURN_S: Final = 120.0
"""How long one try of a pull may take whose lack has to be explained, before others have their turn: a peer that drips
neither holds up the pulls of other cases, nor counts as one that serves. The first is short, and each twice as long as the
one before: on a devnet seats have 4 s to find out that nobody is there."""

log = get_log("artifacts")


class Held:
    """What the blob store holds already: no peer is asked for anything."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def export(self, root: Cid, destination: Path, max_bytes: int = MAX_LOCAL_BYTES) -> None:
        """Write a tree to a path that does not exist yet: all of it or nothing."""
        await self._store.materialise(root, destination, Limits(max_content_bytes=max_bytes))

    async def read_in(self, root: Cid, name: str, max_bytes: int) -> bytes:
        """A file directly below a directory the node holds. Raises ``BlobAbsent`` when it is not there."""
        block = await self._store.get(root)
        node = decode_node(block) if block is not None else None
        children = node.children if isinstance(node, DirectoryNode) else ()
        for child in children:
            if child.name == name:
                return await self._store.read_file(child.cid, max_bytes=max_bytes)
        raise BlobAbsent(f"{cid_text(root)} holds no {name}", fix="mesh ps -a")

    async def used_bytes(self) -> int:
        """What the blobs take on this disk now."""
        return await self._store.used_bytes()


class Blobs(Held):
    """Artifacts for the effects, folders for the runner, imports and exports for the user."""

    def __init__(self, store: BlobStore, fetcher: BlobFetcher, server: BlobServer) -> None:
        super().__init__(store)
        self._fetcher = fetcher
        self._server = server

    async def fetch(
        self,
        deal_id: DealId,
        peers: tuple[PeerId, ...],
        root: InputRoot,
        progress: Callable[[int, int | None], None],
        waits: Waits | None = None,
    ) -> None:
        """Everything below the root, verified and durable; unreachable peers are asked again until this is cancelled.

        So is a disk of ours that fails or is full: that is no fault of the peer's. Raises ``FetchGaveUp`` for what is.
        Cancelled: verified blocks stay.
        """
        refused = 0
        turn_s = FIRST_TURN_S if waits is not None else None
        while True:
            why: Exception | None
            try:
                why, ours = await self._pull(deal_id, peers, root, progress, turn_s), True
                if why is None:
                    return
            except (FetchTimeout, FetchRefused) as error:
                refused += isinstance(error, FetchRefused)
                if refused > REFUSALS:
                    raise FetchGaveUp(error.code, str(error)) from error
                why, ours = error, False
            except FetchError as error:
                raise FetchGaveUp(error.code, str(error)) from error
            if waits is not None and turn_s is not None:
                await waits(ours, str(why))
                turn_s = min(2 * turn_s, TURN_S)
            if ours:
                await _wait_for_disk(deal_id, why)
            await trio.sleep(PAUSE_S)

    async def _pull(
        self,
        deal_id: DealId,
        peers: tuple[PeerId, ...],
        root: InputRoot,
        progress: Callable[[int, int | None], None],
        turn_s: float | None,
    ) -> Exception | None:
        """One try; what failed of our own disk, or None. Raises ``FetchError`` for all else."""
        failed: Exception | None = None
        try:
            await self._fetcher.fetch(
                deal_id, peers, root.root, Limits.for_content(root.size), progress, timeout_s=turn_s
            )
        except* (BlobStoreFailed, QuotaExceeded, FetchNoRoom) as group:
            failed = group.exceptions[0]
        return failed

    def grant(self, deal_id: DealId, peer: PeerId, roots: tuple[Cid, ...]) -> None:
        """Let a peer pull these trees for a deal."""
        for root in roots:
            self._server.grant(peer, root, deal_id)

    def revoke(self, deal_id: DealId) -> None:
        """End a deal's grants."""
        self._server.revoke(deal_id)

    async def forget(self, deal_id: DealId) -> None:
        """Let a deal's blobs go when room is needed. Raises ``BlobStoreFailed``."""
        await self._store.unpin(deal_id)

    async def add(self, path: Path, owner: bytes, *, hard_links: bool = False) -> tuple[Cid, int]:
        """Import a file or folder, pinned under ``owner``; (root, content bytes)."""
        rules = ImportRules(max_content_bytes=MAX_LOCAL_BYTES, hard_links=hard_links)
        root = await self._store.add_path(path, rules, key=owner)
        return root.cid, root.content_bytes


async def _wait_for_disk(deal_id: DealId, error: Exception) -> None:
    log.error("fetch.waits_for_disk", deal=deal_id.hex()[:12], reason=str(error))
    await trio.sleep(ROOM_PAUSE_S)

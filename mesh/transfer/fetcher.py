"""How does everything below a root come here, from whichever of several peers, through whatever breaks on the way?

The rules are ``protocols.transfer.wants``; here are the streams, the store, the clock and nothing else. A stream that
breaks or stalls is opened again after a pause; what had arrived is on disk and is not asked for twice.
"""

from collections.abc import Sequence
from typing import Final

import trio
from msgspec import Struct

from mesh.store.blobs import BlobStore
from mesh.transfer.errors import FetchError, FetchFailed, FetchNoRoom, FetchRefused, FetchTimeout, FetchTooLarge
from mesh.transfer.kept import KeptStreams
from mesh.transfer.pull import NO_ROOM, Progress, Pull
from mesh.transfer.streams import Streams
from protocols.transfer.cid import cid_text
from protocols.transfer.steps import Failed
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId, PeerId

__all__ = ["MAX_FETCHES", "MAX_PEERS", "BlobFetcher", "FetchStatistics", "Progress"]

MAX_FETCHES: Final = 8
"""Fetches at once, 16 MiB of memory each; the others wait their turn."""
MAX_PEERS: Final = 16
"""Sources of one fetch: more are not asked."""


class FetchStatistics(Struct, frozen=True, kw_only=True):
    """Counters since the start, except ``running``, which is now."""

    running: int
    fetched: int
    failed: int
    blocks_received: int
    bytes_received: int
    streams_broken: int
    """Streams that ended before their time, stalls among them."""
    violations: int
    """Answers that broke the protocol; each cost its peer score."""


class BlobFetcher:
    """Pulls trees into a store over a link."""

    def __init__(self, store: BlobStore, streams: Streams) -> None:
        self._store = store
        self._streams = KeptStreams(streams)
        self._slots = trio.CapacityLimiter(MAX_FETCHES)
        self._counts = dict.fromkeys(FetchStatistics.__struct_fields__[1:], 0)

    async def fetch(
        self,
        key: DealId,
        peers: Sequence[PeerId],
        root: Cid,
        limits: Limits,
        progress: Progress | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Returns when every block below ``root`` is durable here and verified; pinned under ``key`` from the first block.

        What is here already is not asked for. Raises ``FetchRefused``, ``FetchFailed``, ``FetchTooLarge``,
        ``FetchNoRoom``, ``FetchTimeout`` (also when peers could not be reached often enough). The time begins with this
        fetch's turn: waiting for one is no fault of the peers'. After an error or
        cancellation verified blocks stay in the store, and the pin: ``BlobStore.unpin(key)`` lets them go.
        """
        async with self._slots:
            with trio.move_on_after(timeout_s if timeout_s is not None else float("inf")) as clock:
                await self._fetch(key, tuple(dict.fromkeys(peers))[:MAX_PEERS], root, limits, progress)
        if clock.cancelled_caught:
            self._counts["failed"] += 1
            raise FetchTimeout(f"{cid_text(root)} was not complete after {timeout_s} s", fix="try again: it goes on")

    def statistics(self) -> FetchStatistics:
        """Counters now."""
        return FetchStatistics(running=self._slots.borrowed_tokens, **self._counts)

    async def _fetch(
        self, key: DealId, peers: tuple[PeerId, ...], root: Cid, limits: Limits, progress: Progress | None
    ) -> None:
        failed: Failed | None = None
        with self._store.lease() as lease:
            failed = await Pull(
                self._store, self._streams, lease, key, peers, root, limits, self._counts, progress
            ).run()
            await self._store.settle()
        if failed is not None:
            self._counts["failed"] += 1
            raise _error(root, failed)
        self._counts["fetched"] += 1


def _error(root: Cid, failed: Failed) -> FetchError:
    what = f"{cid_text(root)} could not be fetched"
    match failed.code:
        case "refused":
            return FetchRefused(what, why=failed.detail, fix="mesh deals   (has the deal ended?)")
        case "too_large":
            return FetchTooLarge(what, why=failed.detail, fix="raise max_bytes or max_files of this input or output")
        case code if code == NO_ROOM:
            return FetchNoRoom(what, why=failed.detail, fix="mesh doctor")
        case "unreachable":
            return FetchTimeout(what, why=failed.detail, fix="mesh peers   (what has arrived is kept)")
        case _:
            return FetchFailed(what, why=f"{failed.code}: {failed.detail}", fix="mesh deals")

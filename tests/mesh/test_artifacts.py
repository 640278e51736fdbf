"""Whose fault is a pull that fails? A full disk here is never the peer's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from devnet.sim.memory_link import MemoryHub
from mesh.artifacts import Blobs
from mesh.effects import FetchGaveUp
from mesh.store.blobs import open_blobs
from mesh.transfer import BlobFetcher, BlobServer
from protocols.messages.negotiation import InputRoot
from protocols.units import Cid, DealId
from tests.clock import PatientClock

if TYPE_CHECKING:
    from devnet.sim.signer import KeyRing

DEAL = DealId(b"\xaa" * 32)


async def test_a_full_store_is_waited_out_and_never_blamed_on_the_peer(
    tmp_path: Path, hub: MemoryHub, ring: "KeyRing", eventually: Any
) -> None:
    here, there = (hub.link(ring.signer().peer_id) for _ in range(2))
    async with (
        open_blobs(tmp_path / "small", quota_bytes=3 << 20, sync=False) as small,
        open_blobs(tmp_path / "large", quota_bytes=64 << 20, sync=False) as large,
    ):
        mine = Blobs(small, BlobFetcher(small, here), BlobServer(small, here))
        theirs = Blobs(large, BlobFetcher(large, there), BlobServer(large, there))
        await small.add_bytes(
            b"".join((n + (1 << 31)).to_bytes(4, "big") for n in range(1 << 19)), key=b"mine"
        )  # 2 MiB that nobody may collect
        root = await large.add_bytes(b"".join(n.to_bytes(4, "big") for n in range(1 << 19)), key=b"theirs")
        theirs.grant(DEAL, here.me, (root.cid,))
        ended: list[str] = []
        blamed: list[bool] = []

        async def waits(ours: bool, why: str) -> None:
            blamed.append(ours)

        async def fetch() -> None:
            wanted = InputRoot(root.cid, root.content_bytes)
            await mine.fetch(DEAL, (there.me,), wanted, lambda done, of: None, waits)
            ended.append("fetched")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch)
            await eventually(lambda: mine._fetcher.statistics().failed > 0)
            assert ended == []
            await eventually(lambda: bool(blamed))
            assert set(blamed) == {True}
            await small.unpin(b"mine")
        assert ended == ["fetched"]
        assert await small.has(root.cid)
        assert here.peers()[there.me].score == 0


async def test_what_is_no_tree_ends_the_pull(tmp_path: Path, hub: MemoryHub, ring: "KeyRing") -> None:
    here, there = (hub.link(ring.signer().peer_id) for _ in range(2))
    async with (
        open_blobs(tmp_path / "a", quota_bytes=64 << 20, sync=False) as one,
        open_blobs(tmp_path / "b", quota_bytes=64 << 20, sync=False) as two,
    ):
        mine = Blobs(one, BlobFetcher(one, here), BlobServer(one, here))
        theirs = Blobs(two, BlobFetcher(two, there), BlobServer(two, there))
        root = await two.add_bytes(bytes(3 << 20), key=b"theirs")
        theirs.grant(DEAL, here.me, (root.cid,))
        with trio.fail_after(60), pytest.raises(FetchGaveUp) as caught:
            await mine.fetch(DEAL, (there.me,), InputRoot(Cid(root.cid), 1000), lambda done, of: None)
        assert caught.value.code == "too_large"


async def test_a_peer_that_gives_nothing_is_to_blame(
    tmp_path: Path, hub: MemoryHub, ring: "KeyRing", eventually: Any, autojump_clock: PatientClock
) -> None:
    here, there = (hub.link(ring.signer().peer_id) for _ in range(2))
    async with (
        open_blobs(tmp_path / "a", quota_bytes=64 << 20, sync=False) as one,
        open_blobs(tmp_path / "b", quota_bytes=64 << 20, sync=False) as two,
    ):
        mine = Blobs(one, BlobFetcher(one, here), BlobServer(one, here))
        Blobs(two, BlobFetcher(two, there), BlobServer(two, there))
        root = await two.add_bytes(b"kept to itself", key=b"theirs")
        blamed: list[bool] = []

        async def waits(ours: bool, why: str) -> None:
            blamed.append(ours)

        with pytest.raises(FetchGaveUp) as caught:
            await mine.fetch(DEAL, (there.me,), InputRoot(root.cid, 100), lambda done, of: None, waits)
        assert caught.value.code == "refused"
        assert set(blamed) == {False}


async def test_a_peer_that_is_gone_is_to_blame_soon(
    tmp_path: Path, hub: MemoryHub, ring: "KeyRing", autojump_clock: PatientClock
) -> None:
    """Seats of a devnet have four seconds before they must have taken a place to say so."""
    here, gone = hub.link(ring.signer().peer_id), ring.signer().peer_id
    async with open_blobs(tmp_path / "a", quota_bytes=64 << 20, sync=False) as one, trio.open_nursery() as nursery:
        mine = Blobs(one, BlobFetcher(one, here), BlobServer(one, here))
        root = InputRoot(Cid(bytes.fromhex("01551220") + bytes(32)), 9)
        blamed: list[tuple[bool, float]] = []

        async def waits(ours: bool, why: str) -> None:
            blamed.append((ours, trio.current_time() - began))
            nursery.cancel_scope.cancel()

        # The only timers are the pull's own: the clock jumps to them while this machine's disk is slow, too.
        began = trio.current_time()
        nursery.start_soon(mine.fetch, DEAL, (gone,), root, lambda done, of: None, waits)
    assert [ours for ours, _ in blamed] == [False]
    assert blamed[0][1] < 4

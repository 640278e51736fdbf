"""Does a tree arrive whole and verified, from honest, broken and hostile peers, and only for those who may have it?"""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from devnet.sim.memory_link import open_hub
from devnet.sim.trees import pattern
from mesh.store.blobs import BlobStore, open_blobs
from mesh.transfer import BlobFetcher, BlobServer, FetchFailed, FetchNoRoom, FetchRefused, FetchTimeout, FetchTooLarge
from mesh.transfer.fetcher import MAX_FETCHES
from mesh.transfer.streams import FrameReader
from protocols.transfer.cid import raw_cid
from protocols.transfer.frames import (
    BLOB_PROTOCOL,
    MAX_FRAME_BYTES,
    BlockFrame,
    Denied,
    Missing,
    WantBlocks,
    decode_answer,
    decode_want,
    encode_frame,
)
from protocols.transfer.walk import Limits
from protocols.units import DealId, PeerId
from tests.clock import PatientClock, all_at_rest
from tests.transfer.peers import ALICE, BOB, CAROL, DEAL, LIMITS, OTHER_DEAL, Unreliable, answering, holds, keep, pair


async def test_a_tree_arrives_whole_and_is_pinned(store: BlobStore, other: BlobStore, tmp_path: Path) -> None:
    root, blocks = await keep(store)
    shown: list[tuple[int, int | None]] = []
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        fetcher = BlobFetcher(other, hub.link(BOB))
        await fetcher.fetch(DEAL, [ALICE], root, LIMITS, lambda done, total: shown.append((done, total)))
    assert await holds(other, blocks)
    assert await other.pinned(DEAL) == (root,)
    assert shown[-1] == (150_001, 150_001)
    assert not list(tmp_path.glob("*/unsettled")), "names are durable when the fetch returns"
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert fetcher.statistics().blocks_received == server.statistics().blocks_sent == len(blocks)
    await other.collect(0)
    assert await holds(other, blocks)


async def test_what_is_at_home_is_not_asked_for(store: BlobStore, other: BlobStore) -> None:
    root, blocks = await keep(store)
    at_home = list(blocks.items())[::3]
    await other.put(at_home)
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        fetcher = BlobFetcher(other, hub.link(BOB))
        await fetcher.fetch(DEAL, [ALICE], root, LIMITS)
        assert server.statistics().blocks_sent == len(blocks) - len(at_home)
        await fetcher.fetch(OTHER_DEAL, [ALICE], root, LIMITS)
        assert server.statistics().blocks_sent == len(blocks) - len(at_home)
    assert await holds(other, blocks)


@pytest.mark.parametrize("every", [700, 3000, 20_000])
async def test_resets_anywhere_cost_time_and_nothing_else(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock, every: int
) -> None:
    root, blocks = await keep(store)
    if every < 1100:  # no leaf fits through one stream: only small blocks could arrive, so it must end in an error
        async with pair(store) as (hub, server):
            server.grant(BOB, root, DEAL)
            with pytest.raises(FetchTimeout):
                await BlobFetcher(other, Unreliable(hub.link(BOB), every)).fetch(DEAL, [ALICE], root, LIMITS)
        return
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        link = Unreliable(hub.link(BOB), every, failing_opens=3)
        await BlobFetcher(other, link).fetch(DEAL, [ALICE], root, LIMITS)
    assert await holds(other, blocks)
    assert link.opened > 150_000 // every


async def test_several_peers_with_parts_each_make_a_whole(store: BlobStore, other: BlobStore, tmp_path: Path) -> None:
    root, blocks = await keep(store)
    odd = dict(list(blocks.items())[1::2])
    async with open_blobs(tmp_path / "third", quota_bytes=1 << 30, sync=False) as third, open_hub(latency_s=0) as hub:
        nodes = {cid for cid in blocks if cid[1] == 0x70}
        await third.put([(cid, block) for cid, block in blocks.items() if cid in odd or cid in nodes])
        alice, carol = BlobServer(store, hub.link(ALICE)), BlobServer(third, hub.link(CAROL))
        alice.grant(BOB, root, DEAL)
        carol.grant(BOB, root, DEAL)
        await BlobFetcher(other, hub.link(BOB)).fetch(DEAL, [CAROL, ALICE, CAROL], root, LIMITS)
    assert await holds(other, blocks)
    assert carol.statistics().blocks_missing > 0


async def test_access_is_for_the_parties_of_the_deal_and_below_its_roots(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock
) -> None:
    root, blocks = await keep(store)
    secret, _ = await keep(store, {"secret": b"s"})
    async with pair(store) as (hub, server):
        server.grant(CAROL, root, DEAL)
        server.grant(BOB, root, OTHER_DEAL)
        fetcher = BlobFetcher(other, hub.link(BOB))
        for key, wanted in ((DEAL, root), (OTHER_DEAL, secret), (DealId(bytes(32)), root)):
            with pytest.raises(FetchRefused):
                await fetcher.fetch(key, [ALICE], wanted, LIMITS)
            assert await other.get(wanted) is None
        await fetcher.fetch(OTHER_DEAL, [ALICE], next(iter(blocks)), LIMITS)  # a part of what was granted
        server.revoke(OTHER_DEAL)
        with pytest.raises(FetchRefused):
            await fetcher.fetch(OTHER_DEAL, [ALICE], root, LIMITS)
        assert server.statistics().blocks_denied > 0
        server.grant(None, root, OTHER_DEAL)
        await fetcher.fetch(OTHER_DEAL, [ALICE], root, LIMITS)
    assert await holds(other, blocks)


async def test_a_grant_that_comes_a_moment_late_is_waited_for(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock
) -> None:
    root, blocks = await keep(store)
    async with pair(store) as (hub, server), trio.open_nursery() as nursery:
        nursery.start_soon(BlobFetcher(other, hub.link(BOB)).fetch, DEAL, [ALICE], root, LIMITS)
        with trio.fail_after(60):
            while server.statistics().blocks_denied == 0:
                await trio.lowlevel.checkpoint()
        server.grant(BOB, root, DEAL)
    assert await holds(other, blocks)


async def test_revoking_ends_a_pull_that_is_under_way(store: BlobStore, other: BlobStore) -> None:
    root, _ = await keep(store)
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)

        def revoke(done: int, total: int | None) -> None:
            if done > 10_000:
                server.revoke(DEAL)

        link = Unreliable(hub.link(BOB), 30_000)
        with pytest.raises(FetchRefused):
            await BlobFetcher(other, link).fetch(DEAL, [ALICE], root, LIMITS, revoke)


async def test_garbage_costs_its_sender_and_not_the_fetch(store: BlobStore, other: BlobStore) -> None:
    root, blocks = await keep(store)
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        evil, bob = hub.link(CAROL), hub.link(BOB)
        evil.accept(
            BLOB_PROTOCOL, answering(lambda want: [encode_frame(BlockFrame(cid, b"evil")) for cid in want.cids])
        )
        fetcher = BlobFetcher(other, bob)
        await fetcher.fetch(DEAL, [CAROL, ALICE], root, LIMITS)
        assert bob.peers()[CAROL].score == -50
        assert bob.peers()[ALICE].score == 0
        assert fetcher.statistics().violations == 1
    assert await holds(other, blocks)
    assert other.statistics().blocks_damaged == 0


BAD_ANSWERS: dict[str, Callable[[WantBlocks], list[bytes]]] = {
    "noise": lambda want: [b"\x00\x00\x00\x05noise"],
    "endless": lambda want: [b"\xff\xff\xff\xff"],
    "empty": lambda want: [b"\x00\x00\x00\x00"],
    "unsolicited block": lambda want: [encode_frame(BlockFrame(raw_cid(b"gift"), b"gift"))],
    "unsolicited missing": lambda want: [encode_frame(Missing((raw_cid(b"gift"),)))],
    "unsolicited denied": lambda want: [encode_frame(Denied((raw_cid(b"gift"),)))] * 9,
    "twice": lambda want: [encode_frame(Missing(want.cids[:1]))] * 2,
    "a want": lambda want: [encode_frame(want)],
    "other bytes": lambda want: [encode_frame(BlockFrame(want.cids[0], b"?"))],
}


@pytest.mark.parametrize("name", list(BAD_ANSWERS))
async def test_no_answer_ends_more_than_the_fetch(other: BlobStore, name: str) -> None:
    wanted = raw_cid(b"wanted") if name != "twice" else raw_cid(b"")
    async with open_hub(latency_s=0) as hub:
        evil, bob = hub.link(CAROL), hub.link(BOB)
        evil.accept(BLOB_PROTOCOL, answering(BAD_ANSWERS[name]))
        fetcher = BlobFetcher(other, bob)
        with pytest.raises((FetchTimeout, FetchFailed, FetchRefused)):
            await fetcher.fetch(DEAL, [CAROL], wanted, LIMITS)
    assert await other.used_bytes() == 0


async def test_a_peer_that_stalls_is_given_up_for_another(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock
) -> None:
    root, blocks = await keep(store)
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)

        async def stall(peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
            await trio.sleep_forever()

        hub.link(CAROL).accept(BLOB_PROTOCOL, stall)
        fetcher = BlobFetcher(other, hub.link(BOB))
        await fetcher.fetch(DEAL, [CAROL, ALICE], root, LIMITS)
        assert fetcher.statistics().streams_broken >= 1
    assert await holds(other, blocks)


async def test_a_peer_that_drips_blocks_does_not_hold_up_a_quicker_one(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock
) -> None:
    """Before a panel, who keeps the seats from their inputs for the whole phase is paid."""
    root, blocks = await keep(store)
    dripped = 0
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)

        async def drip(peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
            nonlocal dripped
            reader = FrameReader(stream, MAX_FRAME_BYTES)
            while (body := await reader.next()) is not None:
                for cid in decode_want(body).cids:
                    frame = encode_frame(BlockFrame(cid, blocks[cid]))
                    for at in range(8):  # a byte every five seconds is no stall
                        await stream.send_all(frame[at : at + 1])
                        await trio.sleep(5)
                    await stream.send_all(frame[8:])
                    dripped += 1

        hub.link(CAROL).accept(BLOB_PROTOCOL, drip)
        await BlobFetcher(other, hub.link(BOB)).fetch(DEAL, [CAROL, ALICE], root, LIMITS)
    assert await holds(other, blocks)
    assert dripped < len(blocks) // 8, f"{dripped} of {len(blocks)} blocks came from it"


async def test_a_stalled_fetch_times_out_and_says_so(other: BlobStore, autojump_clock: PatientClock) -> None:
    async with open_hub(latency_s=0) as hub:
        hub.link(ALICE).accept(BLOB_PROTOCOL, answering(lambda want: []))
        with pytest.raises(FetchTimeout, match="after 5 s"):
            await BlobFetcher(other, hub.link(BOB)).fetch(DEAL, [ALICE], raw_cid(b"x"), LIMITS, timeout_s=5)
        with pytest.raises(FetchTimeout, match="reached"):
            await BlobFetcher(other, hub.link(CAROL)).fetch(DEAL, [PeerId(b"z" * 39)], raw_cid(b"x"), LIMITS)


async def test_waiting_for_a_turn_is_no_fault_of_the_peers(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock
) -> None:
    """Pulls that drip take turns with others: their time is over, and who has waited is served."""
    root, blocks = await keep(store)
    async with pair(store) as (hub, server), trio.open_nursery() as nursery:
        server.grant(BOB, root, DEAL)
        hub.link(CAROL).accept(BLOB_PROTOCOL, answering(lambda want: []))
        fetcher = BlobFetcher(other, hub.link(BOB))

        async def stalled() -> None:
            with pytest.raises(FetchTimeout, match="after 60 s"):
                await fetcher.fetch(DEAL, [CAROL], raw_cid(b"x"), LIMITS, timeout_s=60)

        for _ in range(MAX_FETCHES):
            nursery.start_soon(stalled)
        await all_at_rest()
        await fetcher.fetch(DEAL, [ALICE], root, LIMITS, timeout_s=50)
    assert await holds(other, blocks)


async def test_limits_are_checked_before_any_leaf_travels(store: BlobStore, other: BlobStore) -> None:
    root, blocks = await keep(store)
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        with pytest.raises(FetchTooLarge, match="150000"):
            await BlobFetcher(other, hub.link(BOB)).fetch(DEAL, [ALICE], root, Limits(max_content_bytes=150_000))
    leaves = [cid for cid in blocks if cid[1] == 0x55]
    assert not any([await other.has(cid) for cid in leaves])


async def test_no_room_is_an_error_and_keeps_what_fits(store: BlobStore, tmp_path: Path) -> None:
    root, _ = await keep(store)
    async with open_blobs(tmp_path / "tiny", quota_bytes=100_000, sync=False) as tiny, pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        with pytest.raises(FetchNoRoom, match="are in use"):
            await BlobFetcher(tiny, hub.link(BOB)).fetch(DEAL, [ALICE], root, LIMITS)
        assert await tiny.used_bytes() <= 100_000


async def test_cancelling_keeps_verified_blocks_and_a_later_fetch_goes_on(
    store: BlobStore, other: BlobStore, tmp_path: Path
) -> None:
    root, blocks = await keep(store, pattern(600_000))
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        fetcher = BlobFetcher(other, hub.link(BOB))
        with trio.CancelScope() as scope:

            def stop(done: int, total: int | None) -> None:
                if done > 100_000 and other.statistics().blocks_written > 20:
                    scope.cancel()

            await fetcher.fetch(DEAL, [ALICE], root, LIMITS, stop)
        assert scope.cancelled_caught
        found = dict(zip(blocks, await other.get_many(list(blocks), max_bytes=1 << 30), strict=True))
        held = {cid: block for cid, block in found.items() if block is not None}
        assert held
        assert held.items() <= blocks.items()
        assert other.statistics().blocks_damaged == 0
        assert fetcher.statistics().running == 0
        before = server.statistics().blocks_sent
        await fetcher.fetch(DEAL, [ALICE], root, LIMITS)
        assert server.statistics().blocks_sent - before == len(blocks) - len(held)
    assert await holds(other, blocks)


async def test_a_relay_of_a_tree_that_is_still_arriving_serves_what_it_has(
    store: BlobStore, other: BlobStore, tmp_path: Path
) -> None:
    """Carol holds the root alone, grants it, and gets the rest while Bob asks: Missing, never Denied."""
    root, blocks = await keep(store)
    async with open_hub(latency_s=0) as hub:
        carol = BlobServer(other, hub.link(CAROL))
        carol.grant(BOB, root, DEAL)
        await other.put([(root, blocks[root])])
        deep = next(iter(blocks))
        async with await hub.link(BOB).open(CAROL, BLOB_PROTOCOL) as stream:
            reader = FrameReader(stream, MAX_FRAME_BYTES)
            await stream.send_all(encode_frame(WantBlocks(DEAL, (deep,))))
            body = await reader.next()
            assert body is not None
            assert decode_answer(body) == Missing((deep,))
    assert carol.statistics().blocks_denied == 0

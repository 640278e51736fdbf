"""Does the server stay fair, bounded and up when pullers misbehave?"""

import pytest
import trio
import trio.testing

from devnet.sim.memory_link import open_hub
from devnet.sim.trees import Blocks, pattern, plant
from mesh.store.blobs import BlobStore
from mesh.transfer import BlobFetcher, BlobServer, FetchRefused
from mesh.transfer.choke import TURNS, Choke
from mesh.transfer.server import MAX_QUEUED_WANTS, MAX_STREAMS_PER_PEER
from mesh.transfer.streams import FrameReader
from protocols.canonical import encode
from protocols.transfer.cid import raw_cid
from protocols.transfer.frames import BLOB_PROTOCOL, MAX_FRAME_BYTES, WantBlocks, encode_frame
from protocols.transfer.walk import Limits
from protocols.units import Cid, DealId, PeerId
from tests.clock import PatientClock

ALICE, BOB, CAROL = (PeerId(name * 39) for name in (b"a", b"b", b"c"))
DEAL = DealId(b"d" * 32)
OTHER = DealId(b"o" * 32)


async def keep(store: BlobStore, size: int, chunk: int = 1000) -> Cid:
    blocks: Blocks = {}
    root = plant(pattern(size), blocks, chunk, 50).cid
    await store.put(list(blocks.items()))
    return root


async def ended(stream: trio.abc.ReceiveStream) -> bool:
    try:
        return not await stream.receive_some()
    except trio.BrokenResourceError:
        return True


BAD_WANTS = [
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x05noise",
    encode_frame(WantBlocks(DEAL, (raw_cid(b""), raw_cid(b"")))),
    encode_frame(WantBlocks(DealId(b"short"), (raw_cid(b""),))),
    b"\x00\x00\x10\x01" + bytes(4097),
    (len(encode(WantBlocks(DEAL, ()))) + 4).to_bytes(4, "big") + encode(WantBlocks(DEAL, ())) + bytes(4),
]


async def test_bad_wants_cost_their_sender_and_end_one_stream(store: BlobStore, other: BlobStore) -> None:
    root = await keep(store, 5000)
    async with open_hub(latency_s=0) as hub:
        alice, bob, carol = hub.link(ALICE), hub.link(BOB), hub.link(CAROL)
        server = BlobServer(store, alice)
        server.grant(BOB, root, DEAL)
        for number, bad in enumerate(BAD_WANTS, 1):
            async with await carol.open(ALICE, BLOB_PROTOCOL) as stream:
                await stream.send_all(bad)
                with trio.fail_after(60):
                    assert await ended(stream)
            assert server.statistics().violations == number
        assert alice.peers()[CAROL].score <= -10 * len(BAD_WANTS)
        assert alice.statistics().contained == 0
        await BlobFetcher(other, bob).fetch(DEAL, [ALICE], root, Limits(max_content_bytes=5000))


async def test_a_flood_of_wants_is_cut_off(store: BlobStore) -> None:
    root = await keep(store, 400_000)
    cids = [raw_cid(i.to_bytes(2, "big")) for i in range(64)]
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(store, hub.link(ALICE))
        server.grant(CAROL, root, DEAL)
        async with await hub.link(CAROL).open(ALICE, BLOB_PROTOCOL) as stream:
            frame = encode_frame(WantBlocks(DEAL, tuple(cids)))
            try:
                with trio.fail_after(60):
                    for _ in range(200 * MAX_QUEUED_WANTS // 64):
                        await stream.send_all(frame)
            except trio.BrokenResourceError:
                pass
        with trio.fail_after(60):
            while server.statistics().violations != 1:
                await trio.lowlevel.checkpoint()


async def test_streams_per_peer_are_bounded_and_given_back(store: BlobStore) -> None:
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(store, hub.link(ALICE))
        carol = hub.link(CAROL)
        streams = [await carol.open(ALICE, BLOB_PROTOCOL) for _ in range(MAX_STREAMS_PER_PEER + 3)]
        with trio.fail_after(60):
            while server.statistics().streams_refused != 3:
                await trio.lowlevel.checkpoint()
        assert server.statistics().streams == MAX_STREAMS_PER_PEER
        for stream in streams:
            await stream.aclose()
        with trio.fail_after(60):
            while server.statistics().streams:
                await trio.lowlevel.checkpoint()


async def test_a_silent_stream_is_shed(store: BlobStore, autojump_clock: PatientClock) -> None:
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(store, hub.link(ALICE))
        async with await hub.link(CAROL).open(ALICE, BLOB_PROTOCOL) as stream:
            start = trio.current_time()
            assert await ended(stream)
        assert 59 < trio.current_time() - start < 61
        assert server.statistics().violations == 0


async def test_a_puller_that_does_not_read_is_dropped_and_holds_nobody_up(
    store: BlobStore, other: BlobStore, autojump_clock: PatientClock
) -> None:
    root = await keep(store, 2_000_000, 100_000)
    leaf = raw_cid(pattern(100_000))
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(store, hub.link(ALICE))
        server.grant(CAROL, root, DEAL)
        server.grant(BOB, root, DEAL)
        async with await hub.link(CAROL).open(ALICE, BLOB_PROTOCOL) as stream:
            for _ in range(64):
                await stream.send_all(encode_frame(WantBlocks(DEAL, (leaf,))))
            await BlobFetcher(other, hub.link(BOB)).fetch(DEAL, [ALICE], root, Limits(max_content_bytes=2_000_000))
            with trio.fail_after(600):
                while server.statistics().streams:
                    await trio.sleep(1)


async def test_turns_go_to_whoever_was_sent_least() -> None:
    """Two greedy peers and one late modest one: bytes stay even among the greedy, the late one never waits long."""
    choke = Choke()
    order: list[PeerId] = []

    async def pull(peer: PeerId, turns: int, size: int) -> None:
        for _ in range(turns):
            async with choke.turn(peer):
                order.append(peer)
                await choke.sent(peer, size)
                await trio.lowlevel.checkpoint()

    holders = [PeerId(bytes((i,)) * 39) for i in range(TURNS - 1)]  # leave a single turn to compete for
    async with trio.open_nursery() as nursery:
        release = trio.Event()

        async def hold(peer: PeerId) -> None:
            async with choke.turn(peer):
                await release.wait()

        for peer in holders:
            nursery.start_soon(hold, peer)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(pull, ALICE, 40, 3000)
        nursery.start_soon(pull, BOB, 120, 1000)
        await trio.lowlevel.checkpoint()
        while len(order) < 80:
            await trio.lowlevel.checkpoint()
        at = len(order)
        async with choke.turn(CAROL):
            waited = len(order) - at
        release.set()
    assert waited <= 4, "a newcomer starts where the others are, not behind them"
    first = order[:80]
    assert abs(3 * first.count(ALICE) - first.count(BOB)) <= 8


async def test_a_cancelled_wait_gives_its_turn_on() -> None:
    choke = Choke()
    async with trio.open_nursery() as nursery:
        started = trio.Event()

        async def hold() -> None:
            async with choke.turn(ALICE):
                started.set()
                await trio.sleep_forever()

        nursery.start_soon(hold)
        await started.wait()
        had_two = False
        with trio.CancelScope() as scope:
            scope.cancel()
            async with choke.turn(ALICE):
                had_two = True
        assert not had_two, "one turn per peer"
        nursery.cancel_scope.cancel()
    with trio.fail_after(60):
        async with choke.turn(ALICE):
            pass


async def test_the_rate_bounds_the_sum(autojump_clock: PatientClock) -> None:
    choke = Choke(rate_bytes_per_s=1000)

    async def pull(peer: PeerId) -> None:
        for _ in range(5):
            async with choke.turn(peer):
                await choke.sent(peer, 1000)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pull, ALICE)
        nursery.start_soon(pull, BOB)
    assert trio.current_time() - start == 10


async def test_frames_are_read_across_any_cuts_and_an_end_inside_one_is_a_break() -> None:
    frames = [encode_frame(WantBlocks(DEAL, (raw_cid(bytes((i,))),))) for i in range(3)]
    left, right = trio.testing.memory_stream_pair()
    reader = FrameReader(right, MAX_FRAME_BYTES)
    await left.send_all(frames[0][:3])
    with trio.move_on_after(0) as scope:
        await reader.next()
    assert scope.cancelled_caught
    await left.send_all(frames[0][3:] + frames[1] + frames[2][:-1])
    assert await reader.next() == frames[0][4:]
    assert await reader.next() == frames[1][4:]
    await left.send_eof()
    with pytest.raises(trio.BrokenResourceError, match="inside a frame"):
        await reader.next()
    assert reader.received_bytes == sum(map(len, frames)) - 1


async def test_what_the_rules_allow_is_served_without_a_grant_and_only_while_they_do(
    store: BlobStore, other: BlobStore
) -> None:
    """A place in a panel is no grant: it comes and goes with the chain's logs, and is asked about at every turn."""
    root = await keep(store, 5000)
    allowed = {(BOB, DEAL): (root,)}
    async with open_hub(latency_s=0) as hub:
        bob, carol = hub.link(BOB), hub.link(CAROL)
        server = BlobServer(store, hub.link(ALICE), more=lambda peer, deal: allowed.get((peer, deal), ()))
        with pytest.raises(FetchRefused):
            await BlobFetcher(other, carol).fetch(DEAL, [ALICE], root, Limits(max_content_bytes=5000))
        with pytest.raises(FetchRefused):
            await BlobFetcher(other, bob).fetch(OTHER, [ALICE], root, Limits(max_content_bytes=5000))
        taken, allowed = allowed, {}
        with pytest.raises(FetchRefused):
            await BlobFetcher(other, bob).fetch(DEAL, [ALICE], root, Limits(max_content_bytes=5000))
        allowed = taken
        await BlobFetcher(other, bob).fetch(DEAL, [ALICE], root, Limits(max_content_bytes=5000))
        assert server.statistics().blocks_denied >= 3

"""Does a small tree take one question, and a peer that abuses that nothing but its own score?"""

from collections.abc import Callable

import pytest

from devnet.sim.memory_link import MemoryLink, open_hub
from devnet.sim.trees import Blocks, Layout, add_leaf, pattern
from mesh.store.blobs import BlobStore
from mesh.transfer import BlobFetcher, FetchError, FetchStatistics
from mesh.transfer.streams import FrameReader
from protocols.transfer.frames import (
    BLOB_PROTOCOL,
    MAX_AHEAD_BLOCKS,
    MAX_AHEAD_BYTES,
    MAX_FRAME_BYTES,
    BlockFrame,
    WantBlocks,
    WantTree,
    decode_answer,
    encode_frame,
)
from protocols.units import Cid
from tests.transfer.peers import ALICE, BOB, DEAL, LIMITS, TREE, answering, holds, keep, pair

SMALL: Layout = {"stdout": b"3.14\n", "stderr": b"", "exitCode": b"0\n", "outputs": {"answer": {"pi": pattern(900)}}}
Asked = list[WantBlocks | WantTree]


async def told(link: MemoryLink, root: Cid) -> list[Cid]:
    """What a server sends for a tree, in this order."""
    stream = await link.open(ALICE, BLOB_PROTOCOL)
    reader = FrameReader(stream, MAX_FRAME_BYTES)
    await stream.send_all(encode_frame(WantTree(DEAL, root)))
    names: list[Cid] = []
    while not names or names[-1] != root:
        body = await reader.next()
        assert body is not None
        answer = decode_answer(body)
        names += [answer.cid] if isinstance(answer, BlockFrame) else answer.cids
    await stream.aclose()
    return names


async def fetch(
    other: BlobStore, root: Cid, answer: Callable[[WantBlocks | WantTree], list[bytes]]
) -> tuple[FetchStatistics, Asked]:
    """Pull from a peer that answers so; what came of it, and what the peer was asked."""
    asked: Asked = []

    def note(want: WantBlocks | WantTree) -> list[bytes]:
        asked.append(want)
        return answer(want)

    async with open_hub(latency_s=0) as hub:
        hub.link(ALICE).accept(BLOB_PROTOCOL, answering(note))
        fetcher = BlobFetcher(other, hub.link(BOB))
        try:
            await fetcher.fetch(DEAL, [ALICE], root, LIMITS)
        except FetchError:
            assert fetcher.statistics().violations, "nothing else may end it"
        return fetcher.statistics(), asked


def one_by_one(blocks: Blocks, ahead: list[tuple[Cid, bytes]]) -> Callable[[WantBlocks | WantTree], list[bytes]]:
    """Answers what is asked, and for a tree these before it."""

    def answer(want: WantBlocks | WantTree) -> list[bytes]:
        first = ahead if isinstance(want, WantTree) else []
        wanted = [(cid, blocks[cid]) for cid in want.cids]
        return [encode_frame(BlockFrame(cid, block)) for cid, block in (*first, *wanted)]

    return answer


async def test_a_small_tree_comes_with_its_root(store: BlobStore, other: BlobStore) -> None:
    root, blocks = await keep(store, SMALL)
    async with pair(store) as (hub, server):
        server.grant(BOB, root, DEAL)
        bob = hub.link(BOB)
        names = await told(bob, root)
        assert names[-1] == root, "all that is not asked for comes before the answer"
        assert sorted(names) == sorted(blocks)
        fetcher = BlobFetcher(other, bob)
        before = server.statistics().blocks_sent
        await fetcher.fetch(DEAL, [ALICE], root, LIMITS)
        assert server.statistics().blocks_sent - before == fetcher.statistics().blocks_received == len(blocks)
    assert await holds(other, blocks)
    assert await other.pinned(DEAL) == (root,)


async def test_what_came_ahead_is_not_asked_for_again(store: BlobStore, other: BlobStore) -> None:
    root, blocks = await keep(store, SMALL)
    below = [(cid, block) for cid, block in blocks.items() if cid != root]
    counted, asked = await fetch(other, root, one_by_one(blocks, below[1:]))
    assert asked == [WantTree(DEAL, root), WantBlocks(DEAL, (below[0][0],))]
    assert counted.blocks_received == len(blocks)
    assert await holds(other, blocks)


async def test_nothing_goes_ahead_of_a_tree_that_is_not_small(store: BlobStore) -> None:
    many: Layout = {f"{number}": pattern(10 + number) for number in range(MAX_AHEAD_BLOCKS + 1)}
    large: Layout = {f"{number}": pattern(14_000 + number) for number in range(MAX_AHEAD_BYTES // 14_000 + 1)}
    for layout in (TREE, many, large):
        root, _ = await keep(store, layout)
        async with pair(store) as (hub, server):
            server.grant(BOB, root, DEAL)
            assert await told(hub.link(BOB), root) == [root]


async def test_nothing_goes_ahead_of_what_a_peer_may_not_have(store: BlobStore) -> None:
    root, _ = await keep(store, SMALL)
    async with pair(store) as (hub, server):
        assert await told(hub.link(BOB), root) == [root]
        assert (server.statistics().blocks_sent, server.statistics().blocks_denied) == (0, 1)


@pytest.mark.parametrize("kind", ["too many", "too many bytes", "one again and again", "other bytes"])
async def test_a_peer_that_abuses_it_is_blamed(store: BlobStore, other: BlobStore, kind: str) -> None:
    root, blocks = await keep(store, SMALL)
    below = [(cid, block) for cid, block in blocks.items() if cid != root]
    more: Blocks = {}
    match kind:
        case "too many":
            ahead = [(add_leaf(more, pattern(9 + n)), pattern(9 + n)) for n in range(MAX_AHEAD_BLOCKS + 1)]
        case "too many bytes":
            ahead = [(add_leaf(more, pattern(n)), pattern(n)) for n in (MAX_AHEAD_BYTES // 2, MAX_AHEAD_BYTES // 2 + 1)]
        case "one again and again":
            ahead = below[:1] * (MAX_AHEAD_BLOCKS + 1)
        case _:
            ahead = [(cid, block + b"!") for cid, block in below]
    counted, asked = await fetch(other, root, one_by_one(blocks, ahead))
    assert counted.violations == 1
    assert asked == [WantTree(DEAL, root)], "it is not asked again"
    assert not await other.has(root) or kind == "other bytes"


async def test_what_came_ahead_and_is_not_of_the_tree_is_not_kept(store: BlobStore, other: BlobStore) -> None:
    root, blocks = await keep(store, SMALL)
    more: Blocks = {}
    stranger = add_leaf(more, b"nobody asked for this")
    await fetch(other, root, one_by_one(blocks, list(more.items())))
    assert await holds(other, blocks)
    assert not await other.has(stranger)

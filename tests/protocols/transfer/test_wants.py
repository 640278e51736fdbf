"""Does a want-list session end with every block, whatever peers do, and refuse trees that lie before pulling leaves?"""

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.sim.trees import (
    DIRECTORY_DATA,
    Blocks,
    Layout,
    add_leaf,
    add_node,
    file_data,
    link,
    plant,
)
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.transfer.cid import is_raw
from protocols.transfer.dagpb import MAX_BLOCK_BYTES
from protocols.transfer.steps import (
    AskPeer,
    BlockDenied,
    BlockMissing,
    BlockReceived,
    BlocksStored,
    Done,
    Effect,
    Event,
    Failed,
    LookedUp,
    LookUp,
    PeerLost,
    PeerReady,
    PeerReset,
    StoreBlock,
    Surveyed,
    check_block,
)
from protocols.transfer.walk import Limits
from protocols.transfer.wants import PEER_WINDOW_BYTES, WantSession
from protocols.units import Cid, PeerId

P, Q = PeerId(b"p" * 39), PeerId(b"q" * 39)
ROOMY = Limits(max_content_bytes=1 << 30)


class World:
    """Peers and a store around one session: carries out effects in an order that ``choose`` decides."""

    def __init__(self, root: Cid, peers: dict[PeerId, Blocks], home: Blocks, limits: Limits = ROOMY) -> None:
        self.session = WantSession(root, list(peers), limits)
        self.peers, self.home = peers, home
        self.todo: deque[Callable[[], Event]] = deque()
        self.asked: list[Cid] = []
        self.most_owed = 0
        self.surveyed: int | None = None
        self.end: Done | Failed | None = None
        self.carry(self.session.start())
        for peer in peers:
            self.tell(PeerReady(peer))

    def tell(self, event: Event) -> None:
        self.carry(self.session.handle(event))

    def carry(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            assert self.end is None, "an effect after the end"
            match effect:
                case LookUp():
                    self.todo.append(lambda e=effect: self.look(e))  # type: ignore[misc]
                case AskPeer(peer, cids):
                    self.asked += cids
                    for cid in cids:
                        self.todo.append(lambda p=peer, c=cid: self.answer(p, c))  # type: ignore[misc]
                case StoreBlock(cid, block):
                    self.todo.append(lambda c=cid, b=block: self.store(c, b))  # type: ignore[misc]
                case Surveyed(total):
                    assert self.surveyed is None
                    self.surveyed = total
                case Done() | Failed():
                    self.end = effect
        self.most_owed = max([self.most_owed, *(self.session.asked_of(peer) for peer in self.peers)])

    def look(self, effect: LookUp) -> Event:
        held = [want for want in effect.wants if want.cid in self.home]
        fits = [w for w in held if w.leaf_bytes in (-1, len(self.home[w.cid]))]
        return LookedUp(
            absent=tuple(want.cid for want in effect.wants if want not in fits),
            leaves=tuple((want.cid, len(self.home[want.cid])) for want in fits if is_raw(want.cid)),
            nodes=tuple(check_block(want.cid, self.home[want.cid]) for want in fits if not is_raw(want.cid)),
        )

    def answer(self, peer: PeerId, cid: Cid) -> Event:
        block = self.peers[peer].get(cid)
        if block is None:
            return BlockMissing(peer, (cid,))
        self.session.expect(peer, cid, len(block))
        return BlockReceived(peer, check_block(cid, block))

    def store(self, cid: Cid, block: bytes) -> Event:
        self.home[cid] = block
        return BlocksStored((cid,))

    def run(self, choose: Callable[[int], int] = lambda count: 0) -> Done | Failed:
        while self.todo and self.end is None:
            at = choose(len(self.todo))
            step = self.todo[at]
            del self.todo[at]
            self.tell(step())
        assert self.end is not None, "the session waits for nothing"
        return self.end

    def reset(self, peer: PeerId) -> None:
        """The stream breaks: what was asked is never answered; then another stream opens."""
        owed = {id(step) for step in self.todo if step.__defaults__ and step.__defaults__[0] == peer}
        self.todo = deque(step for step in self.todo if id(step) not in owed)
        self.tell(PeerReset(peer))
        self.tell(PeerReady(peer))


layouts: st.SearchStrategy[Layout] = st.recursive(
    st.binary(max_size=2000),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "c", "d e", "é"]), inner, max_size=4),
    max_leaves=12,
)


def content(layout: Layout) -> int:
    return len(layout) if isinstance(layout, bytes) else sum(content(part) for part in layout.values())


@settings(max_examples=60)
@given(layout=layouts, draw=st.data())
def test_everything_arrives_whatever_the_order_resets_and_gaps(layout: Layout, draw: st.DataObject) -> None:
    blocks: Blocks = {}
    root = plant(layout, blocks)
    names = sorted(blocks)
    split = draw.draw(st.sets(st.sampled_from(names)))
    home = {cid: blocks[cid] for cid in draw.draw(st.sets(st.sampled_from(names)))}
    at_home = set(home)
    world = World(
        root.cid, {P: {c: blocks[c] for c in split}, Q: {c: blocks[c] for c in names if c not in split}}, home
    )

    def choose(count: int) -> int:
        if draw.draw(st.integers(0, 9)) == 0:
            world.reset(draw.draw(st.sampled_from([P, Q])))
        return draw.draw(st.integers(0, max(len(world.todo) - 1, 0)))

    assert world.run(choose) == Done()
    assert world.home == blocks
    assert (
        world.surveyed == world.session.done_bytes == world.session.total_bytes == content(layout) == root.content_bytes
    )
    assert not at_home & set(world.asked), "asked for what was at home"


@settings(max_examples=30)
@given(layout=layouts, absent=st.data())
def test_a_block_that_nobody_holds_fails_the_fetch(layout: Layout, absent: st.DataObject) -> None:
    blocks: Blocks = {}
    root = plant(layout, blocks)
    lost = absent.draw(st.sampled_from(sorted(blocks)))
    rest = {cid: block for cid, block in blocks.items() if cid != lost}
    end = World(root.cid, {P: rest, Q: rest}, {}).run()
    assert isinstance(end, Failed)
    assert end.code == "missing"


def fetch(root: Cid, blocks: Blocks, limits: Limits = ROOMY) -> tuple[Done | Failed, World]:
    world = World(root, {P: blocks}, {}, limits)
    return world.run(), world


def refusal(root: Cid, blocks: Blocks, limits: Limits = ROOMY) -> str:
    end, world = fetch(root, blocks, limits)
    assert isinstance(end, Failed)
    leaves = [cid for cid in world.asked if is_raw(cid)]
    assert not leaves, "a leaf was asked for before the tree was found to be bad"
    return end.code


def test_limits_hold_before_any_leaf_is_asked_for() -> None:
    blocks: Blocks = {}
    root = plant({"a": bytes(range(200)), "b": {"c": b"x" * 100, "d": b"y"}}, blocks).cid
    assert fetch(root, blocks, Limits(max_content_bytes=301, max_entries=4))[0] == Done()
    assert refusal(root, blocks, Limits(max_content_bytes=300)) == "too_large"
    assert refusal(root, blocks, Limits(max_content_bytes=301, max_entries=3)) == "too_large"
    assert refusal(root, blocks, Limits(max_content_bytes=301, max_directory_depth=1)) == "too_large"
    deep = plant(bytes(range(256)) * 8, blocks, 1, 2).cid
    assert refusal(deep, blocks, Limits(max_content_bytes=2047)) == "too_large"
    end, _ = fetch(deep, blocks, Limits(max_content_bytes=2048, max_blocks=100))
    assert isinstance(end, Failed)
    assert end.code == "too_large"
    end, _ = fetch(deep, blocks, Limits(max_content_bytes=2048))
    assert isinstance(end, Failed)
    assert "8 levels" in end.detail


def test_a_lone_leaf_larger_than_allowed_fails() -> None:
    blocks: Blocks = {}
    leaf = add_leaf(blocks, bytes(11))
    end, _ = fetch(leaf, blocks, Limits(max_content_bytes=10))
    assert isinstance(end, Failed)
    assert end.code == "too_large"
    assert fetch(leaf, blocks, Limits(max_content_bytes=11))[0] == Done()


def test_trees_that_multiply_by_repetition_are_refused() -> None:
    blocks: Blocks = {}
    inner = add_node(blocks, DIRECTORY_DATA)
    size = len(DIRECTORY_DATA)
    for _ in range(6):  # 100 ** 6 directories in 7 blocks
        block = b"".join(link(inner, b"%03d" % i, size) for i in range(100)) + DIRECTORY_DATA
        inner, size = add_node(blocks, block), len(block) + 100 * size
    assert refusal(inner, blocks) == "too_large"
    part, size, total = add_leaf(blocks, b"x"), 1, 1
    for _ in range(5):  # 10 ** 15 bytes, honestly stated
        block = link(part, b"", size) * 1000 + file_data(total * 1000, [total] * 1000)
        part, size, total = add_node(blocks, block), len(block) + 1000 * size, total * 1000
    assert refusal(part, blocks) == "too_large"


@pytest.mark.parametrize("chunk", [1, 64])
def test_repeated_blocks_are_fetched_once_and_kept_bounded(chunk: int) -> None:
    blocks: Blocks = {}
    root = plant(bytes(4000 * chunk), blocks, chunk, 100).cid
    end, world = fetch(root, blocks)
    assert end == Done()
    assert sorted(world.asked) == sorted(blocks)
    assert world.session.done_bytes == 4000 * chunk


def lying_trees() -> dict[str, tuple[Cid, Blocks]]:
    trees: dict[str, tuple[Cid, Blocks]] = {}

    def tree(name: str, build: Callable[[Blocks], bytes]) -> None:
        blocks: Blocks = {}
        trees[name] = (add_node(blocks, build(blocks)), blocks)

    def file_of(blocks: Blocks, size: int) -> tuple[Cid, int]:
        root = plant(bytes(range(size)), blocks, 4, 3)
        return root.cid, root.tree_bytes

    def wrong_tree_size(blocks: Blocks) -> bytes:
        cid, tree_bytes = file_of(blocks, 10)
        return link(cid, b"f", tree_bytes - 1) + DIRECTORY_DATA

    def wrong_part_size(blocks: Blocks) -> bytes:
        cid, tree_bytes = file_of(blocks, 10)
        return link(cid, b"", tree_bytes) + file_data(9, [9])

    def directory_in_file(blocks: Blocks) -> bytes:
        cid = add_node(blocks, DIRECTORY_DATA)
        return link(cid, b"", len(DIRECTORY_DATA)) + file_data(1, [1])

    def case_clash(blocks: Blocks) -> bytes:
        cid = add_leaf(blocks, b"x")
        return link(cid, b"A", 1) + link(cid, b"a", 1) + DIRECTORY_DATA

    def not_nfc(blocks: Blocks) -> bytes:
        return link(add_leaf(blocks, b"x"), "e\u0301".encode(), 1) + DIRECTORY_DATA

    def climbing(blocks: Blocks) -> bytes:
        return link(add_leaf(blocks, b"x"), b"../x", 1) + DIRECTORY_DATA

    def trailing(blocks: Blocks) -> bytes:
        return link(add_leaf(blocks, b"x"), b"x", 1) + DIRECTORY_DATA + b"\x00"

    tree("lying_size/tree", wrong_tree_size)
    tree("bad_node/directory", directory_in_file)
    tree("bad_name/case", case_clash)
    tree("bad_name/nfc", not_nfc)
    tree("bad_name/climb", climbing)
    tree("bad_node/trailing", trailing)
    tree("lying_size/part", wrong_part_size)
    return trees


@pytest.mark.parametrize("name", list(lying_trees()))
def test_trees_that_lie_are_refused(name: str) -> None:
    root, blocks = lying_trees()[name]
    assert refusal(root, blocks) == name.split("/")[0]


def test_a_leaf_that_is_not_as_long_as_promised_fails_the_tree() -> None:
    blocks: Blocks = {}
    leaf = add_leaf(blocks, b"four")
    root = add_node(blocks, link(leaf, b"", 9) + file_data(9, [9]))
    end, _ = fetch(root, blocks)
    assert isinstance(end, Failed)
    assert end.code == "lying_size"


def test_a_leaf_longer_than_promised_is_the_peers_fault_before_it_is_hashed() -> None:
    blocks: Blocks = {}
    leaf = add_leaf(blocks, b"four")
    root = add_node(blocks, link(leaf, b"", 3) + file_data(3, [3]))
    with pytest.raises(RemoteProtocolError, match="at most 3 expected"):
        fetch(root, blocks)


def test_what_was_not_asked_is_the_peers_fault() -> None:
    blocks: Blocks = {}
    root = plant(b"hello" * 100, blocks).cid
    world = World(root, {P: blocks, Q: blocks}, {})
    checked = check_block(root, blocks[root])
    for event in (BlockReceived(Q, checked), BlockMissing(Q, (root,)), BlockDenied(Q, (root,))):
        with pytest.raises(RemoteProtocolError) as caught:
            world.tell(event)
        assert caught.value.code == "unsolicited"
    with pytest.raises(RemoteProtocolError, match="not asked"):
        world.session.expect(Q, root, 1)
    assert world.run() == Done()


def test_bytes_that_are_not_their_name_never_pass() -> None:
    blocks: Blocks = {}
    root = plant(b"hello", blocks).cid
    with pytest.raises(RemoteProtocolError) as caught:
        check_block(root, b"HELLO")
    assert (caught.value.code, caught.value.penalty) == ("bad_block", 50)


def test_denied_everywhere_is_refused_and_denied_once_is_not() -> None:
    blocks: Blocks = {}
    root = plant(b"hello" * 100, blocks).cid
    world = World(root, {P: blocks, Q: blocks}, {})
    world.tell(world.look(LookUp(())))
    world.todo.popleft()
    world.tell(LookedUp(absent=(root,)))
    world.todo.clear()
    world.tell(BlockDenied(P, (root,)))
    assert world.end is None
    assert world.run() == Done()
    alone = World(root, {P: blocks}, {})
    alone.todo.clear()
    alone.tell(LookedUp(absent=(root,)))
    alone.tell(BlockDenied(P, (root,)))
    assert isinstance(alone.end, Failed)
    assert alone.end.code == "refused"
    assert alone.session.handle(PeerReady(P)) == ()


def test_without_any_peer_left_it_is_unreachable_unless_all_is_at_home() -> None:
    blocks: Blocks = {}
    root = plant(b"hello" * 100, blocks).cid
    world = World(root, {P: blocks}, {})
    world.tell(PeerLost(P))
    end = world.run()
    assert isinstance(end, Failed)
    assert end.code == "unreachable"
    complete = World(root, {P: {}}, dict(blocks))
    complete.tell(PeerLost(P))
    assert complete.run() == Done()
    with pytest.raises(LocalProtocolError, match="at least one peer"):
        WantSession(root, [], ROOMY)


def test_no_peer_owes_more_than_a_window() -> None:
    blocks: Blocks = {}
    data = b"".join(i.to_bytes(4, "big") * (1 << 16) for i in range(24))
    root = plant(data, blocks, 1 << 18, 174).cid
    end, world = fetch(root, blocks)
    assert end == Done()
    assert PEER_WINDOW_BYTES // 2 <= world.most_owed <= PEER_WINDOW_BYTES + MAX_BLOCK_BYTES

"""Does the follower deliver each log once, take back what the chain took back, and go on after a restart?"""

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from devnet.chain import ChainHandle
from devnet.chain.hostile import hostile_endpoint
from mesh.chain.checkpoints import MAX_CHECKPOINTS, Checkpoints, Point
from mesh.chain.errors import ReorgTooDeep
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.feed import FeedItem, FollowerSettings, HeadMoved, LevelReached, LogRef, LogRetracted, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, SubmitterSettings
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, RpcSettings
from mesh.chain.submitter import Submitter
from mesh.chain.wire import Head
from protocols.units import Address, Hash32

# Runtime code: PUSH1 0 CALLDATALOAD PUSH1 0 PUSH1 0 LOG1 STOP: logs its first argument as a topic.
RUNTIME = bytes.fromhex("60003560006000a100")
INIT = bytes([0x60, len(RUNTIME), 0x80, 0x60, 0x0B, 0x60, 0x00, 0x39, 0x60, 0x00, 0xF3]) + RUNTIME
DEEP = FollowerSettings(poll_s=0.005, level_poll_s=0.0, use_tags=False, safe_depth=2, finalized_depth=40)
Opener = Callable[..., Rpc]


class World:
    """A chain with a contract that logs numbers."""

    def __init__(self, eth: Eth, chain: ChainHandle) -> None:
        self.eth = eth
        settings = SubmitterSettings(poll_s=0.002)
        self.sender = Submitter(eth, chain.accounts[0], MemoryJournal(), Reverts(), settings)
        self.contract = Address(bytes(20))
        self.count = 0

    async def deploy(self) -> None:
        outcome = await self._send(TxCall(to=None, data=INIT))
        assert outcome.created is not None
        self.contract = outcome.created

    async def log(self, *numbers: int) -> None:
        for number in numbers:
            await self._send(TxCall(to=self.contract, data=number.to_bytes(32), gas=60_000))

    async def control(self, method: str, *params: object) -> object:
        return await self.eth.rpc.call(method, params, lambda value: value)

    async def mine(self, blocks: int = 1) -> None:
        await self.control("anvil_mine", hex(blocks))

    async def _send(self, call: TxCall) -> Confirmed:
        self.count += 1
        key = str(self.count)
        outcome = await self.sender.submit(key, call)
        await self.sender.release(key)
        assert isinstance(outcome, Confirmed)
        return outcome

    def follower(self, settings: FollowerSettings = DEEP, eth: Eth | None = None, **more: object) -> Follower:
        query = LogQuery((self.contract,))
        return Follower(eth or self.eth, query, jitter=lambda: 0.5, settings=settings, **more)  # type: ignore[arg-type]


@pytest.fixture
async def world(chain: ChainHandle, eth: Eth) -> World:
    world = World(eth, chain)
    await world.deploy()
    return world


async def until_head(follower: Follower, hash_: Hash32) -> list[FeedItem]:
    """Everything up to the news of this head."""
    items: list[FeedItem] = []
    with trio.fail_after(60):
        async for item in follower:
            items.append(item)
            if isinstance(item, HeadMoved) and item.hash == hash_:
                return items
    raise AssertionError


async def mined(world: World) -> Head:
    """One more block."""
    await world.mine()
    return await world.eth.head()


def numbers(items: list[FeedItem]) -> list[int]:
    return [int.from_bytes(item.log.topics[0]) for item in items if isinstance(item, LogSeen)]


def standing(items: list[FeedItem]) -> list[LogRef]:
    """The logs that were seen and not retracted."""
    live: list[LogRef] = []
    for item in items:
        if isinstance(item, LogSeen):
            live.append(item.ref)
        elif isinstance(item, LogRetracted):
            assert live.pop() == item.ref
    return live


async def test_logs_come_once_in_order_and_time_follows_them(world: World) -> None:
    await world.log(1, 2, 3)
    await world.mine(5)
    await world.log(4)
    head = await world.eth.head()
    items = await until_head(world.follower(FollowerSettings(poll_s=0.005, window=2)), head.hash)
    assert numbers(items) == [1, 2, 3, 4]
    time_told = -1
    for item in items:
        if isinstance(item, HeadMoved):
            time_told = item.number
        elif isinstance(item, LogSeen):
            assert item.log.block_number > time_told


async def test_any_item_is_a_place_to_go_on_from(world: World) -> None:
    await world.control("evm_setAutomine", False)
    async with trio.open_nursery() as nursery:
        # Three logs in one block, so that a cursor can stand between two of them.
        for number in (1, 2, 3):
            nursery.start_soon(world.log, number)
        with trio.fail_after(60):
            while await world.eth.nonce(world.sender.address, "pending") < 4:
                await trio.lowlevel.checkpoint()
        await world.control("evm_mine")
    await world.control("evm_setAutomine", True)
    await world.log(4)
    head = await world.eth.head()
    whole = await until_head(world.follower(), head.hash)
    assert sorted(numbers(whole)[:3]) == [1, 2, 3]
    for place, item in enumerate(whole[:-1]):
        rest = await until_head(world.follower(cursor=item.cursor), head.hash)
        assert numbers(whole[: place + 1]) + numbers(rest) == numbers(whole)


async def test_a_reorg_is_taken_back_newest_first(world: World) -> None:
    await world.log(1)
    mark = await world.control("evm_snapshot")
    await world.log(2, 3)
    follower = world.follower()
    items = await until_head(follower, (await world.eth.head()).hash)
    assert numbers(items) == [1, 2, 3]
    await world.control("evm_revert", mark)
    await world.log(4)
    await world.mine(3)
    after = await until_head(follower, (await world.eth.head()).hash)
    retracted = [item.ref for item in after if isinstance(item, LogRetracted)]
    assert retracted == list(reversed(standing(items)[1:]))
    assert numbers(after) == [4]
    assert follower.statistics().reorgs == 1
    assert follower.statistics().retracted == 2


async def test_a_reorg_during_downtime_is_taken_back_after_the_restart(world: World) -> None:
    await world.log(1)
    mark = await world.control("evm_snapshot")
    await world.log(2, 3)
    items = await until_head(world.follower(), (await world.eth.head()).hash)
    await world.control("evm_revert", mark)
    await world.log(4)
    await world.mine(5)
    restarted = world.follower(cursor=items[-1].cursor, unsettled=standing(items))
    after = await until_head(restarted, (await world.eth.head()).hash)
    assert [item.ref for item in after if isinstance(item, LogRetracted)] == list(reversed(standing(items)[1:]))
    assert numbers(after) == [4]


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_history_what_stands_is_what_the_chain_has(world: World, seed: int) -> None:
    rng = random.Random(seed)
    follower = world.follower(FollowerSettings(**{**_fields(DEEP), "window": rng.choice([1, 3, 100])}))
    marks = [await world.control("evm_snapshot")]
    items: list[FeedItem] = []
    for step in range(14):
        match rng.choice(["log", "log", "mine", "mark", "revert", "look"]):
            case "log":
                await world.log(step)
            case "mine":
                await world.mine(rng.randint(1, 4))
            case "mark":
                marks.append(await world.control("evm_snapshot"))
            case "revert":
                await world.control("evm_revert", marks.pop() if len(marks) > 1 else marks[0])
                if len(marks) <= 1:
                    marks = [await world.control("evm_snapshot")]
            case _:
                await world.mine()
                items += await until_head(follower, (await world.eth.head()).hash)
    await world.mine(20)
    items += await until_head(follower, (await world.eth.head()).hash)
    there = await world.eth.logs(LogQuery((world.contract,)), 0, (await world.eth.head()).number)
    assert standing(items) == [LogRef(log.block_number, log.block_hash, log.tx_hash, log.index) for log in there]


def _fields(settings: FollowerSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


async def test_levels_rise_by_tags_and_by_depth(world: World) -> None:
    await world.log(1)
    await world.mine(4)
    head = await world.eth.head()
    expected = {
        FollowerSettings(poll_s=0.005, level_poll_s=0.0): {"safe": head.number - 1, "finalized": head.number - 2},
        DEEP: {"safe": head.number - 2},
    }
    for settings, wanted in expected.items():
        follower = world.follower(settings)
        reached: dict[str, int] = {}
        with trio.fail_after(60):
            while reached != wanted:
                item = await anext(follower)
                if isinstance(item, LevelReached):
                    assert item.number > reached.get(item.level, -1)
                    reached[item.level] = item.number


async def test_a_chain_that_breaks_its_finality_is_not_followed(world: World) -> None:
    mark = await world.control("evm_snapshot")
    await world.log(1)
    await world.mine(6)
    follower = world.follower(FollowerSettings(poll_s=0.005, level_poll_s=0.0))
    with trio.fail_after(60):
        while follower.statistics().finalized < (await world.eth.head()).number - 2:
            await anext(follower)
    await world.control("evm_revert", mark)
    await world.mine(10)
    with pytest.raises(ReorgTooDeep, match="had called final"):
        await until_head(follower, (await world.eth.head()).hash)


async def test_an_endpoint_that_lags_makes_nobody_retract(
    world: World, chain: ChainHandle, open_rpc_to: Opener
) -> None:
    async with hostile_endpoint(upstream=chain.rpc_url) as endpoint:
        eth = Eth(open_rpc_to(endpoint.url))
        follower = world.follower(eth=eth)
        await world.log(1, 2, 3, 4, 5, 6)
        items = await until_head(follower, (await world.eth.head()).hash)
        endpoint.mode = "lagging"
        await world.log(7)
        head = (await world.eth.head()).hash
        async with trio.open_nursery() as nursery:

            async def read_on() -> None:
                items.extend(await until_head(follower, head))

            nursery.start_soon(read_on)
            await endpoint.until_asked("eth_getBlockByNumber", endpoint.asked["eth_getBlockByNumber"] + 10)
            endpoint.mode = "honest"
        assert numbers(items) == [1, 2, 3, 4, 5, 6, 7]
        assert follower.statistics().retracted == 0


async def test_windows_halve_until_the_endpoint_answers(world: World, chain: ChainHandle, open_rpc_to: Opener) -> None:
    await world.log(1)
    await world.mine(30)
    await world.log(2)
    async with hostile_endpoint("narrow", upstream=chain.rpc_url) as endpoint:
        follower = world.follower(eth=Eth(open_rpc_to(endpoint.url)))
        assert numbers(await until_head(follower, (await world.eth.head()).hash)) == [1, 2]


async def test_who_has_just_read_up_to_the_head_does_not_ask_for_it_again(
    world: World, chain: ChainHandle, open_rpc_to: Opener
) -> None:
    hurry = [0.0]
    async with hostile_endpoint(upstream=chain.rpc_url) as endpoint:
        settings = FollowerSettings(poll_s=1.0, level_poll_s=1e9)
        follower = world.follower(settings, Eth(open_rpc_to(endpoint.url)), pace=lambda: hurry[0])
        await world.mine()
        await until_head(follower, (await world.eth.head()).hash)
        hurry[0] = 0.005
        async with trio.open_nursery() as nursery:

            async def read_on() -> None:
                async for _ in follower:
                    pass

            nursery.start_soon(read_on)  # the levels are looked at once, and then not for long
            await endpoint.until_asked("eth_getBlockByNumber", endpoint.asked["eth_getBlockByNumber"] + 8)
            nursery.cancel_scope.cancel()
        await until_head(follower, (await mined(world)).hash)
        hurry[0] = 1e9
        asked = dict(endpoint.asked)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, follower)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        assert endpoint.asked == asked


@pytest.mark.parametrize("fault", ["garbage", "cut", "overloaded", "null", "negative"])
async def test_an_outage_in_mid_stream_loses_nothing(
    fault: str, world: World, chain: ChainHandle, open_rpc_to: Opener
) -> None:
    settings = RpcSettings(attempt_s=20.0, give_up_s=20.0, backoff_s=0.01, backoff_max_s=0.02)
    async with hostile_endpoint(upstream=chain.rpc_url) as endpoint:
        follower = world.follower(
            FollowerSettings(**{**_fields(DEEP), "window": 1}), Eth(open_rpc_to(endpoint.url, settings=settings))
        )
        await world.log(1, 2, 3)
        items = [await anext(follower) for _ in range(3)]
        endpoint.mode = fault  # type: ignore[assignment]
        await world.log(4)
        head = (await world.eth.head()).hash
        async with trio.open_nursery() as nursery:

            async def read_on() -> None:
                items.extend(await until_head(follower, head))

            nursery.start_soon(read_on)
            await endpoint.until_asked("eth_chainId", endpoint.asked["eth_chainId"] + 2)
            endpoint.mode = "honest"
        assert numbers(items) == [1, 2, 3, 4]


def point(height: int) -> Point:
    return height, Hash32(height.to_bytes(32))


async def test_checkpoints_are_bounded_and_still_find_the_fork() -> None:
    kept = Checkpoints()
    for height in range(3 * MAX_CHECKPOINTS):
        kept.remember(point(height))
        assert len(kept) <= MAX_CHECKPOINTS
    asked = 0

    async def is_canonical(at: Point) -> bool:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return at[0] <= 1000

    good, bad = await kept.fork(is_canonical)
    assert good is not None
    assert bad is not None
    assert good[0] <= 1000 < bad[0]
    assert asked <= 13
    kept.cut(good)
    assert kept.below(10**9) == good
    kept.settle(good[0])
    assert len(kept) == 1

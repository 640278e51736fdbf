"""Is an endpoint that forges well-formed answers found out, and does a node that cannot tell who lies do nothing?"""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from devnet.chain import ChainHandle, dev_accounts
from devnet.chain.hostile import Mode, hostile_endpoint
from mesh.chain import wire
from mesh.chain.agreement import MAX_DOUBTS
from mesh.chain.errors import EndpointsDisagree, Unconfirmed
from mesh.chain.eth import Eth, LogQuery, TxCall, surely
from mesh.chain.feed import FeedItem, FollowerSettings, LevelReached, LogRetracted, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, SubmitterSettings
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Doubt, Rpc, RpcSettings, open_rpc
from mesh.chain.submitter import Submitter
from mesh.chain.wire import Receipt
from protocols.units import Address, Hash32

Opener = Callable[..., Rpc]
SOON = RpcSettings(attempt_s=20.0, give_up_s=60.0, backoff_s=0.01, backoff_max_s=0.05, agree_s=0.05)
TOPIC = b"\x07" * 32
WRITER = bytes.fromhex("7f" + "2a" * 32 + "600052" + "7f") + TOPIC + bytes.fromhex("60206000a100")
"""Creation code that logs 32 bytes under TOPIC."""
FOLLOW = FollowerSettings(poll_s=0.005, level_poll_s=0.0, use_tags=False, safe_depth=0, finalized_depth=40)


async def write(chain: ChainHandle, eth: Eth, key: str, retries: SubmitterSettings | None = None) -> Confirmed:
    """One log on the chain."""
    sender = Submitter(eth, chain.accounts[0], MemoryJournal(), Reverts([]), retries or SubmitterSettings(poll_s=0.01))
    outcome = await sender.submit(key, TxCall(to=None, data=WRITER))
    assert isinstance(outcome, Confirmed)
    return outcome


async def until_safe(follower: Follower, number: int) -> list[FeedItem]:
    """Everything until a height is safe."""
    items: list[FeedItem] = []
    with trio.fail_after(60):
        async for item in follower:
            items.append(item)
            if isinstance(item, LevelReached) and item.level == "safe" and item.number >= number:
                return items
    raise AssertionError


@pytest.mark.parametrize("mode", ["forging", "withholding"])
async def test_forged_and_withheld_logs_are_found_out_with_two_endpoints(
    mode: Mode, chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    written = await write(chain, eth, "one")
    (true,) = written.logs
    async with hostile_endpoint(mode, upstream=chain.rpc_url) as liar:
        rpc = open_rpc_to(liar.url, chain.rpc_url, settings=SOON)
        follower = Follower(Eth(rpc), LogQuery((true.address,)), jitter=lambda: 0.5, settings=FOLLOW)
        items = await until_safe(follower, written.block)
    assert [item.log for item in items if isinstance(item, LogSeen)] == [true]
    assert not any(isinstance(item, LogRetracted) for item in items)
    record = rpc.statistics().endpoints[0]
    assert record.state == "refused"
    assert "forges" in record.last_error
    assert rpc.alone
    assert not rpc.doubts


async def test_one_endpoint_alone_is_believed(chain: ChainHandle, eth: Eth, open_rpc_to: Opener) -> None:
    """What the pages say: with one endpoint that one is trusted."""
    written = await write(chain, eth, "one")
    async with hostile_endpoint("forging", upstream=chain.rpc_url) as liar:
        rpc = open_rpc_to(liar.url, settings=SOON)
        query = LogQuery((written.logs[0].address,))
        items = await until_safe(Follower(Eth(rpc), query, jitter=lambda: 0.5, settings=FOLLOW), written.block)
    assert [item.log.data for item in items if isinstance(item, LogSeen)] != [written.logs[0].data]


async def test_a_forged_receipt_ends_no_transaction(chain: ChainHandle, eth: Eth, open_rpc_to: Opener) -> None:
    async with hostile_endpoint("forging", upstream=chain.rpc_url) as liar:
        rpc = open_rpc_to(liar.url, chain.rpc_url, settings=SOON)
        with trio.fail_after(60):
            outcome = await write(chain, Eth(rpc), "one", SubmitterSettings(poll_s=0.01, stuck_s=0.2))
        assert liar.asked["eth_sendRawTransaction"] >= 1
    true = await eth.receipt(outcome.tx_hash)
    assert true is not None
    assert (true.block_hash, true.logs) == (outcome.block_hash, outcome.logs)
    assert len(outcome.logs) == 1


async def test_a_witness_that_has_the_block_but_not_the_receipt_is_enough_for_a_receipt_that_is_proven(
    chain: ChainHandle, open_rpc_to: Opener
) -> None:
    async with hostile_endpoint("blind", upstream=chain.rpc_url) as blind:
        rpc = open_rpc_to(chain.rpc_url, blind.url, settings=SOON)
        with trio.fail_after(60):
            await write(chain, Eth(rpc), "one")


@pytest.mark.parametrize("mode", ["ignorant", "frozen"])
async def test_a_witness_that_will_never_know_a_receipt_is_not_waited_for_for_ever(
    mode: Mode, chain: ChainHandle, open_rpc_to: Opener
) -> None:
    """One endpoint of two could keep every transaction from ending: a dispute waits for its bond, and its window passes."""
    async with hostile_endpoint(mode, upstream=chain.rpc_url) as liar:
        rpc = open_rpc_to(chain.rpc_url, liar.url, settings=msgspec.structs.replace(SOON, max_lag_s=0.1))
        await rpc.probe()
        with trio.fail_after(60):
            await write(chain, Eth(rpc), "one")
        assert liar.asked["eth_getTransactionReceipt"] > 1


async def test_a_witness_that_shows_another_block_for_a_receipt_is_judged(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    written = await write(chain, eth, "one")
    elsewhere = {"eth_getBlockByNumber": block(written.block, "33"), "eth_getTransactionReceipt": None}
    async with hostile_endpoint(canned=canned("33") | elsewhere) as liar:
        rpc = open_rpc_to(chain.rpc_url, liar.url, settings=SOON)
        with pytest.raises(Unconfirmed, match="contradict"):
            await Eth(rpc).agreed_receipt(written.tx_hash)
        assert await patient_receipt(Eth(rpc), written.tx_hash) == await eth.receipt(written.tx_hash)
        assert [each.state for each in rpc.statistics().endpoints] == ["ready", "refused"]


def receipt(number: int, mark: str) -> dict[str, object]:
    """A forged one."""
    where = {"transactionHash": "0x" + "77" * 32, "blockNumber": hex(number), "blockHash": "0x" + mark * 32}
    return where | {"status": "0x1", "gasUsed": "0x5208", "contractAddress": None, "logs": []}


async def test_a_witness_that_has_another_block_is_not_overruled_by_a_receipt_that_nobody_proves(
    open_rpc_to: Opener,
) -> None:
    async with (
        hostile_endpoint(canned=canned("33") | {"eth_getTransactionReceipt": receipt(5, "33")}) as liar,
        hostile_endpoint(canned=canned("11") | {"eth_getTransactionReceipt": None}) as honest,
    ):
        rpc = open_rpc_to(liar.url, honest.url, settings=SOON)
        with pytest.raises(EndpointsDisagree):
            await patient_receipt(Eth(rpc), Hash32(b"\x77" * 32))


async def test_a_receipt_whose_teller_does_not_answer_when_it_is_to_prove_it_is_not_believed(
    open_rpc_to: Opener,
) -> None:
    told = {"eth_chainId": "0x7a69", "eth_getTransactionReceipt": receipt(5, "11")}  # and an error for its block
    async with (
        hostile_endpoint(canned=told) as liar,
        hostile_endpoint(canned=canned("11") | {"eth_getTransactionReceipt": None}) as honest,
    ):
        rpc = open_rpc_to(liar.url, honest.url, settings=SOON)
        for _ in range(3):
            with pytest.raises(Unconfirmed, match="alone knows"):
                await Eth(rpc).agreed_receipt(Hash32(b"\x77" * 32))


async def test_a_witness_that_goes_on_is_waited_for_however_far_a_receipt_is_ahead(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    told = {"eth_getTransactionReceipt": receipt(10**6, "33")}
    async with hostile_endpoint(upstream=chain.rpc_url, canned=told) as liar:
        rpc = open_rpc_to(liar.url, chain.rpc_url, settings=SOON)
        for _ in range(3):
            await eth.rpc.call("evm_mine", [], lambda value: value)
            with pytest.raises(Unconfirmed, match="alone knows"):
                await Eth(rpc).agreed_receipt(Hash32(b"\x77" * 32))
            (waited,) = rpc.doubts.values()
            waited.since -= rpc.settings.max_lag_s  # as if it had been that long
        assert await Eth(rpc).agreed_receipt(Hash32(b"\x77" * 32)) is not None  # it stands still now


async def test_a_witness_that_crawls_and_gives_its_blocks_later_times_stretches_no_wait(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """It goes on, and is never seen to lag: one endpoint of two could keep every transaction from ending, a block at a time."""
    async with hostile_endpoint("crawling", upstream=chain.rpc_url) as liar:
        rpc = open_rpc_to(chain.rpc_url, liar.url, settings=SOON)
        await rpc.probe()
        for _ in range(50):
            await eth.rpc.call("evm_mine", [], lambda value: value)
        with trio.fail_after(10):
            await write(chain, Eth(rpc), "one")
        assert liar.asked["eth_getBlockByNumber"] < 50
        assert "another time" in rpc.statistics().endpoints[1].last_error


async def test_a_witness_that_crawls_along_another_chain_is_judged(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    written = await write(chain, eth, "one")
    for _ in range(20):
        await eth.rpc.call("evm_mine", [], lambda value: value)
    sure = await write(chain, eth, "two")
    heights = itertools.count(written.block)

    def crawl(params: list[Any]) -> dict[str, Any] | None:
        """One block more at each look, and none above."""
        top = min(next(heights), sure.block - 1) if params[0] == "latest" else int(params[0], 16)
        return block(top, "33") if top < sure.block else None

    told = {"eth_getBlockByNumber": crawl, "eth_getTransactionReceipt": None}
    async with hostile_endpoint(canned=canned("33") | told) as liar:
        rpc = open_rpc_to(chain.rpc_url, liar.url, settings=SOON)
        with trio.fail_after(10):
            while True:
                try:
                    found = await Eth(rpc).agreed_receipt(sure.tx_hash)
                except Unconfirmed:
                    await trio.sleep(0.01)
                else:
                    assert found == await eth.receipt(sure.tx_hash)
                    break
        assert [each.state for each in rpc.statistics().endpoints] == ["ready", "refused"]


async def patient_receipt(eth: Eth, tx_hash: Hash32) -> Receipt | None:
    """The agreed receipt, asked for until the endpoints were judged."""
    with trio.fail_after(60):
        while True:
            try:
                return await eth.agreed_receipt(tx_hash)
            except Unconfirmed:
                await trio.sleep(0.01)


async def test_an_endpoint_that_is_behind_is_waited_for_and_not_accused(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    written = await write(chain, eth, "one")
    async with hostile_endpoint("lagging", upstream=chain.rpc_url) as late:
        rpc = open_rpc_to(chain.rpc_url, late.url, settings=SOON)
        ours = Eth(rpc)
        query = LogQuery((written.logs[0].address,))
        for _ in range(3):
            with pytest.raises(Unconfirmed, match="alone knows"):
                await ours.agreed_logs(query, 0, written.block)
            await trio.testing.wait_all_tasks_blocked()
        late.mode = "honest"
        told = await ours.agreed_logs(query, 0, written.block)
        assert told is not None
        assert told[1] == written.logs
        late.mode = "lagging"
        rpc.witnesses()[1].lagging = True  # as the next probe finds, when it is far behind
        assert await ours.agreed_logs(query, 0, written.block) == told
    assert {one.state for one in rpc.statistics().endpoints} == {"ready", "lagging"}


async def test_a_witness_that_is_always_some_blocks_behind_holds_up_no_log(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """Where blocks come faster than answers, the newest one is never known to two. A node that asked for that alone never
    heard of its deals."""
    written = await write(chain, eth, "one")
    async with hostile_endpoint("lagging", upstream=chain.rpc_url) as late, trio.open_nursery() as nursery:
        rpc = open_rpc_to(chain.rpc_url, late.url, settings=SOON)

        async def mine() -> None:
            for asked in itertools.count(1):  # one block for each look that the late one takes
                await late.until_asked("eth_getBlockByNumber", asked)
                await eth.rpc.call("evm_mine", [], lambda value: value)

        nursery.start_soon(mine)
        query = LogQuery((written.logs[0].address,))
        follower = Follower(Eth(rpc), query, jitter=lambda: 0.5, settings=FOLLOW, start_block=written.block)
        with trio.fail_after(60):
            async for item in follower:
                if isinstance(item, LogSeen):
                    assert item.log == written.logs[0]
                    break
        assert all(one.state != "refused" for one in rpc.statistics().endpoints)
        nursery.cancel_scope.cancel()


async def test_a_witness_that_denies_the_blocks_it_says_it_has_is_not_waited_for_for_ever(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """One endpoint of two could keep a provider from ever seeing its commitments: it would claim nothing, and be penalised."""
    written = await write(chain, eth, "one")
    async with hostile_endpoint("denying", upstream=chain.rpc_url) as liar:
        rpc = open_rpc_to(chain.rpc_url, liar.url, settings=SOON)
        query = LogQuery((written.logs[0].address,))
        with pytest.raises(Unconfirmed, match="alone knows"):
            await Eth(rpc).agreed_logs(query, 0, written.block)
        told = await patient(Eth(rpc), query, written.block)
        assert told[1] == written.logs


def block(number: int, mark: str) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": "0x" + mark * 32,
        "parentHash": "0x" + "22" * 32,
        "timestamp": hex(1_700_000_000),
        "baseFeePerGas": "0x1",
    }


def canned(mark: str, balance: int = 7) -> dict[str, object]:
    return {
        "eth_chainId": "0x7a69",
        "eth_getBlockByNumber": block(5, mark),
        "eth_getLogs": [],
        "eth_getBalance": hex(balance),
    }


async def test_who_stands_alone_against_two_is_refused(open_rpc_to: Opener) -> None:
    async with (
        hostile_endpoint(canned=canned("33")) as liar,
        hostile_endpoint(canned=canned("11")) as one,
        hostile_endpoint(canned=canned("11")) as two,
    ):
        rpc = open_rpc_to(liar.url, one.url, two.url, settings=SOON)
        told = await patient(Eth(rpc))
        assert told[0].hash == b"\x11" * 32
        assert [each.state for each in rpc.statistics().endpoints] == ["refused", "ready", "ready"]
        assert rpc.disagreement == ""


async def patient(eth: Eth, query: LogQuery = LogQuery((Address(bytes(20)),)), number: int = 5) -> Any:  # noqa: B008
    """The agreed block, asked for until the endpoints were judged."""
    with trio.fail_after(60):
        while True:
            try:
                return await eth.agreed_logs(query, number, number)
            except EndpointsDisagree:
                raise
            except Unconfirmed:
                await trio.sleep(0.01)


async def test_two_that_nothing_decides_between_stop_the_node_and_are_named(open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=canned("33")) as one, hostile_endpoint(canned=canned("11")) as two:
        rpc = open_rpc_to(one.url, two.url, settings=SOON)
        with pytest.raises(EndpointsDisagree) as caught:
            await patient(Eth(rpc))
        assert caught.value.fix.startswith("mesh config set chain.rpc")
        for each in (one, two):
            assert each.url.removeprefix("http://") in caught.value.why
            assert each.url.removeprefix("http://") in rpc.statistics().disagreement
        assert not any(each.state == "refused" for each in rpc.statistics().endpoints)

        follower = Follower(
            Eth(rpc), LogQuery((Address(bytes(20)),)), jitter=lambda: 0.5, settings=FOLLOW, start_block=5
        )
        with trio.move_on_after(1):
            async for item in follower:
                assert not isinstance(item, (LogSeen, LevelReached))

        sender = Submitter(Eth(rpc), dev_accounts(1)[0], MemoryJournal(), Reverts([]))
        with pytest.raises(EndpointsDisagree):
            await sender.submit("one", TxCall(to=Address(bytes(20)), gas=21_000))
        assert "eth_sendRawTransaction" not in one.asked

        two.canned = canned("33")  # whoever was wrong has come round
        assert (await patient(Eth(rpc)))[0].hash == b"\x33" * 32
        assert rpc.disagreement == ""


async def test_a_balance_that_two_contradict_is_not_known_and_a_third_decides(open_rpc_to: Opener) -> None:
    async with (
        hostile_endpoint(canned=canned("11", 9)) as liar,
        hostile_endpoint(canned=canned("11", 7)) as one,
        hostile_endpoint(canned=canned("11", 7)) as two,
    ):
        asked = ("the balance", "eth_getBalance", ["0x" + "00" * 20, "latest"], wire.quantity)
        with trio.fail_after(60):
            with pytest.raises(EndpointsDisagree):
                await surely(open_rpc_to(liar.url, one.url, settings=SOON), *asked)
            rpc = open_rpc_to(liar.url, one.url, two.url, settings=SOON)
            assert await surely(rpc, *asked) == 7
        assert not any(each.state == "refused" for each in rpc.statistics().endpoints)


async def test_a_block_from_the_future_makes_nobody_else_late() -> None:
    future = {**block(5, "11"), "timestamp": hex(1_700_003_000)}
    async with (
        hostile_endpoint(canned=canned("11") | {"eth_getBlockByNumber": future}) as liar,
        hostile_endpoint(canned=canned("11")) as honest,
    ):
        wall = lambda: 1_700_000_010.0  # noqa: E731
        async with open_rpc([liar.url, honest.url], 31337, jitter=lambda: 0.5, wall=wall, settings=SOON) as rpc:
            await rpc.probe()
            assert [each.state for each in rpc.statistics().endpoints] == ["ready", "ready"]


async def test_contradictions_are_bounded(open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=canned("33")) as one, hostile_endpoint(canned=canned("11")) as two:
        rpc = open_rpc_to(one.url, two.url, settings=RpcSettings(agree_s=60.0))
        rpc.doubts.update({str(number): Doubt(0.0) for number in range(MAX_DOUBTS)})
        with pytest.raises(Unconfirmed):
            await Eth(rpc).agreed_logs(LogQuery((Address(bytes(20)),)), 5, 5)
        assert len(rpc.doubts) == MAX_DOUBTS

"""Does the chain client survive endpoints that lie, lag, break and hang, and does it say which one did what?"""

import json
from collections.abc import Awaitable, Callable

import pytest
import trio

from devnet.chain import ChainHandle
from devnet.chain.hostile import MODES, hostile_endpoint
from mesh.base.errors import ConfigError
from mesh.chain.endpoint import MAX_ANSWER_BYTES
from mesh.chain.errors import ChainUnreachable, RpcError
from mesh.chain.eth import Eth, TxCall
from mesh.chain.rpc import Rpc, RpcSettings, open_rpc
from protocols.units import Address

Opener = Callable[..., Rpc]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
FAST = RpcSettings(attempt_s=20.0, give_up_s=60.0, probe_s=30.0, backoff_s=0.01, backoff_max_s=0.05)
CANNED = {
    "eth_chainId": "0x7a69",
    "eth_blockNumber": "0x5",
    "eth_getBlockByNumber": {
        "number": "0x5",
        "hash": "0x" + "11" * 32,
        "parentHash": "0x" + "22" * 32,
        "timestamp": hex(1_700_000_000),
        "baseFeePerGas": "0x1",
    },
}
QUICK = RpcSettings(attempt_s=4.0, give_up_s=60.0, backoff_s=0.01, backoff_max_s=0.05)
BELIEVED = (
    "honest",
    "wrong-chain",
    "lagging",
    "future",
    "narrow",
    "blind",
    "denying",
    "ignorant",
    "frozen",
    "crawling",
    "swallowing",
)
FORGERS = ("forging", "withholding")  # one answer alone does not show them: see test_agreement
BROKEN = [mode for mode in MODES if mode not in BELIEVED + FORGERS]


@pytest.mark.parametrize("mode", BROKEN)
async def test_a_broken_endpoint_is_named_and_the_next_one_serves(mode: str, open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=CANNED) as bad, hostile_endpoint(canned=CANNED) as good:
        rpc = open_rpc_to(bad.url, good.url, settings=QUICK)
        eth = Eth(rpc)
        assert (await eth.head()).number == 5
        assert rpc.which() == bad.url.removeprefix("http://")
        bad.mode = mode  # type: ignore[assignment]
        assert (await eth.head()).number == 5
        assert good.asked["eth_getBlockByNumber"] >= 1
        record = rpc.statistics().endpoints[0]
        assert record.failures >= 1
        assert record.name in record.last_error


@pytest.mark.parametrize("mode", BROKEN)
async def test_a_broken_endpoint_alone_ends_in_one_clear_error(mode: str, open_rpc_to: Opener) -> None:
    async with hostile_endpoint(mode, canned=CANNED) as bad:  # type: ignore[arg-type]
        rpc = open_rpc_to(bad.url, settings=RpcSettings(attempt_s=0.2, give_up_s=0.5, backoff_s=0.05))
        with pytest.raises(ChainUnreachable) as caught:
            await Eth(rpc).head()
        assert bad.url.removeprefix("http://") in caught.value.why
        assert caught.value.fix.startswith("mesh config set chain.rpc")
        assert caught.value.exit_code == 6


async def test_a_call_given_up_before_its_first_attempt_ended_says_who_was_asked(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("hang", canned=CANNED) as slow:
        rpc = open_rpc_to(slow.url, settings=RpcSettings(attempt_s=60.0, give_up_s=0.1))
        with pytest.raises(ChainUnreachable) as caught:
            await Eth(rpc).head()
        assert caught.value.why == f"no answer came within 0.1 s from {slow.url.removeprefix('http://')}"


async def test_an_endpoint_of_another_chain_is_refused_for_good(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("wrong-chain", canned=CANNED) as liar, hostile_endpoint(canned=CANNED) as good:
        rpc = open_rpc_to(liar.url, good.url)
        assert (await Eth(rpc).head()).number == 5
        liar.mode = "honest"
        await rpc.probe()
        await Eth(rpc).head()
        assert set(liar.asked) == {"eth_chainId"}
        assert liar.asked["eth_chainId"] == 1
        record = rpc.statistics().endpoints[0]
        assert record.state == "refused"
        assert "serves chain 1, this network lives on chain 31337" in record.last_error
        assert rpc.which() == good.url.removeprefix("http://")


async def test_only_endpoints_of_another_chain_is_an_error_at_once(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("wrong-chain", canned=CANNED) as liar:
        with pytest.raises(ChainUnreachable, match="serves chain 1"):
            await Eth(open_rpc_to(liar.url)).head()


async def test_an_endpoint_replaced_while_it_serves_is_noticed(open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=CANNED) as turning, hostile_endpoint(canned=CANNED) as good:
        rpc = open_rpc_to(turning.url, good.url)
        await Eth(rpc).head()
        turning.mode = "wrong-chain"
        await rpc.probe()
        assert rpc.which() == good.url.removeprefix("http://")
        assert rpc.statistics().endpoints[0].state == "refused"


async def test_a_lagging_endpoint_is_put_aside_until_it_has_caught_up(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("lagging", canned=CANNED) as slow, hostile_endpoint(canned=CANNED) as good:
        rpc = open_rpc_to(slow.url, good.url)
        await rpc.probe()
        assert rpc.statistics().endpoints[0].state == "lagging"
        assert rpc.which() == good.url.removeprefix("http://")
        slow.mode = "honest"
        await rpc.probe()
        assert rpc.which() == slow.url.removeprefix("http://")


async def test_when_the_best_endpoint_dies_the_lagging_one_is_looked_at_again(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("lagging", canned=CANNED) as slow, hostile_endpoint(canned=CANNED) as best:
        rpc = open_rpc_to(slow.url, best.url, settings=QUICK)
        await rpc.probe()
        best.mode = "overloaded"
        assert (await Eth(rpc).head()).timestamp < 1_700_000_000


async def test_an_endpoint_from_the_future_cannot_push_the_honest_ones_aside(open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=CANNED) as good, hostile_endpoint("future", canned=CANNED) as liar:
        rpc = open_rpc_to(good.url, liar.url, wall=lambda: 1_700_000_010.0)
        await rpc.probe()
        assert rpc.statistics().endpoints[0].state == "ready"
        assert "in the future" in rpc.statistics().endpoints[1].last_error


async def test_a_huge_answer_is_cut_at_the_bound(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("huge", canned=CANNED) as bad, hostile_endpoint(canned=CANNED) as good:
        rpc = open_rpc_to(bad.url, good.url, settings=RpcSettings(attempt_s=10.0, backoff_s=5.0))
        await Eth(rpc).head()
        received = rpc.statistics().endpoints[0].received_bytes
        assert MAX_ANSWER_BYTES < received < MAX_ANSWER_BYTES + (1 << 20)


async def test_the_own_endpoint_is_used_again_once_it_is_back(open_rpc_to: Opener, eventually: Eventually) -> None:
    async with hostile_endpoint("overloaded", canned=CANNED) as own, hostile_endpoint(canned=CANNED) as public:
        rpc = open_rpc_to(own.url, public.url, settings=RpcSettings(backoff_s=0.02, backoff_max_s=0.02))
        await Eth(rpc).head()
        assert public.asked["eth_getBlockByNumber"] == 1
        own.mode = "honest"
        await rpc.probe()
        await eventually(lambda: rpc.which() == own.url.removeprefix("http://"))
        asked = own.asked["eth_getBlockByNumber"]
        await Eth(rpc).head()
        assert own.asked["eth_getBlockByNumber"] == asked + 1


async def test_no_caller_waits_for_a_failed_endpoint_while_another_is_well(open_rpc_to: Opener) -> None:
    settings = RpcSettings(backoff_s=0.0, backoff_max_s=0.0)
    async with hostile_endpoint("garbage", canned=CANNED) as bad, hostile_endpoint(canned=CANNED) as good:
        eth = Eth(open_rpc_to(bad.url, good.url, settings=settings))
        for _ in range(5):
            await eth.head()
        assert sum(bad.asked.values()) == 1
        assert good.asked["eth_getBlockByNumber"] == 5


async def test_a_throttling_endpoint_rests_as_long_as_it_asks(open_rpc_to: Opener) -> None:
    async with hostile_endpoint("throttled", canned=CANNED) as bad, hostile_endpoint(canned=CANNED) as good:
        rpc = open_rpc_to(bad.url, good.url, settings=FAST)
        began = trio.current_time()
        await Eth(rpc).head()
        resting_s = rpc.statistics().endpoints[0].resting_s
        assert resting_s <= 1.0 <= resting_s + trio.current_time() - began


async def test_a_declined_call_is_an_answer_and_costs_the_endpoint_nothing(open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=CANNED) as one:
        rpc = open_rpc_to(one.url)
        with pytest.raises(RpcError, match="not canned") as caught:
            await Eth(rpc).balance(Address(bytes(20)))
        assert caught.value.code == -32601
        assert rpc.statistics().endpoints[0].failures == 0


async def test_fifty_callers_check_a_chain_id_once(open_rpc_to: Opener) -> None:
    async with hostile_endpoint(canned=CANNED) as one:
        eth = Eth(open_rpc_to(one.url))
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(eth.head)
        assert one.asked == {"eth_chainId": 1, "eth_getBlockByNumber": 50}


async def test_watch_probes_until_cancelled() -> None:
    settings = RpcSettings(probe_s=0.01)
    async with (
        hostile_endpoint(canned=CANNED) as one,
        open_rpc([one.url], 31337, jitter=lambda: 0.5, settings=settings) as rpc,
    ):
        with trio.fail_after(60):
            await one.until_asked("eth_getBlockByNumber", 3)
        assert rpc.statistics().serving == one.url.removeprefix("http://")


@pytest.mark.parametrize("url", ["", "ftp://x", "127.0.0.1:8545", "http://", "http://[::1"])
def test_an_impossible_address_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError):
        Rpc([url], 1, jitter=lambda: 0.5)


def test_no_endpoints_and_too_many_are_config_errors() -> None:
    with pytest.raises(ConfigError):
        Rpc([], 1, jitter=lambda: 0.5)
    with pytest.raises(ConfigError):
        Rpc([f"http://127.0.0.1:{port}" for port in range(1000, 1017)], 1, jitter=lambda: 0.5)


async def test_keys_in_an_address_stay_out_of_names_and_errors() -> None:
    rpc = Rpc(["https://user:secret@rpc.example.org/v2/secret?key=secret"], 1, jitter=lambda: 0.5)
    assert "secret" not in json.dumps(rpc.statistics().endpoints[0].name)


async def test_a_revert_carries_its_data(chain: ChainHandle, eth: Eth) -> None:
    # PUSH4 deadbeef PUSH1 0 MSTORE PUSH1 4 PUSH1 28 REVERT, run as the init code of a contract.
    reverting = bytes.fromhex("63deadbeef6000526004601cfd")
    with pytest.raises(RpcError, match="execution reverted") as caught:
        await eth.estimate_gas(TxCall(to=None, data=reverting), chain.accounts[0].address)
    assert caught.value.data == bytes.fromhex("deadbeef")
    assert caught.value.code == 3


async def test_typed_reads_of_a_real_chain(chain: ChainHandle, eth: Eth) -> None:
    account = chain.accounts[0].address
    head = await eth.head()
    assert head == await eth.block(0) == await eth.block("finalized")
    assert await eth.block(10**6) is None
    assert await eth.balance(account) == 10_000 * 10**18
    assert await eth.nonce(account) == 0
    assert await eth.code(account) == b""
    assert await eth.estimate_gas(TxCall(to=chain.accounts[1].address, value=1), account) == 21000

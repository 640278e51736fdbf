"""Does one endpoint of two, whatever it says of nonces, gas and fees, make a node send twice, send into nowhere or not at all?"""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from devnet.chain import ChainHandle
from devnet.chain.hostile import hostile_endpoint
from mesh.chain.errors import FeeAboveCap, NonceRefused, RpcError
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.needs import gas_limit, told_base_fee
from mesh.chain.nonces import MAX_JUMP
from mesh.chain.outcomes import Confirmed, Reverted, SubmitterSettings
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc
from mesh.chain.submitter import Submitter
from mesh.chain.transactions import UnsignedTx, fees_of, sign
from protocols.units import Address

Opener = Callable[..., Rpc]
QUICK = SubmitterSettings(poll_s=0.005, poll_max_s=0.02, stuck_s=0.1)
SINK = Address(b"\x66" * 20)
GIFT = TxCall(to=SINK, value=1)
CAP = 10 * 10**9
REVERTS: dict[str, object] = {"error": {"code": 3, "message": "execution reverted"}}


def submitter(eth: Eth, chain: ChainHandle, journal: MemoryJournal | None = None) -> Submitter:
    return Submitter(eth, chain.accounts[0], journal or MemoryJournal(), Reverts([]), QUICK)


def count(told: int) -> dict[str, object]:
    return {"eth_getTransactionCount": hex(told)}


async def gifts(eth: Eth, sender: Submitter, *keys: str) -> None:
    """One after the other, each confirmed."""
    with trio.fail_after(20):
        for key in keys:
            outcome = await sender.submit(key, GIFT)
            assert isinstance(outcome, Confirmed)
            await sender.release(key)


async def test_a_nonce_that_only_a_liar_calls_used_is_not_signed_anew(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """The transaction would be given up, and what it pays sent again under the next nonce when it lands after all."""
    await eth.rpc.call("evm_setAutomine", [False], lambda value: value)
    async with hostile_endpoint(upstream=chain.rpc_url) as liar, trio.open_nursery() as nursery:
        sender = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url)), chain)
        nursery.start_soon(gifts, eth, sender, "gift")
        await liar.until_asked("eth_sendRawTransaction", 1)
        liar.canned = count(1)
        await liar.until_asked("eth_getTransactionCount", 12)
        await eth.rpc.call("evm_setAutomine", [True], lambda value: value)
    statistics = sender.statistics()
    assert (statistics.sent, statistics.dropped, statistics.confirmed) == (1, 0, 1)
    assert await eth.balance(SINK) == 1


async def test_a_receipt_that_the_first_endpoint_hides_is_no_reason_to_pay_twice(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """Its nonce is used, and as far as that one tells not by us: the same was signed and sent again, four times."""
    async with hostile_endpoint("blind", upstream=chain.rpc_url) as liar:
        sender = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url)), chain)
        await gifts(eth, sender, "gift")
    statistics = sender.statistics()
    assert (statistics.sent, statistics.dropped, statistics.confirmed) == (1, 0, 1)
    assert await eth.balance(SINK) == 1


@pytest.mark.parametrize("told", [0, 7, 10**6])
async def test_our_own_count_comes_before_what_one_endpoint_says(
    told: int, chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """A nonce too high is never mined; one too low is refused."""
    async with hostile_endpoint(upstream=chain.rpc_url) as liar:
        sender = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url)), chain)
        await gifts(eth, sender, "one", "two", "three")
        liar.canned = count(told)
        await gifts(eth, sender, "four", "five")
    assert await eth.nonce(sender.address) == 5
    assert sender.statistics().dropped == 0


async def test_our_own_count_is_known_again_after_a_restart(chain: ChainHandle, eth: Eth, open_rpc_to: Opener) -> None:
    journal = MemoryJournal()
    await gifts(eth, submitter(eth, chain, journal), "one", "two", "three")
    async with hostile_endpoint(upstream=chain.rpc_url, canned=count(9)) as liar:
        again = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url)), chain, journal)
        await gifts(eth, again, "four")
        assert await eth.nonce(again.address) == 4
        liar.canned = count(0)  # alone, and it denies what the receipts prove
        await gifts(eth, submitter(Eth(open_rpc_to(liar.url)), chain, journal), "five")
    assert await eth.nonce(again.address) == 5


async def test_after_a_restart_with_something_in_flight_the_next_nonce_is_asked_for(
    chain: ChainHandle, eth: Eth
) -> None:
    """It was counted from zero: a transaction beside the pending one ran through every nonce that the key ever had."""
    journal = MemoryJournal()
    await gifts(eth, submitter(eth, chain, journal), *(f"gift {number}" for number in range(6)))
    pending = sign(UnsignedTx(31337, 6, 0, 10**9, 21000, SINK, 1, b""), chain.accounts[0])
    await journal.put("pending", 6, pending.raw, pending.hash)
    again = submitter(eth, chain, journal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gifts, eth, again, "beside")
        nursery.start_soon(gifts, eth, again, "pending")
    assert again.statistics().dropped == 0
    assert await eth.nonce(again.address) == 8


async def test_with_nothing_known_two_that_contradict_each_other_are_named_and_nothing_is_signed(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    async with hostile_endpoint(upstream=chain.rpc_url, canned=count(9)) as liar:
        journal = MemoryJournal()
        sender = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url)), chain, journal)
        with pytest.raises(NonceRefused, match=r"nonces 0, 9") as caught:
            await sender.submit("gift", GIFT)
        assert caught.value.fix.startswith("mesh config set chain.rpc")
        assert not await journal.pending()
        third = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url, f"{chain.rpc_url}/?again")), chain, journal)
        await gifts(eth, third, "gift")


async def test_one_endpoint_alone_is_not_believed_when_its_count_is_far_above_our_own(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    async with hostile_endpoint(upstream=chain.rpc_url) as liar:
        sender = submitter(Eth(open_rpc_to(liar.url)), chain)
        await gifts(eth, sender, "one")
        liar.canned = count(1 + MAX_JUMP + 1)
        with pytest.raises(NonceRefused, match="came from elsewhere"):
            await sender.submit("two", GIFT)
        liar.canned = {}
        await gifts(eth, sender, "two")
    assert await eth.nonce(sender.address) == 2


async def test_after_the_chain_was_set_back_its_count_holds_again(chain: ChainHandle, eth: Eth) -> None:
    sender = submitter(eth, chain)
    mark = await eth.rpc.call("evm_snapshot", [], lambda value: value)
    await gifts(eth, sender, "one", "two")
    await eth.rpc.call("evm_revert", [mark], lambda value: value)
    await gifts(eth, sender, "three")
    assert await eth.nonce(sender.address) == 1


@pytest.mark.parametrize("first", [True, False])
async def test_one_that_says_a_call_reverts_does_not_keep_it_from_being_sent(
    first: bool, chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    """A claim that is not posted is lost."""
    async with hostile_endpoint(upstream=chain.rpc_url, canned={"eth_estimateGas": REVERTS}) as liar:
        urls = (liar.url, chain.rpc_url) if first else (chain.rpc_url, liar.url)
        await gifts(eth, submitter(Eth(open_rpc_to(*urls)), chain), "gift")
    assert await eth.balance(SINK) == 1


async def test_a_call_that_both_say_reverts_is_not_sent(chain: ChainHandle, open_rpc_to: Opener) -> None:
    breaks = TxCall(to=None, data=bytes.fromhex("60006000fd"))
    sender = submitter(Eth(open_rpc_to(chain.rpc_url, f"{chain.rpc_url}/?again")), chain)
    assert isinstance(await sender.submit("breaks", breaks), Reverted)
    assert sender.statistics().sent == 0


async def test_two_that_say_a_call_works_outvote_one_and_two_that_say_it_reverts_too(
    chain: ChainHandle, open_rpc_to: Opener
) -> None:
    me = chain.accounts[0].address
    async with (
        hostile_endpoint(upstream=chain.rpc_url, canned={"eth_estimateGas": REVERTS}) as one,
        hostile_endpoint(upstream=chain.rpc_url, canned={"eth_estimateGas": REVERTS}) as two,
    ):
        works = Eth(open_rpc_to(one.url, chain.rpc_url, f"{chain.rpc_url}/?again"))
        assert await gas_limit(works, GIFT, me) == 25_200
        with pytest.raises(RpcError):
            await gas_limit(Eth(open_rpc_to(one.url, chain.rpc_url, two.url)), GIFT, me)


async def test_a_gas_estimate_that_would_make_the_transaction_fail_half_way_is_not_used(
    chain: ChainHandle, open_rpc_to: Opener
) -> None:
    me = chain.accounts[0].address
    async with hostile_endpoint(upstream=chain.rpc_url, canned={"eth_estimateGas": "0x1"}) as liar:
        assert await gas_limit(Eth(open_rpc_to(liar.url, chain.rpc_url)), GIFT, me) == 25_200
        liar.canned = {"eth_estimateGas": hex(30_000_000)}  # and of three none that empties the account
        three = open_rpc_to(liar.url, chain.rpc_url, f"{chain.rpc_url}/?again")
        assert await gas_limit(Eth(three), GIFT, me) == 25_200


def head(base_fee: int) -> dict[str, Any]:
    shown = {"number": "0x5", "hash": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32, "timestamp": hex(1_700_000_000)}
    return {"eth_chainId": "0x7a69", "eth_getBlockByNumber": shown | {"baseFeePerGas": hex(base_fee)}}


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ((1, 20_000_000), 20_000_000),
        ((20_000_000, 50 * CAP), CAP),
        ((1, 20_000_000, 21_000_000), 20_000_000),
        ((50 * CAP, 20_000_000, 21_000_000), 21_000_000),
    ],
    ids=["too little of two", "above the cap of two", "too little of three", "above the cap of three"],
)
async def test_a_foolish_base_fee_of_one_is_not_signed_for(
    told: tuple[int, ...], used: int, open_rpc_to: Opener, nursery: trio.Nursery
) -> None:
    """Too little, and the transaction waits until its deadline has passed; above the cap, and nothing is sent at all."""
    async with (
        hostile_endpoint(canned=head(told[0])) as one,
        hostile_endpoint(canned=head(told[1])) as two,
        hostile_endpoint(canned=head(told[-1])) as three,
    ):
        urls = [one.url, two.url, three.url][: len(told)]
        assert await told_base_fee(Eth(open_rpc_to(*urls)), CAP) == used


async def test_what_is_signed_pays_for_the_true_base_fee_and_never_above_the_cap(
    chain: ChainHandle, eth: Eth, open_rpc_to: Opener
) -> None:
    cheap = {"eth_getBlockByNumber": head(1)["eth_getBlockByNumber"]}
    async with hostile_endpoint(upstream=chain.rpc_url, canned=cheap) as liar:
        journal = MemoryJournal()
        sender = submitter(Eth(open_rpc_to(liar.url, chain.rpc_url)), chain, journal)
        with trio.move_on_after(5):
            await sender.submit("gift", GIFT)
        assert await eth.balance(SINK) == 1
        (entry,) = await journal.pending()
        assert 2 * 20_000_000 <= fees_of(entry.raw)[0] <= CAP
        liar.canned = {"eth_getBlockByNumber": head(50 * CAP)["eth_getBlockByNumber"]}
        with pytest.raises(FeeAboveCap):
            await submitter(Eth(open_rpc_to(liar.url)), chain).submit("more", GIFT)

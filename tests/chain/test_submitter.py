"""Is a transaction posted exactly once, whatever breaks in between? Against a real local chain."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from devnet.chain import ChainHandle
from devnet.chain.hostile import hostile_endpoint
from mesh.chain.errors import FeeAboveCap, InsufficientFunds
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, Dropped, Outcome, Reverted, SubmitterSettings
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, RpcSettings
from mesh.chain.submitter import Submitter
from mesh.chain.transactions import UnsignedTx, sign
from protocols.contracts import artifact
from protocols.units import Address

QUICK = SubmitterSettings(poll_s=0.005, poll_max_s=0.02, stuck_s=0.1)
PATIENT = SubmitterSettings(poll_s=0.005, poll_max_s=0.02, stuck_s=60.0)
SINK = Address(b"\x77" * 20)
REVERTS = Reverts([artifact("MeshToken").abi])
GIFT = TxCall(to=SINK, value=1)
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


class Crash(Exception):
    """The process ends here."""


class CrashingJournal(MemoryJournal):
    """Writes the entry, then the machine loses power."""

    async def put(self, key: str, nonce: int, raw: bytes, hash: bytes, /) -> None:
        await super().put(key, nonce, raw, hash)
        raise Crash


def submitter(eth: Eth, chain: ChainHandle, journal: MemoryJournal, settings: SubmitterSettings = PATIENT) -> Submitter:
    return Submitter(eth, chain.accounts[0], journal, REVERTS, settings)


async def control(eth: Eth, method: str, *params: object) -> object:
    return await eth.rpc.call(method, params, lambda value: value)


async def test_a_transfer_arrives_and_is_counted(chain: ChainHandle, eth: Eth) -> None:
    sender = submitter(eth, chain, MemoryJournal())
    quote = await sender.quote(GIFT)
    outcome = await sender.submit("gift", GIFT)
    assert isinstance(outcome, Confirmed)
    assert await eth.balance(SINK) == 1
    assert outcome.gas_used == 21000
    assert sender.statistics().confirmed == 1
    paid = quote.balance_wei - await eth.balance(sender.address)
    assert paid == quote.expected_wei == 21000 * quote.base_fee + 1
    assert paid < quote.max_wei


async def test_fifty_transactions_of_one_key_at_once(chain: ChainHandle, eth: Eth) -> None:
    sender = submitter(eth, chain, MemoryJournal())
    outcomes: list[Outcome] = []

    async def one(number: int) -> None:
        outcomes.append(await sender.submit(f"gift {number}", GIFT))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
    assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
    assert await eth.balance(SINK) == 50
    assert await eth.nonce(sender.address) == 50


async def test_one_key_is_one_transaction(chain: ChainHandle, eth: Eth) -> None:
    sender = submitter(eth, chain, MemoryJournal())
    outcomes: list[Outcome] = []

    async def again() -> None:
        outcomes.append(await sender.submit("gift", GIFT))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(again)
    await again()
    assert len(set(map(repr, outcomes))) == 1
    assert await eth.balance(SINK) == 1
    await sender.release("gift")
    await again()
    assert await eth.balance(SINK) == 2


async def test_a_crash_before_sending_loses_nothing(chain: ChainHandle, eth: Eth) -> None:
    journal = CrashingJournal()
    with pytest.raises(Crash):
        await submitter(eth, chain, journal).submit("gift", GIFT)
    assert await eth.nonce(chain.accounts[0].address) == 0
    survived = MemoryJournal()
    for entry in await journal.pending():
        await survived.put(entry.key, entry.nonce, entry.raw, entry.hash)
    assert isinstance(await submitter(eth, chain, survived).submit("gift", GIFT), Confirmed)
    assert await eth.balance(SINK) == 1
    assert await eth.nonce(chain.accounts[0].address) == 1


async def test_a_crash_before_the_receipt_posts_nothing_twice(chain: ChainHandle, eth: Eth) -> None:
    journal = MemoryJournal()
    await control(eth, "evm_setAutomine", False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(submitter(eth, chain, journal).submit, "gift", GIFT)
        with trio.fail_after(60):
            while await eth.nonce(chain.accounts[0].address, "pending") == 0:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await control(eth, "evm_setAutomine", True)
    again = submitter(eth, chain, journal)
    first, second = await again.submit("gift", GIFT), await again.submit("another", GIFT)
    assert isinstance(first, Confirmed)
    assert isinstance(second, Confirmed)
    assert await eth.balance(SINK) == 2
    assert await eth.nonce(again.address) == 2


async def test_an_endpoint_that_keeps_a_transaction_to_itself_does_not_stop_it(
    chain: ChainHandle, open_rpc_to: Callable[..., Rpc]
) -> None:
    async with hostile_endpoint("swallowing", upstream=chain.rpc_url) as liar:
        eth = Eth(open_rpc_to(liar.url, chain.rpc_url))
        with trio.fail_after(60):
            outcome = await submitter(eth, chain, MemoryJournal(), QUICK).submit("gift", GIFT)
        assert isinstance(outcome, Confirmed)
        assert liar.asked["eth_sendRawTransaction"] > 1
        assert await eth.balance(SINK) == 1


async def test_what_is_recorded_elsewhere_is_tidied_after_a_restart(chain: ChainHandle, eth: Eth) -> None:
    journal = MemoryJournal()
    before = submitter(eth, chain, journal)
    await before.submit("recorded", GIFT)
    await before.submit("unrecorded", GIFT)
    after = submitter(eth, chain, journal)
    await after.tidy({"unrecorded"})
    assert [entry.key for entry in await journal.pending()] == ["unrecorded"]


async def test_a_stuck_transaction_is_replaced_under_the_same_nonce(
    chain: ChainHandle, eth: Eth, eventually: Eventually
) -> None:
    sender = submitter(eth, chain, MemoryJournal(), QUICK)
    await control(eth, "evm_setAutomine", False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.submit, "gift", GIFT)
        await eventually(lambda: sender.statistics().sent == 1)
        await control(eth, "anvil_setNextBlockBaseFeePerGas", hex(10**9))
        await control(eth, "evm_mine")
        await eventually(lambda: sender.statistics().replaced >= 1)
        await control(eth, "evm_setAutomine", True)
    assert sender.statistics().confirmed == 1
    assert await eth.balance(SINK) == 1
    assert await eth.nonce(sender.address) == 1


async def test_a_nonce_used_by_another_program_is_given_up_only_then(chain: ChainHandle, eth: Eth) -> None:
    journal = CrashingJournal()
    with pytest.raises(Crash):
        await submitter(eth, chain, journal).submit("gift", GIFT)
    mine = (await journal.pending())[0]
    other = sign(UnsignedTx(31337, 0, 0, 10**9, 21000, chain.accounts[1].address, 5, b""), chain.accounts[0])
    await eth.send_raw(other.raw, other.hash)
    survived = MemoryJournal()
    await survived.put(mine.key, mine.nonce, mine.raw, mine.hash)
    sender = submitter(eth, chain, survived)
    outcome = await sender.submit("gift", GIFT)
    assert isinstance(outcome, Confirmed)
    assert outcome.tx_hash != mine.hash
    assert await eth.balance(SINK) == 1
    assert sender.statistics().dropped == 1


async def test_a_receipt_that_is_late_is_not_a_lost_nonce(chain: ChainHandle, open_rpc_to: Callable[..., Rpc]) -> None:
    async with hostile_endpoint("blind", upstream=chain.rpc_url) as endpoint:
        eth = Eth(open_rpc_to(endpoint.url))
        journal = MemoryJournal()
        mine = sign(UnsignedTx(31337, 0, 0, 10**9, 21000, SINK, 1, b""), chain.accounts[0])
        await journal.put("gift", 0, mine.raw, mine.hash)
        await eth.send_raw(mine.raw, mine.hash)
        sender = submitter(eth, chain, journal, SubmitterSettings(poll_s=0.1))
        async with trio.open_nursery() as nursery:

            async def expect_mine() -> None:
                outcome = await sender.submit("gift", GIFT)
                assert isinstance(outcome, Confirmed)
                assert outcome.tx_hash == mine.hash

            nursery.start_soon(expect_mine)
            await endpoint.until_asked("eth_getTransactionReceipt", 3)
            endpoint.mode = "honest"
        assert await eth.nonce(sender.address) == 1


async def test_after_too_many_lost_nonces_the_caller_is_told(chain: ChainHandle, eth: Eth) -> None:
    account = chain.accounts[0]
    journal = MemoryJournal()
    stale = sign(UnsignedTx(31337, 0, 0, 10**9, 21000, SINK, 1, b""), account)
    await journal.put("gift", 0, stale.raw, stale.hash)
    other = sign(UnsignedTx(31337, 0, 0, 10**9, 21000, chain.accounts[1].address, 5, b""), account)
    await eth.send_raw(other.raw, other.hash)
    sender = submitter(eth, chain, journal, SubmitterSettings(poll_s=0.005, resigns=0))
    assert await sender.submit("gift", GIFT) == Dropped(0, stale.hash)
    assert await eth.balance(SINK) == 0


async def token(eth: Eth, chain: ChainHandle) -> Address:
    """A MeshToken whose minter is account 1."""
    words = [128, 192, 10**24, int.from_bytes(chain.accounts[1].address), 1, int.from_bytes(b"M".ljust(32, b"\0"))]
    words += [1, int.from_bytes(b"M".ljust(32, b"\0"))]
    arguments = b"".join(word.to_bytes(32) for word in words)
    deployed = await submitter(eth, chain, MemoryJournal()).submit(
        "deploy", TxCall(to=None, data=artifact("MeshToken").bytecode + arguments)
    )
    assert isinstance(deployed, Confirmed)
    assert deployed.created is not None
    return deployed.created


MINT = bytes.fromhex("40c10f19") + bytes(12) + SINK + (5).to_bytes(32)


async def test_a_call_that_would_revert_costs_nothing_and_says_why(chain: ChainHandle, eth: Eth) -> None:
    contract = await token(eth, chain)
    sender = submitter(eth, chain, MemoryJournal())
    before = await eth.nonce(sender.address)
    outcome = await sender.submit("mint", TxCall(to=contract, data=MINT))
    assert isinstance(outcome, Reverted)
    assert outcome.tx_hash is None
    assert outcome.reason.name == "NotMinter"
    assert outcome.reason.args["minter"] == "0x" + chain.accounts[1].address.hex()
    assert await eth.nonce(sender.address) == before


async def test_a_revert_on_chain_is_explained(chain: ChainHandle, eth: Eth) -> None:
    contract = await token(eth, chain)
    sender = submitter(eth, chain, MemoryJournal())
    outcome = await sender.submit("mint", TxCall(to=contract, data=MINT, gas=200_000))
    assert isinstance(outcome, Reverted)
    assert outcome.tx_hash is not None
    assert outcome.reason.name == "NotMinter"


async def test_too_little_gas_is_named(chain: ChainHandle, eth: Eth) -> None:
    contract = await token(eth, chain)
    sender = Submitter(eth, chain.accounts[1], MemoryJournal(), REVERTS, PATIENT)
    outcome = await sender.submit("mint", TxCall(to=contract, data=MINT, gas=30_000))
    assert isinstance(outcome, Reverted)
    assert outcome.reason.name == "OutOfGas"


async def test_an_empty_account_is_told_so_and_goes_on_once_it_is_filled(chain: ChainHandle, eth: Eth) -> None:
    sender = submitter(eth, chain, MemoryJournal())
    await control(eth, "anvil_setBalance", "0x" + sender.address.hex(), "0x64")
    for key in ("first", "second"):
        with pytest.raises(InsufficientFunds, match="cannot pay"):
            await sender.submit(key, TxCall(to=SINK, value=1, gas=21000))
    await control(eth, "anvil_setBalance", "0x" + sender.address.hex(), hex(10**18))
    for key in ("second", "first", "third"):
        assert isinstance(await sender.submit(key, TxCall(to=SINK, value=1, gas=21000)), Confirmed)
    assert await eth.balance(SINK) == 3
    assert await eth.nonce(sender.address) == 3


async def test_a_base_fee_above_the_cap_is_not_paid(chain: ChainHandle, eth: Eth) -> None:
    sender = submitter(eth, chain, MemoryJournal())
    await control(eth, "anvil_setNextBlockBaseFeePerGas", hex(20 * 10**9))
    await control(eth, "evm_mine")
    with pytest.raises(FeeAboveCap, match="20 gwei"):
        await sender.submit("gift", GIFT)


@pytest.mark.parametrize("fault", ["cut", "mute", "garbage", "overloaded", "hang"])
async def test_an_endpoint_that_breaks_in_mid_stream_costs_no_transaction(
    fault: str, chain: ChainHandle, open_rpc_to: Callable[..., Rpc]
) -> None:
    settings = RpcSettings(attempt_s=3.0, backoff_s=0.01, backoff_max_s=0.05)
    async with (
        hostile_endpoint(upstream=chain.rpc_url) as first,
        hostile_endpoint(upstream=chain.rpc_url) as second,
    ):
        eth = Eth(open_rpc_to(first.url, second.url, settings=settings))
        sender = submitter(eth, chain, MemoryJournal(), QUICK)
        outcomes: list[Outcome] = []

        async def one(number: int) -> None:
            outcomes.append(await sender.submit(f"gift {number}", GIFT))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
            await first.until_asked("eth_sendRawTransaction", 7)
            first.mode = fault  # type: ignore[assignment]
        assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
        assert await eth.balance(SINK) == 20
        assert await eth.nonce(sender.address) == 20

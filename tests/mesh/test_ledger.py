"""Does money move as the rules say: on a real escrow, exactly once, and heard of however the chain behaves?"""

from typing import Any

import msgspec
import pytest
import trio

from devnet.chain import ChainHandle
from devnet.chain.hostile import hostile_endpoint
from mesh.base.config import Config
from mesh.base.config.schema import Network
from mesh.base.errors import ChainOrFunds, ConfigError, UsageError
from mesh.base.keys import NodeKey
from mesh.chain.eth import LogQuery
from mesh.chain.feed import Cursor, LogSeen
from mesh.effects import TxRejected
from mesh.ledger import DEAL_TOPICS, network_params
from protocols import effects as fx
from protocols import events as ev
from protocols.deals.eip712 import Cancellation, Deal, OutcomeCode, ResultCommit, Settlement, deal_id, digest
from protocols.hashing import sha256
from protocols.units import ZERO_HASH, Hash32, Signature, Tokens
from tests.mesh.money import RESULT, Money, Party, chain, money

__all__ = ["chain", "money"]


async def test_a_deal_is_committed_and_settled_and_both_hear_of_it(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        commit = money.commit(deal, client)
        await provider.ledger.post(commit)
        # The same key is the same transaction. Before anybody follows: a key of no effect is forgotten with its block.
        await provider.ledger.post(commit)
        for party in (client, provider):
            await party.follow()
        await eventually(lambda: client.moves() == provider.moves() == ["committed"])
        consent = client.key.sign(digest(money.domain, Settlement(deal_id(money.domain, deal), Tokens(900))))
        await provider.ledger.post(money.tx("settle", deal, consent, 900))
        await eventually(lambda: client.moves() == provider.moves() == ["committed", "settled"])
        assert client.loop.script.of(ev.DealMovedOnChain)[-1].paid == 900
        assert await provider.ledger.account(client.key.address) == (50_000 - 900, 0)
        with pytest.raises(TxRejected, match=r"\w+\("):
            await provider.ledger.post(money.commit(deal, client, attempt=":again"))


async def test_a_claim_says_what_it_recorded_and_is_finalized(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await client.follow()
        await provider.ledger.post(money.commit(deal, client))
        await provider.ledger.post(money.tx("claim", deal))
        await eventually(lambda: client.moves() == ["committed", "claimed"])
        assert client.loop.script.of(ev.DealMovedOnChain)[-1].result_hash == RESULT
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ledger.post, money.tx("finalize", deal))  # the window is not over
            await eventually(lambda: client.ledger.posting.calls_retried > 0)
            await money.control(client, "evm_increaseTime", 100)
            await money.control(client, "evm_mine")
        await eventually(lambda: client.moves()[-1:] == ["finalized"])
        with pytest.raises(TxRejected):
            await client.ledger.post(money.tx("finalize", deal, attempt=":again"))


async def test_a_claim_that_an_endpoint_behind_refuses_is_made_again(money: Money, eventually: Any) -> None:
    """It had not seen the commitment. A provider whose claim was given up then was not paid, and lost its collateral."""
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await provider.follow()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.ledger.post, money.tx("claim", deal))
            await eventually(lambda: provider.ledger.posting.calls_retried > 0)
            await provider.ledger.post(money.commit(deal, client))
        await eventually(lambda: provider.moves() == ["committed", "claimed"])


async def test_a_claim_whose_time_is_over_is_given_up(money: Money) -> None:
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await provider.ledger.post(money.commit(deal, client))
        await money.control(client, "evm_increaseTime", deal.exec_seconds + deal.claim_seconds + 1)
        await money.control(client, "evm_mine")
        with trio.fail_after(60), pytest.raises(TxRejected):
            await provider.ledger.post(money.tx("claim", deal))
        assert provider.ledger.posting.calls_retried == 0


def result_of(deal: Deal, money: "Money", fuel: int) -> ResultCommit:
    return ResultCommit(
        deal_id=deal_id(money.domain, deal),
        salted_root=Hash32(b"\x01" * 32),
        outcome=OutcomeCode.EXITED,
        exit_code=0,
        fuel=fuel,
        wall_ms=1,
        log_head=ZERO_HASH,
    )


@pytest.mark.parametrize("claims", ["nothing", "the first", "the second", "a third"])
async def test_two_signed_results_take_the_collateral(money: Money, eventually: Any, claims: str) -> None:
    """Whatever was claimed meanwhile: the node looks which of them the slot is bound to."""
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await client.follow()
        await provider.ledger.post(money.commit(deal, client))
        results = [result_of(deal, money, fuel) for fuel in (1, 2, 3)]
        hashes = [digest(money.domain, one) for one in results]
        claimed = {"the first": hashes[0], "the second": hashes[1], "a third": hashes[2]}.get(claims, ZERO_HASH)
        if claimed != ZERO_HASH:
            await provider.ledger.post(msgspec.structs.replace(money.tx("claim", deal), result_hash=claimed))
        first, second = ((one, provider.key.sign(name)) for one, name in zip(results[:2], hashes[:2], strict=True))
        proof = fx.ProveFraud(
            key="fraud:1",
            deal_id=deal_id(money.domain, deal),
            deal=deal,
            first=first[0],
            first_signature=first[1],
            second=None if claims == "a third" else second[0],
            second_signature=Signature(b"") if claims == "a third" else second[1],
            claimed=claimed if claims == "a third" else ZERO_HASH,
        )
        await client.ledger.prove_fraud(proof)
        await eventually(lambda: client.moves()[-1:] == ["slashed"])
        bounty = client.loop.script.of(ev.DealMovedOnChain)[-1].refund
        assert bounty == min(2 * deal.price, deal.collateral // 2)
        assert await provider.ledger.account(provider.key.address) == (30_000, 20_000 - deal.collateral)
        with pytest.raises(TxRejected, match="SLASHED"):
            await client.ledger.prove_fraud(msgspec.structs.replace(proof, key="fraud:2"))


async def test_a_silent_provider_costs_its_collateral(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await client.follow()
        await provider.ledger.post(money.commit(deal, client))
        await money.control(client, "evm_increaseTime", 1_000)
        await client.ledger.post(money.tx("expire", deal))
        await eventually(lambda: client.moves() == ["committed", "expired"])


async def test_a_cancelled_and_a_burned_deal(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider):
        deal, never, theirs = [await money.deal(client, provider, nonce) for nonce in (7, 8, 9)]
        await client.follow()
        await provider.ledger.post(money.commit(deal, client))
        consent = provider.key.sign(digest(money.domain, Cancellation(deal_id(money.domain, deal), Tokens(0))))
        await client.ledger.post(money.tx("cancel", deal, consent))
        await eventually(lambda: client.moves() == ["committed", "cancelled"])
        await provider.ledger.post(money.tx("burn", theirs))  # a burn of its own slot 9, not of the client's
        await client.ledger.post(money.tx("burn", never))
        await eventually(lambda: client.moves()[2:] == ["burned"])
        assert client.loop.script.of(ev.DealMovedOnChain)[-1].deal_id == deal_id(money.domain, never)
        with pytest.raises(TxRejected):
            await provider.ledger.post(money.commit(never, client))
        with pytest.raises(TxRejected, match="no escrow call"):
            await client.ledger.post(money.tx("dance", deal))


async def test_a_restart_goes_on_and_still_hears_what_is_taken_back(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider):
        watcher = NodeKey(sha256(money.purse.escrow, b"watcher"))
        deal = await money.deal(client, provider)
        mark = await money.control(client, "evm_snapshot")
        async with money.open(watcher) as first:
            first.knows(deal)
            await first.follow()
            await provider.ledger.post(money.commit(deal, client))
            await eventually(lambda: first.moves() == ["committed"])
            await eventually_kept(first)
        async with money.open(watcher) as second:
            second.knows(deal)
            await second.follow()  # on a chain without a new block
            assert second.loop.script.of(ev.ChainTimeMoved)
            assert second.moves() == []
            await money.control(client, "evm_revert", mark)
            await money.control(client, "evm_mine")
            await eventually(lambda: bool(second.loop.script.of(ev.DealRetractedOnChain)))
            taken = second.loop.script.of(ev.DealRetractedOnChain)[0]
            assert (taken.deal_id, taken.was) == (deal_id(money.domain, deal), "committed")


async def eventually_kept(party: Party) -> None:
    """Until the cursor that stands behind the commitment is on disk."""
    with trio.fail_after(60):
        while await party.loop.store.cursor("escrow.moves") is None:
            await trio.sleep(0.01)


async def test_a_restarted_node_ends_a_deal_whose_log_it_has_forgotten(money: Money) -> None:
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await provider.ledger.post(money.commit(deal, client))
        assert provider.ledger.posting.locks == {}  # it does not follow: as after a restart
        await provider.ledger.post(money.tx("claim", deal))
        assert list(provider.ledger.posting.locks) == [deal_id(money.domain, deal)]


async def test_transactions_whose_effects_were_dropped_are_tidied_away(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider):
        deal = await money.deal(client, provider)
        await provider.ledger.post(money.commit(deal, client))
        assert provider.ledger.submitter.statistics().in_flight == 1
        await provider.follow()
        await money.control(client, "evm_mine")
        await eventually(lambda: provider.ledger.submitter.statistics().in_flight == 0)


async def test_a_dead_chain_does_not_keep_a_node_from_starting(money: Money, eventually: Any) -> None:
    key = NodeKey(sha256(money.purse.escrow, b"lonely"))
    async with money.open(key, rpc=("http://127.0.0.1:1",)) as party:
        with trio.fail_after(60):
            await party.follow()
        assert party.loop.script.events == []
        assert party.ledger.endpoints()[0].failures > 0


async def test_a_node_recovers_when_its_chain_does(money: Money, chain: ChainHandle, eventually: Any) -> None:
    key = NodeKey(sha256(money.purse.escrow, b"patient"))
    async with (
        hostile_endpoint("overloaded", upstream=chain.rpc_url) as endpoint,
        money.open(key, rpc=(endpoint.url,)) as party,
    ):
        await party.follow()
        assert party.loop.script.events == []
        endpoint.mode = "honest"
        await eventually(lambda: bool(party.loop.script.of(ev.ChainTimeMoved)))


async def test_a_log_whose_block_nobody_shows_is_not_lost(
    money: Money, chain: ChainHandle, nursery: trio.Nursery, eventually: Any
) -> None:
    key = NodeKey(sha256(money.purse.escrow, b"watcher"))
    async with money.both() as (client, provider), hostile_endpoint("honest", upstream=chain.rpc_url) as endpoint:
        deal = await money.deal(client, provider)
        await provider.ledger.post(money.commit(deal, client))
        async with money.open(key, rpc=(endpoint.url,)) as party:
            party.knows(deal)
            query = LogQuery((money.purse.escrow,), (DEAL_TOPICS,))
            head = await party.ledger.eth.head()
            log = (await party.ledger.eth.logs(query, head.number, head.number))[0]
            asked = endpoint.asked["eth_getBlockByNumber"]
            endpoint.mode = "null"
            seen = LogSeen(log, Cursor(head.number, head.hash, log.index, 0))
            nursery.start_soon(party.ledger.following.seen, party.loop.engine, seen)
            await eventually(lambda: endpoint.asked["eth_getBlockByNumber"] > asked + 1)
            assert party.moves() == []
            endpoint.mode = "honest"
            await eventually(lambda: party.moves() == ["committed"])
            assert party.loop.script.of(ev.DealMovedOnChain)[0].timestamp == head.timestamp


async def test_the_wallet_moves_money_in_and_out(money: Money) -> None:
    async with money.both() as (client, provider):
        assert (await client.wallet.balance()).free == "50000"
        assert client.loop.script.of(ev.AccountRead)[-1].free == 50_000
        asked = await client.wallet.withdraw(10_000)
        assert int(asked.fee_wei) > 0
        mined = (await client.ledger.eth.head()).timestamp
        await money.control(client, "evm_setNextBlockTimestamp", mined)  # its two seconds wait for the next block
        with pytest.raises(ChainOrFunds, match=r"refused.*NotReady\(") as early:
            await client.wallet.withdraw(0)
        assert "mesh wallet withdraw 10 asks" in early.value.fix
        assert len((await client.wallet.balance()).withdrawals) == 1
        await provider.wallet.unstake(5_000)
        await money.control(client, "evm_increaseTime", 10_000)
        await client.wallet.withdraw(0)
        await provider.wallet.unstake(0)
        assert (await client.wallet.balance()).token == "60000"
        assert (await provider.wallet.balance()).stake == "15000"
        for amount in (-1, 1 << 128, 1 << 300):
            for act in (client.wallet.deposit, client.wallet.withdraw, client.wallet.stake, client.wallet.unstake):
                with pytest.raises(UsageError):
                    await act(amount)
        with pytest.raises(UsageError):
            await client.wallet.deposit(0)
        with pytest.raises(ChainOrFunds, match="refused by the contract"):
            await client.wallet.stake(1 << 100)
        assert "RevertReason(" not in str(await _refusal(client))


async def _refusal(party: Party) -> ChainOrFunds:
    with pytest.raises(ChainOrFunds) as caught:
        await party.wallet.deposit(10**30)
    return caught.value


def test_a_network_without_contracts_is_explained() -> None:
    with pytest.raises(ConfigError, match="no escrow is known"):
        network_params(Config(network=Network(name="devnet")))

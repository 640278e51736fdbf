"""Does a dispute reach the real panel and come back to both nodes: funded, opened, called, refused, reorganised?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from mesh.base.keys import NodeKey
from mesh.chain.panel import PanelContract
from mesh.effects import TxRejected
from protocols import effects as fx
from protocols import events as ev
from protocols.contracts import panel
from protocols.contracts.panel import event_of
from protocols.deals.eip712 import Deal, Enforcement, OutcomeCode, ResultCommit, deal_id, digest
from protocols.disputes.record import Record, record_of
from protocols.disputes.states import Phase, Reason, Side
from protocols.hashing import keccak256, sha256
from protocols.units import Address, DealId, Hash32, Seconds, Tokens
from tests.mesh.money import Money, Party, chain, money

__all__ = ["SECRETS", "Court", "chain", "court", "money"]

SECRETS = Hash32(b"\x21" * 32), Hash32(b"\x22" * 32)
BOND = 3 * 1_200 + 500


class Court:
    """A committed panel deal between two nodes that follow the chain."""

    def __init__(self, money: Money, client: Party, provider: Party, deal: Deal) -> None:
        self.money, self.client, self.provider, self.deal = money, client, provider, deal
        self.deal_id = deal_id(money.domain, deal)
        self.result = ResultCommit(
            deal_id=self.deal_id,
            salted_root=keccak256(b"salted"),
            outcome=OutcomeCode.EXITED,
            exit_code=0,
            fuel=1,
            wall_ms=2,
            log_head=keccak256(b"log"),
        )

    def opening(self, attempt: str = "") -> fx.OpenDispute:
        result_hash = digest(self.money.domain, self.result)
        return fx.OpenDispute(
            key=f"panel:{self.deal_id.hex()}:dispute{attempt}",
            deal_id=self.deal_id,
            deal=self.deal,
            result=self.result,
            signature=self.provider.key.sign(result_hash),
            result_hash=result_hash,
            secret=SECRETS[0],
            withheld=False,
            bond=Tokens(BOND),
        )

    def call(self, name: str, data: bytes, needs: int = 0) -> fx.CallPanel:
        key = f"panel:{self.deal_id.hex()}:{name}:0"
        return fx.CallPanel(key=key, deal_id=self.deal_id, purpose=f"panel {name}", data=data, needs=Tokens(needs))

    def record(self, party: Party) -> Record | None:
        """What a node would know from the events that its rules were handed."""
        logs = [event.log for event in party.loop.script.of(ev.DisputeLogged)]
        gone = {(event.tx, event.index) for event in party.loop.script.of(ev.DisputeRetracted)}
        return record_of((log.topics, log.data) for log in logs if (log.tx, log.index) not in gone)

    def both_know(self, phase: Phase) -> bool:
        records = [self.record(party) for party in (self.client, self.provider)]
        return all(record is not None and record.until > 0 and record.phase is phase for record in records)


@asynccontextmanager
async def court(money: Money, **terms: Any) -> AsyncIterator[Court]:
    """``terms``: what the deal says beside a panel deal's usual."""
    deployed = money.purse.deployment
    assert deployed is not None
    keys = [NodeKey(sha256(money.purse.escrow, side)) for side in (b"disputer", b"defendant")]
    async with (
        money.open(keys[0], panel=deployed.panel) as client,
        money.open(keys[1], panel=deployed.panel) as provider,
    ):
        for party in (client, provider):
            await money.purse.give(party.key.address, 100_000)
            await party.wallet.deposit(50_000)
        await provider.wallet.stake(20_000)
        deal = msgspec.structs.replace(
            await money.deal(client, provider),
            enforcement=Enforcement.PANEL,
            seat_fee=Tokens(1_200),
            seat_class=1,
            seat_snapshot=1,
            exec_seconds=Seconds(10),
            client_secret_hash=keccak256(SECRETS[0]),
            provider_secret_hash=keccak256(SECRETS[1]),
            **terms,
        )
        for party in (client, provider):
            party.knows(deal)
            await party.follow()
        await provider.ledger.post(money.commit(deal, client))
        yield Court(money, client, provider, deal)


async def test_a_dispute_is_funded_opened_and_heard_by_both(money: Money, eventually: Any) -> None:
    async with court(money) as scene:
        opening = scene.opening()
        await scene.client.loop.post(opening)  # what nobody has in an outbox is tidied away once its block is final
        assert opening.key in scene.client.loop.engine.outstanding()
        await scene.client.ledger.dispute(opening)
        await scene.client.ledger.dispute(opening)  # the same key is the same transaction
        await eventually(lambda: scene.both_know(Phase.DISPUTED))
        record = scene.record(scene.client)
        assert record is not None
        assert (record.reason, record.fee, record.result_hash) == (Reason.WRONG, 1_200, opening.result_hash)
        found = PanelContract(scene.client.ledger.rpc, scene.client.ledger.params.panel)
        assert await found.account(scene.client.key.address) == 0
        assert await scene.client.ledger.account(scene.client.key.address) == (50_000 - 1_000 - BOND, 0)
        await scene.provider.ledger.dispute(scene.call("secret", panel.show_secret(scene.deal_id, SECRETS[1])))
        await eventually(lambda: scene.both_know(Phase.VERDICT))
        with pytest.raises(TxRejected, match=r"WrongPhase\("):
            await scene.provider.ledger.dispute(scene.call("again", panel.show_secret(scene.deal_id, SECRETS[1])))


async def test_a_result_that_was_claimed_meanwhile_is_disputed_all_the_same(money: Money, eventually: Any) -> None:
    async with court(money) as scene:
        claim = scene.money.tx("claim", scene.deal)
        result_hash = scene.opening().result_hash
        await scene.provider.ledger.post(msgspec.structs.replace(claim, result_hash=result_hash))
        await scene.client.ledger.dispute(scene.opening())
        await eventually(lambda: scene.both_know(Phase.DISPUTED))


async def test_a_dispute_waits_for_its_bond(money: Money, eventually: Any, nursery: trio.Nursery) -> None:
    """It was given up for good when it could not be paid for in the first moment, and the wrong result was paid for."""
    async with court(money) as scene:
        client = scene.client
        free, _ = await client.ledger.account(client.key.address)
        await client.wallet.withdraw(free)
        nursery.start_soon(client.ledger.dispute, scene.opening())
        await eventually(lambda: client.ledger.posting.disputes_retried > 0)
        await client.wallet.deposit(BOND)
        await eventually(lambda: scene.both_know(Phase.DISPUTED))


async def test_a_dispute_of_a_deal_that_is_over_is_given_up(money: Money) -> None:
    async with court(money) as scene:
        await money.control(scene.client, "evm_increaseTime", 1_000)
        await scene.client.ledger.post(money.tx("expire", scene.deal))
        with pytest.raises(TxRejected):
            await scene.client.ledger.dispute(scene.opening())


async def test_an_appeal_brings_its_deposit_to_the_panel(money: Money, eventually: Any) -> None:
    """No seat could be drawn, so the panel is split and either side may deposit; seven fees come from its free balance."""
    async with court(money) as scene:
        await scene.client.ledger.dispute(scene.opening())
        await scene.provider.ledger.dispute(scene.call("secret", panel.show_secret(scene.deal_id, SECRETS[1])))
        before, _ = await scene.provider.ledger.account(scene.provider.key.address)
        deposit = scene.call("appeal", panel.deposit(scene.deal_id, Side.PROVIDER), needs=7 * 1_200)
        await scene.provider.ledger.dispute(deposit)
        await eventually(lambda: scene.both_know(Phase.APPEALED))
        after, _ = await scene.provider.ledger.account(scene.provider.key.address)
        assert before - after == 7 * 1_200


async def test_a_log_that_a_reorganisation_took_is_taken_back(money: Money, eventually: Any) -> None:
    async with court(money) as scene:
        mark = await money.control(scene.client, "evm_snapshot")
        await scene.client.ledger.dispute(scene.opening())
        await eventually(lambda: scene.both_know(Phase.DISPUTED))
        assert await money.control(scene.client, "evm_revert", mark)
        await money.control(scene.client, "evm_increaseTime", 1)
        for _ in range(3):
            await money.control(scene.client, "evm_mine")
        await eventually(lambda: scene.record(scene.client) is None and scene.record(scene.provider) is None)


async def test_of_a_dispute_of_others_a_node_hears_only_whose_it_is(money: Money, eventually: Any) -> None:
    key = NodeKey(sha256(money.purse.escrow, b"onlooker"))
    assert money.purse.deployment is not None
    async with court(money) as scene, money.open(key, panel=money.purse.deployment.panel) as onlooker:
        await onlooker.follow()
        await scene.client.ledger.dispute(scene.opening())
        await eventually(lambda: scene.both_know(Phase.DISPUTED))
        head = await onlooker.ledger.eth.head()
        await eventually(lambda: any(e.block >= head.number for e in onlooker.loop.script.of(ev.ChainTimeMoved)))
        heard = [event_of(one.log.topics, one.log.data) for one in onlooker.loop.script.of(ev.DisputeLogged)]
        assert [event.name for event in heard if event] == ["DisputeOpened"]


async def test_without_a_panel_a_dispute_says_what_to_configure(money: Money) -> None:
    async with money.both() as (client, _):
        call = fx.CallPanel(key="panel:00:secret:0", deal_id=DealId(bytes(32)), purpose="panel secret", data=b"")
        assert client.ledger.params.panel == Address(bytes(20))
        with pytest.raises(TxRejected, match=r"mesh config set chain\.panel"):
            await client.ledger.dispute(call)

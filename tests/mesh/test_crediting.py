"""Does a provider's own node bring its score down when a deal is settled, and spend nothing where there is no score?"""

from typing import Any

import trio
from eth_abi.abi import encode

from mesh.base.clock import SystemClock
from mesh.chain.eth import TxCall
from mesh.chain.events import DealSettled, topic_of
from mesh.chain.feed import LogRef
from mesh.chain.outcomes import Confirmed
from mesh.chain.panel import PanelContract, ScoresContract
from mesh.chain.wire import Log
from mesh.engine import Engine
from mesh.ledger.crediting import MAX_WAITING, Crediting
from protocols import events as ev
from protocols.contracts import artifact
from protocols.deals.eip712 import Deal, Level, Settlement, digest
from protocols.deals.states import DealTerms, Settled
from protocols.disputes.tolerance import after_failure
from protocols.hashing import keccak256
from protocols.state import PROVIDER, Half
from protocols.units import ZERO_HASH, Address, Hash32, PeerId, RunId, Signature, Tokens
from tests.mesh.money import Money, Party, chain, money
from tests.mesh.test_disputes import Court, court

__all__ = ["chain", "money"]


async def counting(scene: Court, party: Party) -> Address:
    """PanelScores whose panel is this party: it can say that a provider has failed."""
    data = artifact("PanelScores").bytecode + encode(["address"], ["0x" + scene.money.purse.escrow.hex()])
    outcome = await party.ledger.submitter.submit("scores", TxCall(to=None, data=data))
    assert isinstance(outcome, Confirmed)
    assert outcome.created is not None
    return outcome.created


async def fail(party: Party, scores: Address, owner: Address, level: Level) -> None:
    data = keccak256(b"failed(address,uint256)")[:4] + encode(["address", "uint256"], ["0x" + owner.hex(), int(level)])
    assert isinstance(await party.ledger.submitter.submit("fail", TxCall(to=scores, data=data)), Confirmed)


def settled(party: Party, deal: Deal, scene: Court) -> None:
    """As the provider's rows have it then."""
    terms = DealTerms(
        deal_id=scene.deal_id, deal=deal, client=PeerId(bytes(39)), provider=PeerId(bytes(39)), run_id=RunId(bytes(32)),
        rfq_id=ZERO_HASH, inputs=(), client_signature=Signature(b""), provider_signature=None,
    )  # fmt: skip
    done = Settled(terms, ZERO_HASH, deal.price, "settled", None, "")
    party.loop.engine.view(lambda state: state.durable.put_deal(scene.deal_id, Half(PROVIDER, done)))


async def others(crediting: Crediting, party: Party) -> None:
    """More deals of strangers are settled than the queue has places."""
    for number in range(MAX_WAITING + 1):
        ref = LogRef(number, ZERO_HASH, ZERO_HASH, 0)
        topics = (topic_of(DealSettled), Hash32(number.to_bytes(32, "big")))
        seen = Log(party.ledger.params.escrow, topics, b"", number, ZERO_HASH, ZERO_HASH, 0)
        await crediting.told(party.loop.engine, ref, seen)


async def test_a_settled_deal_is_told_once_and_only_where_there_is_a_score(money: Money, eventually: Any) -> None:
    async with court(money, level=Level.NUMERIC, audit_ppm=500_000) as scene:
        provider, deal = scene.provider, scene.deal
        owner = provider.key.address
        ledger = provider.ledger
        scores = await counting(scene, provider)
        view = ScoresContract(ledger.rpc, scores)
        panels_own = await PanelContract(ledger.rpc, ledger.params.panel).scores()
        assert await ScoresContract(ledger.rpc, panels_own).score_of(owner, Level.NUMERIC) == 0

        settled(provider, deal, scene)
        crediting = Crediting(
            ledger.params, ledger.rpc, ledger.contracts, ledger.submitter, SystemClock(), scores=scores
        )
        ledger.following.watch(crediting.told)
        paid = trio.Event()

        async def heard(engine: Engine, ref: LogRef, seen: Log | None) -> None:
            if seen is not None and seen.topics[0] == topic_of(DealSettled):
                paid.set()

        ledger.following.watch(heard)
        await others(crediting, provider)
        await fail(provider, scores, owner, Level.NUMERIC)
        assert await view.score_of(owner, Level.NUMERIC) == after_failure(0)
        await money.control(provider, "evm_increaseTime", 5)
        consent = scene.client.key.sign(digest(money.domain, Settlement(scene.deal_id, Tokens(900))))
        await ledger.post(money.tx("settle", deal, consent, 900))
        with trio.fail_after(60):
            await paid.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crediting.run, provider.loop.engine)
            await eventually(lambda: provider.loop.script.of(ev.ScoreCredited) != [])
            nursery.cancel_scope.cancel()
        (told,) = provider.loop.script.of(ev.ScoreCredited)
        assert told.score == await view.score_of(owner, Level.NUMERIC) == after_failure(0) - 673 // 2

        before = await ledger.eth.nonce(owner)
        again = Crediting(ledger.params, ledger.rpc, ledger.contracts, ledger.submitter, SystemClock(), scores=scores)
        own = Crediting(ledger.params, ledger.rpc, ledger.contracts, ledger.submitter, SystemClock())
        half = provider.loop.engine.view(lambda state: state.durable.deals[scene.deal_id])
        for one in (again, own):  # it was counted; the panel's own has no score
            await one.credit(provider.loop.engine, scene.deal_id, half)
        assert await ledger.eth.nonce(owner) == before
        assert len(provider.loop.script.of(ev.ScoreCredited)) == 1

"""What does a provider's bad message do to a client? It costs the peer score, and nothing else. One bug, one test."""

from typing import Any

import msgspec
import pytest

from devnet.sim.workload import submit, toy_job
from protocols import effects as fx
from protocols import events as ev
from protocols.deals import eip712
from protocols.deals.desk import inputs_of
from protocols.deals.salting import salted_root
from protocols.deals.states import Abandoned, Committed, Settled
from protocols.handlers.runs import outstanding
from protocols.hashing import keccak256
from protocols.messages.deal import ResultNotice, SignOff
from protocols.messages.negotiation import DealProposal, DealRefusal, Quote, Rfq
from protocols.runs import Done, MarketTerms, Searching
from protocols.transfer.cid import node_cid, raw_cid
from protocols.units import Cid, DealId, Hash32, Millis, RunId, Tokens, UnixSeconds
from tests.protocols.handlers.scene import Scene, answers, penalties, scene

__all__ = ["scene"]


def searching(scene: Scene) -> Rfq:
    """The client has asked the provider and waits for its quote."""
    scene.provider.kill()
    scene.client.post(
        ev.RunSubmitted(
            at=Millis(scene.world.now),
            job=toy_job(1).encode(),
            inputs=tuple(inputs_of(toy_job(1))),
            market=MARKET,
            run_nonce=1,
            entropy=Hash32(bytes(32)),
            wall=scene.client.wall,
        )
    )
    (search,) = scene.client.state.searches.values()
    (asked,) = search.asked.values()
    return asked.rfq


MARKET = MarketTerms(max_price=Tokens(10**17), budget=Tokens(10**17))


def fair(scene: Scene, rfq: Rfq, **changes: Any) -> Quote:
    params = scene.world.params
    exec_seconds = toy_job(1).limits.wall_s + params.exec_margin
    return msgspec.structs.replace(
        Quote(
            rfq_id=rfq.rfq_id,
            firm=True,
            hold_ms=params.hold,
            price=Tokens(10**16),
            collateral=Tokens(0),
            provider_secret_hash=Hash32(bytes(32)),
            exec_seconds=exec_seconds,
            claim_seconds=params.claim_seconds,
            window_seconds=params.window_seconds(exec_seconds),
            starts_in_s=0,
            gpus=(),
            numeric_class=Hash32(bytes(32)),
            detail="",
        ),
        **changes,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"exec_seconds": (1 << 32) - 1},
        {"exec_seconds": 1},
        {"claim_seconds": (1 << 32) - 1},
        {"window_seconds": 1},
        {"starts_in_s": 10_000_000, "exec_seconds": 10_000_050},
        {"hold_ms": 1 << 31},
        {"price": Tokens(0)},
        {"price": Tokens((1 << 256) - 1)},
        {"collateral": Tokens((1 << 256) - 1)},
        {"collateral": Tokens(101 * 10**16)},
    ],
)
def test_a_client_signs_nothing_that_locks_its_money_for_long(scene: Scene, changes: dict[str, Any]) -> None:
    """An amount that fits no deal ended the client; a time of a hundred years would have been signed."""
    rfq = searching(scene)
    effects = scene.says(scene.client, scene.provider, fair(scene, rfq, **changes))
    assert penalties(effects) == ["bad_terms"]
    assert not scene.client.state.durable.deals


def test_a_fair_quote_is_signed(scene: Scene) -> None:
    effects = scene.says(scene.client, scene.provider, fair(scene, searching(scene)))
    assert DealProposal in [type(one) for one in answers(effects)]


def dealing(scene: Scene) -> tuple[DealId, RunId]:
    """The client's first run has a committed deal."""
    submit(scene.world, scene.client, 3)  # its budget covers one deal
    for _ in range(400):
        scene.world.run(scene.world.now + 100)
        for deal_id, half in scene.client.state.durable.deals.items():
            if isinstance(half.state, Committed):
                return deal_id, half.state.terms.run_id
    raise AssertionError("no deal was committed")


def declined(scene: Scene) -> tuple[Abandoned, list[fx.Effect]]:
    """The provider has the client's signature, and says no."""
    rfq = searching(scene)
    effects = scene.says(scene.client, scene.provider, fair(scene, rfq, price=Tokens(6 * 10**16)))
    (deal_id,) = scene.client.state.durable.deals
    assert effects
    effects = scene.says(scene.client, scene.provider, DealRefusal(deal_id=deal_id, code="hold-lapsed", detail=""))
    state = scene.client.state.durable.deals[deal_id].state
    assert isinstance(state, Abandoned)
    return state, effects


def test_a_declined_deal_counts_until_nobody_can_commit_it(scene: Scene) -> None:
    """A provider that declined and then committed made its client pay twice."""
    left, effects = declined(scene)
    (run,) = scene.client.state.durable.runs.values()
    assert isinstance(run.status, Searching)
    assert outstanding(scene.client.state, run) == left.terms.deal.price
    assert [effect.purpose for effect in effects if isinstance(effect, fx.PostTx)] == ["burn"]
    burned = ev.DealMovedOnChain(
        at=Millis(scene.world.now),
        deal_id=left.terms.deal_id,
        to="burned",
        tx=Hash32(bytes(32)),
        block=scene.world.chain.block,
        timestamp=scene.world.chain.time,
        paid=Tokens(0),
    )
    scene.effects(scene.client, burned)
    assert outstanding(scene.client.state, run) == 0
    scene.effects(
        scene.client,
        ev.DealRetractedOnChain(at=burned.at, deal_id=burned.deal_id, was="burned", tx=burned.tx),
    )
    assert outstanding(scene.client.state, run) == left.terms.deal.price


def test_after_commit_by_it_counts_no_more(scene: Scene) -> None:
    left, _ = declined(scene)
    (run,) = scene.client.state.durable.runs.values()
    late = UnixSeconds(left.terms.deal.commit_by + 1)
    scene.effects(scene.client, ev.ChainTimeMoved(at=Millis(scene.world.now), block=10**6, timestamp=late))
    assert outstanding(scene.client.state, run) == 0


@pytest.mark.parametrize("outcome", [eip712.OutcomeCode.INFRA_ERROR, eip712.OutcomeCode.CANCELLED])
def test_a_providers_own_failure_is_no_result(scene: Scene, outcome: eip712.OutcomeCode) -> None:
    """It was fetched, accepted and paid like any other."""
    deal_id, _ = dealing(scene)
    salt = Hash32(bytes(32))
    root = node_cid(b"a folder")
    commit = eip712.ResultCommit(
        deal_id=deal_id,
        salted_root=salted_root(salt, root),
        outcome=outcome,
        exit_code=0,
        fuel=0,
        wall_ms=0,
        log_head=Hash32(bytes(32)),
    )
    signature = scene.provider.env.signer.sign(eip712.digest(scene.world.domain, commit))
    notice = ResultNotice(commit=commit, signature=signature, root=root, salt=salt, size=1)
    assert penalties(scene.says(scene.client, scene.provider, notice)) == ["bad_outcome"]
    assert isinstance(scene.client.state.durable.deals[deal_id].state, Committed)


def test_a_message_about_a_deal_comes_from_its_party(scene: Scene) -> None:
    deal_id, _ = dealing(scene)
    refusal = DealRefusal(deal_id=deal_id, code="x", detail="")
    assert penalties(scene.says(scene.client, scene.stranger, refusal)) == ["not_a_party"]
    assert scene.says(scene.client, scene.provider, DealRefusal(DealId(bytes(32)), "x", "")) == []


def test_a_sign_off_names_one_deal(scene: Scene) -> None:
    deal_id, _ = dealing(scene)
    price = scene.client.state.durable.deals[deal_id].state.terms.deal.price
    settlement = eip712.Settlement(deal_id=deal_id, paid=price)
    receipt = eip712.ResultReceipt(deal_id=DealId(bytes(32)), result_hash=Hash32(bytes(32)), beacon_round=0)
    sign = scene.client.env.signer.sign
    off = SignOff(
        receipt=receipt,
        receipt_signature=sign(eip712.digest(scene.world.domain, receipt)),
        settlement=settlement,
        signature=sign(eip712.digest(scene.world.domain, settlement)),
    )
    assert penalties(scene.says(scene.provider, scene.client, off)) == ["other_terms"]


def test_a_run_that_has_its_result_gets_out_of_its_other_deals() -> None:
    """The first provider came back while the second worked: both were paid."""
    scene = Scene(providers=2)
    submit(scene.world, scene.client, 1)  # its budget covers several
    while not any(isinstance(half.state, Committed) for half in scene.client.state.durable.deals.values()):
        scene.world.run(scene.world.now + 50)
    first = next(iter(scene.client.state.durable.deals.values())).state.terms.provider
    scene.world.sever(1, frozenset([first]))
    while len(scene.client.state.durable.deals) < 2:
        scene.world.run(scene.world.now + 50)
    scene.world.mend(1)
    scene.world.run(scene.world.now + 600_000)
    (run,) = scene.client.state.durable.runs.values()
    assert isinstance(run.status, Done)
    assert not scene.client.state.searches
    deals = [half.state for half in scene.client.state.durable.deals.values()]
    paid = sorted(deal.paid / deal.terms.deal.price for deal in deals if isinstance(deal, Settled))
    assert paid[-1] == 1
    assert paid[:-1] == [] or paid[0] < 1


def test_a_node_that_nothing_happens_to_still_learns_the_time() -> None:
    scene = Scene()
    scene.world.run(10 * 60_000)
    assert scene.client.wall - scene.client.state.wall <= scene.world.params.offer_heartbeat


def test_a_result_is_a_folder_and_is_committed_to_as_the_panel_opens_it(scene: Scene) -> None:
    """The salt went over the CID's 36 bytes: no honest provider could have opened its result before a panel."""
    deal_id, _ = dealing(scene)
    salt, folder = keccak256(b"salt"), node_cid(b"a folder")

    def notice(root: Cid, salted: Hash32) -> ResultNotice:
        commit = eip712.ResultCommit(
            deal_id=deal_id,
            salted_root=salted,
            outcome=eip712.OutcomeCode.EXITED,
            exit_code=0,
            fuel=0,
            wall_ms=0,
            log_head=Hash32(bytes(32)),
        )
        signature = scene.provider.env.signer.sign(eip712.digest(scene.world.domain, commit))
        return ResultNotice(commit=commit, signature=signature, root=root, salt=salt, size=1)

    def answer(root: Cid, salted: Hash32) -> list[str]:
        return penalties(scene.says(scene.client, scene.provider, notice(root, salted)))

    digest = keccak256(salt, folder[4:])
    assert answer(raw_cid(b"a file"), keccak256(salt, raw_cid(b"a file")[4:])) == ["bad_root"]
    assert answer(Cid(bytes(36)), keccak256(salt, bytes(32))) == ["bad_root"]
    assert answer(folder, keccak256(salt, folder)) == ["bad_opening"]
    assert isinstance(scene.client.state.durable.deals[deal_id].state, Committed)
    assert answer(folder, digest) == []
    assert not isinstance(scene.client.state.durable.deals[deal_id].state, Committed)

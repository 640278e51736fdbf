"""Does a client that was away while its deal was paid for get the result, and does its run never buy it twice?"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from devnet.sim.node import SimNode
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import effects as fx
from protocols import events as ev
from protocols import limits
from protocols.deals import late
from protocols.deals.states import Claimed, Committed, DealState, Resulted, Settled
from protocols.handlers import kept
from protocols.messages.deal import ResultNotice, ResultPull
from protocols.messages.negotiation import InputRoot
from protocols.node import handle
from protocols.reputation import Record
from protocols.runs import Cancelled, Dealing, Done, Failed, MarketTerms, Run, Searching
from protocols.spending import spending
from protocols.state import PROVIDER, Half
from protocols.units import Hash32, Tokens
from protocols.views import runs as run_views

PRICE = Tokens(10**17)


class Away:
    """A client with one provider or more, killed in the middle of its first deal and brought back when it is paid for."""

    def __init__(self, providers: int = 2) -> None:
        self.world = World(1, network=NO_NOISE)
        self.client = self.world.add(free=FUNDS, stake=0)
        self.providers = [self.world.add(free=0, stake=FUNDS) for _ in range(providers)]
        for provider in self.providers:
            provider.offer = offer_of(self.world, provider)
        for node in (self.client, *self.providers):
            node.start()
        self.world.run(8_000)
        job = toy_job(1)
        self.client.post(
            ev.RunSubmitted(
                at=self.world.now,
                job=job.encode(),
                inputs=(InputRoot(job.module, job.module_size),),
                market=MarketTerms(max_price=PRICE, budget=Tokens(4 * PRICE), audit_ppm=0, target=self.providers[0].me),
                run_nonce=1,
                entropy=Hash32(bytes(32)),
                wall=self.client.wall,
            )
        )

    @property
    def provider(self) -> SimNode:
        return self.providers[0]

    def until(self, holds: Callable[[], Any], limit_ms: int = 900_000) -> None:
        end = self.world.now + limit_ms
        while not holds():
            assert self.world.now < end, f"it did not come to that: {self.deals}"
            self.world.run(self.world.now + 50)

    @property
    def run(self) -> Run:
        (run,) = self.client.state.durable.runs.values()
        return run

    @property
    def deals(self) -> list[DealState]:
        return [half.state for half in self.client.state.durable.deals.values()]

    @property
    def theirs(self) -> Any:
        found = [half.state for half in self.provider.state.durable.deals.values() if half.role == PROVIDER]
        return found[0] if found else None

    def leave(self, when: type) -> None:
        """The client is gone from the moment its deal is in that state, and until the provider is paid."""
        self.until(lambda: self.deals and isinstance(self.deals[0], when))
        self.client.kill()
        self.until(lambda: isinstance(self.theirs, Settled))

    def back(self) -> None:
        self.client.start()
        self.until(lambda: isinstance(self.run.status, Done | Failed))


@pytest.mark.parametrize("when", [Committed, Resulted])
def test_a_client_that_comes_back_after_it_has_paid_gets_its_result_and_buys_nothing(when: type) -> None:
    away = Away()
    before = away.world.escrow.free[away.client.env.signer.address]
    away.leave(when)
    assert away.theirs.how == "finalized"
    assert away.theirs.kept is True
    assert away.theirs.terms.deal_id in away.provider.served
    away.back()
    status = away.run.status
    assert isinstance(status, Done)
    assert (status.checked, status.settled) == ("bytes", True)
    (deal,) = away.deals
    assert isinstance(deal, Settled)
    assert (deal.how, deal.late) == ("finalized", msgspec.UNSET)
    assert isinstance(deal.result, ResultNotice)
    assert status.root == deal.result.root == away.theirs.result.root
    away.world.run(away.world.now + 60_000)
    assert len(away.deals) == 1, "it bought the job once more"
    spent = before - away.world.escrow.free[away.client.env.signer.address]
    assert spent == deal.terms.deal.price == spending(away.client.state).total.paid
    assert away.client.state.records.get(away.provider.me, Record()) == Record()
    assert not away.theirs.kept, "it has arrived: it need not be kept"
    assert away.theirs.terms.deal_id not in away.provider.served
    assert not away.client.outbox
    assert not away.provider.outbox


def test_meanwhile_the_run_says_what_it_waits_for() -> None:
    away = Away()
    away.leave(Committed)
    away.provider.kill()
    away.client.start()
    away.until(lambda: isinstance(away.deals[0], Settled))
    away.world.run(away.world.now + 60_000)
    assert isinstance(away.run.status, Dealing)
    assert len(away.deals) == 1
    (view,) = run_views(away.client.state)
    assert "being fetched" in view.detail
    away.client.kill()
    away.client.start()
    assert isinstance(away.run.status, Dealing), "a restart forgets nothing"
    away.provider.start()
    away.until(lambda: isinstance(away.run.status, Done))
    assert len(away.deals) == 1


def test_the_provider_lets_go_when_the_time_is_over_and_says_so() -> None:
    away = Away(providers=1)
    away.leave(Committed)
    params = away.world.params
    ends = late.until(away.theirs, params)
    assert away.provider.state.deadlines.next() == ends
    away.until(lambda: not away.theirs.kept)
    assert away.provider.state.chain_now >= ends
    assert away.theirs.terms.deal_id not in away.provider.served
    assert not any(key.startswith("serve:") for key in away.provider.outbox)


def test_a_client_gives_up_what_nobody_keeps_and_then_its_run_looks_elsewhere() -> None:
    away = Away()
    away.leave(Committed)
    away.provider.habits.withholds = True
    away.client.start()
    away.until(lambda: not isinstance(away.run.status, Dealing) or len(away.deals) > 1)
    first = away.deals[0]
    assert isinstance(first, Settled)
    assert (first.late, first.result) == (msgspec.UNSET, None)
    assert isinstance(away.run.status, Searching | Dealing)
    (day,) = away.client.state.records[away.provider.me].days
    assert (day.kept, day.broken) == (0, 1), "paid, and never handed over"
    away.until(lambda: isinstance(away.run.status, Done | Failed))
    assert [deal.terms.deal.index for deal in away.deals] == [0, 1]


def test_a_provider_that_has_it_no_longer_answers_at_once() -> None:
    away = Away(providers=1)
    away.leave(Committed)
    released, effects = late.PROVIDER_ROWS[Settled, late.TimePassed](away.theirs, late.TimePassed(), None)  # type: ignore[arg-type]
    assert any(isinstance(one, fx.StopServing) and one.forget for one in effects)
    assert isinstance(released, Settled)
    away.provider.state.durable.put_deal(released.terms.deal_id, Half(PROVIDER, released))
    asked = away.world.now
    away.client.start()
    away.until(lambda: isinstance(away.deals[0], Settled) and away.deals[0].late is msgspec.UNSET, 60_000)
    assert away.world.now - asked < 60_000
    assert len(away.deals) == 1 or away.deals[1].terms.deal.index == 1, "another index: the paid one is consumed"


def test_a_provider_that_has_not_seen_its_own_claim_answers_a_client_that_has() -> None:
    """The two follow the chain apart: dropped, the question would not be asked again."""
    away = Away(providers=1)
    away.until(lambda: away.deals and isinstance(away.deals[0], Committed))
    away.client.kill()
    away.until(lambda: isinstance(away.theirs, Resulted))
    terms, notice = away.theirs.terms, away.theirs.result
    _, data = away.client.env.seal(ResultPull(deal_id=terms.deal_id))
    pulled = ev.MessageArrived(at=away.world.now, peer=away.client.me, data=data)
    sent = [one for one in handle(away.provider.state, pulled, away.provider.env) if isinstance(one, fx.SendDurably)]
    assert [(one.peer, one.protocol, one.data) for one in sent] == [
        (away.client.me, *away.provider.env.seal(notice)),
    ]
    assert isinstance(away.theirs, Resulted)


def test_an_owner_need_not_wait() -> None:
    away = Away()
    away.leave(Committed)
    away.provider.kill()
    away.client.start()
    away.until(lambda: isinstance(away.deals[0], Settled))
    away.client.post(ev.CancelRequested(at=away.world.now, run_id=away.run.run_id))
    assert isinstance(away.run.status, Cancelled)


def test_no_more_is_kept_than_there_is_room_for() -> None:
    away = Away(providers=1)
    away.leave(Committed)
    state, deal = away.provider.state, away.theirs
    size = limits.MAX_KEPT_BYTES // 2
    large = msgspec.structs.replace(deal, result=msgspec.structs.replace(deal.result, size=size))
    for number in range(3):
        deal_id = bytes([number]) * 32
        terms = msgspec.structs.replace(deal.terms, deal_id=deal_id)
        claim = msgspec.structs.replace(deal.claim, at=deal.claim.at + number)
        one = msgspec.structs.replace(large, terms=terms, claim=claim)
        state.durable.put_deal(one.terms.deal_id, Half(PROVIDER, one))
    assert isinstance(deal.claim, Claimed)
    assert set(kept.too_many(state)) == {b"\x00" * 32, deal.terms.deal_id}, "the oldest go"
    for number in range(3, limits.MAX_KEPT_RESULTS + 2):
        terms = msgspec.structs.replace(deal.terms, deal_id=number.to_bytes(32))
        state.durable.put_deal(terms.deal_id, Half(PROVIDER, msgspec.structs.replace(deal, terms=terms)))
    assert len(kept.too_many(state)) > 2

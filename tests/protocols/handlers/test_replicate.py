"""Do several providers decide about a result together: who is paid, who is not, within the budget, and through a restart?"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import events as ev
from protocols import views
from protocols.deals.states import Checking, Claimed, DealState, Rejected, Settled
from protocols.deals.terms import Level, OutcomeCode
from protocols.job.canonical import CanonicalVerify
from protocols.messages.negotiation import InputRoot
from protocols.reputation import evidence_of, shunned
from protocols.runs import Cancelled, Done, Failed, MarketTerms, Run
from protocols.units import Hash32, Tokens
from protocols.verify.replicas import SLOW

PRICE = Tokens(75 * 10**15)
"""What a provider of the simulator asks is about a third of it."""


class Scene:
    """One client that wants ``n`` replicas, and a provider for each letter: h(onest), l(iar), w(ithholds), b(roken), i(dle),
    s(low), o(ut of memory, it says)."""

    def __init__(self, providers: str, n: int = 3, agree: int = 2, *, budget: int = 3, retries: int = 3) -> None:
        self.job = msgspec.structs.replace(toy_job(1), verify=CanonicalVerify("replicate", n=n, agree=agree))
        self.world = World(1, network=NO_NOISE)
        self.client = self.world.add(free=FUNDS, stake=0)
        self.providers = [self.world.add(free=0, stake=FUNDS) for _ in providers]
        for node, letter in zip(self.providers, providers, strict=True):
            node.offer = offer_of(self.world, node)
            node.habits.honest = letter != "l"
            node.habits.withholds = letter == "w"
            node.habits.idles = letter in "io"
            node.habits.excuse = OutcomeCode.OOM if letter == "o" else OutcomeCode.TIMEOUT
            node.habits.takes_ms = 40_000 if letter == "s" else 1
            node.habits.infra_ppm = 1_000_000 if letter == "b" else 0
        for node in (self.client, *self.providers):
            node.start()
        self.world.run(8_000)
        self.client.post(
            ev.RunSubmitted(
                at=self.world.now,
                job=self.job.encode(),
                inputs=(InputRoot(self.job.module, self.job.module_size),),
                market=MarketTerms(max_price=PRICE, budget=Tokens(budget * PRICE), max_attempts=retries, search_s=5),
                run_nonce=1,
                entropy=Hash32(bytes(32)),
                wall=self.client.wall,
            )
        )

    def until(self, holds: Callable[[], Any], limit_ms: int = 900_000) -> None:
        end = self.world.now + limit_ms
        while not holds():
            stand = [type(deal).__name__ for deal in self.deals]
            assert self.world.now < end, f"it did not come to that: {self.run.status}, {stand}"
            self.world.run(self.world.now + 50)

    def until_over(self) -> None:
        """The run has ended, and nothing of it is under way any more."""
        self.until(lambda: isinstance(self.run.status, Done | Failed) and not self.client.state.durable.live)

    @property
    def run(self) -> Run:
        (run,) = self.client.state.durable.runs.values()
        return run

    @property
    def deals(self) -> list[DealState]:
        return [half.state for half in self.client.state.durable.deals.values()]

    def by(self, letters: str, wanted: str) -> list[DealState]:
        """Deals with those providers whose letter is ``wanted``."""
        who = {node.me for node, letter in zip(self.providers, letters, strict=True) if letter == wanted}
        return [deal for deal in self.deals if deal.terms.provider in who]


def refused(deal: DealState) -> str:
    """Why the client did not sign, also when its provider was paid in the end by claiming."""
    if isinstance(deal, Settled):
        return deal.claim.rejected if deal.claim else ""
    return deal.rejected if isinstance(deal, Claimed) else getattr(deal, "detail", "")


def providers_of(deals: Sequence[DealState]) -> list[bytes]:
    return [deal.terms.provider for deal in deals]


def test_three_that_agree_are_all_paid_what_they_ask() -> None:
    scene = Scene("hhh")
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    assert (scene.run.status.checked, scene.run.status.settled) == ("replicated", True)
    assert len(scene.deals) == len(set(providers_of(scene.deals))) == 3
    assert all(deal.terms.deal.level is Level.REPLICATE and deal.terms.checks is None for deal in scene.deals)
    for deal in scene.deals:
        assert isinstance(deal, Settled)
        assert (deal.how, deal.paid, deal.checked) == ("settled", deal.terms.deal.price, "replicated")
    (view,) = views.runs(scene.client.state)
    assert view.spent == sum(deal.terms.deal.price for deal in scene.deals) <= scene.run.market.budget
    assert len(view.deals) == view.replicas == 3


def test_the_one_that_disagrees_is_shown_and_not_signed_off() -> None:
    scene = Scene("hlh")
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    winner = scene.client.state.durable.deals[scene.run.status.deal_id].state
    assert winner in scene.by("hlh", "h")
    (liar,) = scene.by("hlh", "l")
    assert "another result than the majority's" in refused(liar)
    evidence = evidence_of(liar)
    assert evidence is not None
    assert not evidence.kept
    for deal in scene.by("hlh", "h"):
        assert isinstance(deal, Settled)
        assert deal.sign_off is not None


def test_those_who_say_that_the_time_was_up_are_no_majority_against_one_that_has_worked() -> None:
    """What can be said without working bears out nothing, however many say it."""
    scene = Scene("ihi")
    scene.until(lambda: isinstance(scene.run.status, Done | Failed))
    assert isinstance(scene.run.status, Failed)
    assert scene.run.status.detail.startswith("no agreement")
    for idle in scene.by("ihi", "i"):
        assert refused(idle).startswith(SLOW)
        evidence = evidence_of(idle)
        assert evidence is not None, "whoever brings nothing may spoil a comparison, and is asked less often"
        assert (evidence.kept, evidence.slow) == (False, True)
    (worked,) = scene.by("ihi", "h")
    assert evidence_of(worked) is None, "nobody is blamed for being alone among them"
    assert not any(isinstance(deal, Settled) and deal.sign_off for deal in scene.by("ihi", "i"))


def test_two_that_have_worked_outvote_one_whose_time_was_up() -> None:
    scene = Scene("ihh")
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    winner = scene.client.state.durable.deals[scene.run.status.deal_id].state
    assert winner in scene.by("ihh", "h")
    (slow,) = scene.by("ihh", "i")
    assert refused(slow).startswith(SLOW)
    evidence = evidence_of(slow)
    assert evidence is not None
    assert (evidence.kept, evidence.slow) == (False, True), "an honest machine may be slower: no lie, and no result"


def test_an_honest_machine_that_is_too_slow_is_shunned_after_three_replicas_and_not_after_two() -> None:
    """Found once: it counted as a liar, and two were enough."""
    scene = Scene("shh")
    scene.until_over()
    (slow,) = scene.by("shh", "s")
    record = scene.client.state.records[slow.terms.provider]
    at = scene.client.state.chain_now
    assert (record.days[0].broken, record.days[0].slow) == (0, 1)
    twice = record.plus(evidence_of(slow))
    assert not shunned(twice, at)
    assert shunned(twice.plus(evidence_of(slow)), at)


def test_a_replica_that_says_its_memory_was_full_beside_two_that_have_worked_is_a_liar() -> None:
    scene = Scene("ohh")
    scene.until_over()
    (liar,) = scene.by("ohh", "o")
    evidence = evidence_of(liar)
    assert evidence is not None
    assert (evidence.kept, evidence.slow) == (False, False)


def test_without_a_majority_nothing_is_signed_and_nobody_is_blamed() -> None:
    scene = Scene("lh", n=2, agree=2)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert isinstance(scene.run.status, Failed)
    assert scene.run.status.code == "rejected"
    assert scene.run.status.detail.startswith("no agreement")
    for deal in scene.deals:
        assert isinstance(deal, Rejected | Claimed)
        assert refused(deal).startswith("no agreement")
        assert evidence_of(deal) is None
    scene.world.run(scene.world.now + 900_000)
    assert all(evidence_of(deal) is None for deal in scene.deals)


def test_two_that_agree_decide_while_the_third_is_still_at_work_and_it_is_paid_when_it_agrees() -> None:
    scene = Scene("hhh")
    scene.until(lambda: isinstance(scene.run.status, Done))
    late = [deal for deal in scene.deals if not isinstance(deal, Settled) and getattr(deal, "checked", "") == ""]
    assert late, "nobody was late: the seed gave all three the same speed"
    scene.until_over()
    assert [deal.checked for deal in scene.deals if isinstance(deal, Settled)] == ["replicated"] * 3


@pytest.mark.parametrize("letter", ["w", "b"])
def test_one_that_brings_nothing_is_replaced_within_the_budget(letter: str) -> None:
    scene = Scene(f"{letter}hhh", budget=5)
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == "replicated"
    assert len(set(providers_of(scene.deals))) == len(scene.deals)


def test_too_few_providers_still_decide_when_enough_of_them_agree() -> None:
    scene = Scene("hh")
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    assert len(scene.deals) == 2


def test_one_provider_is_nobody_to_compare_with() -> None:
    scene = Scene("h")
    scene.until(lambda: isinstance(scene.run.status, Failed))
    scene.world.run(scene.world.now + 900_000)
    (deal,) = scene.deals
    assert isinstance(deal, Settled)
    assert deal.how == "cancelled", "it was not told to stop"


def test_the_budget_is_never_exceeded() -> None:
    """It is enough for two of three."""
    scene = Scene("hhh", budget=1)
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    asked = [deal.terms.deal.price for deal in scene.deals]
    assert len(asked) == 2
    assert sum(asked) <= PRICE < sum(asked) + min(asked)


@pytest.mark.parametrize("held", [0, 1])
def test_a_restart_goes_on_where_it_was(held: int) -> None:
    scene = Scene("hlh")
    scene.until(lambda: scene.deals and sum(isinstance(deal, Checking) for deal in scene.deals) == held)
    scene.client.kill()
    scene.client.start()
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    assert scene.run.status.checked == "replicated"
    (liar,) = scene.by("hlh", "l")
    assert "majority" in refused(liar)
    assert len(scene.deals) == 3


def test_an_owners_retry_asks_anew() -> None:
    scene = Scene("lh", n=2, agree=2, budget=8)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    scene.providers[0].habits.honest = True
    scene.client.post(ev.RetryRequested(at=scene.world.now, run_id=scene.run.run_id))
    scene.until(lambda: isinstance(scene.run.status, Done))
    assert [deal.terms.deal.index for deal in scene.deals] == [0, 1, 2, 3]


def test_a_cancelled_run_stops_looking_for_more() -> None:
    scene = Scene("hhh")
    scene.until(lambda: scene.deals)
    scene.client.post(ev.CancelRequested(at=scene.world.now, run_id=scene.run.run_id))
    assert isinstance(scene.run.status, Cancelled)
    scene.world.run(scene.world.now + 300_000)
    assert not scene.client.state.searches
    assert not scene.client.state.durable.live
    assert sum(isinstance(deal, Settled) for deal in scene.deals) <= 1


def test_the_minority_can_be_one_that_came_after_the_decision() -> None:
    scene = Scene("hhl")
    scene.until_over()
    (liar,) = scene.by("hhl", "l")
    assert "another result than the majority's" in refused(liar)

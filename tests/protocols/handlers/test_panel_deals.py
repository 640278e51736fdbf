"""Which deals that a panel judges do two nodes sign, and why not the others?"""

from typing import Any

import msgspec
import pytest

from devnet.sim.node import SimNode
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import PANEL_PARAMS, SIM_PARAMS, World
from protocols import events as ev
from protocols import views
from protocols.deals import desk, eip712
from protocols.deals.panel_terms import PANEL_CLASS, panel_stakes, unsound
from protocols.deals.states import Settled
from protocols.disputes.params import BOUNTY_PRICES, FIRST_SEATS
from protocols.job.canonical import CanonicalVerify, level_params_of
from protocols.messages.negotiation import InputRoot, PanelRfq, Quote
from protocols.runs import MarketTerms
from protocols.units import PPM, Hash32, Tokens
from protocols.verify.incentives import Stakes, at_stake, require_sound

PRICE = Tokens(10**17)


class Scene:
    """A client, a provider with ``stake`` prices, a panel with so many seats of each mediator, ``others`` of another class."""

    def __init__(
        self,
        seats: tuple[int, ...] = (16, 16),
        *,
        others: int = 0,
        parties: int = 0,
        stake: int = 1_000,
        level: str = "exact",
        params: Any = PANEL_PARAMS,
        **market: Any,
    ) -> None:
        self.world = World(1, network=NO_NOISE, params=params)
        self.client = self.world.add(free=FUNDS, stake=0)
        self.provider = self.world.add(free=FUNDS, stake=stake * PRICE)
        self.provider.offer = offer_of(self.world, self.provider)
        for count in seats:
            self.seat(self.world.add(free=FUNDS, stake=0), count)
        self.seat(self.provider, parties)
        self.seat(self.world.add(free=FUNDS, stake=0), others, PANEL_CLASS + 1)
        for node in (self.client, self.provider):
            node.start()
        self.world.run(8_000)
        self.job = job = msgspec.structs.replace(toy_job(1), verify=CanonicalVerify(level))  # type: ignore[arg-type]
        terms = MarketTerms(max_price=PRICE, budget=PRICE, search_s=10, enforcement="panel", **market)
        self.client.post(
            ev.RunSubmitted(
                at=self.world.now,
                job=job.encode(),
                inputs=(InputRoot(job.module, job.module_size),),
                market=terms,
                run_nonce=1,
                entropy=Hash32(bytes(32)),
                wall=self.client.wall,
            )
        )

    def seat(self, node: SimNode, count: int, seat_class: int = PANEL_CLASS) -> None:
        panel = self.world.panel
        if panel is None or not count:
            return
        who, bond = node.env.signer.address, panel.books.bounds.seat_bond
        panel.books.accounts[who] = Tokens(count * bond)
        for _ in range(count):
            panel.books.join(who, who, seat_class, self.client.wall)

    def passes(self, seconds: int) -> views.RunView:
        self.world.run(self.world.now + seconds * 1000)
        (view,) = views.runs(self.client.state)
        return view

    def deal(self) -> eip712.Deal:
        (half,) = self.client.state.durable.deals.values()
        return half.state.terms.deal


def test_both_sign_the_terms_that_the_rules_give():
    scene = Scene()
    assert scene.passes(90).status == "done"
    deal = scene.deal()
    assert (deal.enforcement, deal.seat_class, deal.seat_snapshot) == (eip712.Enforcement.PANEL, PANEL_CLASS, 32)
    assert deal.audit_ppm == PANEL_PARAMS.audit_newcomer_ppm
    assert deal.collateral >= max(8 * deal.price, BOUNTY_PRICES * deal.price + FIRST_SEATS * deal.seat_fee)
    require_sound(deal)
    (half,) = scene.provider.state.durable.deals.values()
    assert isinstance(half.state, Settled)


@pytest.mark.parametrize(
    ("scene", "why"),
    [
        ({"seats": (6,)}, "6 can be called now"),
        ({"seats": (6,), "others": 40}, "6 can be called now"),
        ({"seats": (19,), "parties": 9}, "19 can be called now"),
        ({"params": SIM_PARAMS}, "no panel"),
        ({"level": "none"}, "nothing to compare"),
        ({"audit_ppm": 1_000}, "change audit_ppm from 1000 to"),
        ({"level": "numeric", "audit_ppm": 100_000}, "change seat_fee from 120000000000000000 to"),
    ],
)
def test_nobody_signs_what_could_not_be_judged(scene: dict[str, Any], why: str):
    over = Scene(**scene).passes(60)
    assert (over.status, over.code) == ("failed", "no-match")
    assert why in "; ".join((over.detail, *(one.detail for one in over.candidates)))
    assert over.deals == ()


@pytest.mark.parametrize("level", ["canonical", "numeric", "perceptual"])
def test_a_panel_judges_every_level_that_compares(level: str):
    """What exactly is compared stands in the deal; under a tolerance 2P + kF must deter, whatever the collateral."""
    scene = Scene(level=level)
    assert scene.passes(90).status == "done"
    deal = scene.deal()
    assert deal.level is eip712.Level[level.upper()]
    assert deal.level_params == level_params_of(scene.job.verify)
    stakes = Stakes.of(deal)
    assert at_stake(stakes) == (
        deal.price + deal.collateral if level == "canonical" else 2 * deal.price + FIRST_SEATS * deal.seat_fee
    )
    margin = deal.audit_ppm * stakes.rule.margin_ppm
    assert margin * at_stake(stakes) > PPM * PPM * deal.price
    require_sound(deal)


def test_a_provider_without_the_collateral_says_so():
    over = Scene(stake=1).passes(60)
    (refusal, *_) = [one for one in over.candidates if one.code == "stake"]
    assert "of collateral" in refusal.detail
    assert over.status == "failed"


def test_a_client_takes_no_other_collateral_than_the_rules_give():
    scene = Scene()
    scene.passes(90)
    env, job = scene.client.env, msgspec.structs.replace(toy_job(1), verify=CanonicalVerify("exact"))
    plain: dict[str, Any] = {
        "rfq_id": Hash32(bytes(32)),
        "run_id": next(iter(scene.client.state.durable.runs)),
        "run_nonce": 1,
        "index": 0,
        "job": job.encode(),
        "inputs": (InputRoot(job.module, job.module_size),),
        "max_price": PRICE,
        "token": env.params.token,
        "enforcement": eip712.Enforcement.PANEL,
        "deadline": 0,
    }
    rfq = PanelRfq(audit_ppm=250_000, seat_class=PANEL_CLASS, seat_snapshot=12, **plain)
    place = scene.provider.state.desk
    quote = desk.quote_for(
        place, scene.client.me, rfq, job, scene.provider.env, funds=PRICE, stake=Tokens(0), wait=0  # type: ignore[arg-type]
    )  # fmt: skip
    assert desk.quote_problem(rfq, quote, job, env) == ""
    for collateral in (0, quote.collateral - 1, quote.collateral + 1):
        other: Quote = msgspec.structs.replace(quote, collateral=Tokens(collateral))
        assert "collateral" in desk.quote_problem(rfq, other, job, env)
    # Who could choose the class of machines would choose who may check; named GPUs would be excused from other proofs.
    for names in ({"numeric_class": Hash32(bytes(31) + b"x")}, {"gpus": (Hash32(bytes(32)),)}):
        assert "it names" in desk.quote_problem(rfq, msgspec.structs.replace(quote, **names), job, env)


def test_stakes_are_sound_at_every_level_that_a_panel_judges():
    for level in (eip712.Level.EXACT, eip712.Level.CANONICAL, eip712.Level.NUMERIC, eip712.Level.PERCEPTUAL):
        for price in (1, 7, 10**9, 10**18):
            rate = 250_000 if level in (eip712.Level.EXACT, eip712.Level.CANONICAL) else 1_000_000
            problem = unsound(panel_stakes(level, Tokens(price), rate))
            assert "deterrence" not in problem
            assert "coverage" not in problem

"""A client that audits what it bought: one run, its providers, and what was asked of whom."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from devnet.sim.node import SimNode
from devnet.sim.perform import result_of
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import effects as fx
from protocols import events as ev
from protocols.deals.states import Checking, DealState
from protocols.job.canonical import CanonicalVerify
from protocols.messages.negotiation import InputRoot
from protocols.reputation import Record, work_kind
from protocols.runs import MarketTerms, Run
from protocols.state import PROVIDER
from protocols.units import ZERO_HASH, DealId, Hash32, Tokens

PRICE = Tokens(10**17)


class Scene:
    """One client that submits one run, and providers, the first of which it aims at."""

    def __init__(
        self,
        providers: int = 3,
        *,
        lies: bool = False,
        budget: int = 4,
        audit_ppm: int | None = 1_000_000,
        level: Literal["exact", "none", "canonical", "numeric", "perceptual"] = "exact",
        passed: int = 0,
        noisy: bool = False,
    ) -> None:
        self.job = msgspec.structs.replace(toy_job(1), verify=CanonicalVerify(level))
        self.world = World(1, network=NO_NOISE)
        self.client = self.world.add(free=FUNDS, stake=0)
        self.providers = [self.world.add(free=0, stake=FUNDS) for _ in range(providers)]
        self.provider.habits.honest = not lies
        self.provider.habits.noisy = noisy
        for provider in self.providers:
            provider.offer = offer_of(self.world, provider)
        for node in (self.client, *self.providers):
            node.start()
        self.notes: list[fx.Notify] = []
        self.hear(self.client)
        self.world.run(8_000)
        self.market = MarketTerms(
            max_price=PRICE, budget=Tokens(budget * PRICE), audit_ppm=audit_ppm, target=self.provider.me
        )
        if passed:
            kind = work_kind(Hash32(self.job.module[-32:]), ZERO_HASH)
            self.client.state.records[self.provider.me] = Record(kinds=((kind, passed),))
        self.submit()

    @property
    def provider(self) -> SimNode:
        return self.providers[0]

    def hear(self, node: SimNode) -> None:
        """What it tells people, from now on."""
        perform = node.perform

        def told(effect: fx.Effect) -> None:
            if isinstance(effect, fx.Notify):
                self.notes.append(effect)
            perform(effect)

        vars(node)["perform"] = told

    def submit(self) -> None:
        job = self.job
        self.client.post(
            ev.RunSubmitted(
                at=self.world.now,
                job=job.encode(),
                inputs=(InputRoot(job.module, job.module_size),),
                market=self.market,
                run_nonce=1,
                entropy=Hash32(bytes(32)),
                wall=self.client.wall,
            )
        )

    def until(self, holds: Callable[[], Any], limit_ms: int = 900_000) -> None:
        end = self.world.now + limit_ms
        while not holds():
            assert self.world.now < end, f"it did not come to that; the deals are {self.deals}"
            self.world.run(self.world.now + 50)

    @property
    def run(self) -> Run:
        (run,) = self.client.state.durable.runs.values()
        return run

    @property
    def deals(self) -> list[DealState]:
        return [half.state for half in self.client.state.durable.deals.values()]

    @property
    def first(self) -> DealState:
        return self.deals[0]

    def asks(self, what: type) -> bool:
        deal = self.first if self.deals else None
        return isinstance(deal, Checking) and deal.audit is not None and isinstance(deal.audit.asked, what)

    def told(self, name: str) -> list[dict[str, str]]:
        return [one.fields for one in self.notes if one.name == name]

    def silence(self) -> None:
        """No round of the beacon is made any more, and none is served."""
        for node in self.world.nodes.values():
            vars(node)["hear"] = lambda number: None


def theirs(scene: Scene, deal_id: DealId) -> DealState:
    half = scene.provider.state.durable.deals[deal_id]
    assert half.role == PROVIDER
    return half.state


def result_here(scene: Scene) -> Any:
    return result_of(toy_job(1), scene.run.run_id, honest=True)


def comparing(scene: Scene) -> bool:
    deal = scene.first if scene.deals else None
    return isinstance(deal, Checking) and deal.audit is not None and bool(deal.audit.comparing)

"""Who sends a node what no honest peer would? A client and a provider that behave, and a stranger; what a node answers."""

from typing import Any

import msgspec
import pytest

from devnet.sim.node import SimNode
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import effects as fx
from protocols import events as ev
from protocols import node as rules
from protocols.deals import eip712
from protocols.deals.desk import deal_of_quote, inputs_of
from protocols.envelope import parse_envelope
from protocols.hashing import keccak256
from protocols.job.canonical import job_id_of, run_id_of
from protocols.messages.negotiation import DealProposal, Quote, Rfq
from protocols.messages.registry import decode_message
from protocols.units import Hash32, Millis, Tokens, UnixSeconds

__all__ = ["Scene", "answers", "penalties", "quoted", "scene"]


class Scene:
    """A client and a provider that behave, and a stranger who only sends what the test says."""

    def __init__(self, providers: int = 1) -> None:
        self.world = World(1, network=NO_NOISE)
        self.world.tap = []
        self.client = self.world.add(free=FUNDS, stake=0)
        self.providers = [self.world.add(free=0, stake=FUNDS) for _ in range(providers)]
        self.stranger = self.world.add(free=FUNDS, stake=FUNDS)
        for provider in self.providers:
            provider.offer = offer_of(self.world, provider)
        for node in (self.client, *self.providers):
            node.start()
        self.world.run(8_000)

    @property
    def provider(self) -> SimNode:
        return self.providers[0]

    def effects(self, to: SimNode, event: ev.Event) -> list[fx.Effect]:
        """What the rules answer, not carried out."""
        to.catch_up()
        return rules.handle(to.state, event, to.env)

    def says(self, to: SimNode, sender: SimNode, message: msgspec.Struct) -> list[fx.Effect]:
        data = sender.env.seal(message)[1]
        return self.effects(to, ev.MessageArrived(at=Millis(self.world.now), peer=sender.me, data=data))

    def rfq(self, number: int = 1, **changes: Any) -> Rfq:
        job = toy_job(number)
        return msgspec.structs.replace(
            Rfq(
                rfq_id=keccak256(number.to_bytes(4, "big")),
                run_id=run_id_of(job_id_of(job), self.stranger.env.signer.address, number),
                run_nonce=number,
                index=0,
                job=job.encode(),
                inputs=tuple(inputs_of(job)),
                max_price=Tokens(10**17),
                token=self.world.params.token,
                enforcement=0,
                deadline=UnixSeconds(0),
            ),
            **changes,
        )

    def asked(self, **changes: Any) -> list[fx.Effect]:
        """The stranger asks, and the chain answers what it owns."""
        request = self.rfq(**changes)
        effects = self.says(self.provider, self.stranger, request)
        if any(isinstance(effect, fx.ReadAccount) for effect in effects):
            effects = self.effects(self.provider, self.account())
        return effects

    def account(self, *, known: bool = True) -> ev.AccountRead:
        who = self.stranger.env.signer.address
        money = Tokens(FUNDS)
        return ev.AccountRead(at=Millis(self.world.now), operator=who, free=money, stake=money, known=known)

    def signed(self, quote: Quote, **changes: Any) -> DealProposal:
        """The stranger's proposal of what was quoted, or of something else."""
        deal = deal_of_quote(
            self.rfq(),
            quote,
            toy_job(1),
            self.stranger.env,
            client=self.stranger.me,
            provider=self.provider.me,
            client_secret_hash=Hash32(bytes(32)),
            audit_ppm=0,
            commit_by=UnixSeconds(self.world.chain.time + 50),
        )
        deal = msgspec.structs.replace(deal, **changes)
        signature = self.stranger.env.signer.sign(eip712.digest(self.world.domain, deal))
        return DealProposal(rfq_id=quote.rfq_id, deal=deal, signature=signature)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def answers(effects: list[fx.Effect]) -> list[msgspec.Struct]:
    sent = [effect.data for effect in effects if isinstance(effect, fx.Send | fx.SendDurably)]
    return [decode_message(parse_envelope(data, max_bytes=1 << 20)) for data in sent]


def penalties(effects: list[fx.Effect]) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, fx.Penalise)]


def quoted(effects: list[fx.Effect]) -> Quote:
    (quote,) = answers(effects)
    assert isinstance(quote, Quote)
    assert quote.firm
    return quote

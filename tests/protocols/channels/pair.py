"""A client, its provider, and what they say to each other, on the simulator's chain: for the tests of channels."""

import msgspec

from devnet.sim.node import SimNode
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import events as ev
from protocols.channels.states import Book, ChannelState, book_of, pair_of
from protocols.deals.states import DealState
from protocols.messages.negotiation import InputRoot
from protocols.offers.pricing import price_of
from protocols.runs import MarketTerms, Run
from protocols.units import Hash32, Tokens

__all__ = ["LIMIT", "Pair"]

LIMIT = Tokens(10**17)


class Pair:
    """A client, its provider, and what they say to each other. ``others`` can compute results again: a client that names its
    provider deals with none of them otherwise."""

    def __init__(self, *, channel_trust: int = 0, others: int = 0, **more: int) -> None:
        self.world = World(1, network=NO_NOISE)
        self.client = self.world.add(free=FUNDS, stake=0)
        self.provider = self.world.add(free=0, stake=FUNDS)
        self.others = [self.world.add(free=0, stake=FUNDS) for _ in range(others)]
        nodes = (self.client, self.provider, *self.others)
        for node in nodes:
            params = msgspec.structs.replace(node.env.params, channel_trust=channel_trust, **more)
            node.env = msgspec.structs.replace(node.env, params=params)
        for node in self.others:
            node.offer = offer_of(self.world, node)
        self.provider.offer = offer_of(self.world, self.provider)
        for node in nodes:
            node.start()
        self.world.run(8_000)
        self.price = price_of(self.provider.offer, toy_job(1))

    def submit(self, number: int, settlement: str = "channel", budget: int = LIMIT, audit_ppm: int = 0) -> None:
        job = toy_job(number)
        self.client.post(
            ev.RunSubmitted(
                at=self.world.now,
                job=job.encode(),
                inputs=(InputRoot(job.module, job.module_size),),
                market=MarketTerms(
                    max_price=LIMIT,
                    budget=Tokens(budget),
                    search_s=20,
                    settlement=settlement,
                    audit_ppm=audit_ppm,
                    target=self.provider.me if self.others else None,
                ),
                run_nonce=number,
                entropy=Hash32(bytes(32)),
                wall=self.client.wall,
            )
        )

    def passes(self, seconds: int = 30) -> None:
        self.world.run(self.world.now + seconds * 1000)

    def deal(self, node: SimNode, number: int) -> DealState:
        return next(
            half.state for half in node.state.durable.deals.values() if half.state.terms.deal.run_nonce == number
        )

    def run(self, number: int) -> Run:
        return next(run for run in self.client.state.durable.runs.values() if run.run_nonce == number)

    def channel(self, node: SimNode) -> ChannelState | None:
        half = node.state.durable.channels.get(
            pair_of(self.client.env.signer.address, self.provider.env.signer.address)
        )
        return half.state if half else None

    def book(self, node: SimNode) -> Book:
        book = book_of(self.channel(node))
        assert book is not None
        return book

    def command(self, node: SimNode, verb: str, amount: int = 0) -> None:
        other = self.provider if node is self.client else self.client
        node.post(ev.ChannelCommanded(at=self.world.now, peer=other.me, verb=verb, amount=Tokens(amount)))

    def owned(self) -> int:
        escrow = self.world.escrow
        return sum(escrow.free.values()) + sum(escrow.stake.values()) + escrow.burned + self.world.channels.held()

    def say(self, node: SimNode, message: msgspec.Struct) -> None:
        """The other node hears this from ``node``, whatever the rules of ``node`` say."""
        other = self.provider if node is self.client else self.client
        _, data = node.env.seal(message)
        other.post(ev.MessageArrived(at=self.world.now, peer=node.me, data=data))

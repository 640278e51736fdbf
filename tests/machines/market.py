"""What do honest nodes do in a bad network, and what do they never sign? Two clients, two providers, and Mallory among them."""

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.simulate import settle
from devnet.sim.workload import FUNDS, offer_of, submit
from devnet.sim.world import Network, World
from protocols import events as ev
from protocols.canonical import decode_strict
from protocols.deals import eip712
from protocols.deals.desk import inputs_of
from protocols.envelope import Envelope, parse_envelope
from protocols.handlers.runs import outstanding
from protocols.job.canonical import CanonicalJob
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.negotiation import Quote, Rfq
from protocols.runs import is_final
from protocols.state import PROVIDER
from protocols.units import Hash32, JobId, Millis, Tokens, UnixSeconds

__all__ = ["Market"]

NOISE = Network(least_ms=5, most_ms=400, loss_ppm=30_000, double_ppm=100_000)
BEAT_MS = 120
"""Passes after every step, so that most of what was sent has arrived."""


class Market(RuleBasedStateMachine):
    """Two clients, two providers, and Mallory, who answers like a provider; a machine adds what else she does."""

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed: int) -> None:
        self.world = world = World(seed, network=NOISE)
        world.tap = []
        self.clients = [world.add(free=FUNDS, stake=0) for _ in range(2)]
        self.providers = [world.add(free=0, stake=FUNDS) for _ in range(2)]
        self.mallory = world.add(free=FUNDS, stake=FUNDS)
        for provider in self.providers:
            provider.offer = offer_of(world, provider)
        for node in (*self.clients, *self.providers):
            node.start()
        self.runs = self.rfqs = self.read = self.heard = 0
        self.given: list[tuple[SimNode, Quote]] = []
        world.run(3_000)
        for _ in range(4):
            self.runs += 1
            submit(world, self.clients[self.runs % 2], self.runs)
        self.mallory_offers()

    def mallory_offers(self) -> None:
        """Clients ask her too: her offer is the cheapest."""
        offer = msgspec.structs.replace(
            offer_of(self.world, self.mallory),
            sequence=self.world.now,
            expires=UnixSeconds(self.world.start + self.world.now // 1000 + 90),
        )
        data = self.mallory.env.record("offer/1", offer)
        for client in self.clients:
            client.gossip("/mesh/sim/offers/cpu/1", data)

    def send(self, to: SimNode, sender: SimNode, data: bytes) -> None:
        to.post(ev.MessageArrived(at=Millis(self.world.now), peer=sender.me, data=data))

    @property
    def honest(self) -> list[SimNode]:
        return [*self.clients, *self.providers]

    # --- what honest people do ------------------------------------------------------------------------------------

    @precondition(lambda self: self.runs < 8)
    @rule(who=st.integers(0, 1))
    def somebody_submits(self, who: int) -> None:
        self.runs += 1
        submit(self.world, self.clients[who], self.runs)

    @rule(who=st.integers(0, 1))
    def somebody_cancels(self, who: int) -> None:
        client = self.clients[who]
        live = [run.run_id for run in client.state.durable.runs.values() if not is_final(run)]
        if live:
            client.post(ev.CancelRequested(at=self.world.now, run_id=live[0]))

    @rule(ms=st.sampled_from([1, 40, 300, 1_000, 5_000, 20_000]))
    def time_passes(self, ms: int) -> None:
        self.world.run(self.world.now + ms)

    @rule(who=st.integers(0, 15))
    def somebody_crashes(self, who: int) -> None:
        """Or nobody, mostly: a network that is always down negotiates nothing."""
        if who < 4:
            node = self.honest[who]
            node.kill()
            self.world.after(500, node.revive)

    @rule(who=st.integers(0, 15))
    def a_chain_endpoint_fails_for_a_while(self, who: int) -> None:
        if who in (2, 3):
            self.honest[who].rpc_up = False
            self.world.after(2_000, lambda: setattr(self.honest[who], "rpc_up", True))

    @invariant()
    def the_clock_ticks(self) -> None:
        if hasattr(self, "world"):
            self.world.run(self.world.now + BEAT_MS)
            self.she_answers_every_other_request()

    def to_her(self) -> list[Envelope]:
        """What was sent to Mallory."""
        taps = [raw for _, to, raw in self.world.tap or () if to == self.mallory.me]
        return [parse_envelope(raw, max_bytes=MAX_MESSAGE_BYTES) for raw in taps]

    def she_answers_every_other_request(self) -> None:
        """As an honest provider would, so that she gets deals to be dishonest about."""
        mail = self.to_her()
        for number, envelope in enumerate(mail[self.read :]):
            if envelope.type == "rfq/1" and (self.read + number) % 2 == 0:
                rfq = decode_strict(Rfq, envelope.payload, max_bytes=MAX_MESSAGE_BYTES)
                for client in self.clients:
                    self.send(client, self.mallory, self.mallory.env.seal(self.her_quote(rfq))[1])
        self.read = len(mail)

    def her_quote(self, rfq: Rfq, **changes: Any) -> Quote:
        params = self.world.params
        quote = Quote(
            rfq_id=rfq.rfq_id,
            firm=True,
            hold_ms=params.hold,
            price=Tokens(35 * 10**15),
            collateral=Tokens(0),
            provider_secret_hash=Hash32(bytes(32)),
            exec_seconds=50,
            claim_seconds=params.claim_seconds,
            window_seconds=params.window_seconds(50),
            starts_in_s=0,
            gpus=(),
            numeric_class=Hash32(bytes(32)),
            detail="",
        )
        return msgspec.structs.replace(quote, **changes)

    def quotes(self) -> list[tuple[SimNode, Quote]]:
        """Every quote that an honest provider has ever given."""
        tap = self.world.tap or []
        for sender, _, data in tap[self.heard :]:
            envelope = parse_envelope(data, max_bytes=MAX_MESSAGE_BYTES)
            if envelope.type == "quote/1":
                quote = decode_strict(Quote, envelope.payload, max_bytes=MAX_MESSAGE_BYTES)
                self.given.append((self.world.nodes[sender], quote))
        self.heard = len(tap)
        return self.given

    # --- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_broken(self) -> None:
        assert violations(self.world, ended=False) == []

    @invariant()
    def a_hold_is_freed_when_its_time_is_over(self) -> None:
        for provider in self.providers:
            if provider.up:
                assert all(hold.expires > self.world.now - 1_000 for hold in provider.state.desk.holds.values())

    @invariant()
    def a_provider_signs_what_it_quoted_and_nothing_else(self) -> None:
        terms_of = ("price", "collateral", "exec_seconds", "claim_seconds", "window_seconds", "gpus")
        known = {
            (who, quote.rfq_id, *(getattr(quote, name) for name in terms_of))
            for who, quote in self.quotes()
            if quote.firm
        }
        for provider in self.providers:
            for half in provider.state.durable.deals.values():
                terms = half.state.terms
                assert half.role == PROVIDER
                signed = (provider, terms.rfq_id, *(getattr(terms.deal, name) for name in terms_of))
                assert signed in known
                assert terms.deal.audit_ppm <= 1_000_000
                signer = provider.env.signer.recover(Hash32(terms.deal_id), terms.client_signature)
                assert signer == terms.client
                assert set(terms.inputs) == inputs_of(terms_job(provider, terms.deal.job_id))

    @invariant()
    def a_client_signs_within_its_limits(self) -> None:
        params = self.world.params
        for client in self.clients:
            for run in client.state.durable.runs.values():
                assert outstanding(client.state, run) <= run.market.budget
                for deal_id in run.deals:
                    deal = client.state.durable.deals[deal_id].state.terms.deal
                    assert 0 < deal.price <= run.market.max_price
                    assert deal.claim_seconds == params.claim_seconds
                    assert deal.window_seconds == params.window_seconds(deal.exec_seconds)
                    eip712.check_terms(deal, eip712.DEVNET_BOUNDS, token=params.token, now=UnixSeconds(deal.commit_by))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.mallory.bury()
        settle(self.world)
        assert [broken for broken in violations(self.world, ended=True) if not broken.startswith("paid:")] == []


def terms_job(node: SimNode, job_id: JobId) -> CanonicalJob:
    return CanonicalJob.decode(node.state.durable.jobs[job_id])

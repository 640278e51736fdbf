"""Can anybody get two slots, a slot for ever, a deal that was not quoted, or a client beyond its budget?

Honest nodes and Mallory, who has a key, sees every message, and sends what she likes: replays, forgeries, altered copies,
requests and proposals of her own, quotes that nobody can keep. Messages are lost, doubled and reordered besides.
"""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.simulate import settle
from devnet.sim.workload import FUNDS, offer_of, submit, toy_job
from devnet.sim.world import Network, World
from protocols import events as ev
from protocols.canonical import decode_strict, encode
from protocols.deals import eip712
from protocols.deals.desk import deal_of_quote, inputs_of
from protocols.effects import PostTx
from protocols.envelope import Envelope, parse_envelope
from protocols.handlers.runs import outstanding
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalJob, job_id_of, run_id_of
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.negotiation import DealAcceptance, DealProposal, DealRefusal, HoldRelease, Quote, Rfq
from protocols.messages.registry import decode_message
from protocols.runs import is_final
from protocols.state import PROVIDER
from protocols.units import Hash32, JobId, Millis, Tokens, UnixSeconds

NOISE = Network(least_ms=5, most_ms=400, loss_ppm=30_000, double_ppm=100_000)
BEAT_MS = 120
"""Passes after every step, so that most of what was sent has arrived."""
uint32 = st.integers(0, (1 << 32) - 1)


def slips(**fields: "st.SearchStrategy[Any]") -> "st.SearchStrategy[dict[str, Any]]":
    """Nothing altered, or one field, or any of them."""
    one = [st.fixed_dictionaries({name: values}) for name, values in fields.items()]
    return st.just({}) | st.one_of(*one) | st.fixed_dictionaries({}, optional=fields)


amounts = st.sampled_from([0, 1, 10**15, 10**17, (1 << 96) + 1, 1 << 128, (1 << 256) - 1]).map(Tokens)


class Negotiation(RuleBasedStateMachine):
    """Two clients, two providers, Mallory."""

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

    # --- what Mallory does ----------------------------------------------------------------------------------------

    def overheard(self, data: st.DataObject) -> tuple[SimNode, SimNode, bytes] | None:
        tap = self.world.tap
        if not tap:
            return None
        sender, to, envelope = data.draw(st.sampled_from(tap[-40:]), label="overheard")
        return self.world.nodes[sender], self.world.nodes[to], envelope

    @rule(data=st.data())
    def she_replays(self, data: st.DataObject) -> None:
        found = self.overheard(data)
        if found and found[1] is not self.mallory:
            self.send(found[1], found[0], found[2])

    @rule(data=st.data())
    def she_sends_it_as_her_own(self, data: st.DataObject) -> None:
        """The envelope of another, and the payload of another in an envelope of hers."""
        found = self.overheard(data)
        if found and found[1] is not self.mallory:
            envelope = parse_envelope(found[2], max_bytes=MAX_MESSAGE_BYTES)
            self.send(found[1], self.mallory, found[2])
            message = decode_message(envelope)
            self.send(found[1], self.mallory, self.mallory.env.seal(message)[1])

    @rule(data=st.data())
    def she_alters_it(self, data: st.DataObject) -> None:
        found = self.overheard(data)
        if found and found[1] is not self.mallory:
            raw = bytearray(found[2])
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
            self.send(found[1], found[0], bytes(raw))

    @rule(data=st.data(), who=st.integers(0, 3))
    def she_sends_it_to_another(self, data: st.DataObject, who: int) -> None:
        found = self.overheard(data)
        if found:
            self.send(self.honest[who], found[0], found[2])

    @rule(data=st.data(), tag=st.sampled_from(["rfq/1", "quote/1", "release/1", "deal_proposal/1"]))
    def she_calls_it_something_else(self, data: st.DataObject, tag: str) -> None:
        found = self.overheard(data)
        if found and found[1] is not self.mallory:
            one = parse_envelope(found[2], max_bytes=MAX_MESSAGE_BYTES)
            self.send(found[1], found[0], encode(Envelope(tag, one.payload, one.signer, one.signature)))

    def her_rfq(self, number: int, **changes: Any) -> Rfq:
        job = toy_job(number)
        rfq = Rfq(
            rfq_id=keccak256(b"mallory", number.to_bytes(4, "big")),
            run_id=run_id_of(job_id_of(job), self.mallory.env.signer.address, number),
            run_nonce=number,
            index=0,
            job=job.encode(),
            inputs=tuple(inputs_of(job)),
            max_price=Tokens(10**17),
            token=self.world.params.token,
            enforcement=0,
            deadline=UnixSeconds(0),
        )
        return msgspec.structs.replace(rfq, **changes)

    @rule(who=st.integers(2, 3))
    def she_buys(self, who: int) -> None:
        """Everything in order, as often as she likes: one hold at a time is all she gets."""
        self.rfqs += 1
        self.send(self.honest[who], self.mallory, self.mallory.env.seal(self.her_rfq(self.rfqs))[1])

    @rule(
        who=st.integers(2, 3),
        again=st.booleans(),
        changes=slips(
            run_nonce=st.integers(0, (1 << 64) - 1),
            index=uint32,
            inputs=st.just(()),
            enforcement=st.integers(0, 255),
            job=st.binary(max_size=30),
            max_price=amounts,
        ),
    )
    def she_asks(self, who: int, again: bool, changes: dict[str, Any]) -> None:
        self.rfqs += not again
        self.send(self.honest[who], self.mallory, self.mallory.env.seal(self.her_rfq(self.rfqs, **changes))[1])

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

    @rule(
        data=st.data(),
        changes=slips(
            price=st.just(Tokens(1)),
            collateral=st.just(Tokens(0)),
            exec_seconds=st.just(1),
            window_seconds=st.just(1),
            run_nonce=st.integers(0, 9),
            commit_by=st.sampled_from([0, 1 << 40]),
            audit_ppm=st.sampled_from([0, 1_000_000, (1 << 32) - 1]),
        ),
    )
    def she_proposes(self, data: st.DataObject, changes: dict[str, Any]) -> None:
        """The deal of some quote, hers or not, altered or not, signed by her."""
        known = self.quotes()
        hers = {self.her_rfq(number).rfq_id for number in range(self.rfqs + 1)}
        if not known:
            return
        wanted = sorted(range(len(known)), key=lambda at: (known[at][1].rfq_id not in hers, -at))
        provider, quote = known[data.draw(st.sampled_from(wanted[:6]), label="quote")]
        rfq_id = quote.rfq_id
        number = next((n for n in range(self.rfqs + 1) if self.her_rfq(n).rfq_id == rfq_id), 0)
        deal = deal_of_quote(
            msgspec.structs.replace(self.her_rfq(number), rfq_id=rfq_id),
            quote,
            toy_job(number),
            self.mallory.env,
            client=self.mallory.me,
            provider=provider.me,
            client_secret_hash=Hash32(bytes(32)),
            audit_ppm=0,
            commit_by=UnixSeconds(self.world.chain.time + 50),
        )
        deal = msgspec.structs.replace(deal, **changes)
        signature = self.mallory.env.signer.sign(eip712.digest(self.world.domain, deal))
        proposal = DealProposal(rfq_id=rfq_id, deal=deal, signature=signature)
        self.send(provider, self.mallory, self.mallory.env.seal(proposal)[1])

    @rule(data=st.data(), who=st.integers(2, 3))
    def she_releases_what_is_not_hers(self, data: st.DataObject, who: int) -> None:
        holds = self.honest[who].state.desk.holds
        if holds:
            rfq_id = data.draw(st.sampled_from(sorted(holds)), label="hold")
            before = holds[rfq_id]
            self.send(self.honest[who], self.mallory, self.mallory.env.seal(HoldRelease(rfq_id=rfq_id))[1])
            after = self.honest[who].state.desk.holds
            assert before.client == self.mallory.me or rfq_id in after or before.expires <= self.world.now

    @rule(
        data=st.data(),
        changes=slips(
            price=amounts,
            collateral=amounts,
            exec_seconds=uint32,
            claim_seconds=uint32,
            window_seconds=uint32,
            starts_in_s=uint32,
            hold_ms=uint32,
            firm=st.booleans(),
        ),
    )
    def she_quotes(self, data: st.DataObject, changes: dict[str, Any]) -> None:
        """An answer to a client that asked her, with terms of every kind."""
        asked = [one.payload for one in self.to_her() if one.type == "rfq/1"]
        if not asked:
            self.mallory_offers()
            return
        payload = data.draw(st.sampled_from(asked[-3:]), label="asked")
        quote = self.her_quote(decode_strict(Rfq, payload, max_bytes=MAX_MESSAGE_BYTES), **changes)
        for client in self.clients:
            self.send(client, self.mallory, self.mallory.env.seal(quote)[1])

    @rule(data=st.data(), answer=st.sampled_from(["accept", "decline", "both", "commit"]))
    def she_sells(self, data: st.DataObject, answer: str) -> None:
        """A client has signed: say yes, say no, say both, and commit it all the same."""
        signed = [one.payload for one in self.to_her() if one.type == "deal_proposal/1"]
        if not signed:
            return
        payload = data.draw(st.sampled_from(signed), label="signed")
        deal = decode_strict(DealProposal, payload, max_bytes=MAX_MESSAGE_BYTES)
        deal_id = eip712.deal_id(self.world.domain, deal.deal)
        yes = DealAcceptance(deal_id=deal_id, signature=self.mallory.env.signer.sign(Hash32(deal_id)))
        no = DealRefusal(deal_id=deal_id, code="hold-lapsed", detail="")
        words = {"accept": (yes,), "decline": (no,), "both": (yes, no), "commit": (no,)}[answer]
        for client in self.clients:
            for word in words:
                self.send(client, self.mallory, self.mallory.env.seal(word)[1])
        if answer == "commit":
            self.world.chain.post(
                self.mallory,
                PostTx(
                    key=f"tx:{deal_id.hex()}:commit",
                    deal_id=deal_id,
                    purpose="commit",
                    deal=deal.deal,
                    amount=Tokens(0),
                    signature=deal.signature,
                    result_hash=Hash32(bytes(32)),
                ),
            )

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


TestNegotiation = Negotiation.TestCase
TestNegotiation.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

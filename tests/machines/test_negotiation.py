"""Can anybody get two slots, a slot for ever, a deal that was not quoted, or a client beyond its budget?

Honest nodes and Mallory, who has a key, sees every message, and sends what she likes: replays, forgeries, altered copies,
requests and proposals of her own, quotes that nobody can keep. Messages are lost, doubled and reordered besides.
"""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from devnet.sim.node import SimNode
from devnet.sim.workload import toy_job
from protocols.canonical import decode_strict, encode
from protocols.deals import eip712
from protocols.deals.desk import deal_of_quote, inputs_of
from protocols.effects import PostTx
from protocols.envelope import Envelope, parse_envelope
from protocols.hashing import keccak256
from protocols.job.canonical import job_id_of, run_id_of
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.negotiation import DealAcceptance, DealProposal, DealRefusal, HoldRelease, Rfq
from protocols.messages.registry import decode_message
from protocols.units import Hash32, Tokens, UnixSeconds
from tests.machines.market import Market

uint32 = st.integers(0, (1 << 32) - 1)


def slips(**fields: "st.SearchStrategy[Any]") -> "st.SearchStrategy[dict[str, Any]]":
    """Nothing altered, or one field, or any of them."""
    one = [st.fixed_dictionaries({name: values}) for name, values in fields.items()]
    return st.just({}) | st.one_of(*one) | st.fixed_dictionaries({}, optional=fields)


amounts = st.sampled_from([0, 1, 10**15, 10**17, (1 << 96) + 1, 1 << 128, (1 << 256) - 1]).map(Tokens)


class Negotiation(Market):
    """What Mallory does besides."""

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


TestNegotiation = Negotiation.TestCase
TestNegotiation.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

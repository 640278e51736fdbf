"""What does one of each look like? Messages, signed structs and rows with fixed keys and chosen amounts.

Golden vectors, the deal's table and the benchmarks are made of these. Everything is a function of ``amount``; nothing is
random, and every signature is a real one.
"""

import msgspec

from devnet.sim.sample_deal import MOST_ON_CHAIN, NOW, SampleDeal
from protocols.channels.inputs import post
from protocols.channels.merkle import Frontier
from protocols.channels.states import Book, ChannelState, Closed, Closing, Open, Opening, Owing, ToppingUp
from protocols.contracts.channels import MAX_CHANNEL_TOKENS, Channel, ChannelClose, Voucher
from protocols.deals import eip712
from protocols.deals.sealing import release_of, seal_notice
from protocols.deals.states import (
    Abandoned,
    Accepted,
    Checking,
    Claimed,
    Committed,
    DealState,
    DealTerms,
    Delivered,
    Disputed,
    Expired,
    Proposed,
    Ready,
    Rejected,
    Resulted,
    Running,
    Sealed,
    Settled,
    Signed,
    Slashed,
    Unsealing,
    Voided,
)
from protocols.effects import PostChannelTx
from protocols.hashing import keccak256
from protocols.messages.channel import CloseConsent, VoucherNotice
from protocols.messages.deal import Progress, Rejection, ResultPull, SealedNotice
from protocols.messages.dispute import CaseFile, CasePull, OutputPull, OutputTold
from protocols.messages.negotiation import (
    ChannelRfq,
    DealAcceptance,
    DealProposal,
    DealRefusal,
    HoldRelease,
    PanelRfq,
    Refusal,
    Rfq,
)
from protocols.runs import Cancelled, Candidate, Dealing, Done, Failed, MarketTerms, Run, RunStatus, Searching
from protocols.units import DealId, Hash32, Tokens, UnixSeconds

__all__ = ["MOST_ON_CHAIN", "NOW", "Samples"]


class Samples(SampleDeal):
    """One of each, with ``amount`` wherever an amount stands (at most ``MOST_ON_CHAIN`` in what the chain sees)."""

    # --- channels ------------------------------------------------------------------------------------------------

    def channel(self) -> Channel:
        """The pair's second one."""
        return Channel(self.client.address, self.provider.address, self.client.address, 2)

    def book(self) -> Book:
        """Three deals paid, one owed for."""
        deals, amount = Frontier(), Tokens(min(self.amount, MAX_CHANNEL_TOKENS))
        for number in range(3):
            deals = deals.append(DealId(keccak256(b"paid", bytes([number]))))
        owing = Owing(eip712.deal_id(self.domain, self.deal()), amount)
        book = Book(
            channel=self.channel(),
            peer=self.provider.peer_id,
            deposit=amount,
            redeemed=Tokens(0),
            until=UnixSeconds(NOW + 31_536_000),
            paid=amount,
            deals=deals,
            owing=owing,
        )
        return msgspec.structs.replace(book, signature=self.signed(self.client, book.voucher))

    def voucher(self) -> Voucher:
        """All that is owed."""
        return self.book().voucher

    def channel_close(self) -> ChannelClose:
        """Over, with these numbers."""
        last = self.voucher()
        return ChannelClose(last.channel_id, last.cumulative, last.count, last.deals_root)

    def post_channel_tx(self) -> PostChannelTx:
        """The provider is paid. The key is text that an outbox keeps: here as the first rows have it."""
        call = post(self.book(), "redeem", self.book().paid)
        key = f"channel:{call.pair.hex()}:redeem:{call.channel.generation}:{self.book().paid}"
        return msgspec.structs.replace(call, key=key)

    def sealed_notice(self) -> SealedNotice:
        """The result as a stranger is told of it."""
        return seal_notice(self.provider, self.domain, self.notice(), self.root, 4_096)

    def channel_states(self) -> dict[str, ChannelState]:
        """One channel in each of its states."""
        book = self.book()
        opening = Opening(self.client.address, self.provider.address, self.provider.peer_id, book.deposit, book.owing)
        return {
            "Opening": opening,
            "Open": Open(book),
            "ToppingUp": ToppingUp(book, book.deposit),
            "Closing": Closing(book, NOW),
            "Closed": Closed(book),
        }

    def messages(self) -> dict[str, msgspec.Struct]:
        """One of every message, by tag."""
        deal_id = eip712.deal_id(self.domain, self.deal())
        refusal = Refusal(rfq_id=self.rfq_id, code="busy", detail="all 2 slots are taken – Später?", free_in_s=12)
        progress = Progress(deal_id=deal_id, phase="pulling", done=0, total=(1 << 63) - 1)
        voucher, close = self.voucher(), self.channel_close()
        parties = self.deal(), self.client.peer_id, self.provider.peer_id
        return {
            "rfq/1": self.rfq(),
            "channel_rfq/1": ChannelRfq(**{name: getattr(self.rfq(), name) for name in Rfq.__struct_fields__}),
            "panel_rfq/1": PanelRfq(
                **{name: getattr(self.rfq(), name) for name in Rfq.__struct_fields__},
                audit_ppm=250_000,
                seat_class=1,
                seat_snapshot=30,
            ),
            "quote/1": self.quote(),
            "refusal/1": refusal,
            "release/1": HoldRelease(rfq_id=self.rfq_id),
            "deal_proposal/1": DealProposal(
                rfq_id=self.rfq_id, deal=self.deal(), signature=self.client.sign(Hash32(deal_id))
            ),
            "deal_acceptance/1": DealAcceptance(deal_id=deal_id, signature=self.provider.sign(Hash32(deal_id))),
            "deal_refusal/1": DealRefusal(deal_id=deal_id, code="hold-lapsed", detail="no hold of yours stands here"),
            "result/1": self.notice(),
            "delivered/1": self.receipt(),
            "receipt/1": self.named(),
            "sign_off/1": self.sign_off(),
            "rejection/1": Rejection(deal_id=deal_id, code="wrong-result", detail="it is another"),
            "cancel/1": self.cancel(self.client, self.paid),
            "progress/1": progress,
            "voucher/1": VoucherNotice(deal_id, voucher, self.signed(self.client, voucher)),
            "channel_close/1": CloseConsent(last=close, signature=self.signed(self.client, close)),
            "sealed/1": self.sealed_notice(),
            "key/1": release_of(self.provider, deal_id),
            "result_pull/1": ResultPull(deal_id=deal_id),
            "case_pull/1": CasePull(deal_id=deal_id),
            "output_pull/1": OutputPull(deal_id=deal_id),
            "output_told/1": OutputTold(deal_id=deal_id, root=self.root, outcome=1, exit_code=-1),
            "case_file/1": CaseFile(*parties, self.job.encode(), self.result_commit()),
        }

    # --- rows ----------------------------------------------------------------------------------------------------

    def terms(self, *, countersigned: bool = True) -> DealTerms:
        """What was agreed."""
        deal = self.deal()
        deal_id = eip712.deal_id(self.domain, deal)
        return DealTerms(
            deal_id=deal_id,
            deal=deal,
            client=self.client.peer_id,
            provider=self.provider.peer_id,
            run_id=self.run_id,
            rfq_id=self.rfq_id,
            inputs=self.rfq().inputs,
            client_signature=self.client.sign(Hash32(deal_id)),
            provider_signature=self.provider.sign(Hash32(deal_id)) if countersigned else None,
        )

    def claim(self) -> Claimed:
        """A claim that the client knows the result of."""
        result_hash = eip712.digest(self.domain, self.result_commit())
        tx, at = keccak256(b"sample claim"), UnixSeconds(NOW + 40)
        return Claimed(self.terms(), self.commitment, self.notice(), at, tx, result_hash)

    def dispute(self) -> Disputed:
        """A dispute about a result that the client has refused."""
        rejected = Rejected(self.terms(), self.commitment, self.notice(), "wrong-result", "another result")
        result_hash = eip712.digest(self.domain, self.result_commit())
        return Disputed(self.terms(), rejected, keccak256(b"sample dispute"), UnixSeconds(NOW + 30), result_hash)

    def states(self) -> dict[str, DealState]:
        """Every state a deal can be in, by the name of its type."""
        terms, on, result = self.terms(), self.commitment, self.notice()
        at, tx = UnixSeconds(NOW + 20), keccak256(b"sample end")
        found: tuple[DealState, ...] = (
            Proposed(self.terms(countersigned=False)),
            Signed(terms),
            Ready(terms),
            Committed(terms, on),
            Running(terms, on),
            Resulted(terms, on, result, at),
            Sealed(terms, on, self.sealed_notice(), at, held=True),
            Unsealing(terms, on, self.sealed_notice(), at, release_of(self.provider, terms.deal_id)),
            Delivered(terms, on, result, at, self.receipt()),
            Checking(terms, on, result, at, self.receipt(), self.named()),
            Accepted(terms, on, result, self.sign_off(), "bytes"),
            Rejected(terms, on, result, "wrong-result", "another result"),
            self.claim(),
            self.dispute(),
            Settled(terms, tx, self.paid, "settled", result, "audited", on, self.sign_off()),
            Slashed(terms, tx, self.paid, Tokens(0), self.dispute()),
            Voided(terms, tx, self.paid, self.amount, self.dispute()),
            Expired(terms, tx, on),
            Abandoned(terms, "not-committed", "too late"),
        )
        return {type(one).__name__: one for one in found}

    def runs(self) -> dict[str, Run]:
        """A run in every status, by the name of the status."""
        deal_id = self.terms().deal_id
        found: tuple[RunStatus, ...] = (
            Searching(),
            Dealing(deal_id),
            Done(deal_id, self.root, 0, -1, "audited", True),
            Failed("no-match", "no offer on the network has been seen"),
            Cancelled(),
        )
        return {type(one).__name__: self._run(one) for one in found}

    def _run(self, status: RunStatus) -> Run:
        seen = Candidate(
            provider=self.provider.peer_id, round=1, verdict="chosen", price=self.amount, code="", detail=""
        )
        return Run(
            run_id=self.run_id,
            job_id=self.job_id,
            run_nonce=7,
            inputs=self.rfq().inputs,
            market=MarketTerms(max_price=self.amount, budget=self.amount, target=self.provider.peer_id),
            entropy=keccak256(b"entropy"),
            submitted=NOW,
            status=status,
            next_index=1,
            deals=(self.terms().deal_id,),
            tried=(self.provider.peer_id,),
            candidates=(seen,),
        )

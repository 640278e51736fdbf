"""What does one deal look like, and what its parties sign and say about it? With fixed keys and chosen amounts.

Golden vectors, the deal's table and the benchmarks are made of these. Everything is a function of ``amount``; nothing is
random, and every signature is a real one.
"""

from typing import Final

import msgspec

from devnet.sim.workload import toy_job
from mesh.base.keys import NodeKey
from protocols.deals import eip712
from protocols.deals.desk import inputs_of
from protocols.deals.eip712 import Deal, Domain
from protocols.deals.salting import salted_root
from protocols.deals.states import (
    Commitment,
)
from protocols.env import Env
from protocols.hashing import keccak256
from protocols.job.canonical import job_id_of, level_params_of, run_id_of
from protocols.limits import DEVNET
from protocols.messages.deal import CancelConsent, ReceiptNotice, ResultNotice, SignOff
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.negotiation import (
    Quote,
    Rfq,
)
from protocols.units import Cid, Hash32, Seconds, Signature, Tokens, UnixSeconds

__all__ = ["FOLDER", "MOST_ON_CHAIN", "NOW", "SampleDeal"]

MOST_ON_CHAIN: Final = Tokens((1 << 128) - 1)
"""The largest amount an EIP-712 struct of ours can name."""
NOW: Final = UnixSeconds(1_795_000_000)

FOLDER: Final = bytes.fromhex("01701220")


class SampleDeal:
    """What two parties exchange over one deal, with ``amount`` wherever an amount stands."""

    def __init__(self, amount: int = 5 * 10**16) -> None:
        self.amount = Tokens(amount)
        self.paid = Tokens(min(amount, MOST_ON_CHAIN))
        self.client = NodeKey(bytes(31) + b"\x01")
        self.provider = NodeKey(bytes(31) + b"\x02")
        self.params = msgspec.structs.replace(
            DEVNET, token=self.client.address, escrow=self.provider.address, max_price=MOST_ON_CHAIN
        )
        self.domain = Domain(self.params.chain_id, self.params.escrow)
        self.job = toy_job(7)
        self.job_id = job_id_of(self.job)
        self.run_id = run_id_of(self.job_id, self.client.address, 7)
        self.rfq_id = keccak256(b"sample rfq")
        self.root = Cid(FOLDER + keccak256(b"sample result"))
        self.commitment = Commitment(keccak256(b"sample commit"), 17, UnixSeconds(NOW + 9))

    def env(self, key: NodeKey) -> Env:
        """What rules are given on one side."""
        return Env(params=self.params, signer=key, domain=self.domain)

    # --- messages ------------------------------------------------------------------------------------------------

    def rfq(self) -> Rfq:
        """What would it cost?"""
        return Rfq(
            rfq_id=self.rfq_id,
            run_id=self.run_id,
            run_nonce=7,
            index=0,
            job=self.job.encode(),
            inputs=tuple(sorted(inputs_of(self.job), key=lambda one: one.root)),
            max_price=self.amount,
            token=self.params.token,
            enforcement=0,
            deadline=UnixSeconds(NOW + 3_600),
        )

    def quote(self) -> Quote:
        """So much."""
        exec_seconds = self.job.limits.wall_s + self.params.exec_margin
        return Quote(
            rfq_id=self.rfq_id,
            firm=True,
            hold_ms=self.params.hold,
            price=self.amount,
            collateral=self.amount,
            provider_secret_hash=keccak256(b"provider"),
            exec_seconds=exec_seconds,
            claim_seconds=self.params.claim_seconds,
            window_seconds=self.params.window_seconds(exec_seconds),
            starts_in_s=0,
            gpus=(),
            numeric_class=Hash32(bytes(32)),
            detail="",
        )

    def deal(self) -> Deal:
        """What both sign."""
        quote = self.quote()
        return Deal(
            client=self.client.address,
            provider=self.provider.address,
            token=self.params.token,
            run_nonce=7,
            index=0,
            job_id=self.job_id,
            image=Hash32(self.job.module[-32:]),
            gpus=(keccak256(b"a card"),),
            price=self.paid,
            metering=eip712.Metering.FIXED,
            collateral=self.paid,
            level=eip712.Level.EXACT,
            level_params=level_params_of(self.job.verify),
            numeric_class=Hash32(bytes(32)),
            enforcement=eip712.Enforcement.SELF,
            audit_ppm=250_000,
            seat_fee=self.paid,
            seat_class=0,
            seat_snapshot=0,
            client_secret_hash=keccak256(b"client"),
            provider_secret_hash=quote.provider_secret_hash,
            commit_by=UnixSeconds(NOW + 30),
            exec_seconds=Seconds(quote.exec_seconds),
            claim_seconds=Seconds(quote.claim_seconds),
            window_seconds=Seconds(quote.window_seconds),
            settlement=eip712.SettlementMode.COMMIT,
        )

    def signed(self, key: NodeKey, value: eip712.SignedStruct) -> Signature:
        """A party's signature of one of the six structs."""
        return key.sign(eip712.digest(self.domain, value))

    def result_commit(self) -> eip712.ResultCommit:
        """What the provider commits to."""
        return eip712.ResultCommit(
            deal_id=eip712.deal_id(self.domain, self.deal()),
            salted_root=salted_root(keccak256(b"salt"), self.root),
            outcome=eip712.OutcomeCode.EXITED,
            exit_code=-1,
            fuel=(1 << 64) - 1,
            wall_ms=1_234,
            log_head=keccak256(b"log"),
        )

    def eip712(self) -> dict[str, eip712.SignedStruct]:
        """Every struct that is signed for the chain, by its EIP-712 name."""
        deal_id = eip712.deal_id(self.domain, self.deal())
        result_hash = eip712.digest(self.domain, self.result_commit())
        found: tuple[eip712.SignedStruct, ...] = (
            self.deal(),
            eip712.Settlement(deal_id=deal_id, paid=self.paid),
            eip712.Cancellation(deal_id=deal_id, paid=self.paid),
            self.result_commit(),
            eip712.DeliveryReceipt(deal_id=deal_id, result_hash=result_hash),
            eip712.ResultReceipt(deal_id=deal_id, result_hash=result_hash, beacon_round=(1 << 64) - 1),
            eip712.OperatorConsent(owner=self.client.address, operator=self.provider.address, nonce=3),
        )
        return {type(one).__name__: one for one in found}

    def notice(self) -> ResultNotice:
        """The result."""
        commit = self.result_commit()
        return ResultNotice(
            commit=commit,
            signature=self.provider.sign(eip712.digest(self.domain, commit)),
            root=self.root,
            salt=keccak256(b"salt"),
            size=1_024,
        )

    def receipt(self) -> DeliveredMessage:
        """All bytes are here."""
        receipt = self.eip712()["DeliveryReceipt"]
        assert isinstance(receipt, eip712.DeliveryReceipt)
        return DeliveredMessage(receipt=receipt, signature=self.client.sign(eip712.digest(self.domain, receipt)))

    def named(self) -> ReceiptNotice:
        """Which round decides about a check."""
        receipt = self.eip712()["ResultReceipt"]
        assert isinstance(receipt, eip712.ResultReceipt)
        return ReceiptNotice(receipt=receipt, signature=self.client.sign(eip712.digest(self.domain, receipt)))

    def sign_off(self) -> SignOff:
        """It is accepted."""
        receipt, settlement = self.eip712()["ResultReceipt"], self.eip712()["Settlement"]
        assert isinstance(receipt, eip712.ResultReceipt)
        assert isinstance(settlement, eip712.Settlement)
        return SignOff(
            receipt=receipt,
            receipt_signature=self.client.sign(eip712.digest(self.domain, receipt)),
            settlement=settlement,
            signature=self.client.sign(eip712.digest(self.domain, settlement)),
        )

    def cancel(self, key: NodeKey, paid: int = 0) -> CancelConsent:
        """Out of it, for so much."""
        cancellation = eip712.Cancellation(deal_id=eip712.deal_id(self.domain, self.deal()), paid=Tokens(paid))
        return CancelConsent(cancellation=cancellation, signature=key.sign(eip712.digest(self.domain, cancellation)))

"""What is in the file that holds the evidence of one deal?

One canonical message of bounded size. It holds what one party has: terms, signatures, job, result, receipts, and proofs that
the chain logged what it is said to have logged. `protocols.deals.evidence` says what it proves.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.canonical import decode_strict, encode
from protocols.deals import eip712
from protocols.deals.sealing import KEYLESS
from protocols.deals.states import (
    Abandoned,
    Claimed,
    Commitment,
    DealState,
    Disputed,
    Expired,
    PaidBy,
    Rejected,
    Sealed,
    Settled,
    Slashed,
    Unsealing,
    Voided,
)
from protocols.limits import MAX_JOB_BYTES, MAX_REASON_CHARS
from protocols.messages.deal import Delivered, KeyRelease, ResultNotice, SealedNotice, SignOff
from protocols.units import ZERO_HASH, Address, Hash32, Signature, Tokens, UnixSeconds
from protocols.verify.inclusion import LogProof

__all__ = [
    "MAX_DOSSIER_BYTES",
    "MAX_PROOFS",
    "ClaimSeen",
    "Dossier",
    "End",
    "Refused",
    "dossier_of",
    "read_dossier",
    "with_parts",
]

MAX_DOSSIER_BYTES: Final = 256 * 1024
"""A job of 32 KiB, eight proofs of some 4 KiB each, and room."""
MAX_PROOFS: Final = 8
"""Logs of one deal: committed, claimed, disputed, ended; each may have been written twice by a reorganisation."""

Word = Annotated[Hash32, Meta(min_length=32, max_length=32)]
Signed = Annotated[Signature, Meta(min_length=65, max_length=65)]
Time = Annotated[UnixSeconds, Meta(ge=0, le=(1 << 63) - 1)]


class ClaimSeen(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The provider's claim, as this party's node saw it."""

    tx: Word
    at: Time
    result_hash: Word


class End(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How it ended on chain, as this party's node saw it."""

    how: Annotated[str, Meta(pattern="^[a-z]{1,16}$")]
    tx: Word
    paid: Tokens


class Refused(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Why this client did not sign the result off."""

    code: Annotated[str, Meta(pattern="^[a-z-]{0,40}$")]
    detail: Annotated[str, Meta(max_length=MAX_REASON_CHARS)]


class Dossier(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="dossier/3"):
    """The evidence of one deal, as one party holds it. Missing parts are None: not every deal gets that far."""

    chain_id: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    escrow: Annotated[Address, Meta(min_length=20, max_length=20)]
    deal: eip712.Deal
    client_signature: Signed
    provider_signature: Signed | None
    job: Annotated[bytes, Meta(max_length=MAX_JOB_BYTES)]
    commitment: Commitment | None
    result: ResultNotice | None
    delivered: Delivered | None
    sign_off: SignOff | None
    state: Annotated[str, Meta(pattern="^[a-z]{1,16}$")]
    """Where the deal stood when this was written, in words."""
    rfq_id: Word = ZERO_HASH
    """What the client derives its secret from; worthless to others."""
    claim: ClaimSeen | None = None
    end: End | None = None
    refused: Refused | None = None
    client_secret: Word | None = None
    """What opens a dispute. Only in a dossier that was written for whoever is to fund one."""
    proofs: Annotated[tuple[LogProof, ...], Meta(max_length=MAX_PROOFS)] = ()
    disputed: Word | None = None
    """The transaction that opened a dispute."""
    sealed: SealedNotice | None = None
    """Of a channel's deal: what the provider has promised of its sealed result."""
    release: KeyRelease | None = None
    """The key that came for it."""
    paid_by: PaidBy | None = None
    """The voucher that it was paid with."""

    @property
    def domain(self) -> eip712.Domain:
        """Where its signatures count."""
        return eip712.Domain(self.chain_id, self.escrow)

    @property
    def transactions(self) -> tuple[Hash32, ...]:
        """Transactions of the escrow that concern this deal, oldest first: what proofs can be fetched for."""
        parts = (self.commitment, self.claim, self.end)
        found = [part.tx if part is not None else None for part in parts]
        found.insert(2, self.disputed)
        return tuple(dict.fromkeys(tx for tx in found if tx is not None))


def dossier_of(state: DealState, job: bytes, domain: eip712.Domain) -> bytes:
    """The canonical bytes of a deal's dossier, without secret and proofs (`with_parts` adds them)."""
    terms = state.terms
    dispute, seal = _dispute_of(state), _seal_of(state)
    claim = _claim_of(dispute.was if dispute else state)
    return encode(
        Dossier(
            chain_id=domain.chain_id,
            escrow=domain.escrow,
            deal=terms.deal,
            client_signature=terms.client_signature,
            provider_signature=terms.provider_signature,
            job=job,
            commitment=getattr(state, "commitment", None),
            result=getattr(state, "result", None) or getattr(state, "disowned", None) or None,
            delivered=getattr(state, "receipt", None),
            sign_off=getattr(state, "sign_off", None),
            state=type(state).__name__.lower(),
            rfq_id=terms.rfq_id,
            claim=ClaimSeen(claim.tx, claim.at, claim.result_hash) if claim else None,
            end=_end(state),
            refused=_refused(dispute.was if dispute else state, claim),
            disputed=dispute.tx if dispute else None,
            sealed=state.notice if isinstance(state, Sealed) else seal.notice if seal else None,
            release=seal.release if seal else None,
            paid_by=(seal.paid_by or None) if seal else None,
        )
    )


def with_parts(dossier: Dossier, *, client_secret: Hash32 | None = None, proofs: tuple[LogProof, ...] = ()) -> bytes:
    """The canonical bytes of a dossier with these parts added; at most MAX_PROOFS proofs are kept."""
    proofs = (*dossier.proofs, *proofs)[:MAX_PROOFS]
    secret = client_secret or dossier.client_secret
    return encode(msgspec.structs.replace(dossier, client_secret=secret, proofs=proofs))


def read_dossier(data: bytes) -> Dossier:
    """The dossier in a file from anybody. Raises ``RemoteProtocolError``."""
    return decode_strict(Dossier, data, max_bytes=MAX_DOSSIER_BYTES)


def _dispute_of(state: DealState) -> Disputed | None:
    match state:
        case Disputed():
            return state
        case Settled(dispute=Disputed() as dispute) | Slashed(was=Disputed() as dispute) | Voided(was=dispute):
            return dispute
        case _:
            return None


def _seal_of(state: DealState) -> Unsealing | None:
    found = state if isinstance(state, Unsealing) else getattr(state, "seal", None)
    return found if isinstance(found, Unsealing) else None


def _claim_of(state: DealState) -> Claimed | None:
    found = state.was if isinstance(state, Slashed) else state
    return found if isinstance(found, Claimed) else getattr(found, "claim", None) or None


def _end(state: DealState) -> End | None:
    match state:
        case Settled():
            return End(state.how, state.tx, state.paid)
        case Expired():
            return End("expired", state.tx, Tokens(0))
        case Slashed():
            return End("slashed", state.tx, Tokens(0))
        case Voided():
            return End("void", state.tx, Tokens(0))
        case _:
            return None


def _refused(state: DealState, claim: Claimed | None) -> Refused | None:
    if isinstance(state, Rejected) or (isinstance(state, Abandoned) and state.disowned):
        return Refused(state.code, state.detail)
    if isinstance(state, Settled) and state.refused:
        return Refused("keyless" if state.how == KEYLESS else "wrong-result", state.refused)
    return Refused("", claim.rejected) if claim is not None and claim.rejected else None

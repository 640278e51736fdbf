"""What is everything that was signed about a deal, and does it hold together?

A dossier is one canonical file. `examine` re-checks every signature and hash in it without network, chain or store, and says
what each proves.
"""

from typing import Final

import msgspec

from protocols.canonical import decode_strict, encode
from protocols.deals import eip712
from protocols.deals.states import Commitment, DealState
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalJob, job_id_of
from protocols.messages.deal import Delivered, ResultNotice, SignOff
from protocols.signing import address_of_key, recover_key
from protocols.units import Address, DealId, Hash32, Signature

__all__ = ["MAX_DOSSIER_BYTES", "Dossier", "Finding", "dossier_of", "examine", "read_dossier"]

MAX_DOSSIER_BYTES: Final = 256 * 1024


class Dossier(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="dossier/1"):
    """The evidence of one deal, as one party holds it. Missing parts are None: not every deal gets that far."""

    chain_id: int
    escrow: Address
    deal: eip712.Deal
    client_signature: Signature
    provider_signature: Signature | None
    job: bytes
    commitment: Commitment | None
    result: ResultNotice | None
    delivered: Delivered | None
    sign_off: SignOff | None
    state: str
    """Where the deal stood when this was written, in words."""


class Finding(msgspec.Struct, frozen=True):
    """One check of a dossier: what it proves if it holds."""

    name: str
    ok: bool
    proves: str


def dossier_of(state: DealState, job: bytes, domain: eip712.Domain) -> bytes:
    """The canonical bytes of a deal's dossier."""
    terms = state.terms
    return encode(
        Dossier(
            chain_id=domain.chain_id,
            escrow=domain.escrow,
            deal=terms.deal,
            client_signature=terms.client_signature,
            provider_signature=terms.provider_signature,
            job=job,
            commitment=getattr(state, "commitment", None),
            result=getattr(state, "result", None),
            delivered=getattr(state, "receipt", None),
            sign_off=getattr(state, "sign_off", None),
            state=type(state).__name__.lower(),
        )
    )


def read_dossier(data: bytes) -> Dossier:
    """The dossier in a file from anybody. Raises ``RemoteProtocolError``."""
    return decode_strict(Dossier, data, max_bytes=MAX_DOSSIER_BYTES)


def examine(dossier: Dossier) -> tuple[Finding, ...]:
    """Every check that needs nothing but the file."""
    domain = eip712.Domain(dossier.chain_id, dossier.escrow)
    deal_id = eip712.deal_id(domain, dossier.deal)
    client, provider = dossier.deal.client, dossier.deal.provider
    found = [_signed("client", client, Hash32(deal_id), dossier.client_signature, "the client agreed to these terms")]
    if dossier.provider_signature is not None:
        proves = "the provider agreed to these terms"
        found.append(_signed("provider", provider, Hash32(deal_id), dossier.provider_signature, proves))
    found.append(_job(dossier))
    if dossier.result is not None:
        found += _result(dossier.result, deal_id, provider, domain)
    if dossier.delivered is not None:
        digest = eip712.digest(domain, dossier.delivered.receipt)
        found.append(_signed("delivery", client, digest, dossier.delivered.signature, "the client held every byte"))
    if dossier.sign_off is not None:
        digest = eip712.digest(domain, dossier.sign_off.settlement)
        found.append(_signed("settlement", client, digest, dossier.sign_off.signature, "the client agreed to pay"))
    return tuple(found)


def _signed(name: str, who: Address, digest: Hash32, signature: Signature, proves: str) -> Finding:
    try:
        ok = address_of_key(recover_key(digest, signature)) == who
    except RemoteProtocolError:
        ok = False
    return Finding(f"{name} signature", ok, proves)


def _job(dossier: Dossier) -> Finding:
    try:
        ok = job_id_of(CanonicalJob.decode(dossier.job)) == dossier.deal.job_id
    except RemoteProtocolError:
        ok = False
    return Finding("job id", ok, "this is the job they agreed on")


def _result(result: ResultNotice, deal_id: DealId, provider: Address, domain: eip712.Domain) -> list[Finding]:
    opened = keccak256(result.salt, result.root) == result.commit.salted_root
    digest = eip712.digest(domain, result.commit)
    return [
        _signed("result", provider, digest, result.signature, "the provider committed to this result"),
        Finding("result deal", result.commit.deal_id == deal_id, "the result belongs to this deal"),
        Finding("result root", opened, "the result's content is the one committed to"),
    ]

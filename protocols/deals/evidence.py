"""What does a dossier prove, what does it lack, and what can be done with it?

`examine` re-checks every signature, hash and chain proof without network, chain or store, and says what each proves. `gaps`
says what a reader must not conclude. `actions` is the calldata of every escrow call that the dossier suffices for.
"""

from typing import Final

import msgspec

from protocols.contracts import calls, panel
from protocols.contracts.lock import COMMITTED_TOPIC, Lock
from protocols.deals import eip712, sealed_evidence
from protocols.deals.dossier import MAX_DOSSIER_BYTES, Dossier, dossier_of, read_dossier, with_parts
from protocols.deals.salting import salted_root
from protocols.disputes.params import bond_of, fee_of
from protocols.disputes.states import Reason
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalJob, job_id_of, level_params_of
from protocols.messages.deal import ResultNotice
from protocols.signing import address_of_key, recover_key
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Signature
from protocols.verify.inclusion import LogProof, ProvenLog, verify_log

__all__ = [
    "EVENTS",
    "MAX_DOSSIER_BYTES",
    "Action",
    "Dossier",
    "Finding",
    "Gap",
    "actions",
    "dossier_of",
    "examine",
    "gaps",
    "read_dossier",
    "with_parts",
]


EVENTS: Final = {
    "committed": "DealCommitted(bytes32,address,address,bytes32,address,address,uint256,uint256,uint256,uint256)",
    "claimed": "DealClaimed(bytes32,bytes32,uint256)",
    "disputed": "DealDisputed(bytes32,bytes32,uint8)",
    "settled": "DealSettled(bytes32,uint256,uint256)",
    "finalized": "DealFinalized(bytes32,uint256,uint256)",
    "cancelled": "DealCancelled(bytes32,uint256,uint256)",
    "expired": "DealExpired(bytes32,uint256,uint256)",
    "slashed": "DealSlashed(bytes32,uint256,uint256)",
    "judged": "DisputeClosed(bytes32,uint8,uint256,uint256,uint256,uint256,uint256)",
}
"""Logs of the escrow about one deal, by what they say."""
_TOLD: Final[dict[Hash32, str]] = {keccak256(event.encode()): name for name, event in EVENTS.items()}
_LAST: Final = frozenset(EVENTS) - {"committed", "claimed", "disputed"}


class Finding(msgspec.Struct, frozen=True):
    """One check of a dossier: what it proves if it holds."""

    name: str
    ok: bool
    proves: str


class Gap(msgspec.Struct, frozen=True):
    """A part that is not there, and what therefore stays open."""

    name: str
    open: str


class Action(msgspec.Struct, frozen=True):
    """A transaction that the dossier suffices for: send ``data`` to ``to``."""

    call: str
    sender: str
    """Who may send it."""
    when: str
    to: Address | None
    """None: to the panel, whose address the escrow tells (`panel()`)."""
    data: bytes


def examine(dossier: Dossier) -> tuple[Finding, ...]:
    """Every check that needs nothing but the file."""
    domain, deal = dossier.domain, dossier.deal
    deal_id = eip712.deal_id(domain, deal)
    terms = Hash32(deal_id)
    found = [_signed("client", deal.client, terms, dossier.client_signature, "the client agreed to these terms")]
    if dossier.provider_signature is not None:
        proves = "the provider agreed to these terms"
        found.append(_signed("provider", deal.provider, terms, dossier.provider_signature, proves))
    found += _job(dossier)
    if dossier.result is not None:
        found += _result(dossier.result, deal_id, deal.provider, domain)
    found += [*_delivery(dossier, deal_id), *_acceptance(dossier, deal_id)]
    found += [Finding(*one) for one in sealed_evidence.checks(dossier, deal_id)]
    if dossier.client_secret is not None:
        ok = keccak256(dossier.client_secret) == deal.client_secret_hash
        found.append(Finding("client secret", ok, "a dispute can be opened with it, by anybody"))
    found += [_proof(dossier, proof) for proof in dossier.proofs]
    return tuple(found)


def gaps(dossier: Dossier) -> tuple[Gap, ...]:
    """What is missing, and what a reader must therefore not conclude."""
    if dossier.deal.settlement is eip712.SettlementMode.CHANNEL:
        return tuple(Gap(name, left_open) for name, left_open in sealed_evidence.open_questions(dossier))
    proven = {_TOLD[log.topics[0]] for proof in dossier.proofs if (log := _about(dossier, proof)) is not None}
    parts: tuple[tuple[str, bool, str], ...] = (
        ("provider signature", dossier.provider_signature is not None, "whether the provider ever agreed"),
        ("chain: committed", "committed" in proven, "whether price and collateral were ever locked; look it up"),
        ("result", dossier.result is not None, "whether the provider committed to any result"),
        ("delivery", dossier.delivered is not None, "whether the client ever held the bytes"),
        ("acceptance", dossier.sign_off is not None, "whether the client agreed to pay"),
        ("chain: end", bool(proven & _LAST), "whether and how it ended on chain; look it up"),
        ("client secret", dossier.client_secret is not None, "a dispute: only the client can open one"),
    )
    return tuple(Gap(name, left_open) for name, there, left_open in parts if not there)


def actions(dossier: Dossier) -> tuple[Action, ...]:
    """Every call that this dossier suffices for; calls about a locked deal need its proven commitment."""
    to, deal = dossier.escrow, dossier.deal
    found: list[Action] = []
    if deal.settlement is eip712.SettlementMode.CHANNEL:
        return ()  # the escrow takes no such deal
    if calls.sendable(dossier.client_signature):
        data = calls.commit(deal, dossier.client_signature)
        found.append(Action("commit", "the provider", "by commitBy", to, data))
    lock = next((held for proof in dossier.proofs if (held := _lock(dossier, proof)) is not None), None)
    if lock is None:
        return tuple(found)
    claimed = dossier.claim.result_hash if dossier.claim else ZERO_HASH
    if dossier.sign_off is not None and calls.sendable(dossier.sign_off.signature):
        data = calls.settle(lock, dossier.sign_off.settlement.paid, dossier.sign_off.signature, result_hash=claimed)
        found.append(Action("settle", "the provider", "until it has ended otherwise", to, data))
    if claimed != ZERO_HASH:
        data = calls.finalize(lock, claimed)
        found.append(Action("finalize", "anybody", "when the window has passed", to, data))
    else:
        if dossier.result is not None:
            data = calls.claim(lock, eip712.digest(dossier.domain, dossier.result.commit))
            found.append(Action("claim", "the provider", "by the claim deadline", to, data))
        found.append(Action("expire", "anybody", "after the claim deadline", to, calls.expire(lock)))
    return (*found, *_disputes(dossier, lock, claimed))


def _disputes(dossier: Dossier, lock: Lock, claimed: Hash32) -> list[Action]:
    """To dispute the result, for either reason; whoever sends it puts up the bond."""
    deal, secret, result = dossier.deal, dossier.client_secret, dossier.result
    if deal.enforcement != eip712.Enforcement.PANEL or secret is None:
        return []
    bond = bond_of(fee_of(deal.seat_fee, deal.price, deal.collateral), deal.price)
    when = f"inside the window; the sender's owner has {bond} wei at the panel (fundPanel)"
    if claimed != ZERO_HASH:
        data = [panel.dispute(deal, lock, claimed, secret, reason) for reason in Reason]
    elif result is not None and calls.sendable(result.signature):
        signed = (result.commit, result.signature)
        data = [panel.dispute_unclaimed(deal, lock, *signed, secret, reason) for reason in Reason]
    else:
        return []
    return [
        Action(f"dispute, {reason.name}", "anybody", when, None, one) for reason, one in zip(Reason, data, strict=True)
    ]


def _signed(name: str, who: Address, digest: Hash32, signature: Signature, proves: str) -> Finding:
    try:
        ok = address_of_key(recover_key(digest, signature)) == who
    except RemoteProtocolError:
        ok = False
    return Finding(f"{name} signature", ok, proves)


def _job(dossier: Dossier) -> list[Finding]:
    deal = dossier.deal
    try:
        job = CanonicalJob.decode(dossier.job)
    except RemoteProtocolError:
        return [Finding("job id", False, "this is the job they agreed on")]
    compared = deal.level == eip712.Level[job.verify.level.upper()] and deal.level_params == level_params_of(job.verify)
    return [
        Finding("job id", job_id_of(job) == deal.job_id, "this is the job they agreed on"),
        Finding("job level", compared, "results are compared as the job says"),
        Finding("job module", job.module[-32:] == deal.image, "the program they agreed on is the job's"),
    ]


def _result(result: ResultNotice, deal_id: DealId, provider: Address, domain: eip712.Domain) -> list[Finding]:
    opened = _opens(result)
    digest = eip712.digest(domain, result.commit)
    return [
        _signed("result", provider, digest, result.signature, "the provider committed to this result"),
        Finding("result deal", result.commit.deal_id == deal_id, "the result belongs to this deal"),
        Finding("result root", opened, "the result's content is the one committed to"),
    ]


def _opens(result: ResultNotice) -> bool:
    try:
        return salted_root(result.salt, result.root) == result.commit.salted_root
    except RemoteProtocolError:
        return False


def _names_result(dossier: Dossier, deal_id: DealId, named: DealId, result_hash: Hash32) -> bool:
    """Whether a receipt is about this deal, and about the result in the dossier."""
    result = dossier.result
    return named == deal_id and result is not None and result_hash == eip712.digest(dossier.domain, result.commit)


def _delivery(dossier: Dossier, deal_id: DealId) -> list[Finding]:
    if dossier.delivered is None:
        return []
    receipt, signature = dossier.delivered.receipt, dossier.delivered.signature
    digest = eip712.digest(dossier.domain, receipt)
    named = _names_result(dossier, deal_id, receipt.deal_id, receipt.result_hash)
    return [
        _signed("delivery", dossier.deal.client, digest, signature, "the client held every byte"),
        Finding("delivery result", named, "of the result in this file"),
    ]


def _acceptance(dossier: Dossier, deal_id: DealId) -> list[Finding]:
    if dossier.sign_off is None:
        return []
    off, client, domain = dossier.sign_off, dossier.deal.client, dossier.domain
    named = _names_result(dossier, deal_id, off.receipt.deal_id, off.receipt.result_hash)
    settlement = off.settlement
    pays = settlement.deal_id == deal_id and settlement.paid <= dossier.deal.price
    receipt = eip712.digest(domain, off.receipt)
    return [
        _signed("receipt", client, receipt, off.receipt_signature, "the client had the result before the draw"),
        Finding("receipt result", named, "of the result in this file"),
        _signed("settlement", client, eip712.digest(domain, settlement), off.signature, "the client agreed to pay"),
        Finding("settlement amount", pays, "for this deal, and no more than its price"),
    ]


# --- what the chain says ------------------------------------------------------------------------------------------


def _proof(dossier: Dossier, proof: LogProof) -> Finding:
    try:
        log = verify_log(proof)
    except RemoteProtocolError as error:
        return Finding("chain proof", False, str(error))
    block = f"if block {log.block} of chain {dossier.chain_id} is 0x{log.block_hash.hex()}"
    if _about(dossier, proof) is None:
        return Finding("chain proof", False, f"{block}: a log of another contract or deal")
    name = _TOLD[log.topics[0]]
    return Finding(f"chain: {name}", _fits(dossier, name, log), f"{block}: it was {name} at {log.at}")


def _about(dossier: Dossier, proof: LogProof) -> ProvenLog | None:
    """What the escrow said about this deal; None when the proof fails, or is about something else."""
    try:
        log = verify_log(proof)
    except RemoteProtocolError:
        return None
    deal_id = Hash32(eip712.deal_id(dossier.domain, dossier.deal))
    ours = log.address == dossier.escrow and len(log.topics) >= 2 and log.topics[1] == deal_id
    return log if ours and log.topics[0] in _TOLD else None


def _fits(dossier: Dossier, name: str, log: ProvenLog) -> bool:
    """Whether the log says what the rest of the file says."""
    match name:
        case "committed":
            in_time = dossier.commitment is None or dossier.commitment.at == log.at
            return in_time and _lock_of(dossier, log) is not None
        case "claimed":
            return dossier.claim is None or log.data[:32] == dossier.claim.result_hash
        case _:
            return dossier.end is None or dossier.end.how == name


def _lock(dossier: Dossier, proof: LogProof) -> Lock | None:
    """The Lock that a proven commitment of this deal logged."""
    log = _about(dossier, proof)
    return _lock_of(dossier, log) if log is not None and log.topics[0] == COMMITTED_TOPIC else None


def _lock_of(dossier: Dossier, log: ProvenLog) -> Lock | None:
    try:
        lock = Lock.from_log(log.topics, log.data)
    except (RemoteProtocolError, ValueError):
        return None
    owners = {"client_owner": lock.client_owner, "provider_owner": lock.provider_owner}
    return lock if lock == Lock.of(dossier.domain, dossier.deal, **owners) else None

"""What does a seat hold of its case, and is it the case that the chain is about?

A `CaseFile` comes from somebody with an interest in the verdict. Here it is held against the DealId of the panel's log; what
passes is what both parties have signed.
"""

from typing import Final

import msgspec

from protocols.deals.desk import inputs_of
from protocols.deals.eip712 import Deal, Domain, Metering, OutcomeCode, ResultCommit, deal_id, digest
from protocols.deals.panel_terms import MAX_INPUT_BYTES, MAX_SHOWN_BYTES
from protocols.deals.salting import root_on_chain
from protocols.deals.states import LocalResult
from protocols.disputes.fingerprint import JUDGED, Ending
from protocols.disputes.params import APPEAL_SEATS, FIRST_SEATS, NEVER_GROUNDS, TOLERANCE
from protocols.disputes.record import Record
from protocols.errors import RemoteProtocolError
from protocols.job.canonical import CanonicalJob, job_id_of, run_id_of
from protocols.mediation.machine import Machine
from protocols.messages.dispute import CaseFile
from protocols.messages.negotiation import InputRoot
from protocols.signing import address_of_peer
from protocols.units import Cid, DealId, PeerId, RunId

__all__ = [
    "MAX_TRIES",
    "Case",
    "case_from",
    "ending_of",
    "matches_provider",
    "opened_root",
    "ready",
    "result_bytes",
    "spoiled",
    "unfit",
    "unjudged",
]

MAX_TRIES: Final = 5
"""Runs of a case that may fail by this machine's own fault before its place is left to another seat."""
_MIB: Final = 1 << 20
_MOST_OUTPUTS: Final = 1 + APPEAL_SEATS + FIRST_SEATS
"""Under a tolerance a seat of the second panel holds the provider's, its own, and those of all others in both panels."""
_FOLDER: Final = bytes.fromhex("01701220")
"""How the CID of a folder begins: CIDv1, dag-pb, sha2-256 of 32 bytes."""
_LOGS: Final = 2
"""stdout and stderr, each within the job's bound for them."""
_EXIT_BYTES: Final = 64
"""The file ``exitCode``."""
_EXECUTORS: Final = frozenset({"wasm"})
"""What this version executes."""


class Case(msgspec.Struct, frozen=True, array_like=True):
    """One case of a seat's operator: it is executed once, whatever number of places it is for."""

    deal_id: DealId
    deal: Deal
    client: PeerId
    provider: PeerId
    job: bytes
    """Canonical bytes; empty once the dispute is over."""
    inputs_here: bool = False
    """Module and inputs are here and verified."""
    ran: LocalResult | None = None
    """What this node's executor has made of it."""
    tries: int = 0
    """Runs that failed by this machine's own fault."""
    result: ResultCommit | None = None
    """What the provider has signed, as the panel was shown it."""
    bytes_here: bool = False
    """Every byte of the opened result is here."""

    @property
    def decoded(self) -> CanonicalJob:
        """The job."""
        return CanonicalJob.decode(self.job)

    @property
    def inputs(self) -> tuple[InputRoot, ...]:
        """What must be here before it can run."""
        return tuple(sorted(inputs_of(self.decoded), key=lambda one: one.root))

    @property
    def run_id(self) -> RunId:
        """Where the randomness of a job without a seed starts: of the run, which all its attempts share."""
        return run_id_of(self.deal.job_id, self.deal.client, self.deal.run_nonce)


def result_bytes(job: CanonicalJob) -> int:
    """The most that a result of a job may weigh."""
    return sum(one.max_bytes for one in job.outputs) + _LOGS * job.limits.stdout_bytes + _EXIT_BYTES


def case_from(told: CaseFile, record: Record, domain: Domain) -> Case:
    """The case in a message about ``record``'s dispute. Raises ``RemoteProtocolError`` when it is another, or none."""
    deal = told.deal
    if deal_id(domain, deal) != record.deal_id:
        raise RemoteProtocolError("the deal is not the one in dispute", code="other_deal", penalty=50)
    if (address_of_peer(told.client), address_of_peer(told.provider)) != (deal.client, deal.provider):
        raise RemoteProtocolError("the deal is of other parties", code="other_parties", penalty=50)
    job = CanonicalJob.decode(told.job)
    if job_id_of(job) != deal.job_id:
        raise RemoteProtocolError("the job is not the one of the deal", code="other_job", penalty=50)
    if told.result is not None and digest(domain, told.result) != record.result_hash:
        raise RemoteProtocolError("the result is not the one in dispute", code="other_result", penalty=50)
    return Case(record.deal_id, deal, told.client, told.provider, told.job, result=told.result)


def unfit(case: Case, machine: Machine) -> str:
    """Why this node should not take a place for such a case; empty when it can judge it, as far as the job's limits tell."""
    return unjudged(case) or _too_large(case, machine)


def unjudged(case: Case) -> str:
    """Why no node of this version judges such a case; empty when it does."""
    job = case.decoded
    if job.executor not in _EXECUTORS:
        return f"executor {job.executor} is not built in"
    weight = sum(one.size for one in case.inputs)
    if weight > MAX_INPUT_BYTES:
        return f"its inputs have {weight} bytes, a seat takes {MAX_INPUT_BYTES} at most"
    if case.deal.level not in JUDGED:
        return f"results at level {case.deal.level.name.lower()} cannot be compared"
    shown = sum(one.max_bytes for one in job.outputs)
    if case.deal.level in TOLERANCE and shown > MAX_SHOWN_BYTES:
        return f"its output may have {shown} bytes, seats show each other {MAX_SHOWN_BYTES} at most"
    return ""


def _too_large(case: Case, machine: Machine) -> str:
    """Why the job may be more than this machine; empty when it fits."""
    job = case.decoded
    outputs = _MOST_OUTPUTS if case.deal.level in TOLERANCE else 1
    blobs_mib = -(-(sum(one.size for one in case.inputs) + outputs * result_bytes(job)) // _MIB)
    for what, key, wanted, has in (
        ("memory", "provider.memory_mib", job.resources.memory_mib[0], machine.memory_mib),
        ("scratch space", "provider.disk_mib", job.resources.disk_mib[0], machine.disk_mib),
        ("room for inputs and result", "store.blob_quota_mib", blobs_mib, machine.blobs_mib),
    ):
        if wanted > has:
            more = f"for such cases: mesh config set {key} {wanted}"
            return f"it may take {wanted} MiB of {what}, this node gives {has}; {more}"
    return ""


def ready(case: Case) -> bool:
    """Whether this node has ended the run, in a way that another machine comes to as well: then a lock on it is safe."""
    return case.ran is not None and case.ran.outcome not in NEVER_GROUNDS


def spoiled(case: Case) -> bool:
    """Whether a lock on this run would be lost: what it came to here says something about this machine alone."""
    return (case.ran is not None and not ready(case)) or (case.ran is None and case.tries >= MAX_TRIES)


def ending_of(result: LocalResult | ResultCommit) -> Ending:
    """How an execution ended, as it stands in a fingerprint."""
    return Ending(OutcomeCode(result.outcome), result.exit_code, result.fuel)


def opened_root(record: Record) -> Cid | None:
    """The CID of the result that the provider has opened; None before that."""
    return Cid(_FOLDER + record.root) if record.root is not None else None


def matches_provider(record: Record, case: Case) -> bool:
    """At level exact: whether the opened result is ours. The root stands for every byte, the exit code's among them; how
    much fuel was used stands in what the provider has signed, and counts where it is paid for."""
    if case.ran is None or record.root != root_on_chain(case.ran.root):
        return False
    if case.result is None:
        return case.deal.metering is not Metering.FUEL
    return ending_of(case.result).packed == ending_of(case.ran).packed

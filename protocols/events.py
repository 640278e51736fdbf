"""What can happen to a node? Every event is past tense, and time, randomness and identity arrive in it.

``at`` is the monotonic clock in milliseconds when the shell saw it; durable machines never read it.
"""

import msgspec

from protocols.contracts.channels import Channel, ChannelWord
from protocols.deals.states import LocalResult, Ran
from protocols.disputes.file import PanelLog
from protocols.messages.beacon import BeaconRound
from protocols.messages.dispute import CaseNotice
from protocols.messages.negotiation import InputRoot
from protocols.offers.policy import Conditions, Policy
from protocols.offers.records import Record, ResourceOffer
from protocols.runs import MarketTerms
from protocols.units import ZERO_HASH, Address, Cid, DealId, Hash32, Millis, PeerId, RunId, Tokens, UnixSeconds

__all__ = [
    "AccountRead",
    "AuditCompleted",
    "BlobsArrived",
    "BlobsFailed",
    "CancelRequested",
    "CaseHeard",
    "ChainTimeMoved",
    "ChannelCommanded",
    "ChannelSeen",
    "ChannelTxFailed",
    "DealEnd",
    "DealMovedOnChain",
    "DealRetractedOnChain",
    "DealsWitnessed",
    "DisputeLogged",
    "DisputeRetracted",
    "DrainRequested",
    "Event",
    "GossipArrived",
    "JobEnded",
    "JobProgressed",
    "MessageArrived",
    "NodeStarted",
    "OperatorSet",
    "OperatorsForgotten",
    "OutputMarked",
    "OutputsCompared",
    "PeerCameUp",
    "PeerWentDown",
    "ProviderChanged",
    "PullWaited",
    "QuoteRequested",
    "RetryRequested",
    "RoundArrived",
    "RunSubmitted",
    "ScoreCredited",
    "SeatsRead",
    "Ticked",
    "TxFailed",
    "Unsealed",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened."""

    at: Millis


class NodeStarted(Event, frozen=True):
    """The node came up, or came back. ``wall`` is the wall clock, for expiries of gossip records."""

    wall: UnixSeconds
    incarnation: Hash32
    """Fresh entropy: seeds choices that need not survive a restart."""
    addresses: tuple[bytes, ...] = ()
    """Where others may dial this node: binary multiaddrs."""


class Ticked(Event, frozen=True):
    """A timer the core asked for is due, or simply time has passed."""

    wall: UnixSeconds


class PeerCameUp(Event, frozen=True):
    """The first connection to a peer was made."""

    peer: PeerId


class PeerWentDown(Event, frozen=True):
    """The last connection to a peer is gone."""

    peer: PeerId


class GossipArrived(Event, frozen=True):
    """A record that `protocols.offers.validators.check_record` accepted, and the envelope it came in."""

    record: Record
    data: bytes


class CaseHeard(Event, frozen=True):
    """A notice that `protocols.mediation.gossip.check_notice` accepted, and who has signed it."""

    author: PeerId
    notice: CaseNotice


class MessageArrived(Event, frozen=True):
    """A signed envelope on a direct stream from ``peer``."""

    peer: PeerId
    data: bytes


class ProviderChanged(Event, frozen=True):
    """What this node offers, from its probes and configuration; None withdraws the offer."""

    offer: ResourceOffer | None
    slots: int
    queue: int
    policy: Policy = Policy()
    """Which jobs the owner allows."""
    conditions: Conditions = Conditions()
    """What was measured of the machine just now."""


class RunSubmitted(Event, frozen=True):
    """The owner asks for a run. The job body and its inputs are in the blob store."""

    job: bytes
    inputs: tuple[InputRoot, ...]
    market: MarketTerms
    run_nonce: int
    entropy: Hash32
    """Decides which providers are asked and which results are audited; nobody else knows it."""
    wall: UnixSeconds


class QuoteRequested(Event, frozen=True):
    """The owner asks what a job would cost. Nothing is signed; every hold is released."""

    quote_id: RunId
    job: bytes
    inputs: tuple[InputRoot, ...]
    market: MarketTerms
    entropy: Hash32


class CancelRequested(Event, frozen=True):
    """The owner cancels a run."""

    run_id: RunId


class RetryRequested(Event, frozen=True):
    """The owner tries a failed run again, as the next attempt of the same run."""

    run_id: RunId


class DrainRequested(Event, frozen=True):
    """The owner stops (or resumes) taking new deals; running ones go on."""

    draining: bool


class AccountRead(Event, frozen=True):
    """What the escrow holds for an operator's owner. ``known`` is False when the chain could not be asked."""

    operator: Address
    free: Tokens
    stake: Tokens
    known: bool


class OperatorSet(Event, frozen=True):
    """The escrow has logged for whom an operator trades from now on; zero: for itself. Also when a reorganisation undid one."""

    operator: Address
    owner: Address


class OperatorsForgotten(Event, frozen=True):
    """More operators were logged than are kept: of one that is not told, nothing is known."""


class ScoreCredited(Event, frozen=True):
    """A settled deal of ours has brought the score at its level down, to ``score``."""

    deal_id: DealId
    score: int


class SeatsRead(Event, frozen=True):
    """What the panel answered about its seats. ``known`` is False when the chain could not be asked."""

    client: Address
    provider: Address
    total: int
    eligible: int
    known: bool


class BlobsArrived(Event, frozen=True):
    """Every block below the roots of a `FetchBlobs` is here and verified."""

    deal_id: DealId
    purpose: str


class Unsealed(Event, frozen=True):
    """A sealed result is opened: everything below ``root`` is here and verified, ``size`` bytes of it in files."""

    deal_id: DealId
    root: Cid
    size: int


class BlobsFailed(Event, frozen=True):
    """A fetch gave up, or sealed bytes could not be opened (purpose ``unseal``). ``code`` is ``refused``, ``too_large``,
    ``malformed`` or ``timeout``."""

    deal_id: DealId
    purpose: str
    code: str
    detail: str


class PullWaited(Event, frozen=True):
    """A seat's pull is not complete yet. ``ours``: this node's own store fails or is full; else what is missing is asked for,
    and the network has not served it. ``detail`` says more."""

    deal_id: DealId
    purpose: str
    ours: bool
    detail: str


class JobProgressed(Event, frozen=True):
    """Where a pull or a run stands; a hint for people."""

    deal_id: DealId
    phase: str
    done: int
    total: int


class JobEnded(Event, frozen=True):
    """Our executor ran the job of a deal, as its provider."""

    deal_id: DealId
    result: LocalResult


class AuditCompleted(Event, frozen=True):
    """Our executor re-ran the job of a deal, as its client."""

    deal_id: DealId
    result: LocalResult


class OutputsCompared(Event, frozen=True):
    """The outputs of a re-execution were compared with others of the same job.

    ``same``: one answer for each of the effect's ``others``, in their order; none when ``ran`` cannot be compared even with
    itself, and then ``detail`` says why.
    """

    deal_id: DealId
    owner: Address
    """Whose re-execution it is."""
    same: tuple[bool, ...]
    detail: str


class OutputMarked(Event, frozen=True):
    """An output's fingerprints are made: ``marks`` for ``keys``, in their order. None when it cannot be read, and then ``detail``
    says why."""

    deal_id: DealId
    ran: Ran
    """Whose output, and which."""
    keys: tuple[Hash32, ...]
    marks: tuple[Hash32, ...]
    detail: str = ""


class ChainTimeMoved(Event, frozen=True):
    """The chain's latest block."""

    block: int
    timestamp: UnixSeconds


class RoundArrived(Event, frozen=True):
    """A round of the beacon, verified by the shell: from a relay, or from a peer when ``gossiped``."""

    beacon_round: BeaconRound
    gossiped: bool
    wall: UnixSeconds


class DealMovedOnChain(Event, frozen=True):
    """The escrow logged a transition. ``to`` is committed, claimed, settled, finalized, expired, cancelled, burned, disputed,
    slashed (two signed results), or how a panel ends a dispute: acquitted, convicted, void."""

    deal_id: DealId
    to: str
    tx: Hash32
    block: int
    timestamp: UnixSeconds
    paid: Tokens
    result_hash: Hash32 = ZERO_HASH
    """What a claim or a dispute recorded; zero for every other move."""
    refund: Tokens = Tokens(0)
    """What a dispute's end brought the client; for two signed results, its bounty alone."""
    returned: Tokens = Tokens(0)
    """What it left of the provider's collateral."""


class DealEnd(msgspec.Struct, frozen=True):
    """How a deal between two others has ended on chain."""

    provider: Address
    """Its operator."""
    counterparty: Address
    """The client's owner."""
    kept: bool
    """Settled, finalized or acquitted; else it was expired or slashed."""
    timestamp: UnixSeconds
    """Chain time of its end, or a little later."""


class DealsWitnessed(Event, frozen=True):
    """Deals of others have ended, oldest first, in blocks that nothing takes back any more."""

    ends: tuple[DealEnd, ...]


class DealRetractedOnChain(Event, frozen=True):
    """A reorganisation took a logged transition back."""

    deal_id: DealId
    was: str
    tx: Hash32


class DisputeLogged(Event, frozen=True):
    """The panel has logged something about a dispute that this node is part of, or is called to."""

    deal_id: DealId
    log: PanelLog


class DisputeRetracted(Event, frozen=True):
    """A reorganisation took such a log back."""

    deal_id: DealId
    tx: Hash32
    index: int


class TxFailed(Event, frozen=True):
    """A transaction of ours cannot succeed: it reverted or was refused for good."""

    deal_id: DealId
    purpose: str
    reason: str


class ChannelSeen(Event, frozen=True):
    """The chain was read: the channel of this pair, as it is now. Its peer is known by the deals made with it."""

    channel: Channel
    word: ChannelWord


class ChannelTxFailed(Event, frozen=True):
    """A transaction of ours about a channel cannot succeed."""

    pair: bytes
    purpose: str
    reason: str


class ChannelCommanded(Event, frozen=True):
    """The owner says what to do with a channel: ``fund`` (with ``amount``), ``close`` or ``redeem``."""

    peer: PeerId
    verb: str
    amount: Tokens = Tokens(0)

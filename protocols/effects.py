"""What can a node do to the world? Every effect is imperative; the shell performs it and holds no rules.

A **durable** effect carries a ``key``: it goes through the outbox, is performed again after a crash until the event that
answers it is durable, and performing it twice is harmless. Effects without a key are performed at most once.
"""

import msgspec

from protocols.contracts.channels import Channel
from protocols.deals.eip712 import Deal, ResultCommit
from protocols.deals.states import Ran
from protocols.messages.negotiation import InputRoot
from protocols.units import ZERO_ADDRESS, Address, Cid, DealId, Hash32, PeerId, RunId, Signature, Tokens

__all__ = [
    "CallPanel",
    "CancelFetch",
    "CancelJob",
    "CompareOutputs",
    "DropEffects",
    "DurableEffect",
    "Effect",
    "FetchBlobs",
    "FetchRound",
    "MarkOutput",
    "Notify",
    "OpenDispute",
    "OutboxItem",
    "Penalise",
    "PostChannelTx",
    "PostTx",
    "ProveFraud",
    "Publish",
    "ReadAccount",
    "ReadChannel",
    "ReadSeats",
    "RunJob",
    "Send",
    "SendDurably",
    "ServeBlobs",
    "StopServing",
    "Unseal",
]


class Effect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something to do."""


class DurableEffect(Effect, frozen=True, kw_only=True):
    """Something to do even if this process dies now. ``key`` names it; the same key is the same effect."""

    key: str


class Publish(Effect, frozen=True):
    """Gossip a record."""

    topic: str
    data: bytes


class Send(Effect, frozen=True):
    """Send an envelope to a peer, once; losing it costs a round, never money."""

    peer: PeerId
    protocol: str
    data: bytes


class SendDurably(DurableEffect, frozen=True):
    """Send an envelope to a peer until its node has made it durable, or `DropEffects` ends it."""

    peer: PeerId
    protocol: str
    data: bytes


class Penalise(Effect, frozen=True):
    """Take score from a peer."""

    peer: PeerId
    code: str
    penalty: int


class FetchRound(Effect, frozen=True):
    """Ask relays for a round that has passed; answered by `RoundArrived`. Lost when no relay has it: the rules ask again."""

    number: int


class ReadAccount(Effect, frozen=True):
    """Ask the escrow what it holds for an operator; answered by `AccountRead`."""

    operator: Address


class ReadSeats(Effect, frozen=True):
    """Ask the panel how many seats of a class there are, and how many of them a dispute between these two about ``price``
    could call now; answered by `SeatsRead`."""

    seat_class: int
    client: Address
    provider: Address
    price: Tokens


class ReadChannel(Effect, frozen=True):
    """Ask the escrow for the channel of two operators; answered by `ChannelSeen`. Lost when no endpoint answers."""

    client: Address
    provider: Address
    owner: Address = ZERO_ADDRESS
    """Whose money it holds; zero: the client's owner of now."""


class FetchBlobs(DurableEffect, frozen=True, omit_defaults=True):
    """Pull and verify everything below ``roots`` from a peer; answered by `BlobsArrived` or `BlobsFailed`."""

    deal_id: DealId
    purpose: str
    """``inputs`` or ``result``; of a seat ``case`` or ``opened``, of a disputing client ``served``."""
    peer: PeerId
    roots: tuple[InputRoot, ...]
    others: tuple[PeerId, ...] = ()
    """Who may have it too: whatever one does not serve is asked of the next."""


class CancelFetch(Effect, frozen=True):
    """Stop the fetches of a deal; what has arrived stays."""

    deal_id: DealId


class ServeBlobs(DurableEffect, frozen=True):
    """Let a peer pull everything below ``roots`` for this deal; acknowledged by `StopServing` alone."""

    deal_id: DealId
    peer: PeerId
    roots: tuple[Cid, ...]


class StopServing(Effect, frozen=True):
    """End every grant of a deal. ``forget``: its blobs may go when room is needed (a client keeps its results)."""

    deal_id: DealId
    forget: bool


class RunJob(DurableEffect, frozen=True, omit_defaults=True):
    """Execute a job; answered by `JobEnded`, or by `AuditCompleted` when ``audit``.

    ``run_id`` is where the randomness of a job without a seed starts: the same for every deal of a run, so that who
    computes a result again computes the same. (An outbox of before there was the field says nothing: then the deal's.)
    """

    deal_id: DealId
    job: bytes
    audit: bool
    run_id: RunId = RunId(b"")
    seal: bytes = b""
    """The key to seal the result under as well; empty for none. The answer then names the sealed bytes too."""


class CancelJob(Effect, frozen=True):
    """Stop the job of a deal; everything it started is dead before the next effect of this deal."""

    deal_id: DealId


class CompareOutputs(DurableEffect, frozen=True):
    """Read the outputs of ``ran`` and of each of the ``others``, which this node holds, and compare them at the level that
    the job names; answered by `OutputsCompared`."""

    deal_id: DealId
    job: bytes
    ran: Ran
    others: tuple[Ran, ...]


class MarkOutput(DurableEffect, frozen=True):
    """Read an output that this node holds, and make its fingerprint under each of these keys, at the level that the job names;
    answered by `OutputMarked`."""

    deal_id: DealId
    job: bytes
    ran: Ran
    keys: tuple[Hash32, ...]


class PostTx(DurableEffect, frozen=True):
    """Post one escrow call for a deal: commit, settle, claim, finalize, expire or cancel.

    Answered by `DealMovedOnChain` or `TxFailed`. ``amount`` is for settle and cancel, ``signature`` the counterparty's,
    ``result_hash`` for claim.
    """

    deal_id: DealId
    purpose: str
    deal: Deal
    amount: Tokens
    signature: Signature
    result_hash: Hash32


class Unseal(DurableEffect, frozen=True):
    """Open a sealed result with its key and keep what is in it; answered by `Unsealed`, or by `BlobsFailed` when the bytes
    are not sealed under it or hold no whole tree."""

    deal_id: DealId
    root: Cid
    """Of the sealed bytes, which this node holds."""
    size: int
    secret: Hash32


class CallPanel(DurableEffect, frozen=True):
    """Make one call of the panel in a dispute. Answered by its log (`DisputeLogged`) or by `TxFailed`.

    ``needs``: what the sender's owner must have at the panel for it; what is missing comes from its free balance first.
    """

    deal_id: DealId
    purpose: str
    data: bytes
    needs: Tokens = Tokens(0)


class OpenDispute(DurableEffect, frozen=True):
    """Dispute a result, claimed or only signed, and put up the bond. Answered by `DisputeLogged`, or by `TxFailed` with
    purpose ``dispute``.

    ``result`` and ``signature`` are the provider's, ``result_hash`` is what it has signed, or claimed without a word to its
    client: then ``result`` is None.
    """

    deal_id: DealId
    deal: Deal
    result_hash: Hash32
    result: ResultCommit | None
    signature: Signature
    secret: Hash32
    withheld: bool
    """The client never had the bytes; else it has them, and they are wrong."""
    bond: Tokens


class ProveFraud(DurableEffect, frozen=True):
    """Show the chain two results that a provider has bound itself to: it loses all of its collateral. Answered by
    `DealMovedOnChain`, or by `TxFailed` with purpose ``fraud``.

    ``second`` is None where the other result is the claim, whose hash is ``claimed``.
    """

    deal_id: DealId
    deal: Deal
    first: ResultCommit
    first_signature: Signature
    second: ResultCommit | None
    second_signature: Signature
    claimed: Hash32


class PostChannelTx(DurableEffect, frozen=True):
    """Post one escrow call about a channel: fund, redeem, request_close, close_together or close.

    Answered by `ChannelSeen` or `ChannelTxFailed`. To fund, ``channel`` names the parties alone, and ``amount`` is what to
    add; else ``amount``, ``count`` and ``deals_root`` are what was earned, with the other party's ``signature``.
    """

    pair: bytes
    purpose: str
    channel: Channel
    amount: Tokens
    count: int
    deals_root: Hash32
    signature: Signature


class DropEffects(Effect, frozen=True):
    """Forget unacknowledged durable effects whose key starts with ``prefix``: they no longer matter."""

    prefix: str


class Notify(Effect, frozen=True):
    """Tell people: goes to the trace, the log and whoever follows the run. Never decides anything."""

    subject: bytes
    """A RunId or a DealId."""
    name: str
    """Dotted, past tense: ``deal.committed``."""
    fields: dict[str, str]


class OutboxItem(msgspec.Struct, frozen=True):
    """What an outbox row holds."""

    effect: (
        SendDurably
        | FetchBlobs
        | ServeBlobs
        | RunJob
        | CompareOutputs
        | MarkOutput
        | Unseal
        | PostTx
        | PostChannelTx
        | CallPanel
        | OpenDispute
        | ProveFraud
    )

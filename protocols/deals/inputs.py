"""What moves a deal? The inputs both halves of the deal machine understand, and the effects they share."""

from collections.abc import Callable
from typing import Any

import msgspec

from protocols.deals import eip712
from protocols.deals.states import Commitment, DealState, DealTerms, LocalResult, Ran
from protocols.effects import (
    CancelFetch,
    CancelJob,
    DropEffects,
    Effect,
    Notify,
    PostTx,
    SendDurably,
    StopServing,
)
from protocols.env import Env
from protocols.messages.deal import (
    CancelConsent,
    Delivered,
    KeyRelease,
    ReceiptNotice,
    ResultNotice,
    SealedNotice,
    SignOff,
)
from protocols.messages.registry import tag_of
from protocols.units import ZERO_HASH, Address, Cid, Hash32, PeerId, Signature, Tokens, UnixSeconds
from protocols.verify.audits import Checked

__all__ = [
    "AuditFinished",
    "CancelProposed",
    "CancelWanted",
    "ChainMoved",
    "ChainRetracted",
    "CheckWanted",
    "Compared",
    "Countersigned",
    "Ctx",
    "DealDeclined",
    "DealInput",
    "DeliveryConfirmed",
    "FetchFailed",
    "Fetched",
    "Handler",
    "JobFinished",
    "KeyArrived",
    "KeyWanted",
    "LeftBehind",
    "Opened",
    "ReceiptArrived",
    "ReplicasCompared",
    "Rerun",
    "ResultArrived",
    "ResultDisowned",
    "ResultPulled",
    "RoundKnown",
    "SealedArrived",
    "SignedOff",
    "Step",
    "TimePassed",
    "TxRefused",
    "outcome_name",
    "over",
    "post_tx",
    "say",
    "send",
    "sold",
]


class Ctx(msgspec.Struct, frozen=True):
    """What a step may look at besides state and input: the environment and the chain's time."""

    env: Env
    now: UnixSeconds


class DealInput(msgspec.Struct, frozen=True):
    """Something that happened to one deal; signatures in it are already checked."""


class Countersigned(DealInput, frozen=True):
    """Client: the provider signed too."""

    signature: Signature


class DealDeclined(DealInput, frozen=True):
    """Client: the provider will not sign."""

    code: str
    detail: str


class Fetched(DealInput, frozen=True):
    """Provider: inputs are here. Client: the result is here."""


class FetchFailed(DealInput, frozen=True):
    """A pull gave up for good."""

    code: str
    detail: str


class JobFinished(DealInput, frozen=True):
    """Provider: the executor is done."""

    result: LocalResult


class AuditFinished(DealInput, frozen=True):
    """Client: the re-execution in its own executor is done. ``limit_ms``: of the job's wall clock."""

    result: LocalResult
    limit_ms: int


class RoundKnown(DealInput, frozen=True):
    """Client: a round of the beacon is verified."""

    number: int
    value: Hash32


class CheckWanted(DealInput, frozen=True):
    """Client: this result of a channel's deal is drawn: run it again. ``budget``: what re-executions by others may cost."""

    executor: str
    budget: Tokens


class Rerun(DealInput, frozen=True):
    """Client: another provider has computed the result again, or nobody does (``ran`` is None)."""

    ran: Ran | None
    owner: Address | None
    """Who came to nothing; None when nobody was found."""
    reason: str
    cost: Tokens


class ReplicasCompared(DealInput, frozen=True):
    """Client: this result was compared with those of others who have computed the same. ``checked`` is for one that agrees."""

    agrees: bool
    checked: Checked
    detail: str


class Compared(DealInput, frozen=True):
    """Client: the bytes of a re-execution were looked at. See `protocols.events.OutputsCompared`."""

    owner: Address
    same: tuple[bool, ...]
    detail: str


class ResultArrived(DealInput, frozen=True):
    """Client: the provider's result commit."""

    message: ResultNotice


class SealedArrived(DealInput, frozen=True):
    """Client: the provider's result commit, and where the sealed bytes are."""

    message: SealedNotice


class KeyArrived(DealInput, frozen=True):
    """Client: the provider says what opens them."""

    message: KeyRelease


class KeyWanted(DealInput, frozen=True):
    """Provider: the client has sent the voucher of this paid deal once more."""


class Opened(DealInput, frozen=True):
    """Client: the sealed bytes are opened, and hold a whole tree."""

    root: Cid
    size: int


class DeliveryConfirmed(DealInput, frozen=True):
    """Provider: the client holds all bytes."""

    message: Delivered


class ReceiptArrived(DealInput, frozen=True):
    """Provider: the client names the round that decides about a check."""

    message: ReceiptNotice


class SignedOff(DealInput, frozen=True):
    """Provider: the client accepted."""

    message: SignOff


class ResultDisowned(DealInput, frozen=True):
    """Provider: the client refuses to sign off."""

    code: str
    detail: str


class ResultPulled(DealInput, frozen=True):
    """Provider: the client was away while this deal was paid for, and asks for its result."""


class LeftBehind(DealInput, frozen=True):
    """Provider: this deal waits behind another of its channel, and will never be its turn."""

    why: str


class CancelWanted(DealInput, frozen=True):
    """Client: its owner wants out."""


class CancelProposed(DealInput, frozen=True):
    """The other side signed a cancellation."""

    message: CancelConsent


class ChainMoved(DealInput, frozen=True):
    """The escrow logged a transition of this deal."""

    to: str
    tx: Hash32
    block: int
    at: UnixSeconds
    paid: Tokens
    result_hash: Hash32 = ZERO_HASH
    refund: Tokens = Tokens(0)
    returned: Tokens = Tokens(0)


class ChainRetracted(DealInput, frozen=True):
    """A reorganisation took a transition back."""

    was: str
    tx: Hash32


class TimePassed(DealInput, frozen=True):
    """This state's deadline has passed on the chain's clock."""


class TxRefused(DealInput, frozen=True):
    """A transaction of ours cannot succeed."""

    purpose: str
    reason: str


Step = tuple[DealState, tuple[Effect, ...]]
"""Where a deal stands now, and what follows."""
Handler = Callable[[Any, Any, Ctx], Step]


def say(terms: DealTerms, name: str, **fields: str) -> Notify:
    """A line for the run's trace."""
    return Notify(subject=terms.run_id, name=name, fields={"deal": terms.deal_id.hex(), **fields})


def send(ctx: Ctx, terms: DealTerms, to: PeerId, message: msgspec.Struct) -> SendDurably:
    """Send a deal message until the other node has it. One message of each type per deal: the key is their pair."""
    protocol, data = ctx.env.seal(message)
    return SendDurably(key=f"send:{terms.deal_id.hex()}:{tag_of(message)}", peer=to, protocol=protocol, data=data)


def post_tx(
    terms: DealTerms,
    purpose: str,
    *,
    amount: Tokens = Tokens(0),
    signature: Signature = Signature(b""),
    result_hash: Hash32 = ZERO_HASH,
    attempt: Hash32 | None = None,
) -> PostTx:
    """One escrow call. ``attempt`` makes the key new when a reorganisation undid an earlier one."""
    suffix = f":{attempt.hex()[:16]}" if attempt else ""
    return PostTx(
        key=f"tx:{terms.deal_id.hex()}:{purpose}{suffix}",
        deal_id=terms.deal_id,
        purpose=purpose,
        deal=terms.deal,
        amount=amount,
        signature=signature,
        result_hash=result_hash,
    )


def over(terms: DealTerms, *, forget: bool) -> tuple[Effect, ...]:
    """Nothing more is done for a deal, and nothing more said. ``forget``: its blobs may go when room is needed."""
    deal_id, name = terms.deal_id, terms.deal_id.hex()
    return (
        CancelFetch(deal_id=deal_id),
        CancelJob(deal_id=deal_id),
        StopServing(deal_id=deal_id, forget=forget),
        *(DropEffects(prefix=f"{kind}:{name}") for kind in ("run", "compare", "send", "tx", "serve", "fetch")),
    )


def sold(terms: DealTerms, commitment: Commitment, now: UnixSeconds) -> Tokens:
    """What a cancellation owes the provider: the share of the execution time that has passed, at least a tenth."""
    passed = min(max(now - commitment.at, 0), terms.deal.exec_seconds)
    share = terms.deal.price * passed // max(terms.deal.exec_seconds, 1)
    return Tokens(max(share, terms.deal.price // 10))


def outcome_name(code: int) -> str:
    """The outcome's word for people."""
    return eip712.OutcomeCode(code).name.lower()

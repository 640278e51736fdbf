"""Which bytes does a node send to the panel, and what do the panel's logs tell it?

All arguments and all logs are static words. Calls about seats and accounts are few and go through the ABI of the artifact,
except those that a mediator makes by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from protocols.contracts.calls import compact, selector, signed_result
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, ResultCommit, deal_words
from protocols.disputes.states import Reason, Side
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Signature, Tokens

__all__ = [
    "EVENTS",
    "PanelEvent",
    "accept",
    "commit",
    "credit_settled",
    "deposit",
    "dispute",
    "dispute_unclaimed",
    "eligible_seats",
    "event_of",
    "join",
    "miss_inputs",
    "open_",
    "poke",
    "prove_equivocation",
    "publish",
    "publish_provider",
    "resign",
    "retire",
    "reveal",
    "show_delivery",
    "show_secret",
    "withdraw",
]

_WORD: Final = 32
_DEAL: Final = (
    "(address,address,address,uint256,uint256,bytes32,bytes32,bytes32,uint256,uint256,uint256,uint256,bytes32,bytes32,"
    "uint256,uint256,uint256,uint256,uint256,bytes32,bytes32,uint256,uint256,uint256,uint256,uint256)"
)
_LOCK: Final = "(bytes32,address,bytes32,address,address,uint256,uint256,uint256,uint256)"
_RESULT: Final = "(bytes32,uint256,int256,uint256,uint256,bytes32,bytes32,bytes32)"
_JOIN: Final = selector("join(uint32)")
_RESIGN: Final = selector("resign(uint32,uint256)")
_RETIRE: Final = selector("retire(uint32,uint256)")
_WITHDRAW: Final = selector("withdraw(uint256)")
_DISPUTE: Final = selector(f"dispute({_DEAL},{_LOCK},bytes32,bytes32,uint8)")
_DISPUTE_UNCLAIMED: Final = selector(f"disputeUnclaimed({_DEAL},{_LOCK},{_RESULT},bytes32,uint8)")
_SHOW_SECRET: Final = selector("showSecret(bytes32,bytes32)")
_ACCEPT: Final = selector("accept(bytes32,uint256)")
_COMMIT: Final = selector("commit(bytes32,uint256,bytes32)")
_MISS_INPUTS: Final = selector("missInputs(bytes32,uint256)")
_OPEN: Final = selector("open(bytes32,(bytes32,bytes32,uint256,int256,uint256,uint256,bytes32))")
_REVEAL: Final = selector("reveal(bytes32,uint256,bytes32,bytes32,bool)")
_PUBLISH: Final = selector("publish(bytes32,uint256,uint16)")
_PUBLISH_PROVIDER: Final = selector("publishProvider(bytes32,uint16)")
_SHOW_DELIVERY: Final = selector("showDelivery(bytes32,bytes32,bytes32)")
_PROVE: Final = selector(f"proveEquivocation(bytes32,{_RESULT})")
_DEPOSIT: Final = selector("deposit(bytes32,uint8)")
_POKE: Final = selector("poke(bytes32)")
_ELIGIBLE: Final = selector(f"eligibleSeats({_LOCK},uint32,uint256)")
_CREDIT: Final = selector(f"creditSettled({_DEAL},{_LOCK},bytes32)")


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(_WORD) for number in numbers)


# --- seats -----------------------------------------------------------------------------------------------------------


def join(seat_class: int) -> bytes:
    """One more seat, whose bond comes from the account of the sender's owner. Sent by the mediator's operator."""
    return _JOIN + _words(seat_class)


def resign(seat_class: int, seat: int) -> bytes:
    """Be called no more. Sent by the seat's owner or operator."""
    return _RESIGN + _words(seat_class, seat)


def retire(seat_class: int, seat: int) -> bytes:
    """What is left of the bond to its owner's account, after the delay. Sent by anyone."""
    return _RETIRE + _words(seat_class, seat)


def withdraw(amount: Tokens) -> bytes:
    """From the account of the sender's owner to its free balance in the escrow."""
    return _WITHDRAW + _words(amount)


def eligible_seats(lock: Lock, seat_class: int, snapshot: int) -> bytes:
    """A view: how many seats a dispute about this deal could call now."""
    return _ELIGIBLE + lock.words() + _words(seat_class, snapshot)


# --- parties ---------------------------------------------------------------------------------------------------------


def dispute(deal: Deal, lock: Lock, result_hash: Hash32, client_secret: Hash32, reason: Reason) -> bytes:
    """Dispute a claimed result. Sent by whoever funds the bond."""
    return _DISPUTE + deal_words(deal) + lock.words() + result_hash + client_secret + _words(reason)


def dispute_unclaimed(
    deal: Deal, lock: Lock, result: ResultCommit, signature: Signature, client_secret: Hash32, reason: Reason
) -> bytes:
    """Dispute a result that the provider has signed and not claimed. Sent by whoever funds the bond."""
    signed = signed_result(result, signature)
    return _DISPUTE_UNCLAIMED + deal_words(deal) + lock.words() + signed + client_secret + _words(reason)


def show_secret(deal_id: DealId, secret: Hash32) -> bytes:
    """The provider's secret. Sent by the provider, or by anyone who knows it."""
    return _SHOW_SECRET + deal_id + secret


def open_(result: ResultCommit, salt: Hash32, root: Hash32) -> bytes:
    """Open the disputed result. Sent by the provider's operator."""
    # The salted root goes in its two parts; outcome, exit code, fuel, wall time and log head as signed.
    return _OPEN + result.deal_id + salt + root + result.words()[2 * _WORD :]


def publish_provider(deal_id: DealId, mask: int) -> bytes:
    """Which seats the provider matches. Sent by the provider's operator."""
    return _PUBLISH_PROVIDER + deal_id + _words(mask)


def show_delivery(deal_id: DealId, receipt: Signature) -> bytes:
    """The client's signature of the DeliveryReceipt. Sent by anyone."""
    return _SHOW_DELIVERY + deal_id + compact(receipt)


def prove_equivocation(other: ResultCommit, signature: Signature) -> bytes:
    """Another result that the provider has signed for a disputed deal. Sent by anyone."""
    return _PROVE + other.deal_id + signed_result(other, signature)


def deposit(deal_id: DealId, side: Side) -> bytes:
    """Seven fees for one side of an appeal. Sent by whoever funds it."""
    return _DEPOSIT + deal_id + _words(side)


def poke(deal_id: DealId) -> bytes:
    """Do whatever time has made possible. Sent by anyone."""
    return _POKE + deal_id


def credit_settled(deal: Deal, lock: Lock, result_hash: Hash32 = ZERO_HASH) -> bytes:
    """A settled deal brings the provider's score down. Sent to ``PanelScores``, by anyone."""
    return _CREDIT + deal_words(deal) + lock.words() + result_hash


# --- mediators -------------------------------------------------------------------------------------------------------


def accept(deal_id: DealId, position: int) -> bytes:
    """Take the place that the sender's seat was called to."""
    return _ACCEPT + deal_id + _words(position)


def commit(deal_id: DealId, position: int, commitment: Hash32) -> bytes:
    """Bind the sender's seat to its fingerprint (``draw.commitment_of``)."""
    return _COMMIT + deal_id + _words(position) + commitment


def miss_inputs(deal_id: DealId, position: int) -> bytes:
    """Nobody has served the inputs."""
    return _MISS_INPUTS + deal_id + _words(position)


def reveal(deal_id: DealId, position: int, fingerprint: Hash32, salt: Hash32, *, served: bool) -> bytes:
    """Show fingerprint and salt; ``served`` says whether the provider's bytes have come."""
    return _REVEAL + deal_id + _words(position) + fingerprint + salt + _words(served)


def publish(deal_id: DealId, position: int, mask: int) -> bytes:
    """Whom the sender's seat matches (``states.PROVIDER_BIT``, ``states.first_bit``)."""
    return _PUBLISH + deal_id + _words(position, mask)


# --- logs ------------------------------------------------------------------------------------------------------------


class PanelEvent(msgspec.Struct, frozen=True):
    """A log of the panel or of its scores: addresses and hashes as bytes, numbers and enumerations as integers."""

    name: str
    args: dict[str, Any]


_DECODE: Final[dict[str, Callable[[bytes], Any]]] = {
    "address": lambda word: Address(word[12:]),
    "bytes32": Hash32,
    "uint8": int.from_bytes,
    "uint256": int.from_bytes,
    "bool": lambda word: word[-1] == 1,
}
_SIGNATURES: Final = (
    "DisputeOpened(bytes32 dealId!,address client!,address provider!,bytes32 resultHash,uint8 reason,address funder,"
    "uint256 fee,uint256 pool)",
    "SecretRevealed(bytes32 dealId!,bytes32 secret,bytes32 seed)",
    "DeliveryShown(bytes32 dealId!)",
    "PhaseChanged(bytes32 dealId!,uint8 phase,uint256 until)",
    "SeatCalled(bytes32 dealId!,address operator!,uint256 round,uint256 position,uint256 seat)",
    "SeatAccepted(bytes32 dealId!,uint256 round,uint256 position)",
    "SeatCommitted(bytes32 dealId!,uint256 round,uint256 position,bytes32 commitment)",
    "InputUnavailable(bytes32 dealId!,uint256 round,uint256 position)",
    "ResultOpened(bytes32 dealId!,bytes32 salt,bytes32 root,uint256 outcome)",
    "SeatRevealed(bytes32 dealId!,uint256 round,uint256 position,bytes32 fingerprint,bytes32 salt,bool served)",
    "Published(bytes32 dealId!,uint256 round,uint256 position,uint256 mask)",
    "Found(bytes32 dealId!,uint256 round,uint8 outcome,uint256 clique,uint256 firsts)",
    "AppealDeposited(bytes32 dealId!,uint8 side,address account,uint256 amount)",
    "DisputeEnded(bytes32 dealId!,uint8 row,uint8 end)",
    "Funded(address owner!,uint256 amount)",
    "Withdrawn(address owner!,uint256 amount)",
    "Burned(uint256 amount)",
    "SeatJoined(uint256 seatClass!,uint256 seat!,address operator!,address owner)",
    "SeatLeaving(uint256 seatClass!,uint256 seat!,uint256 outAt)",
    "SeatRetired(uint256 seatClass!,uint256 seat!,uint256 amount)",
    "LockLost(uint256 seatClass!,uint256 seat!,uint256 amount)",
    "ScoreChanged(address providerOwner!,uint256 level,uint256 score)",
)
"""Every event, ``!`` marking what is indexed. A test compares them with the ABI."""


def _members(signature: str) -> tuple[tuple[str, str, bool], ...]:
    inside = signature[signature.index("(") + 1 : -1].split(",")
    return tuple((name.rstrip("!"), kind, name.endswith("!")) for kind, name in (one.split() for one in inside))


EVENTS: Final = {
    keccak256(f"{one[: one.index('(')]}({','.join(kind for _, kind, _ in _members(one))})".encode()): (
        one[: one.index("(")],
        _members(one),
    )
    for one in _SIGNATURES
}
"""By first topic: the event's name, and its members as (name, type, indexed)."""


def event_of(topics: Sequence[bytes], data: bytes) -> PanelEvent | None:
    """What a log of the panel says; None when it is none of ours, or not formed like it."""
    found = EVENTS.get(Hash32(bytes(topics[0]))) if topics else None
    if found is None:
        return None
    name, members = found
    indexed = [member for member in members if member[2]]
    others = [member for member in members if not member[2]]
    if len(topics) != 1 + len(indexed) or len(data) != _WORD * len(others):
        return None
    words = [*topics[1:], *(data[i : i + _WORD] for i in range(0, len(data), _WORD))]
    values = {
        field: _DECODE[kind](bytes(word)) for (field, kind, _), word in zip([*indexed, *others], words, strict=True)
    }
    return PanelEvent(name, values)

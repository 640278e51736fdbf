"""What can happen to a dispute, what does its machine need to know, and what does it want done?

Inputs are calls of the panel, in the past tense; signatures in them have been checked. Moves are what the panel's books
have to do because of one.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from protocols.deals.eip712 import Domain, ResultCommit
from protocols.disputes.params import PanelBounds
from protocols.disputes.payouts import Payout
from protocols.disputes.seats import Seat
from protocols.disputes.states import DisputeState, Phase, Side
from protocols.units import Address, Hash32, Tokens, UnixSeconds

__all__ = [
    "Accepted",
    "Burn",
    "Close",
    "Committed",
    "Credit",
    "Ctx",
    "Delivered",
    "Deposited",
    "DisputeInput",
    "Equivocated",
    "InputsMissing",
    "LockSeat",
    "LoseLock",
    "Matched",
    "Move",
    "Opened",
    "PaySeat",
    "Poked",
    "ProviderMatched",
    "Revealed",
    "Score",
    "SecretShown",
    "Step",
    "Take",
    "UnlockSeat",
]


class Ctx(msgspec.Struct, frozen=True):
    """What a dispute hangs on beside itself."""

    now: UnixSeconds
    bounds: PanelBounds
    domain: Domain
    seats: Sequence[Seat]
    """All seats of the dispute's class."""
    score: int = 0
    """The provider's, at the level of the deal."""
    voided: bool = False
    """The escrow has ended the deal without the panel, which it does when a dispute is a year old."""


class SecretShown(msgspec.Struct, frozen=True):
    """The provider shows the secret whose hash it has signed."""

    secret: Hash32


class _FromSeat(msgspec.Struct, frozen=True):
    sender: Address
    position: int


class Accepted(_FromSeat, frozen=True):
    """A called seat takes its place."""


class Committed(_FromSeat, frozen=True):
    """A seat binds itself to a fingerprint of its own output."""

    commitment: Hash32


class InputsMissing(_FromSeat, frozen=True):
    """``INPUT_UNAVAILABLE``: nobody has served it what the job needs."""


class Revealed(_FromSeat, frozen=True):
    """A seat shows what it had committed to."""

    fingerprint: Hash32
    salt: Hash32
    served: bool
    """False is ``OUTPUT_UNAVAILABLE``: the provider has not served all bytes."""


class Matched(_FromSeat, frozen=True):
    """A seat publishes whom it matches."""

    mask: int


class ProviderMatched(msgspec.Struct, frozen=True):
    """The provider publishes which seats it matches."""

    sender: Address
    mask: int


class Opened(msgspec.Struct, frozen=True):
    """The provider opens the result that it has committed to."""

    sender: Address
    salt: Hash32
    root: Hash32
    commit: ResultCommit
    """Its ``deal_id`` and ``salted_root`` are not sent: the panel puts in its own."""


class Deposited(msgspec.Struct, frozen=True):
    """An account puts up seven fees for a side."""

    account: Address
    side: Side


class Delivered(msgspec.Struct, frozen=True):
    """The client's signed DeliveryReceipt was shown."""


class Equivocated(msgspec.Struct, frozen=True):
    """Another result, signed by the provider for the same deal, was shown."""


class Poked(msgspec.Struct, frozen=True):
    """Anybody: do whatever time has made possible."""


DisputeInput: TypeAlias = (
    SecretShown
    | Accepted
    | Committed
    | InputsMissing
    | Opened
    | Revealed
    | Matched
    | ProviderMatched
    | Deposited
    | Delivered
    | Equivocated
    | Poked
)


class LockSeat(msgspec.Struct, frozen=True):
    """Part of the seat's bond answers for this dispute."""

    seat: int


class UnlockSeat(msgspec.Struct, frozen=True):
    """The dispute holds nothing of the seat's bond any more."""

    seat: int


class LoseLock(msgspec.Struct, frozen=True):
    """The seat's lock is burned and the seat leaves its class."""

    seat: int


class PaySeat(msgspec.Struct, frozen=True):
    """To the account of the seat's owner."""

    seat: int
    amount: Tokens


class Take(msgspec.Struct, frozen=True):
    """From an account to the dispute. The books refuse the whole call when the account has less."""

    account: Address
    amount: Tokens


class Credit(msgspec.Struct, frozen=True):
    """From the dispute to an account."""

    account: Address
    amount: Tokens


class Burn(msgspec.Struct, frozen=True):
    """From the dispute to nobody."""

    amount: Tokens


class Score(msgspec.Struct, frozen=True):
    """The provider's new score at the level of the deal."""

    score: int


class Close(msgspec.Struct, frozen=True):
    """Tell the escrow."""

    end: Phase
    payout: Payout


Move: TypeAlias = LockSeat | UnlockSeat | LoseLock | PaySeat | Take | Credit | Burn | Score | Close


class Step(msgspec.Struct, frozen=True):
    """The next state, and what to do."""

    state: DisputeState
    moves: tuple[Move, ...] = ()

"""Which states can a dispute be in, and what is known in each? One frozen type per state.

``MediatorPanel`` holds the same in one struct per dispute; ``PHASE`` says which of its phases a state is.
"""

from enum import IntEnum
from typing import Final, TypeAlias

import msgspec

from protocols.contracts.lock import Lock
from protocols.deals.terms import Level, OutcomeCode
from protocols.units import ZERO_HASH, Address, Hash32, Seconds, Tokens, UnixSeconds

__all__ = [
    "PHASE",
    "PROVIDER_BIT",
    "Appealed",
    "Case",
    "Committing",
    "Deposit",
    "DisputeState",
    "Disputed",
    "Drawn",
    "Ended",
    "Finding",
    "Live",
    "Matching",
    "Opening",
    "Outcome",
    "Phase",
    "Reason",
    "Revealing",
    "Round",
    "Row",
    "Settled",
    "Side",
    "Slashed",
    "Stage",
    "Turn",
    "Verdict",
    "Voided",
    "Working",
    "first_bit",
]

PROVIDER_BIT: Final = 1 << 7
"""In a seat's published mask: matches the provider. Bits 0..6 are the seats of its own panel."""


def first_bit(position: int) -> int:
    """In the mask of a seat of the second panel: matches seat ``position`` of the first."""
    return 1 << 8 + position


class Phase(IntEnum):
    """``MediatorPanel.Phase``."""

    NONE = 0
    DISPUTED = 1
    DRAWN = 2
    COMMITTING = 3
    OPENING = 4
    REVEALING = 5
    MATCHING = 6
    VERDICT = 7
    APPEALED = 8
    SETTLED = 9
    SLASHED = 10
    VOID = 11


class Reason(IntEnum):
    """What the client says: the bytes are wrong, or it never had them."""

    WRONG = 0
    WITHHELD = 1


class Side(IntEnum):
    """Who is right, or who deposits."""

    CLIENT = 0
    PROVIDER = 1


class Stage(IntEnum):
    """Where a seat stands in its panel. From ACCEPTED to MATCHED its lock is held."""

    VACANT = 0
    CALLED = 1
    ACCEPTED = 2
    NO_INPUT = 3
    """It could not have the job's inputs, and said so."""
    COMMITTED = 4
    REVEALED = 5
    MATCHED = 6
    LOST = 7
    """It committed and did not reveal: its lock is burned."""


class Outcome(IntEnum):
    """What a panel found."""

    SPLIT = 0
    ACQUITTED = 1
    GUILTY = 2
    NO_INPUTS = 3
    """A majority could not have the inputs: the disputer's fault."""
    NO_OUTPUTS = 4
    """A majority was not served the result's bytes: the provider's fault."""


class Row(IntEnum):
    """How the money goes; ``payouts`` has the amounts."""

    FORFEIT = 0
    """The provider was silent, or served nothing: all of C."""
    CONVICTED = 1
    LOST = 2
    """A tolerance failure that proves nothing yet: the price, one more, and the seats' fees."""
    BLAMELESS = 3
    """The provider's result was out of time, memory or disk: nobody is convicted, both pay the seats."""
    ACQUITTED = 4
    UNPROVEN = 5
    """Acquitted of withholding without a receipt for the bytes: both pay the seats."""
    UNSERVED = 6
    """The disputer did not serve the inputs: its bond is burned."""
    VOID = 7


class Case(msgspec.Struct, frozen=True):
    """What a dispute is about. Only ``delivered`` and ``outcome`` become known later."""

    lock: Lock
    result_hash: Hash32
    reason: Reason
    funder: Address
    """The account that put up the bond and gets it back."""
    fee: Tokens
    level: Level
    seat_class: int
    pool: int
    """Seats to draw from: those numbered below this, of the class."""
    exec_seconds: Seconds
    client_secret: Hash32
    provider_secret_hash: Hash32
    opened_at: UnixSeconds
    delivered: bool = False
    """The client's DeliveryReceipt has been shown."""
    outcome: OutcomeCode | None = None
    """Of the provider's result, once it is opened."""


class Turn(msgspec.Struct, frozen=True):
    """One place in a panel, and the seat that has it now."""

    seat: int = 0
    stage: Stage = Stage.VACANT
    commitment: Hash32 = ZERO_HASH
    served: bool = True
    """The provider's bytes arrived; says the seat when it reveals."""
    mask: int = 0
    """Whom it matches, in bits: its own panel's seats, the provider, and in the second panel the first one's seats."""


class Round(msgspec.Struct, frozen=True):
    """One panel: of 3, or on appeal of 7."""

    seed: Hash32
    turns: tuple[Turn, ...]
    waves: int = 0
    """How often absent seats have been replaced."""
    cursor: int = 0
    """How many places of the shuffled pool have been looked at."""
    swaps: tuple[tuple[int, int], ...] = ()
    """The shuffle so far: (place, seat) wherever they differ."""
    called: tuple[int, ...] = ()
    """Every seat that was ever called."""
    salts: Hash32 = ZERO_HASH
    """The revealed salts, folded together whatever their order."""
    provider_mask: int = 0
    provider_matched: bool = False
    had_majority: bool = False
    """It has found, and not split."""


class Finding(msgspec.Struct, frozen=True):
    """What the last panel found. ``clique`` and ``firsts`` are places, in bits: of the last panel, and of the first when
    there have been two."""

    outcome: Outcome
    clique: int = 0
    firsts: int = 0


class Deposit(msgspec.Struct, frozen=True):
    """Seven fees that an account has put up for one side."""

    side: Side
    funder: Address


class _Live(msgspec.Struct, frozen=True):
    case: Case
    until: UnixSeconds
    """The last block time at which the waited-for call succeeds; a poke succeeds from one second later."""


class Disputed(_Live, frozen=True, tag=True):
    """The client has shown its secret; the provider must show its own."""


class _Sitting(_Live, frozen=True):
    rounds: tuple[Round, ...]
    deposits: tuple[Deposit, ...] = ()
    """Empty in the first panel, one of each side in the second."""


class Drawn(_Sitting, frozen=True, tag=True):
    """Seats are called; each must accept."""


class Committing(_Sitting, frozen=True, tag=True):
    """The seats that have accepted execute the job, blind, and commit to what they found."""


class Opening(_Sitting, frozen=True, tag=True):
    """The provider must open its result."""


class Revealing(_Sitting, frozen=True, tag=True):
    """The seats compare what they were served, and reveal."""


class Matching(_Sitting, frozen=True, tag=True):
    """Seats and provider publish whom they match."""


class Verdict(_Sitting, frozen=True, tag=True):
    """The first panel has found; the side that lost may appeal, after a split either."""

    finding: Finding = Finding(Outcome.SPLIT)


class Appealed(_Sitting, frozen=True, tag=True):
    """One side has deposited; the other must, or loses."""

    finding: Finding = Finding(Outcome.SPLIT)


class _Ended(msgspec.Struct, frozen=True):
    case: Case
    row: Row


class Settled(_Ended, frozen=True, tag=True):
    """The provider has its price."""


class Slashed(_Ended, frozen=True, tag=True):
    """The client has its price back, and the provider has lost collateral."""


class Voided(_Ended, frozen=True, tag=True):
    """Price and collateral have returned."""


Working: TypeAlias = Drawn | Committing | Opening | Revealing | Matching
Live: TypeAlias = Disputed | Drawn | Committing | Opening | Revealing | Matching | Verdict | Appealed
Ended: TypeAlias = Settled | Slashed | Voided
DisputeState: TypeAlias = Live | Ended

PHASE: Final[dict[type[msgspec.Struct], Phase]] = {
    Disputed: Phase.DISPUTED,
    Drawn: Phase.DRAWN,
    Committing: Phase.COMMITTING,
    Opening: Phase.OPENING,
    Revealing: Phase.REVEALING,
    Matching: Phase.MATCHING,
    Verdict: Phase.VERDICT,
    Appealed: Phase.APPEALED,
    Settled: Phase.SETTLED,
    Slashed: Phase.SLASHED,
    Voided: Phase.VOID,
}

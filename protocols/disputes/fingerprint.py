"""What does a seat commit to, and whom does it match? A keyed hash of its own output, and who has the same.

At the levels at which equal results have equal bytes (`exact`, and `canonical` after canonicalising) a match is an equal
fingerprint. At the others it only binds a seat to the bytes that it shows when all have revealed. Whoever holds the bytes can
recompute everybody's fingerprint; whoever does not can copy nobody's, because each has another key.
"""

from collections.abc import Callable, Iterable
from typing import Final

from protocols.deals.terms import Level
from protocols.disputes.draw import fingerprint_key
from protocols.disputes.marks import Ending, fingerprints_of
from protocols.disputes.params import NEVER_GROUNDS, TOLERANCE
from protocols.disputes.record import Record, Sitting
from protocols.disputes.states import PROVIDER_BIT, Stage, first_bit
from protocols.units import DealId, Hash32

__all__ = ["BY_FINGERPRINT", "JUDGED", "Ending", "fingerprint_of", "provider_mask", "seat_mask"]

BY_FINGERPRINT: Final = frozenset({Level.EXACT, Level.CANONICAL})
"""Levels at which a match is an equal fingerprint. At the others seats need each other's bytes."""
JUDGED: Final = frozenset({*BY_FINGERPRINT, *TOLERANCE})
"""Levels at which the mediators of this version take a place."""
_SHOWN: Final = (Stage.REVEALED, Stage.MATCHED)

Recompute = Callable[[int, int], Hash32 | None]
"""(round, seat) -> the fingerprint that this seat must have revealed to match us; None: whatever it has, it does not."""


def fingerprint_of(deal_id: DealId, rounds: int, seat: int, ending: Ending, content: Iterable[bytes]) -> Hash32:
    """What this seat commits to for these bytes (`marks.framed`).

    ``rounds``: how many panels there were before.
    """
    return fingerprints_of((fingerprint_key(deal_id, rounds, seat),), ending, content)[0]


def seat_mask(record: Record, ending: Ending, recompute: Recompute, *, provider: bool) -> int:
    """Whom a seat of the panel that sits matches. ``provider``: the provider's bytes are equal to ours.

    A run that ended for want of time, memory or disk matches nobody: another machine may end otherwise.
    """
    if ending.outcome in NEVER_GROUNDS or not record.sittings:
        return 0
    mask = _equal(record.sittings[-1], record.round, recompute) | (PROVIDER_BIT if provider else 0)
    if record.round == 1:
        firsts = _equal(record.sittings[0], 0, recompute)
        mask |= sum(first_bit(position) for position in range(len(record.sittings[0].places)) if firsts >> position & 1)
    return mask


def provider_mask(record: Record, recompute: Recompute) -> int:
    """Which seats of the panel that sits the provider matches."""
    return _equal(record.sittings[-1], record.round, recompute) if record.sittings else 0


def _equal(sitting: Sitting, number: int, recompute: Recompute) -> int:
    places = enumerate(sitting.places)
    return sum(
        1 << position
        for position, place in places
        if place.stage in _SHOWN and place.fingerprint == recompute(number, place.seat)
    )

"""What does a node know of the outputs in a dispute, and whom does its own match?

Where equal results have equal bytes (or normal forms), a match is a fingerprint that this node's own output has under the other
seat's key: nothing is asked of anybody. Under a tolerance the seats show each other their outputs once all have revealed; one
counts only if its fingerprint is the revealed one, and matches if the level's comparator says so.
"""

from collections.abc import Iterator
from typing import Final

from protocols.deals.states import Ran
from protocols.deals.terms import Level
from protocols.disputes.draw import fingerprint_key
from protocols.disputes.fingerprint import BY_FINGERPRINT, Recompute
from protocols.disputes.params import TOLERANCE
from protocols.disputes.record import Place, Record
from protocols.disputes.states import Phase, Stage
from protocols.units import Address, Hash32, Millis, PeerId, UnixSeconds

__all__ = [
    "REVEALED",
    "Look",
    "found",
    "key_of",
    "may_see",
    "named_places",
    "revealed_places",
    "shows",
    "wanted",
    "whole",
]

REVEALED: Final = frozenset({Stage.REVEALED, Stage.MATCHED})
"""Stages of a place whose fingerprint is known."""
_NAMED: Final = frozenset({Stage.ACCEPTED, Stage.COMMITTED, *REVEALED})
"""Stages of a place whose fingerprint is known, or may be yet."""


class Look:
    """What this node has found out in one dispute. Volatile: after a restart it is found out again."""

    def __init__(self) -> None:
        self.marks: dict[Hash32, Hash32] = {}
        """Of this node's own output, by the key of a place."""
        self.marking: set[Hash32] = set()
        """Keys that are being hashed under."""
        self.peers: dict[Address, PeerId] = {}
        self.told: dict[Address, Ran] = {}
        """What an operator says its output is, and from where; of operators whose word was asked for alone."""
        self.pulled: set[Address] = set()
        """Whose output is here."""
        self.theirs: dict[Address, dict[Hash32, Hash32]] = {}
        """The fingerprints of what was pulled, by key; none of what nobody could read or would have taken."""
        self.same: dict[Address, bool] = {}
        """What the comparator has said, of the provider's output too."""
        self.asked: dict[Address, UnixSeconds] = {}
        self.answered: dict[PeerId, Millis] = {}
        """When a peer was last told this node's own output; peers with a place, and the provider."""


def key_of(record: Record, number: int, place: Place) -> Hash32:
    """Under which key a place hashes. ``number``: its panel, 0 or 1."""
    return fingerprint_key(record.deal_id, number, place.seat)


def revealed_places(record: Record, *, firsts: bool) -> Iterator[tuple[int, Place]]:
    """(panel, place) of everybody a mask can name: the panel that sits, and for its seats (``firsts``) the one before."""
    return ((number, place) for number, place in named_places(record, firsts=firsts) if place.stage in REVEALED)


def named_places(record: Record, *, firsts: bool) -> Iterator[tuple[int, Place]]:
    """The same, with those who have still to reveal."""
    for number, sitting in enumerate(record.sittings):
        if number == record.round or firsts:
            yield from ((number, place) for place in sitting.places if place.stage in _NAMED)


def may_see(record: Record, operator: Address, level: Level) -> bool:
    """Whether an operator may have the outputs of seats now: every reveal is in, and it has one of them, or is the provider."""
    if level not in TOLERANCE or record.phase is not Phase.MATCHING:
        return False
    return operator == record.provider or any(
        place.operator == operator and place.stage in REVEALED for place in record.places
    )


def shows(record: Record, operator: Address) -> bool:
    """Whether an operator has revealed a fingerprint, so that others want what is behind it."""
    return any(place.operator == operator for _, place in revealed_places(record, firsts=True))


def found(record: Record, look: Look, level: Level, number: int, place: Place) -> bool | None:
    """Whether this node's output matches what is behind a revealed place; None while that is not known."""
    key = key_of(record, number, place)
    mine = look.marks.get(key)
    if mine is None or mine == place.fingerprint:
        return None if mine is None else True
    if level in BY_FINGERPRINT:
        return False
    theirs = look.theirs.get(place.operator)
    if theirs is None:
        return None
    return look.same.get(place.operator) if theirs.get(key) == place.fingerprint else False


def wanted(record: Record, look: Look, level: Level, *, firsts: bool) -> dict[Address, list[tuple[int, Place]]]:
    """The places that are still in question, by operator."""
    open_: dict[Address, list[tuple[int, Place]]] = {}
    for number, place in revealed_places(record, firsts=firsts):
        if found(record, look, level, number, place) is None:
            open_.setdefault(place.operator, []).append((number, place))
    return open_


def whole(record: Record, look: Look, level: Level) -> Recompute:
    """For `seat_mask` and `provider_mask`: the fingerprint of each place that is known to match."""

    def recompute(number: int, seat: int) -> Hash32 | None:
        place = next(one for one in record.sittings[number].places if one.seat == seat and one.stage in REVEALED)
        return place.fingerprint if found(record, look, level, number, place) else None

    return recompute

"""What has a dispute brought to an operator that had places in it, once it is over?"""

import msgspec

from protocols.disputes.record import Record
from protocols.disputes.states import Stage
from protocols.units import Address

__all__ = ["Earned", "earned"]

_HELD = frozenset({Stage.ACCEPTED, Stage.NO_INPUT, Stage.COMMITTED, Stage.REVEALED, Stage.MATCHED})
"""Stages in which a lock is held when the dispute ends."""


class Earned(msgspec.Struct, frozen=True):
    """Places of one operator in one dispute, by how they ended."""

    paid: int = 0
    """They stood with the majority: a fee each."""
    lost: int = 0
    """They did not, or fell silent: a lock each."""
    returned: int = 0
    """No panel had a majority, or the place was called and never taken: nothing."""


def earned(record: Record, me: Address) -> Earned:
    """The places of ``me``. A place that was given to another seat meanwhile is not counted: the record has forgotten it."""
    paid = lost = returned = 0
    clique = record.finding.clique if record.finding else 0
    for number, sitting in enumerate(record.sittings):
        last = number == len(record.sittings) - 1
        standing = clique if last else (record.finding.firsts if record.finding else 0)
        for position, place in enumerate(sitting.places):
            if place.operator != me:
                continue
            if place.stage is Stage.LOST or (place.stage in _HELD and clique and not standing >> position & 1):
                lost += 1
            elif place.stage in _HELD and clique:
                paid += 1
            else:
                returned += 1
    return Earned(paid, lost, returned)

"""What do mediators look like that do not work? The shipped node, but at certain places of the first panel.

The draw cannot be chosen, so every mediator of such a network runs the same program, and the place in the panel decides who
breaks the rules: exactly as many seats as the scenario wants. The second panel, on appeal, is honest. Where a program's name says
``near``, each node is another machine besides.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from devnet.scenarios.hostile import noisy
from devnet.scenarios.hostile.altered import alter
from mesh.cli.app import main as mesh_main
from protocols.disputes.draw import commitment_of
from protocols.disputes.duties import Duty, SeatHas
from protocols.disputes.record import Place, Record
from protocols.disputes.states import Stage
from protocols.handlers import seat_calls
from protocols.hashing import keccak256
from protocols.mediation.case import Case
from protocols.state import NodeState

__all__ = ["main"]

_ALL: Final = (1 << 11) - 1
"""A mask that claims to match everybody."""
_REPLACING: Final[set[str]] = set()
"""Names of the acceptances of seats that were called to a place which had been left: those are honest."""


def _silent(record: Record, *given: Any) -> tuple[Duty, ...]:
    """The seat that is first called to the first place accepts, and is never heard of again."""
    found = _DUTIES(record, *given)
    for duty in found:
        if duty.name.startswith("drawn:") and any(one.stage is Stage.COMMITTED for one in record.places):
            _REPLACING.add(duty.name.partition(":")[2])
    return tuple(one for one in found if not _is_idle(one.name))


def _is_idle(name: str) -> bool:
    phase, _, place = name.partition(":")
    return phase != "drawn" and place.startswith("0:0:") and place not in _REPLACING


def _junk_at(*positions: int) -> Callable[..., SeatHas]:
    """Seats at these places vote without having worked, and say that they match everybody else: not each other, because two
    of three who lie for each other are a majority, and no longer a split."""
    claims = _ALL & ~sum(1 << position for position in positions)

    def has(state: NodeState, record: Record, place: Place, case: Case | None, env: Any) -> SeatHas:
        if record.round != 0 or record.places.index(place) not in positions:
            return _HAS(state, record, place, case, env)
        deal_id, number = record.deal_id, place.seat.to_bytes(8)
        mark, salt = keccak256(b"junk", deal_id, number), keccak256(b"salt", deal_id, number)
        commitment = commitment_of(deal_id, record.round, place.seat, mark, salt)
        return SeatHas(commitment=commitment, fingerprint=mark, salt=salt, served=True, mask=claims)

    return has


_DUTIES: Final[Callable[..., tuple[Duty, ...]]] = vars(seat_calls)["seat_duties"]
_HAS: Final[Callable[..., SeatHas]] = vars(seat_calls)["_has"]
_HABITS: Final[dict[str, tuple[str, Callable[..., Any]]]] = {
    "silent-seat": ("seat_duties", _silent),
    "junk-seat": ("_has", _junk_at(0)),
    "split-seats": ("_has", _junk_at(0, 1)),
    "split-near-seats": ("_has", _junk_at(0, 1)),
}


def main() -> None:
    """`mesh` with the habit that the program is called after."""
    name, habit = _HABITS[sys.argv[0]]
    alter(seat_calls, name, habit)
    if "near" in sys.argv[0]:
        noisy.stand_near()
    mesh_main()

"""Who may be called to a dispute? Seats: equal bonds in a class, counted in the order in which they joined.

A snapshot in a Deal is a count of seats: whoever joins later has a higher number and is not drawn for it. A seat number
is never given twice.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from protocols.contracts.lock import Lock
from protocols.units import Address, Seconds, Tokens, UnixSeconds

__all__ = ["Seat", "eligible", "eligible_seats", "lock_seat", "lose_lock", "unlock_seat"]


class Seat(msgspec.Struct, frozen=True):
    """One seat. ``bond`` is all that is left of it, ``locked`` what its open disputes hold."""

    owner: Address
    operator: Address
    """The node that accepts, commits and reveals."""
    joined_at: UnixSeconds
    bond: Tokens
    locked: Tokens = Tokens(0)
    out_at: UnixSeconds = UnixSeconds(0)
    """When what is left can be taken out; zero: the seat is not leaving."""


def eligible(seat: Seat, lock: Lock, opened_at: UnixSeconds, needs: Tokens, seat_age: Seconds) -> bool:
    """May this seat be called to a dispute about ``lock``, opened at ``opened_at``, that locks ``needs`` of its bond?"""
    own = {lock.client, lock.provider, lock.client_owner, lock.provider_owner}
    return (
        not seat.out_at
        and seat.joined_at + seat_age <= opened_at
        and seat.owner not in own
        and seat.operator not in own
        and seat.bond - seat.locked >= needs
    )


def eligible_seats(
    seats: Sequence[Seat], snapshot: int, lock: Lock, now: UnixSeconds, needs: Tokens, seat_age: Seconds
) -> int:
    """How many seats could be called if a dispute about ``lock`` opened ``now``; a signer compares with ``min_seats``."""
    return sum(eligible(seat, lock, now, needs, seat_age) for seat in seats[:snapshot])


def lock_seat(seat: Seat, amount: Tokens) -> Seat:
    """The seat has accepted."""
    return replace(seat, locked=Tokens(seat.locked + amount))


def unlock_seat(seat: Seat, amount: Tokens) -> Seat:
    """Its dispute is over."""
    return replace(seat, locked=Tokens(seat.locked - amount))


def lose_lock(seat: Seat, amount: Tokens, out_at: UnixSeconds) -> Seat:
    """Its lock is burned. Its bond no longer equals the others', so it leaves the class."""
    return replace(
        seat,
        bond=Tokens(seat.bond - amount),
        locked=Tokens(seat.locked - amount),
        out_at=seat.out_at or out_at,
    )

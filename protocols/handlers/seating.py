"""What does this node know of the panel's seats? Asked for when somebody wants a deal that a panel judges."""

from protocols import events as ev
from protocols.deals.panel_terms import MAX_SEATS_SEEN, PANEL_CLASS, SEATS_FRESH, SeatsSeen
from protocols.effects import ReadSeats
from protocols.state import NodeState
from protocols.units import Address, Millis, Tokens

__all__ = ["fresh", "learn", "read"]


def read(client: Address, provider: Address, price: Tokens) -> ReadSeats:
    """Ask the panel. ``price``: the most that the deal may cost; a seat must have three of it left."""
    return ReadSeats(seat_class=PANEL_CLASS, client=client, provider=provider, price=price)


def fresh(
    state: NodeState, client: Address, provider: Address, at: Millis, snapshot: int | None = None
) -> SeatsSeen | None:
    """The answer about this pair, if it is young enough. One that contradicts the other party's ``snapshot`` must be new."""
    seen = state.seats.get((client, provider))
    if seen is None or at - seen.at > SEATS_FRESH:
        return None
    return None if snapshot is not None and snapshot != seen.total and seen.at < at else seen


def learn(state: NodeState, event: ev.SeatsRead) -> None:
    """Remember an answer; the oldest are forgotten first."""
    if not event.known:
        return
    pair = (event.client, event.provider)
    state.seats.pop(pair, None)
    state.seats[pair] = SeatsSeen(event.total, event.eligible, event.at)
    while len(state.seats) > MAX_SEATS_SEEN:
        del state.seats[next(iter(state.seats))]

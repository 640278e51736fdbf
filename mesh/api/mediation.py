"""What does the control API say about a mediator's seats and their work? Text at the edge, as in ``types``."""

import msgspec

__all__ = ["CaseInfo", "MediatorInfo", "SeatInfo", "SeatsInfo"]


class _Json(msgspec.Struct, frozen=True, kw_only=True):
    """One object of the API."""


class CaseInfo(_Json, frozen=True):
    """One open dispute in which this node has places; the fee in wei, of one place."""

    deal_id: str
    phase: str
    until: int
    round: int
    places: int
    fee: str
    step: str


class MediatorInfo(_Json, frozen=True):
    """What this node's seats do, and what they have brought; amounts in wei."""

    cases: tuple[CaseInfo, ...]
    paid: int
    fees: str
    lost: int
    burned: str


class SeatInfo(_Json, frozen=True):
    """One seat in the panel, as the chain has it now; amounts in wei, times in Unix seconds of the chain."""

    seat_class: int
    number: int
    bond: str
    locked: str
    joined_at: int
    out_at: int
    """When what is left can be taken out; 0: it is not leaving."""


class SeatsInfo(_Json, frozen=True):
    """``mesh mediator seats``."""

    seats: tuple[SeatInfo, ...]
    account: str
    """Of the owner at the panel: fees, and bonds that came back."""
    free: str
    """In the escrow, from where bonds come."""
    seat_bond: str
    seat_age_s: int
    """How old a seat must be to be called."""
    resign_s: int
    """From leaving to having the bond."""
    work: MediatorInfo
    symbol: str

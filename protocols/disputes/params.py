"""How long, how many, how much in a dispute? Every number of the panel, with its unit and its reason.

What may differ between networks stands in ``PanelBounds``, which a panel is deployed with, for good.
"""

from typing import Final

import msgspec

from protocols.deals.terms import BOUNTY_PRICES, FIRST_SEATS, Level, OutcomeCode
from protocols.units import Seconds, Tokens

__all__ = [
    "APPEAL_SEATS",
    "BOUNTY_PRICES",
    "DEVNET_PANEL",
    "FIRST_SEATS",
    "LOCK_PRICES",
    "MAX_REPLACEMENTS",
    "MAX_VISITS",
    "NEVER_GROUNDS",
    "PUBLIC_PANEL",
    "SPRT_DEAL",
    "SPRT_FAILURE",
    "SPRT_LIMIT",
    "TOLERANCE",
    "PanelBounds",
    "appeal_deposit",
    "bond_of",
    "fee_of",
    "lock_of",
]

APPEAL_SEATS: Final = 7
"""Other seats, drawn anew for an appeal. A fifth of all seats in wrong hands capture it in 3 % of cases."""
MAX_REPLACEMENTS: Final = 3
"""Waves in which absent seats are replaced; then those who are there decide. Each costs an hour or a working time."""
MAX_VISITS: Final = 64
"""Places looked at by one call that draws: 2 million gas at the worst, and anybody may call again."""
LOCK_PRICES: Final = 3
"""What a seat locks when it accepts, in prices: more than a bought verdict can bring (research/verification.md 1.2)."""
SPRT_FAILURE: Final = 3_219
"""Score of one tolerance failure: 1000 ln(p1/p0); an honest provider fails p0 = 2 % of audits, a cheating one p1 = 50 %."""
SPRT_DEAL: Final = 673
"""Taken off per settled deal, 1000 ln((1 - p0)/(1 - p1)), times auditPpm / 10^6: the part of deals that is looked at."""
SPRT_LIMIT: Final = 9_159
"""At this score a failure takes all of C, and no score is higher: 1000 ln((1 - beta)/alpha), alpha = 10^-4, beta = 5 %."""
TOLERANCE: Final = frozenset({Level.NUMERIC, Level.PERCEPTUAL})
"""Levels at which honest results may differ, so that one failure proves nothing."""
NEVER_GROUNDS: Final = frozenset({OutcomeCode.OOM, OutcomeCode.TIMEOUT, OutcomeCode.DISK_LIMIT})
"""Results that depend on the machine and its load: another machine's other result convicts nobody."""


class PanelBounds(msgspec.Struct, frozen=True, array_like=True):
    """What one panel was deployed with, for good: ``PanelBounds`` of the contract, same order. Seconds of chain time."""

    secret: Seconds
    """The provider reveals its secret. Its silence costs C, so a sequencer that holds it back for 24 h must not matter."""
    accept: Seconds
    """A called seat accepts. It loses nothing by not doing so."""
    work: Seconds
    """A seat has the inputs, executes and commits; added to it is twice the deal's execution time."""
    open: Seconds
    """The provider opens its result and serves all bytes."""
    reveal: Seconds
    match: Seconds
    appeal: Seconds
    """After a verdict, and again for the other side after the first deposit."""
    seat_age: Seconds
    """A seat younger than this when the dispute opens is not called."""
    resign: Seconds
    """From leaving to having the bond: longer than any dispute with its appeal."""
    seat_bond: Tokens
    """The bond of every seat: equal, so that a draw by seats is a draw by money."""


_HOUR: Final = 3_600
_SAFE: Final = Seconds(26 * _HOUR)
"""A silent sequencer is overruled after 24 h; two more to act."""

PUBLIC_PANEL: Final = PanelBounds(
    secret=_SAFE,
    accept=Seconds(_HOUR),
    work=_SAFE,
    open=_SAFE,
    reveal=_SAFE,
    match=_SAFE,
    appeal=_SAFE,
    seat_age=Seconds(24 * _HOUR),
    resign=Seconds(30 * 24 * _HOUR),
    seat_bond=Tokens(1_000 * 10**18),
)

DEVNET_PANEL: Final = PanelBounds(
    secret=Seconds(20),
    accept=Seconds(8),
    work=Seconds(20),
    open=Seconds(20),
    reveal=Seconds(20),
    match=Seconds(90),
    appeal=Seconds(12),
    seat_age=Seconds(1),
    resign=Seconds(4),
    seat_bond=Tokens(1_000 * 10**18),
)
"""A devnet waits seconds. What honest nodes do at once has time to spare, most of it where they compare each other's outputs;
the appeal, which all wait for, has what a verdict, its deposit and two blocks take on a busy machine."""


def fee_of(seat_fee: int, price: int, collateral: int) -> Tokens:
    """What one seat earns, F: as signed. The escrow commits no deal whose collateral could not pay it after the bounty."""
    return Tokens(min(seat_fee, max(0, collateral - BOUNTY_PRICES * price) // FIRST_SEATS))


def bond_of(fee: int, price: int) -> Tokens:
    """What the disputer puts up: kF + P/2."""
    return Tokens(FIRST_SEATS * fee + price // 2)


def appeal_deposit(fee: int) -> Tokens:
    """What each side puts up for the second panel: 7F."""
    return Tokens(APPEAL_SEATS * fee)


def lock_of(price: int) -> Tokens:
    """What a seat locks when it accepts, and loses when it is absent or alone."""
    return Tokens(LOCK_PRICES * price)

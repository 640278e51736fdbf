"""Is honesty the best a provider can do under these terms, and if not, which number must change?

The linter of panel deals: a node signs only terms under which cheating loses and honesty is not a lottery. All amounts
are integers, comparisons are exact, no division is rounded. Derivations: docs/protocol/economics.md.

``P`` price, ``C`` collateral, ``F`` fee of one seat, ``k`` seats, ``q`` audit rate, ``d`` and ``f`` of the level.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from protocols.deals.eip712 import Deal
from protocols.deals.terms import MAX_COLLATERAL_FACTOR, Enforcement, Level
from protocols.disputes.params import BOUNTY_PRICES, FIRST_SEATS
from protocols.errors import RemoteProtocolError
from protocols.limits import COLLATERAL_PRICES
from protocols.units import PPM, Tokens
from protocols.verify.levels import LEVELS, LevelRule

__all__ = [
    "Fault",
    "Stakes",
    "at_stake",
    "audit_ppm_for",
    "collateral_for",
    "lint",
    "require_sound",
    "seat_fee_for",
]

FEE_LEAST_TENTHS: Final = 12
"""A seat's fee is at least 1.2 prices: it runs the job again and is paid late."""
FEE_MOST_TENTHS: Final = 30
MAX_HONEST_LOSS: Final = 10
"""An honest provider may expect to lose at most one part in so many of the price to wrong convictions."""


class Stakes(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a deal that its incentives depend on."""

    level: Level
    price: Tokens
    collateral: Tokens
    audit_ppm: int
    seat_fee: Tokens
    seats: int = FIRST_SEATS

    @classmethod
    def of(cls, deal: Deal) -> "Stakes":
        """Those of a deal."""
        return cls(
            level=deal.level,
            price=deal.price,
            collateral=deal.collateral,
            audit_ppm=deal.audit_ppm,
            seat_fee=deal.seat_fee,
        )

    @property
    def rule(self) -> LevelRule:
        """The level's row."""
        return LEVELS[self.level]


class Fault(msgspec.Struct, frozen=True):
    """A rule that the terms break. ``field`` is the Deal's, ``needed`` the value nearest to it that passes."""

    rule: str
    """``deterrence``, ``honest_loss``, ``coverage``, ``fee``, ``comparable``."""
    field: str
    given: int
    needed: int | None
    """None: no value of this field alone passes."""
    sentence: str


def at_stake(stakes: Stakes) -> int:
    """What a provider loses when its result is found wrong, in wei: P + C, or 2P + kF where one failure proves little."""
    if stakes.rule.tolerant:
        return 2 * stakes.price + stakes.seats * stakes.seat_fee
    return stakes.price + stakes.collateral


def lint(stakes: Stakes) -> tuple[Fault, ...]:
    """Every rule that a panel deal with these numbers breaks; empty when it is safe to sign."""
    if stakes.rule.margin_ppm <= 0:
        name = stakes.level.name.lower()
        sentence = f"level {name} proves nothing, so nobody can be held to it; choose exact, canonical or numeric"
        return (Fault("comparable", "level", int(stakes.level), None, sentence),)
    found = (_fee(stakes), _coverage(stakes), _deterrence(stakes), _honest_loss(stakes))
    return tuple(fault for fault in found if fault is not None)


def require_sound(deal: Deal) -> None:
    """Refuse to sign a panel deal under which cheating pays.

    Raises RemoteProtocolError(code="unsound_terms") that names the number to change. ``enforcement: self`` promises
    nothing and passes.
    """
    if deal.enforcement != Enforcement.PANEL:
        return
    faults = lint(Stakes.of(deal))
    if faults:
        raise RemoteProtocolError("; ".join(fault.sentence for fault in faults), code="unsound_terms", penalty=0)


def _deters(s: Stakes) -> bool:
    """``q (d - f) (P + C) > P``: what cheating saves is at most the whole price, and it loses more than that."""
    return s.audit_ppm * s.rule.margin_ppm * at_stake(s) > s.price * PPM * PPM


def _spares(s: Stakes) -> bool:
    """``q f (P + C) < P / 10``."""
    return MAX_HONEST_LOSS * s.audit_ppm * s.rule.misjudged_ppm * at_stake(s) < s.price * PPM * PPM


def _deterrence(s: Stakes) -> Fault | None:
    if _deters(s):
        return None
    money = "seat_fee" if s.rule.tolerant else "collateral"
    most = FEE_MOST_TENTHS * s.price // 10 if s.rule.tolerant else MAX_COLLATERAL_FACTOR * s.price
    field, needed = money, _least(s, money, most, _deters)
    if needed is None:
        field, needed = "audit_ppm", _least(s, "audit_ppm", PPM, _deters)
    return _fault("deterrence", s, field, needed, "cheating pays: it is caught too rarely for what it then loses")


def _honest_loss(s: Stakes) -> Fault | None:
    if _spares(s):
        return None
    needed = _most(s, "audit_ppm", _spares)
    return _fault("honest_loss", s, "audit_ppm", needed, "an honest provider loses more than P/10 to wrong convictions")


def _coverage(s: Stakes) -> Fault | None:
    """A conviction pays the bounty and the seats out of the collateral."""
    if s.collateral >= _payouts(s):
        return None
    return _fault("coverage", s, "collateral", _payouts(s), "it does not cover the bounty and the seats' fees")


def _payouts(s: Stakes) -> int:
    return BOUNTY_PRICES * s.price + s.seats * s.seat_fee


def _fee(s: Stakes) -> Fault | None:
    least, most = -(-FEE_LEAST_TENTHS * s.price // 10), FEE_MOST_TENTHS * s.price // 10
    if least <= s.seat_fee <= most:
        return None
    needed = least if s.seat_fee < least else most
    return _fault("fee", s, "seat_fee", needed, "a seat's fee lies between 1.2 and 3 prices")


def _fault(rule: str, s: Stakes, field: str, needed: int | None, why: str) -> Fault:
    given = getattr(s, field)
    change = f"change {field} from {given} to {needed}" if needed is not None else "leave all of them at their defaults"
    return Fault(rule, field, given, needed, f"{rule}: {why}; {change}")


def _with(s: Stakes, field: str, value: int) -> Stakes:
    return msgspec.structs.replace(s, **{field: Tokens(value) if field != "audit_ppm" else value})


def _least(s: Stakes, field: str, most: int, passes: Callable[[Stakes], bool]) -> int | None:
    """The smallest value of ``field`` up to ``most`` that passes a rule which more of it only helps. Bisection."""
    if not passes(_with(s, field, most)):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(_with(s, field, middle)) else (middle + 1, high)
    return low


def _most(s: Stakes, field: str, passes: Callable[[Stakes], bool]) -> int:
    """The largest value of ``field`` that passes a rule which less of it only helps. Zero always passes."""
    low, high = 0, getattr(s, field)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if passes(_with(s, field, middle)) else (low, middle - 1)
    return low


# --- what to write when nobody says otherwise --------------------------------------------------------------------


def seat_fee_for(price: Tokens) -> Tokens:
    """F: the least that a panel accepts, 1.2 prices, rounded up."""
    return Tokens(-(-FEE_LEAST_TENTHS * price // 10))


def audit_ppm_for(level: Level, price: Tokens, seat_fee: Tokens, by_record_ppm: int, seats: int = FIRST_SEATS) -> int:
    """q: the rate that follows from the provider's record (``NetworkParams.audit_ppm``), raised where the level needs it.

    A tolerance level stakes 2P + kF whatever the collateral, so only checking more often can deter there:
    ``q > P / ((d - f) (2P + kF))``. 0 for a level that compares nothing.
    """
    rule = LEVELS[level]
    if rule.margin_ppm <= 0:
        return 0
    if not rule.tolerant:
        return by_record_ppm
    stake = 2 * price + seats * seat_fee
    return min(PPM, max(by_record_ppm, PPM * PPM * price // (rule.margin_ppm * stake) + 1))


def collateral_for(level: Level, price: Tokens, seat_fee: Tokens, audit_ppm: int, seats: int = FIRST_SEATS) -> Tokens:
    """C: ``max(8P, P / (q (d - f)))``, enough for bounty and fees, at most 100P."""
    rule = LEVELS[level]
    deterring = 0
    if rule.margin_ppm > 0 and audit_ppm > 0 and not rule.tolerant:
        deterring = -(-price * PPM * PPM // (audit_ppm * rule.margin_ppm))
    covering = BOUNTY_PRICES * price + seats * seat_fee
    return Tokens(min(max(COLLATERAL_PRICES * price, deterring, covering), MAX_COLLATERAL_FACTOR * price))

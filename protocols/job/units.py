"""How are sizes, durations, ranges, fuel and money written in a job file, and which integers do they mean?

Every function takes the value as the file has it (text, or an integer) and returns an integer, or raises ``BadValue``
with what to write instead. Nothing here passes through a float, so ``2.50 MESH`` is 2500000000000000000 wei exactly.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from protocols.job.problems import BadValue, shown
from protocols.units import Tokens

__all__ = [
    "MAX_DURATION_MS",
    "MAX_FUEL",
    "MAX_SIZE",
    "MIB",
    "Money",
    "Range",
    "capability_tenths",
    "cpu_millis",
    "duration_ms",
    "fuel",
    "mib_up",
    "moment",
    "money",
    "range_of",
    "scaled",
    "seconds",
    "size",
]

MIB: Final = 1 << 20
MAX_SIZE: Final = 1 << 50
"""Bytes: 1 PiB, beyond any machine, far below 2**64."""
MAX_DURATION_MS: Final = 366 * 24 * 3600 * 1000
"""Milliseconds: a year and a day."""
MAX_FUEL: Final = (1 << 63) - 1
"""Fuel units: wasmtime counts in a signed 64-bit integer."""
MAX_CPUS: Final = 4096
TOKEN_DIGITS: Final = 18
MAX_TEXT: Final = 64
"""Characters of any scalar read here: the longest legal one is an amount of 18 decimals."""

_SIZE_UNITS: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", re.ASCII)
_DURATION_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[dhms]))+", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d+)(ms|[dhms])", re.ASCII)
_DECIMAL: Final = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)
_FUEL: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:[eE]\+?(\d{1,2}))?", re.ASCII)
_MONEY: Final = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z][A-Za-z0-9]{0,10})", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Range(msgspec.Struct, frozen=True):
    """``a..b``: at least ``low``, and at most ``high`` unless that is None (``a+``)."""

    low: int
    high: int | None = None

    def holds(self, value: int) -> bool:
        """Whether the value lies in the range, both ends included."""
        return self.low <= value and (self.high is None or value <= self.high)


class Money(msgspec.Struct, frozen=True):
    """An amount of a token, named by its symbol as the author wrote it."""

    amount: Tokens
    symbol: str


def _text(value: object, wanted: str, example: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadValue(f"{shown(value)} is not {wanted}", f"write {example}")
    if isinstance(value, int) and (value < 0 or value.bit_length() > 128):
        raise BadValue(f"{shown(value)} is not {wanted}", f"write {example}")
    text = str(value).strip()
    if not text or len(text) > MAX_TEXT:
        raise BadValue(f"{shown(value)} is not {wanted}", f"write {example}")
    return text


def scaled(value: object, digits: int, wanted: str = "a number", example: str = "0.95") -> int:
    """A decimal number times 10**digits, exactly. More decimals than ``digits`` are refused, never rounded."""
    match = _DECIMAL.fullmatch(_text(value, wanted, example))
    if match is None:
        raise BadValue(f"{shown(value)} is not {wanted}", f"write a plain decimal number such as {example}")
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > digits:
        raise BadValue(
            f"{shown(value)} has more than {digits} decimals", f"write at most {digits} digits after the point"
        )
    return int(whole + fraction.ljust(digits, "0"))


def size(value: object) -> int:
    """Bytes of a size such as ``512MiB`` or ``1.5GiB``, rounded up to whole bytes."""
    text = _text(value, "a size", "512MiB or 1GiB")
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadValue(f"{shown(value)} is not a size", "write a number and a unit, for example 512MiB or 1GiB")
    number, unit = match[1], match[2]
    if unit not in _SIZE_UNITS:
        raise BadValue(f"{shown(value)} is not a size: {_unit_words(unit)}", f"write {number}{_meant_unit(unit)}")
    whole, _, fraction = number.partition(".")
    scale = int("1" + "0" * len(fraction))
    total = -(-int(whole + fraction) * _SIZE_UNITS[unit] // scale)
    if total > MAX_SIZE:
        raise BadValue(f"{shown(value)} is more than any machine has", "write at most 1024TiB")
    return total


def _unit_words(unit: str) -> str:
    return f"unknown unit {shown(unit)}" if unit else "the unit is missing"


def _meant_unit(unit: str) -> str:
    lowered = unit.lower()
    for known in _SIZE_UNITS:
        if lowered in (known.lower(), known.lower().rstrip("b")) and lowered:
            return known
    return "MiB"


def duration_ms(value: object) -> int:
    """Milliseconds of a duration such as ``5m``, ``1h30m`` or ``500ms``."""
    text = _text(value, "a duration", "5m, 2h or 1h30m")
    if text.isdecimal():
        raise BadValue(f"{shown(value)} is not a duration: the unit is missing", f"write {text}s or {text}m")
    if _DURATION.fullmatch(text) is None:
        raise BadValue(f"{shown(value)} is not a duration", "write 30s, 5m, 2h, 1h30m or 1d")
    parts = _DURATION_PART.findall(text)
    scales = [_DURATION_UNITS[unit] for _, unit in parts]
    if sorted(scales, reverse=True) != scales or len(set(scales)) != len(scales):
        raise BadValue(f"{shown(value)} is not a duration", "write each unit once, the largest first: 1h30m")
    total = sum(int(number) * _DURATION_UNITS[unit] for number, unit in parts)
    if total > MAX_DURATION_MS:
        raise BadValue(f"{shown(value)} is too long", "write at most 366d")
    return total


def seconds(value: object) -> int:
    """Whole seconds of a duration; a part of a second is refused."""
    total = duration_ms(value)
    if total % 1000:
        raise BadValue(f"{shown(value)} is not a whole number of seconds", f"write {-(-total // 1000)}s")
    return total // 1000


def fuel(value: object) -> int:
    """Fuel units: a whole number, also as ``50e9``."""
    match = _FUEL.fullmatch(_text(value, "an amount of fuel", "50e9"))
    if match is None:
        raise BadValue(f"{shown(value)} is not an amount of fuel", "write a whole number such as 50e9")
    fraction, exponent = match[2] or "", int(match[3] or 0)
    if len(fraction) > exponent:
        raise BadValue(f"{shown(value)} is not a whole number of fuel units", "write a whole number such as 50e9")
    total = int(match[1] + fraction + "0" * (exponent - len(fraction)))
    if not 0 < total <= MAX_FUEL:
        raise BadValue(f"{shown(value)} is out of range", "write between 1 and 9e18")
    return total


def money(value: object) -> Money:
    """An amount with its token's symbol, in wei exactly."""
    text = _text(value, "an amount of money", '"2.50 MESH"')
    match = _MONEY.fullmatch(text)
    if match is None:
        if _DECIMAL.fullmatch(text):
            raise BadValue(f"{shown(value)} names no token", f"write {text} MESH, or your network's token symbol")
        raise BadValue(f"{shown(value)} is not an amount of money", "write an amount and a token symbol: 2.50 MESH")
    wei = scaled(match[1], TOKEN_DIGITS, "an amount of money", "2.50 MESH")
    if wei >= 1 << 128:  # the deal's price is a uint128
        raise BadValue(f"{shown(value)} is more than a deal can carry", "write less than 3.4e20 tokens")
    return Money(Tokens(wei), match[2])


def cpu_millis(value: object) -> int:
    """Thousandths of a CPU: ``2`` is 2000, ``0.5`` is 500."""
    millis = scaled(value, 3, "a number of CPUs", "1 or 0.5")
    if not 0 < millis <= MAX_CPUS * 1000:
        raise BadValue(f"{shown(value)} is out of range", f"write between 0.001 and {MAX_CPUS}")
    return millis


def capability_tenths(value: object) -> int:
    """A CUDA compute capability in tenths: ``8.9`` is 89."""
    tenths = scaled(value, 1, "a compute capability", "8.0")
    if not 10 <= tenths <= 999:
        raise BadValue(f"{shown(value)} is not a compute capability", "write between 1.0 and 99.9, for example 8.0+")
    return tenths


def mib_up(value: object) -> int:
    """A size in MiB, rounded up."""
    return -(-size(value) // MIB)


def range_of(value: object, one: Callable[[object], int]) -> Range:
    """``a`` and ``a+`` and ``a..`` mean at least a; ``a..b`` means from a to b; ``..b`` at most b."""
    text = _text(value, "a value or a range", "2, 2+ or 2..4")
    if text.endswith("+"):
        return Range(one(text[:-1]))
    low, dots, high = text.partition("..")
    if not dots:
        return Range(one(text))
    if not low and not high:
        raise BadValue(f"{shown(value)} is not a range", "write a..b, a+ or ..b")
    found = Range(one(low) if low else 0, one(high) if high else None)
    if found.high is not None and found.high < found.low:
        raise BadValue(f"{shown(value)} is an empty range", f"write {high}..{low}")
    return found


def moment(value: object) -> int:
    """Unix seconds of an RFC 3339 time with its zone: ``2026-12-01T18:00Z``."""
    text = _text(value, "a time", "2026-12-01T18:00Z")
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise BadValue(
            f"{shown(value)} is not a time", "write 2026-12-01T18:00Z, with a zone, or a duration such as 2h"
        )
    try:
        parsed = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise BadValue(f"{shown(value)} is not a time: {error}", "write 2026-12-01T18:00Z") from error
    unix = (parsed - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    if unix <= 0:
        raise BadValue(f"{shown(value)} lies before 1970", "write a time to come")
    return unix

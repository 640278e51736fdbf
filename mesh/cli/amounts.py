"""How are amounts, prices and durations typed on the command line?"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from mesh.base.config import tokens_text
from mesh.base.errors import UsageError
from mesh.cli.session import typed_verb
from protocols.job.problems import BadValue
from protocols.job.units import duration_ms, moment
from protocols.limits import TOKEN_SYMBOL
from protocols.units import Tokens

__all__ = ["duration_s", "moment_s", "price_flags", "wei_of"]

_AMOUNT: Final = re.compile(r"(\d{1,60})(?:\.(\d{1,18}))?(?: ?MESH)?", re.ASCII)
_PRICES: Final = {
    "cpu-s": ("provider.price_per_cpu_s", 1),
    "cpu-h": ("provider.price_per_cpu_s", 3600),
    "gib-s": ("provider.price_per_gib_s", 1),
    "gib-h": ("provider.price_per_gib_s", 3600),
    "gpu-s": ("provider.price_per_gpu_s", 1),
    "gpu-h": ("provider.price_per_gpu_s", 3600),
    "job": ("provider.price_floor", 1),
}
"""Unit of `--price` -> the setting it means, and by what the amount is divided."""


_PRICED: Final = "mesh up --price 0.036/cpu-h --price 1.2/gpu-h --price 0.001/job"


def wei_of(text: str) -> int:
    """Wei of an amount in whole tokens such as ``2.5``. Raises ``UsageError``."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no amount",
            why=f"an amount is a number of {TOKEN_SYMBOL} with at most 18 digits after the point, such as 2.5",
            fix=f"{typed_verb()} --help",
        )
    return int(found[1]) * 10**18 + int((found[2] or "0").ljust(18, "0"))


def price_flags(prices: Sequence[str]) -> dict[str, object]:
    """Settings of ``--price 1.2/gpu-h`` and its like; an hour's price is rounded down to wei per second."""
    flags: dict[str, object] = {}
    for text in prices:
        amount, _, unit = text.partition("/")
        if unit not in _PRICES:
            raise UsageError(
                f"--price {text} cannot be read",
                why=f"after the slash comes one of {', '.join(_PRICES)}",
                fix=_PRICED,
            )
        name, seconds = _PRICES[unit]
        if name in flags:
            raise UsageError(f"--price names {name} twice", fix=_PRICED)
        flags[name] = tokens_text(Tokens(wei_of(amount) // seconds))
    return flags


def duration_s(text: str) -> float:
    """Seconds of ``90s``, ``10m`` or ``1h30m``. Raises ``UsageError``."""
    try:
        return float(Decimal(duration_ms(text)) / 1000)
    except BadValue as error:
        raise UsageError(
            f"{text!r} is no duration", why=str(error), fix=f"{typed_verb()} --help   (a duration is 90s, 10m or 1h30m)"
        ) from error


def moment_s(text: str, now_s: int) -> int:
    """Unix seconds of a time such as ``2026-12-01T18:00Z``, or of so long ago: ``90s``, ``10m``. Raises ``UsageError``."""
    try:
        return now_s - duration_ms(text) // 1000
    except BadValue:
        pass
    try:
        return moment(text)
    except BadValue as error:
        raise UsageError(
            f"{text!r} is neither a time nor a duration",
            why="it is 90s, 10m, 1h30m, or 2026-12-01T18:00Z",
            fix="date -u",
        ) from error

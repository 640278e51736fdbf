"""Which plain values does a job file hold: words, numbers, switches, paths, peers?

The YAML reader hands over text, integers, true, false and nothing; ``yes``, ``010`` and ``1:30`` arrive as the text
that was written, so that each gets an error naming what to write instead of a silent surprise.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from protocols.job import sources, units
from protocols.job.constraints import Constraint, parse_constraint
from protocols.job.kinds import Scalar
from protocols.job.peers import peer_from_text
from protocols.job.problems import BadValue, shown
from protocols.job.schema import AbsoluteDeadline, Deadline, RelativeDeadline
from protocols.job.sources import Source
from protocols.job.units import Money, Range
from protocols.units import PPM, PeerId, UnixSeconds

__all__ = [
    "ARGUMENT",
    "AUDIT",
    "CAPABILITY_RANGE",
    "CONSTRAINT",
    "CPU_RANGE",
    "DEADLINE",
    "DIGEST",
    "ENV_VALUE",
    "FUEL",
    "GUEST_PATH",
    "MIB_RANGE",
    "MIB_SIZE",
    "MONEY",
    "PEER",
    "SECONDS",
    "SHARE",
    "SIZE",
    "SOURCE",
    "SWITCH",
    "TOLERANCE",
    "WINDOW",
    "duration",
    "env_name",
    "label_name",
    "number",
    "pattern",
    "size_up_to",
    "text",
    "whole",
]

_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", re.ASCII)
_RESERVED_ENV: Final = "MESH_"
_TEXT_OR_INT: Final[dict[str, Any]] = {"type": ["string", "integer"]}


def _plain(value: object, most: int, *, multiline: bool = False) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        hint = f'write "{shown(value)}" in quotes' if isinstance(value, bool) else "write text, in quotes if need be"
        raise BadValue(f"{shown(value)} is not text", hint)
    if isinstance(value, int) and value.bit_length() > 128:
        raise BadValue(f"{shown(value)} is not text", "write it in quotes")
    word = str(value)
    if len(word) > most:
        raise BadValue(f"{len(word)} characters, at most {most} allowed", "shorten it")
    allowed = word.translate({9: 32, 10: 32, 13: 32}) if multiline else word
    if not all(c.isprintable() for c in allowed):
        raise BadValue("holds control characters or broken Unicode", "remove them")
    return word


def text(words: str, most: int, *, multiline: bool = False) -> Scalar[str]:
    """Printable text of at most ``most`` characters; an integer is taken as its digits."""
    return Scalar(words, lambda value: _plain(value, most, multiline=multiline), {**_TEXT_OR_INT, "maxLength": most})


def pattern(words: str, expression: str, advice: str) -> Scalar[str]:
    """Text that matches a regular expression as a whole."""
    compiled = re.compile(expression, re.ASCII)

    def one(value: object) -> str:
        word = _plain(value, 255)
        if compiled.fullmatch(word) is None:
            raise BadValue(f"{shown(value)} is not {words}", advice)
        return word

    return Scalar(words, one, {**_TEXT_OR_INT, "pattern": f"^(?:{expression})$"})


def whole(value: object, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, written as decimal digits. Raises ``BadValue``."""
    if isinstance(value, str) and re.fullmatch(r"0[0-9oxb][0-9a-fA-F]*", value):
        raise BadValue(
            f"{shown(value)} is read as octal by some and as decimal by others", "write it without the leading zero"
        )
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue(f"{shown(value)} is not a whole number", f"write a number from {low} to {high}")
    if not low <= value <= high:
        raise BadValue(f"{shown(value)} is out of range", f"write a number from {low} to {high}")
    return value


def number(low: int, high: int) -> Scalar[int]:
    """A whole number from ``low`` to ``high``."""
    words = f"whole number, {low} to {high}"
    return Scalar(words, lambda value: whole(value, low, high), {"type": "integer", "minimum": low, "maximum": high})


def duration(most_days: int) -> Scalar[int]:
    """Whole seconds of a duration of at most so many days."""

    def one(value: object) -> int:
        found = _seconds(value)
        if found > most_days * 86_400:
            raise BadValue(f"{shown(value)} is too long", f"write at most {most_days}d")
        return found

    return Scalar(f"duration, `5m`, at most {most_days}d", one, {"type": "string"})


def size_up_to(most_mib: int, advice: str) -> Scalar[int]:
    """Bytes of a size of at most so many MiB."""

    def one(value: object) -> int:
        found = _size(value)
        if found > most_mib * units.MIB:
            raise BadValue(f"{shown(value)} is too much", f"write at most {most_mib}MiB{advice}")
        return found

    return Scalar(f"size, at most {most_mib}MiB", one, {"type": "string"})


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
    word = meant.get(value.lower(), "") if isinstance(value, str) else ""
    raise BadValue(f"{shown(value)} is neither true nor false", f"write {word or 'true or false'}")


def _env_value(value: object) -> str | None:
    return None if value is None else _plain(value, 4096, multiline=True)


def env_name(value: object) -> str:
    """The name of an environment variable. ``MESH_*`` is the node's own."""
    if not isinstance(value, str) or _ENV_NAME.fullmatch(value) is None:
        raise BadValue(
            f"{shown(value)} is not a variable name", "write letters, digits and _, not beginning with a digit"
        )
    if value.startswith(_RESERVED_ENV):
        raise BadValue(f"{shown(value)} is set by the node", f"choose a name without {_RESERVED_ENV}")
    return value


def label_name(value: object) -> str:
    """The name of a label, as kubectl users know it."""
    if not isinstance(value, str) or _LABEL_NAME.fullmatch(value) is None:
        raise BadValue(
            f"{shown(value)} is not a label name", "write letters, digits, and . _ / - between them, 63 at most"
        )
    return value


def _share(value: object) -> int:
    ppm = units.scaled(value, 6, "a share from 0 to 1", "0.05")
    if ppm > PPM:
        raise BadValue(f"{shown(value)} is more than 1", "write a share from 0 to 1, for example 0.05")
    return ppm


def _audit(value: object) -> int | None:
    return None if value == "auto" else _share(value)


def _tolerance(value: object) -> int:
    """Units of 10**-12, also from the form 1e-5."""
    match = re.fullmatch(r"(\d{1,3})[eE]-(\d{1,2})", str(value)[:16], re.ASCII) if isinstance(value, str) else None
    if match and int(match[2]) <= 12:
        return int(match[1] + "0" * (12 - int(match[2])))
    return units.scaled(value, 12, "a tolerance", "1e-5")


def _deadline(value: object) -> Deadline:
    if isinstance(value, str) and value[:4].isdecimal() and "-" in value:
        return AbsoluteDeadline(UnixSeconds(units.moment(value)))
    return RelativeDeadline(_seconds(value))


def _seconds(value: object) -> int:
    found = units.seconds(value)
    if found == 0:
        raise BadValue("a duration of nothing", "write at least 1s")
    return found


def _window(value: object) -> int:
    found = units.duration_ms(value)
    if not 100 <= found <= 2000:
        raise BadValue(f"{shown(value)} is out of range", "write between 100ms and 2s")
    return found


def _ranged(one: Callable[[object], int]) -> Callable[[object], Range]:
    return lambda value: units.range_of(value, one)


def _size(value: object) -> int:
    found = units.size(value)
    if found == 0:
        raise BadValue("a size of nothing", "write at least 1KiB")
    return found


_TEXT: Final[dict[str, Any]] = {"type": "string"}

ARGUMENT: Final = text("text", 4096, multiline=True)
AUDIT: Final[Scalar[int | None]] = Scalar("`auto` or a share from 0 to 1", _audit, {"type": ["string", "number"]})
CAPABILITY_RANGE: Final[Scalar[Range]] = Scalar(
    "compute capability range, `8.0+`", _ranged(units.capability_tenths), {"type": ["string", "number"]}
)
CONSTRAINT: Final[Scalar[Constraint]] = Scalar("constraint", parse_constraint, _TEXT)
CPU_RANGE: Final[Scalar[Range]] = Scalar(
    "CPUs, `1`, `0.5`, `2+` or `2..4`", _ranged(units.cpu_millis), {"type": ["string", "number"]}
)
DEADLINE: Final[Scalar[Deadline]] = Scalar("time `2026-12-01T18:00Z` or duration `2h`", _deadline, _TEXT)
DIGEST: Final = Scalar("`sha256:<hex>`", sources.digest_of, {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"})
ENV_VALUE: Final[Scalar[str | None]] = Scalar(
    "text, or nothing to take it from your environment", _env_value, {"type": ["string", "integer", "null"]}
)
FUEL: Final = Scalar("fuel units, `50e9`", units.fuel, {"type": ["string", "number"]})
GUEST_PATH: Final = Scalar(
    "absolute path", sources.guest_path, {"type": "string", "pattern": "^/", "maxLength": sources.MAX_PATH_CHARS}
)
MIB_RANGE: Final[Scalar[Range]] = Scalar("size or range, `512MiB`, `1GiB+`, `1GiB..4GiB`", _ranged(units.mib_up), _TEXT)
MIB_SIZE: Final = Scalar("size, `64MiB`", units.mib_up, _TEXT)
MONEY: Final[Scalar[Money]] = Scalar("amount and token, `2.50 MESH`", units.money, _TEXT)
PEER: Final[Scalar[PeerId]] = Scalar("PeerId, `16Uiu2HA...`", peer_from_text, _TEXT)
SECONDS: Final = Scalar("duration, `5m`, `1h30m`", _seconds, _TEXT)
SHARE: Final = Scalar("share from 0 to 1", _share, {"type": ["string", "number"]})
SIZE: Final = Scalar("size, `1MiB`", _size, _TEXT)
SOURCE: Final[Scalar[Source]] = Scalar("path, CID or address", sources.source_of, _TEXT)
SWITCH: Final = Scalar("`true` or `false`", _switch, {"type": "boolean"})
TOLERANCE: Final = Scalar("tolerance, `1e-5`", _tolerance, {"type": ["string", "number"]})
WINDOW: Final = Scalar("duration from 100ms to 2s", _window, _TEXT)

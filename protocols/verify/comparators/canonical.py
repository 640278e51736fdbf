"""Which differences between two files mean nothing? Built-in normal forms, applied in a job's order, then compared.

Each is a total function from bytes to bytes that is idempotent: a file it does not apply to comes back as it was. None runs
code that a job brings. A normal form is chosen by the job and signed with the deal, so what it forgets, both sides agreed to
forget.
"""

import json
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

import numpy as np

from protocols.errors import RemoteProtocolError
from protocols.verify.comparators.outputs import Content, numbers_of

__all__ = ["MAX_CANONICAL_BYTES", "MAX_JSON_DEPTH", "canonical_form", "is_canonicaliser"]

MAX_CANONICAL_BYTES: Final = 8 << 20
"""A longer file is compared as it is: the slowest normal form takes seconds for 8 MiB."""
MAX_JSON_DEPTH: Final = 64
"""Deeper JSON stays as it is: it would meet the interpreter's recursion limit, which differs between callers."""
MAX_DECIMALS: Final = 15

_DAY: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH: Final = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK: Final = rb"\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_TIMESTAMP: Final = re.compile(
    rb"(?<![0-9A-Za-z])(?:"
    rb"\d{4}-\d{2}-\d{2}[T ]" + _CLOCK + rb"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"  # ISO 8601, RFC 3339
    rb"|" + _DAY + rb", \d{1,2} " + _MONTH + rb" \d{4} " + _CLOCK + rb"(?: (?:GMT|UTC|[+-]\d{4}))?"  # RFC 5322
    rb"|" + _DAY + rb" " + _MONTH + rb" [ \d]\d " + _CLOCK + rb"(?: [A-Z]{3,4})? \d{4}"  # asctime, date(1)
    rb"|\d{2}/" + _MONTH + rb"/\d{4}:" + _CLOCK + rb"(?: [+-]\d{4})?"  # web server logs
    rb")(?![0-9A-Za-z])"
)
_NUMBER: Final = re.compile(rb"(?<![\w.+-])[+-]?\d{1,40}\.\d{1,40}(?:[eE][+-]?\d{1,2})?(?![\w.])")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+\\?(?:"|\Z)', re.DOTALL)
"""An open string ends with the file: if it could fail, a file of escaped quotes would take quadratic time."""
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_ROUND: Final = re.compile(r"round-(\d{1,2})")
_EXACT: Final = Context(prec=200, rounding=ROUND_HALF_EVEN)
"""Holds 40 digits, two digits of exponent and MAX_DECIMALS without rounding twice."""


class _Literal(str):
    """A number as the file spells it: 1.0 and 1.00 stay two, and no digit is lost."""

    __slots__ = ()


def is_canonicaliser(name: str) -> bool:
    """Whether a job may name it: ``strip-timestamps``, ``sort-json``, ``pixels``, ``round-0`` .. ``round-15``."""
    return _builtin(name) is not None


def canonical_form(names: Sequence[str], content: Content) -> bytes:
    """A file's normal form under these canonicalisers, in order.

    An array is a decoded image: it becomes its shape, type and raw values, whatever the encoder did. Raises
    RemoteProtocolError: ``uncomparable`` for arrays beyond the bounds, ``malformed`` for a name that is not built in.
    """
    steps = [_builtin(name) for name in names]
    if None in steps:
        unknown = next(name for name, step in zip(names, steps, strict=True) if step is None)
        raise RemoteProtocolError(f"there is no canonicaliser {unknown!r}", code="malformed")
    if isinstance(content, np.ndarray):
        values = numbers_of(content)
        little = values.astype(values.dtype.newbyteorder("<"))
        return f"pixels {little.shape} {little.dtype.str}\n".encode() + little.tobytes()
    if len(content) > MAX_CANONICAL_BYTES:
        return content
    for step in steps:
        if step is not None:
            content = step(content)
    return content


def _builtin(name: str) -> Callable[[bytes], bytes] | None:
    if name == "strip-timestamps":
        return _strip_timestamps
    if name == "sort-json":
        return _sort_json
    if name == "pixels":
        return _unchanged  # it asks the caller to decode images; bytes that no decoder took stay bytes
    found = _ROUND.fullmatch(name)
    if found is None or int(found[1]) > MAX_DECIMALS or name != f"round-{int(found[1])}":
        return None
    return _rounder(int(found[1]))


def _unchanged(content: bytes) -> bytes:
    return content


def _strip_timestamps(content: bytes) -> bytes:
    """Dates with a time of day, in the four usual spellings. A bare date or a number of seconds may be a result."""
    return _TIMESTAMP.sub(b"<time>", content)


def _rounder(decimals: int) -> Callable[[bytes], bytes]:
    """Numbers written with a decimal point, rounded half to even; integers and what is no number stay."""
    unit = Decimal(1).scaleb(-decimals)

    def shorter(found: re.Match[bytes]) -> bytes:
        value = Decimal(found[0].decode()).quantize(unit, context=_EXACT)
        return format(abs(value) if value.is_zero() else value, "f").encode()

    return lambda content: _NUMBER.sub(shorter, content)


def _sort_json(content: bytes) -> bytes:
    """Sorted keys, no white space; numbers as they are spelt. Not JSON, twice the same key, or too deep: unchanged."""
    if _too_deep(content):
        return content
    try:
        value = json.loads(
            content.decode(),
            parse_float=_Literal,
            parse_int=_Literal,
            parse_constant=_no_constant,
            object_pairs_hook=_no_twins,
        )
    except ValueError:
        return content
    return "".join(_written(value)).encode()


def _too_deep(content: bytes) -> bool:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", content)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_JSON_DEPTH:
            return True
    return False


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice: readers disagree about what it means")
    return found


def _written(value: object) -> list[str]:
    match value:
        case _Literal():
            return [str(value)]
        case dict():
            parts = [part for key in sorted(value) for part in (",", json.dumps(key), ":", *_written(value[key]))]
            return ["{", *parts[1:], "}"]
        case list():
            parts = [part for item in value for part in (",", *_written(item))]
            return ["[", *parts[1:], "]"]
        case _:
            return [json.dumps(value)]

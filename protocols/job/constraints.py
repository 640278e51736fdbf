"""Which extra demands may a job make on a node, and does this node meet them?

A constraint is text over published properties: ``region in [eu, us]``, ``measured.reliability >= 0.95``,
``cpus >= 4 and (class == gpu-24 or class == gpu-48)``. There is nothing to call, index or compute, and every size is
bounded. A name stands for a measured value when there is one, else for the declared one; ``measured.`` insists.
A property that is not published meets nothing, not even ``!=``.
"""

import re
from collections.abc import Mapping
from typing import Final, assert_never

import msgspec

from protocols.job.problems import BadValue, nearest, shown

__all__ = [
    "MICRO",
    "AllOf",
    "AnyOf",
    "Compare",
    "Constraint",
    "Expression",
    "Fact",
    "parse_constraint",
    "plain",
    "why_not",
]

MICRO: Final = 1_000_000
"""Numbers are compared as integers in millionths."""
MAX_CHARS: Final = 256
"""Characters of one constraint: three terminal lines."""
MAX_COMPARISONS: Final = 32
MAX_DEPTH: Final = 8
"""Nested parentheses: far above what a person reads, far below Python's recursion limit."""
MAX_CHOICES: Final = 64

_TOKEN: Final = re.compile(r'\s*(?:(>=|<=|==|!=|[<>=()\[\],])|"([^"\\]*)"|([A-Za-z0-9_][A-Za-z0-9_.:/+-]*))', re.ASCII)
_NUMBER: Final = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*", re.ASCII)
_OPS: Final = ("<", "<=", "==", "!=", ">=", ">")
_EXAMPLE: Final = 'write "region in [eu, us]" or "reliability >= 0.95"'


class Fact(msgspec.Struct, frozen=True):
    """One property of a node: a number in millionths or a word, and whether anybody but its operator vouches for it."""

    value: int | str
    measured: bool


class Compare(msgspec.Struct, frozen=True, tag=True):
    """``name op value``; ``in`` and ``notin`` have several values, the others one."""

    name: str
    op: str
    values: tuple[int | str, ...]
    measured: bool


class AllOf(msgspec.Struct, frozen=True, tag=True):
    """Every part holds."""

    parts: tuple["Expression", ...]


class AnyOf(msgspec.Struct, frozen=True, tag=True):
    """At least one part holds."""

    parts: tuple["Expression", ...]


Expression = Compare | AllOf | AnyOf


class Constraint(msgspec.Struct, frozen=True):
    """A constraint as written, and as understood."""

    text: str
    expression: Expression


class _Quoted(str):
    """A word in quotes: never a keyword, never a number."""

    __slots__ = ()


class _Reader:
    """Recursive descent over the tokens of one constraint."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.next = 0
        self.comparisons = 0

    def peek(self) -> str:
        return self.tokens[self.next] if self.next < len(self.tokens) else ""

    def keyword(self, *words: str) -> bool:
        token = self.peek()
        if token and token in words and not isinstance(token, _Quoted):
            self.next += 1
            return True
        return False

    def any_of(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise BadValue(
                f"more than {MAX_DEPTH} nested parentheses", "write several constraints: all of them must hold"
            )
        parts = [self.all_of(depth)]
        while self.keyword("or"):
            parts.append(self.all_of(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def all_of(self, depth: int) -> Expression:
        parts = [self.factor(depth)]
        while self.keyword("and"):
            parts.append(self.factor(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def factor(self, depth: int) -> Expression:
        if not self.keyword("("):
            return self.comparison()
        inner = self.any_of(depth + 1)
        if not self.keyword(")"):
            raise BadValue("a parenthesis is not closed", "add the missing )")
        return inner

    def comparison(self) -> Expression:
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            raise BadValue(
                f"more than {MAX_COMPARISONS} comparisons", "write several constraints: all of them must hold"
            )
        name = self.peek()
        if isinstance(name, _Quoted) or _NAME.fullmatch(name) is None or name in ("and", "or", "in", "not", "notin"):
            raise BadValue(f"expected the name of a property, found {shown(name) if name else 'the end'}", _EXAMPLE)
        self.next += 1
        measured = name.startswith("measured.")
        op = self.operator(name)
        values = self.choices() if op in ("in", "notin") else (self.value(),)
        if op in ("<", "<=", ">=", ">") and not isinstance(values[0], int):
            raise BadValue(f"{shown(values[0])} is not a number", f"compare words with == or in: {name} == {values[0]}")
        return Compare(name.removeprefix("measured."), op, values, measured)

    def operator(self, name: str) -> str:
        token = self.peek()
        if not isinstance(token, _Quoted):
            self.next += 1
            if token in _OPS or token in ("in", "notin"):
                return token
            if token == "not" and self.keyword("in"):
                return "notin"
            if token == "=":
                raise BadValue("a single = compares nothing", f"write {name} == ...")
        meant = nearest(token, (*_OPS, "in", "notin"))
        raise BadValue(
            f"expected an operator after {name}, found {shown(token) if token else 'the end'}",
            f"write {meant}" if meant else "use one of < <= == != >= > in notin",
        )

    def choices(self) -> tuple[int | str, ...]:
        if not self.keyword("["):
            raise BadValue("expected a list after in", "write in [eu, us]")
        values = [self.value()]
        while self.keyword(","):
            values.append(self.value())
        if not self.keyword("]"):
            raise BadValue("a list is not closed", "add the missing ]")
        if len(values) > MAX_CHOICES:
            raise BadValue(f"more than {MAX_CHOICES} choices", "shorten the list")
        return tuple(values)

    def value(self) -> int | str:
        token = self.peek()
        self.next += 1
        if isinstance(token, _Quoted):
            return str(token)
        number = _NUMBER.fullmatch(token)
        if number:
            return int(number[1]) * MICRO + int((number[2] or "").ljust(6, "0"))
        if not token or token in "<=>=!=()[]," or token in ("and", "or", "in", "not", "notin"):
            raise BadValue(f"expected a value, found {shown(token) if token else 'the end'}", _EXAMPLE)
        return token


def _tokens(text: str) -> tuple[str, ...]:
    found: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadValue(f"{shown(text[at : at + 10].strip())} makes no sense in a constraint", _EXAMPLE)
        symbol, quoted, atom = match.groups()
        found.append(_Quoted(quoted) if quoted is not None else symbol or atom)
        at = match.end()
    return tuple(found)


def parse_constraint(value: object) -> Constraint:
    """Understand one constraint. Raises ``BadValue``."""
    if not isinstance(value, str) or not value.strip():
        raise BadValue(f"{shown(value)} is not a constraint", _EXAMPLE)
    if len(value) > MAX_CHARS:
        raise BadValue(
            f"a constraint of {len(value)} characters, at most {MAX_CHARS} allowed", "write several: all must hold"
        )
    reader = _Reader(value)
    expression = reader.any_of(0)
    if reader.peek():
        raise BadValue(f"{shown(reader.peek())} is left over at the end", "join comparisons with and, or")
    return Constraint(value, expression)


def why_not(
    expression: Expression, facts: Mapping[str, Fact], open_names: frozenset[str] = frozenset()
) -> tuple[Compare, str] | None:
    """None when the facts meet the expression; else the comparison that fails and what was found in its place.

    Comparisons on ``open_names`` hold as long as nothing is known about them: somebody else judges those.
    """
    match expression:
        case Compare(name=name):
            if name in open_names and name not in facts:
                return None
            return _compare(expression, facts.get(name))
        case AllOf(parts=parts):
            return next((found for part in parts if (found := why_not(part, facts, open_names)) is not None), None)
        case AnyOf(parts=parts):
            failed = [why_not(part, facts, open_names) for part in parts]
            return None if None in failed else failed[-1]
        case _:
            assert_never(expression)


def _compare(need: Compare, fact: Fact | None) -> tuple[Compare, str] | None:
    if fact is None:
        return need, "not published"
    if need.measured and not fact.measured:
        return need, f"{plain(fact.value)} (only declared)"
    return (
        None
        if _holds(need, fact.value)
        else (need, f"{plain(fact.value)} ({'measured' if fact.measured else 'declared'})")
    )


def _holds(need: Compare, value: int | str) -> bool:
    if need.op == "in":
        return value in need.values
    if need.op == "notin":
        return value not in need.values
    wanted = need.values[0]
    if need.op == "==":
        return value == wanted
    if need.op == "!=":
        return value != wanted
    if not isinstance(value, int) or not isinstance(wanted, int):
        return False
    return {"<": value < wanted, "<=": value <= wanted, ">=": value >= wanted, ">": value > wanted}[need.op]


def plain(value: int | str) -> str:
    """A property's value as text: millionths become a decimal number."""
    if isinstance(value, str):
        return value
    whole, micro = divmod(value, MICRO)
    return f"{whole}.{micro:06d}".rstrip("0").rstrip(".")

"""What came of each bad input? One verdict each, counted by kind."""

from collections import Counter
from typing import Any

import msgspec

__all__ = ["Verdict", "figures_of", "held", "judged"]


class Verdict(msgspec.Struct, frozen=True):
    """Whether one bad input met what it must meet; ``problem`` says what it met instead."""

    kind: str
    name: str
    problem: str = ""


def held(kind: str, name: str, holds: bool, problem: str) -> Verdict:
    """The verdict of one check."""
    return Verdict(kind, name, "" if holds else problem)


def judged(kind: str, name: str, text: str, *wanted: str) -> Verdict:
    """The verdict of an error text that must say each of ``wanted``."""
    missing = [one for one in wanted if one not in text]
    return Verdict(kind, name, f"it does not say {missing} but: {text[:300]}" if missing else "")


def figures_of(verdicts: list[Verdict]) -> dict[str, Any]:
    """Counts by kind, and what failed."""
    failed = [f"{one.kind}: {one.name}: {one.problem}" for one in verdicts if one.problem]
    return {"tried": len(verdicts), **dict(Counter(one.kind for one in verdicts)), "failed": failed}

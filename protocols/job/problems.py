"""What is wrong with a job file, where exactly, and what should the author write instead?"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

__all__ = ["MAX_PROBLEMS", "BadValue", "JobError", "Place", "Problem", "Unread", "nearest", "shown"]

MAX_PROBLEMS: Final = 100
"""Problems kept for one file. More would scroll off every screen; the rest is counted by the next attempt."""
MAX_SHOWN_CHARS: Final = 60
"""Characters of a wrong value repeated in its message: one terminal line with the path."""


class Problem(msgspec.Struct, frozen=True):
    """One thing to correct. ``path`` is dotted (``inputs[0].source``), ``line`` counts from 1, 0 when unknown."""

    path: str
    line: int
    message: str
    suggestion: str = ""


class JobError(Exception):
    """The job is not acceptable. ``problems`` lists everything found, in file order; there is at least one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.path or 'job'}: {p.message}" for p in self.problems))


class BadValue(Exception):
    """A reader could not make sense of a value; whoever called it knows the place."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


class Unread(Exception):
    """A value stays unread; its problem is recorded already."""


class Place:
    """A position in the file that problems can be reported at. All places of one file share one list of problems."""

    __slots__ = ("_lines", "_problems", "_suspects", "path")

    def __init__(self, lines: Mapping[str, int], path: str = "", parent: "Place | None" = None) -> None:
        self.path = path
        self._lines = lines
        self._problems: list[Problem] = parent._problems if parent else []
        self._suspects: set[str] = parent._suspects if parent else set()

    def key(self, name: str) -> "Place":
        """The place of a key under this one."""
        return Place(self._lines, f"{self.path}.{name}" if self.path else name, self)

    def item(self, index: int) -> "Place":
        """The place of a list item under this one."""
        return Place(self._lines, f"{self.path}[{index}]", self)

    def at(self, path: str) -> "Place":
        """The place with that full path."""
        return Place(self._lines, path, self)

    def report(self, message: str, suggestion: str = "") -> None:
        """Record a problem here; past ``MAX_PROBLEMS`` it is dropped."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(self.path, self._line(), message, suggestion))

    def suspect(self) -> None:
        """Mark this place as probably meant by a misspelt key, so that no check complains twice."""
        if len(self._suspects) < MAX_PROBLEMS:
            self._suspects.add(self.path)

    def broken(self, *paths: str) -> bool:
        """Whether a problem is known at, above or below one of these paths, so that a check on them would mislead."""
        known = {problem.path for problem in self._problems} | self._suspects
        return any(_related(one, path) for one in known for path in paths)

    def found(self) -> tuple[Problem, ...]:
        """All problems so far, in file order."""
        return tuple(sorted(self._problems, key=lambda p: p.line))

    def _line(self) -> int:
        path = self.path
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines.get("", 0)


def _related(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long == short or (long.startswith(short) and (not short or long[len(short)] in ".["))


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string when none is close."""
    by_lower = {name.lower(): name for name in known}
    lowered = word.lower()[:MAX_SHOWN_CHARS]
    close = difflib.get_close_matches(lowered, by_lower, n=1, cutoff=0.6)
    if close:
        return by_lower[close[0]]
    return next(
        (by_lower[k] for k in by_lower if len(lowered) > 2 and (k.startswith(lowered) or lowered.startswith(k))), ""
    )


def shown(value: object) -> str:
    """A wrong value as it may be repeated in a message: short, quoted, without control characters."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:  # str() of a huge integer is refused by Python itself
        return "a very large number"
    text = repr(value) if isinstance(value, str) else str(value)
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 2] + ".."

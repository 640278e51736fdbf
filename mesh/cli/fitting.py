"""How does a table fit the screen? What matters least goes first; then the last column folds, or the widest is cut."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Final

__all__ = ["columns", "fitted", "folded", "left_out", "show_all"]

PIPE_COLUMNS: Final = 80
"""Where there is no screen: a file, a pipe, a mail. COLUMNS says otherwise, and `-o wide` shows all."""
LEAST_CHARS: Final = 24
"""Of a last column that folds: a few words in each line."""
LEAST_CUT: Final = 8
"""Of a column that is cut: `16Uiu...`."""
GAP: Final = 2

_ALL: ContextVar[bool] = ContextVar("all", default=False)
_MISSED: ContextVar[tuple[str, ...]] = ContextVar("missed", default=())

Cells = list[list[str]]


def show_all(wanted: bool) -> None:
    """From now on nothing is left out, cut or folded (`-o wide`), or again what has no room."""
    _ALL.set(wanted)
    _MISSED.set(())


def left_out() -> tuple[str, ...]:
    """The heads of columns that were left out or cut since the last time that this was asked."""
    found = _MISSED.get()
    _MISSED.set(())
    return found


def columns() -> int:
    """Characters in a line."""
    return sys.maxsize if _ALL.get() else shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns


def folded(text: str, room: int) -> list[str]:
    """Lines of ``room`` characters, broken at blanks alone: an id is copied whole."""
    if len(text) <= room:
        return [text]
    width = max(room, LEAST_CHARS)
    said, hint, rest = text.partition("   (")  # what to type next stays in one piece where it can
    parts = [said, f"({rest}"] if hint else [said]
    return [line for one in parts for line in textwrap.wrap(one, width, break_long_words=False, break_on_hyphens=False)]


def fitted(head: Sequence[str], rows: Iterable[Sequence[str]], least: Sequence[str], folds: bool, room: int) -> Cells:
    """Head and rows that fit into ``room`` characters, if they can. ``least``: which columns may go, the first one first;
    ``folds``: the last column may take several lines. The first column, by which a row is named, stays as it is."""
    cells = [list(head), *[list(row) for row in rows]]
    if len(cells) == 1:  # nothing is missed in a table of nothing
        while least and _width(cells, None) > room:
            cells[0] = [name for name in cells[0] if name != least[0]]
            least = least[1:]
        return cells
    last = head[-1] if folds else None
    for gone in (*_empty(cells, least), *least):
        if _width(cells, last) <= room:
            break
        if gone in cells[0]:
            _drop(cells, cells[0].index(gone))
    while (over := _width(cells, last) - room) > 0 and _cut_widest(cells, over, last is not None):
        pass
    if last is None or _width(cells, None) <= room:
        return cells
    taken = _width(cells, None) - max(len(row[-1]) for row in cells)
    return _fold_last(cells, room - taken)


def _empty(cells: Cells, least: Sequence[str]) -> list[str]:
    """Of the columns that may go, those that say nothing in any row."""
    where = {name: cells[0].index(name) for name in least if name in cells[0]}
    return [name for name, at in where.items() if all(row[at] == "-" or row[at][:2] == "0 " for row in cells[1:])]


def _widths(cells: Cells) -> list[int]:
    return [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]


def _width(cells: Cells, last: str | None) -> int:
    """Of the whole; where the ``last`` column may fold, with as little of it as may be."""
    widths = _widths(cells)
    if last is not None:
        widths[-1] = min(widths[-1], LEAST_CHARS)
    return sum(widths) + GAP * (len(widths) - 1)


def _missed(name: str) -> None:
    if name not in _MISSED.get():
        _MISSED.set((*_MISSED.get(), name))


def _drop(cells: Cells, at: int) -> None:
    _missed(cells[0][at])
    for row in cells:
        del row[at]


def _fold_last(cells: Cells, room: int) -> Cells:
    out: Cells = []
    for row in cells:
        first, *more = folded(row[-1], room)
        out.append([*row[:-1], first])
        out += [[*[""] * (len(row) - 1), line] for line in more]
    return out


def _cut_widest(cells: Cells, over: int, but_last: bool) -> bool:
    """Cut the widest column but the first by ``over`` or to the next widest. False when none can be."""
    widths = _widths(cells)[1 : -1 if but_last else None]
    if not widths or max(widths) <= LEAST_CUT:
        return False
    at = widths.index(max(widths)) + 1
    next_widest = sorted(widths)[-2] if len(widths) > 1 else 0
    width = max(max(widths) - over, min(next_widest, max(widths) - 1), len(cells[0][at]), LEAST_CUT)
    if width >= max(widths):
        return False
    _missed(cells[0][at])
    for row in cells[1:]:
        if len(row[at]) > width:
            row[at] = f"{row[at][: width - 3]}..."
    return True

"""How do answers look? Tables and progress for people, JSON for programs."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mesh.api.types import DealInfo, RunInfo
from mesh.base.clock import Clock
from mesh.cli.fitting import columns, fitted, folded, left_out

__all__ = [
    "PhaseLine",
    "ago",
    "amount",
    "checked_words",
    "emit",
    "newest",
    "outcome_words",
    "pairs",
    "phase_line",
    "plain",
    "share",
    "short",
    "table",
    "when",
]

WEI: Final = 10**18


def amount(wei: str | None, symbol: str = "MESH") -> str:
    """Whole tokens, exact, for people."""
    if wei is None:
        return "-"
    whole, rest = divmod(int(wei), WEI)
    fraction = f"{rest:018d}".rstrip("0")
    return f"{whole}.{fraction} {symbol}" if fraction else f"{whole} {symbol}"


def short(identifier: str | None) -> str:
    """The first eight digits of an id: enough to type."""
    if not identifier:
        return "-"
    return identifier[:10] if identifier.startswith("0x") else f"..{identifier[-8:]}"


def ago(unix_s: int, now_s: int) -> str:
    """How long ago, in the two largest units."""
    left = max(now_s - unix_s, 0)
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02d}s"
    return f"{left // 3600}h{left % 3600 // 60:02d}m"


def when(unix_s: int) -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def emit(value: Any, form: str, people: Callable[[], str]) -> None:
    """Print data: one JSON value, one JSON line per item, or what people read."""
    from mesh.api.calls import to_json

    if form == "json":
        print(to_json(value).decode())
    elif form == "jsonl":
        for one in value if isinstance(value, list | tuple) else [value]:
            print(to_json(one).decode())
    else:
        text = people()
        if text:
            print(text)
        if missed := left_out():
            print(f"not all of it fits: {', '.join(missed)}   (-o wide)", file=sys.stderr)


def plain(text: str) -> str:
    """One line that moves no cursor and rings no bell: much of what is shown was written by strangers."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line; a value that is longer goes on below itself."""
    width = max((len(name) for name, _ in rows), default=0)
    lines = []
    for name, value in rows:
        first, *more = folded(plain(value), columns() - width - 2)
        lines += [f"{name:<{width}}  {first}".rstrip(), *[f"{'':<{width}}  {line}" for line in more]]
    return "\n".join(lines)


def share(ppm: int | None) -> str:
    """Parts per million as percent."""
    return "-" if ppm is None else f"{ppm / 10_000:.1f} %"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    least: Sequence[str] = (),
    folds: bool = False,
    room: int | None = None,
) -> str:
    """Left-aligned columns, two spaces apart; the head alone when there is nothing.

    As wide as the screen at most, or ``room`` characters: ``least`` and ``folds`` say what gives way (`fitting.fitted`).
    """
    shown = [[plain(cell) for cell in row] for row in rows]
    cells = fitted(head, shown, least, folds, columns() if room is None else room)
    head = cells[0]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def _elapsed(since_s: int | None, now_s: int) -> str:
    """Hours, minutes and seconds since the commitment, which the provider waits for before it starts."""
    passed = max(now_s - since_s, 0) if since_s else 0
    return f"{passed // 3600:02d}:{passed % 3600 // 60:02d}:{passed % 60:02d}"


_ENDED: Final = {
    "trapped": "trapped (`mesh logs` has its last words)",
    "fuel": "fuel (it used up limits.fuel)",
    "oom": "oom (its memory was at the limit of resources.memory)",
    "timeout": "timeout (limits.wall passed)",
    "output_limit": "output_limit (it wrote more than limits.stdout)",
    "disk_limit": "disk_limit (it wrote more than its outputs may hold)",
}
"""Outcomes without an exit code of the program's own, and what to change in the job file."""


def outcome_words(outcome: str | None, exit_code: int | None) -> str:
    """How a job ended: with its exit code where it had one, else with the limit that it met."""
    return _ENDED.get(outcome or "") or (f"{outcome}, exit code {exit_code}" if exit_code != -1 else f"{outcome}")


_CHECKED: Final = {
    "unfinished": "bytes, an audit did not finish",
    "too-long": "run again, the time was up here too",
    "slow": "run again, here it ended in time",
    "contradicted": "run again, here it ended long before",
}


def checked_words(checked: str) -> str:
    """What was done to a result before it was accepted."""
    return _CHECKED.get(checked) or checked or "no"


def _deal_steps(deal: DealInfo, now_s: int | None) -> list[str]:
    steps = [f"deal {short(deal.deal_id)}"]
    if deal.phase in ("proposed", "signed", "ready"):
        steps.append(deal.hint if deal.hint.startswith("pulling") else deal.phase)
    if deal.commit_tx:
        steps.append(f"committed {short(deal.commit_tx)}")
    if deal.phase in ("committed", "running"):
        steps.append("running" if now_s is None else f"running {_elapsed(deal.committed_at, now_s)}")
    if deal.outcome:
        steps.append(f"result {deal.outcome}")
    if deal.phase in ("resulted", "delivered", "checking"):
        steps.append("pulling result" if deal.phase == "resulted" else "checking")
    if deal.checked:
        steps.append(f"checked: {checked_words(deal.checked)}")
    if deal.phase == "rejected":
        steps.append(f"REJECTED: {deal.detail}")
    if deal.final_tx:
        steps.append(f"{deal.final_how} {short(deal.final_tx)}")
    return steps


_NO_RESULT: Final = ("proposed", "signed", "committed", "resulted", "delivered", "abandoned", "expired")
"""Phases of a replica whose result is not here, or is still being verified."""


def phase_line(run: RunInfo, now_s: int | None = None) -> str:
    """One line that says where a run stands; with ``now_s`` also for how long it has been running."""
    quotes = sum(one.verdict in ("quoted", "chosen") for one in run.candidates)
    steps = [f"{quotes} {'quote' if quotes == 1 else 'quotes'}" if quotes else "searching"]
    if run.replicas:
        here = sum(one.phase not in _NO_RESULT for one in run.deals)
        steps.append(f"{here} of {run.replicas} results")
    elif len(run.deals) > 1:
        steps.append(f"attempt {len(run.deals)}")
    if run.deals:
        steps += _deal_steps(run.deals[-1], now_s)
    if run.status in ("failed", "cancelled"):
        steps.append(f"{run.status} {run.code}".strip())
    return plain(" > ".join(steps))


def newest(phases: str, width: int) -> str:
    """As many of the last steps of a phase line as ``width`` characters hold: the news stands at its end."""
    steps = phases.split(" > ")
    while len(phases) > width and len(steps) > 1:
        steps = steps[1:]
        phases = " > ".join(["...", *steps])
    return phases if len(phases) <= width else f"{phases[: width - 3]}..."


class PhaseLine:
    """Rewrites one line on a terminal; elsewhere prints each new state once."""

    def __init__(self, clock: Clock) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        self._last = ""
        self._midline = False

    def show(self, run: RunInfo) -> None:
        """The current state."""
        text = phase_line(run, self._clock.unix_s() if self._live else None)
        if text == self._last:
            return
        if self._live:
            width = max(shutil.get_terminal_size().columns - 1, 20)
            print(f"{self._begin()}{newest(text, width):<{width}}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
        self._last = text

    def _begin(self) -> str:
        """Back to the line's begin, or on to a new line where somebody else's has not ended."""
        begin, self._midline = "\n" if self._midline else "\r", False
        return begin

    def aside(self, text: str) -> None:
        """A line of its own, above the one that is rewritten."""
        ahead = "\n" if self._midline else ""
        self.make_room()
        print(f"{ahead}{text}", file=sys.stderr, flush=True)

    def make_room(self, *, midline: bool = False) -> None:
        """Somebody else writes on this terminal now; ``midline``: and what they write does not end its line."""
        if self._live and self._last:
            width = max(shutil.get_terminal_size().columns - 1, 20)
            print(f"\r{'':<{width}}\r", end="", file=sys.stderr, flush=True)
            self._last = ""
        self._midline = midline and self._live

    def end(self) -> None:
        """Leave the last state standing, whole."""
        if self._live and self._last:
            print(f"{self._begin()}{self._last}", file=sys.stderr, flush=True)
            self._last = ""

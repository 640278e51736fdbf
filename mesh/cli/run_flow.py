"""What do the verbs that look after runs ask of a node, and how do they show its answers?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import trio

from mesh.api.port import NodeApi
from mesh.api.reading import ReadApi
from mesh.api.types import DealInfo, RunInfo, TraceInfo
from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig
from mesh.base.errors import UsageError
from mesh.cli.fitting import columns, folded
from mesh.cli.options import Form
from mesh.cli.render import (
    ago,
    amount,
    checked_words,
    emit,
    newest,
    outcome_words,
    pairs,
    phase_line,
    plain,
    short,
    table,
    when,
)
from mesh.cli.session import Session, has_history, open_reading, open_session, say, when_interrupted
from mesh.cli.submit_flow import candidates_table, say_why_not, summary
from mesh.cli.submitting import fetch_result, is_over, raise_if_failed, result_folder
from mesh.cli.watching import STREAMS, copy_logs, to_our_streams, watch_run

__all__ = [
    "LogOptions",
    "cancel_run",
    "describe_run",
    "get_result",
    "list_runs",
    "retry_run",
    "show_events",
    "show_logs",
    "wait_for_run",
]

LAST_WORDS_S: Final = 10.0
"""A message to a provider takes milliseconds, a transaction a few blocks."""
ENDS: Final = ("run.done", "run.settled", "run.failed", "run.cancelled")
EVENT_INDENT: Final = 8
"""Of what an event's line has no room for: below its time."""
LEAST_PHASE_CHARS: Final = 24
"""Of it on the narrowest screen: `... > settled 0x1f3a5c7e` whole."""


async def list_runs(loaded: LoadedConfig, everything: bool, output: Form) -> None:
    """`mesh ps`."""
    found: tuple[RunInfo, ...] = ()
    if has_history(loaded):
        async with open_reading(loaded) as api:
            found = await api.runs()
    shown = tuple(run for run in found if everything or not is_over(run, settled=True))
    emit(shown, output, lambda: _runs_table(shown))
    if not shown and output == "table":
        say(f"{len(found)} runs are over: mesh ps -a" if found else "no runs yet: mesh submit JOB.yaml")


@asynccontextmanager
async def _open(loaded: LoadedConfig) -> AsyncIterator[Session]:
    """A session for a verb that names a run. Raises ``UsageError`` in a home that has none."""
    if not has_history(loaded):
        raise UsageError("there are no runs yet", why=f"no node ever ran in {loaded.home}", fix="mesh submit JOB.yaml")
    async with open_session(loaded, may_start=True) as session:
        yield session


def _runs_table(runs: tuple[RunInfo, ...]) -> str:
    now = SystemClock().unix_s()
    rows = [
        [
            short(run.run_id),
            run.name or "-",
            run.status,
            run.outcome or run.code or "-",
            ago(run.submitted, now),
            amount(run.spent),
        ]
        for run in runs
    ]
    names = ["RUN", "NAME", "STATUS", "OUTCOME", "AGE", "PAID", "PHASE"]
    width = columns() - LEAST_PHASE_CHARS
    head, *lines = table(
        names, [[*row, ""] for row in rows], least=("OUTCOME", "AGE"), room=width + len("PHASE")
    ).splitlines()
    before = head.index("PHASE")
    room = max(columns() - before, LEAST_PHASE_CHARS)
    shown = [f"{line:<{before}}{newest(phase_line(run), room)}" for line, run in zip(lines, runs, strict=True)]
    return "\n".join([head, *shown])


async def describe_run(loaded: LoadedConfig, name: str, output: Form) -> None:
    """`mesh describe`."""
    async with open_reading(loaded) as api:
        run = await api.run(name)
    emit(run, output, lambda: run_text(run))


def run_text(run: RunInfo) -> str:
    """Everything about a run, for people."""
    now = SystemClock().unix_s()
    rows = [
        ("run", run.run_id),
        ("job", f"{run.job_id} {run.name}".strip()),
        ("status", " ".join(filter(None, (run.status, run.code, run.detail)))),
        ("phase", phase_line(run)),
        ("submitted", f"{when(run.submitted)} UTC, {ago(run.submitted, now)} ago"),
        (
            "price",
            f"at most {amount(run.max_price)} per attempt, {amount(run.budget)} in all; paid {amount(run.spent)}",
        ),
    ]
    if run.status == "done":
        rows += [
            ("result", f"{outcome_words(run.outcome, run.exit_code)}, checked: {checked_words(run.checked)}"),
            ("outputs", f"{run.root}   (mesh get {short(run.run_id)})"),
        ]
    parts = [pairs(rows)]
    if run.deals:
        parts.append(_deals_table(run.deals))
    if run.rechecks:
        parts.append("computed again by others\n" + _deals_table(run.rechecks))
    attempts = sorted({one.attempt for one in run.candidates})
    for attempt in attempts:
        answers = candidates_table(tuple(one for one in run.candidates if one.attempt == attempt))
        parts.append(f"attempt {attempt}\n{answers}" if len(attempts) > 1 else answers)
    return "\n\n".join(parts)


def _deals_table(deals: tuple[DealInfo, ...]) -> str:
    rows = [
        [short(one.deal_id), short(one.provider), one.phase, amount(one.price), amount(one.paid), one.detail or "-"]
        for one in deals
    ]
    return table(["DEAL", "PROVIDER", "PHASE", "PRICE", "PAID", "DETAIL"], rows, least=("PRICE",), folds=True)


async def show_events(loaded: LoadedConfig, name: str, follow: bool, since: int, output: Form) -> None:
    """`mesh events`: with ``follow`` one line per event as it comes, whatever the form."""
    async with open_reading(loaded) as api:
        if name:
            name = (await api.run(name)).run_id
            when_interrupted(name)
        if follow or output == "jsonl":
            async for one in api.events(name, since=since, follow=follow):
                emit(one, "table" if output == "table" else "jsonl", lambda one=one: _event_line(one))  # type: ignore[misc]
            return
        found = [one async for one in api.events(name, since=since)]
    emit(found, output, lambda: "\n".join(map(_event_line, found)))


def _event_line(one: TraceInfo) -> str:
    fields = " ".join(f"{name}={value}" for name, value in one.fields.items())
    text = plain(f"{one.seq:>6}  {when(one.at)}  {short(one.subject)}  {one.name:<20}  {fields}").rstrip()
    first, *more = folded(text, columns())
    rest = folded(" ".join(more), columns() - EVENT_INDENT) if more else []
    return "\n".join([first, *[f"{'':<{EVENT_INDENT}}{line}" for line in rest]])


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says; ``since`` in unix seconds."""

    stream: str
    follow: bool
    tail: int | None
    since: int | None
    output: Form


async def show_logs(loaded: LoadedConfig, name: str, options: LogOptions) -> None:
    """`mesh logs`: the bytes as they are, or JSON objects with their place in the stream."""
    stream, follow, output, tail = options.stream, options.follow, options.output, options.tail
    streams: tuple[str, ...] = STREAMS if stream == "both" else (stream,)
    parts: list[dict[str, object]] = []

    def collect(stream: str, offset: int, data: bytes) -> None:
        part: dict[str, object] = {"stream": stream, "offset": offset, "text": data.decode(errors="replace")}
        if output == "jsonl" or follow:
            emit(part, "jsonl", str)
        else:
            parts.append(part)

    async with open_reading(loaded) as api:
        run_id = (await api.run(name)).run_id
        when_interrupted(run_id)
        if options.since is not None:
            ended = await _ended(api, run_id)
            if ended is not None and ended < options.since:
                say(f"the job ended before that, at {when(ended)} UTC   (mesh logs {run_id[:10]})")
                streams = ()
            elif ended is None and options.since >= SystemClock().unix_s():
                tail = 0
        sink = to_our_streams if output == "table" else collect
        await copy_logs(api, run_id, streams=streams, following=follow, tail=tail, sink=sink)
    if output == "json" and not follow:
        emit(parts, output, str)


async def _ended(api: ReadApi, run_id: str) -> int | None:
    """When the run's result came, or it ended without one, in unix seconds; None while it goes on."""
    ends = [one.at async for one in api.events(run_id) if one.name in ENDS]
    return ends[0] if ends else None


async def wait_for_run(loaded: LoadedConfig, name: str, output: Form) -> None:
    """`mesh wait`. Raises ``MeshError`` when the run ended without a result."""
    async with _open(loaded) as session:
        run_id = (await session.api.run(name)).run_id
        when_interrupted(run_id, session)
        run = await watch_run(session.api, run_id, logs=False, form=output)
    say_why_not(run)
    raise_if_failed(run)
    emit(run, output, lambda: summary(run))


async def get_result(loaded: LoadedConfig, name: str, directory: Path | None, output: Form) -> None:
    """`mesh get`."""
    async with open_reading(loaded) as api:
        run = await api.run(name)
        folder = directory or result_folder(loaded, run.name, run.run_id)
        await fetch_result(api, run, folder)
    emit({"run_id": run.run_id, "folder": str(folder)}, output, lambda: str(folder))


async def cancel_run(loaded: LoadedConfig, name: str, output: Form) -> None:
    """`mesh cancel`."""
    async with _open(loaded) as session:
        run = await session.api.cancel(name)
        if session.own and not await _finished(session.api):
            say("what is left to do for it goes on when a node of this home runs: mesh up --detach")
    emit(run, output, lambda: f"{short(run.run_id)} {run.status}")


async def _finished(api: NodeApi) -> bool:
    """Whether a node that was started for this command has told everybody in time."""
    give_up = trio.current_time() + LAST_WORDS_S
    while trio.current_time() < give_up:
        if not (await api.status()).outbox:
            return True
        await trio.sleep(0.1)
    return False


async def retry_run(loaded: LoadedConfig, name: str, output: Form) -> None:
    """`mesh retry`."""
    async with _open(loaded) as session:
        run = await session.api.retry(name)
        own = session.own
    emit(run, output, lambda: f"{short(run.run_id)} {run.status}")
    say(f"mesh wait {short(run.run_id)}   " + ("(resumes it)" if own else "(follows it)"))

"""What does `mesh submit` do from the file to the result?"""

import sys
from pathlib import Path

import msgspec
import trio

from mesh.api.port import NodeApi
from mesh.api.types import CandidateInfo, RunInfo
from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig
from mesh.base.errors import UsageError
from mesh.cli.render import amount, emit, short, table
from mesh.cli.session import open_api, say
from mesh.cli.submitting import exit_code_of, fetch_result, follow, prepare, raise_if_failed

__all__ = ["SubmitOptions", "candidates_table", "copy_logs", "quote_flow", "submit_flow"]

LOG_POLL_S = 0.3
CONNECT_S = 20.0


class SubmitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    file: Path
    follow: bool
    detach: bool
    sets: tuple[str, ...]
    env: tuple[str, ...]
    yes: bool
    quiet: bool
    directory: Path | None
    output: str


async def submit_flow(loaded: LoadedConfig, options: SubmitOptions) -> int:
    """The whole command; returns its exit code. Raises ``MeshError`` for everything that is not the job's own code."""
    async with open_api(loaded, may_start=True) as api:
        now = SystemClock().unix_s()
        _, job, submission = await prepare(
            api, loaded, options.file, sets=options.sets, env=options.env, now=now
        )
        _confirm(options, submission.max_price, submission.budget)
        await _wait_for_peers(api)
        run_id = await api.submit(submission)
        if options.quiet or options.detach:
            print(run_id)
        else:
            say(f"run {run_id}")
        if options.detach:
            return 0
        run = await _watch(api, run_id, options)
        raise_if_failed(run)
        return await _finish(api, run, job.name, loaded, options)


def _confirm(options: SubmitOptions, max_price: str, budget: str) -> None:
    if options.yes or not sys.stdin.isatty() or not sys.stderr.isatty():
        return
    answer = input(f"Spend up to {amount(max_price)} per attempt, {amount(budget)} in all? [Y/n] ")
    if answer.strip().lower() not in ("", "y", "yes"):
        raise UsageError("nothing was submitted", why="you said no", fix=f"mesh quote {options.file}")


async def _wait_for_peers(api: NodeApi) -> None:
    """A client that has just started needs a moment to hear of somebody."""
    with trio.move_on_after(CONNECT_S):
        while True:
            status = await api.status()
            if status.offers and status.chain_block:
                return
            await trio.sleep(0.1)


async def _watch(api: NodeApi, run_id: str, options: SubmitOptions) -> RunInfo:
    settle = not options.follow
    if not options.follow:
        return await follow(api, run_id, settled=settle)
    run: RunInfo | None = None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy_logs, api, run_id, True)
        run = await follow(api, run_id, settled=True)
    return run


async def copy_logs(api: NodeApi, run_id: str, following: bool) -> None:
    """Copy stdout and stderr of a job to ours; with ``following`` until the run is over."""
    places = {"stdout": (sys.stdout.buffer, 0), "stderr": (sys.stderr.buffer, 0)}
    while True:
        live = False
        for stream, (out, offset) in places.items():
            part = await api.logs(run_id, stream, offset)
            if part.data:
                out.write(part.data)
                out.flush()
                places[stream] = (out, offset + len(part.data))
            live = live or part.live
        if not live or not following:
            return
        await trio.sleep(LOG_POLL_S)


async def _finish(api: NodeApi, run: RunInfo, name: str, loaded: LoadedConfig, options: SubmitOptions) -> int:
    if not options.follow and not options.quiet and options.output == "table":
        await copy_logs(api, run.run_id, False)
    folder = options.directory
    if folder is None and loaded.config.client.download_dir:
        folder = Path(loaded.config.client.download_dir) / f"{name}-{run.run_id[2:10]}"
    if folder is not None:
        await fetch_result(api, run, folder)
        say(f"result in {folder}")
    emit(run, options.output, lambda: "" if options.follow or options.quiet else summary(run))
    return exit_code_of(run) if options.follow else 0


def summary(run: RunInfo) -> str:
    """What a finished run came to."""
    deal = run.deals[-1]
    lines = [
        ("run", run.run_id),
        ("result", f"{run.outcome}, exit code {run.exit_code}, checked: {run.checked}"),
        ("outputs", f"{run.root}  (mesh get {short(run.run_id)})"),
        ("deal", deal.deal_id),
        ("commitment", deal.commit_tx or "-"),
        ("settlement", deal.final_tx or "-"),
        ("paid", amount(run.spent)),
    ]
    return "\n".join(f"{name:<11} {value}" for name, value in lines)


def candidates_table(found: tuple[CandidateInfo, ...]) -> str:
    """Every offer seen and what came of it."""
    rows = [
        [short(one.provider), one.verdict, amount(one.price), one.code or "-", one.detail or "-"] for one in found
    ]
    return table(["PROVIDER", "ANSWER", "PRICE", "REASON", "IN ITS OWN WORDS"], rows)


async def quote_flow(
    loaded: LoadedConfig, file: Path, sets: tuple[str, ...], env: tuple[str, ...], explain: bool, output: str
) -> None:
    """`mesh quote`."""
    async with open_api(loaded, may_start=True) as api:
        _, _, submission = await prepare(api, loaded, file, sets=sets, env=env, now=SystemClock().unix_s())
        await _wait_for_peers(api)
        found = await api.quote(submission)
    shown = found if explain else tuple(one for one in found if one.verdict in ("quoted", "indicative"))
    emit(shown, output, lambda: candidates_table(shown))
    if not any(one.verdict in ("quoted", "indicative") for one in found):
        from mesh.base.errors import NoMatch

        raise NoMatch("nobody quotes for this job", fix=f"mesh quote {file} --explain")

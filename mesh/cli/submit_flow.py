"""What do `mesh submit` and `mesh quote` do from the file to the answer?"""

import sys
from pathlib import Path

import msgspec

from mesh.api.types import CandidateInfo, RunInfo, Submission
from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig
from mesh.base.errors import NoMatch, UsageError
from mesh.cli.at_stake import DisputeStakes, dispute_stakes, stakes_lines, with_stakes
from mesh.cli.costs import say_run_costs
from mesh.cli.options import Form
from mesh.cli.render import amount, checked_words, emit, outcome_words, pairs, short, table
from mesh.cli.searching import last_attempt
from mesh.cli.session import Session, ask, open_session, say, when_interrupted
from mesh.cli.submitting import admit, exit_code_of, fetch_result, raise_if_failed, read_job, result_folder
from mesh.cli.watching import await_offers, copy_logs, watch_run

__all__ = ["SubmitOptions", "candidates_table", "quote_flow", "say_why_not", "submit_flow", "summary"]


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
    output: Form


async def submit_flow(loaded: LoadedConfig, options: SubmitOptions) -> int:
    """The whole command; returns its exit code. Raises ``MeshError`` for everything that is not the job's own code."""
    spec = read_job(loaded, options.file, sets=options.sets, env=options.env)
    async with open_session(loaded, may_start=True, needs_peers=True) as session:
        now = SystemClock().unix_s()
        _, job, submission = await admit(session.api, loaded, spec, options.file.parent, now)
        stakes = dispute_stakes(loaded, submission)
        if not options.quiet:
            await say_run_costs(session.api, submission)
        _confirm(options, submission, spec.verify.n, stakes)
        await await_offers(session, shown=not options.quiet, needs_chain=True)
        run_id = await session.api.submit(submission)
        when_interrupted(run_id, session)
        if options.detach:
            return await _detach(session, run_id, options, stakes)
        if options.quiet:
            print(run_id, flush=True)
        else:
            say(f"run {run_id}")
        stream = options.follow and options.output == "table"
        run = await watch_run(session.api, run_id, logs=stream, shown=not options.quiet, form=options.output)
        say_why_not(run)
        raise_if_failed(run)
        return await _finish(session, run, job.name, loaded, options, stakes)


def say_why_not(run: RunInfo) -> None:
    """Why each offer was not taken, before the error that ends the command."""
    if run.status == "failed" and run.code in ("no-match", "no-capacity") and run.candidates:
        say(candidates_table(last_attempt(run.candidates)))


async def _detach(session: Session, run_id: str, options: SubmitOptions, stakes: DisputeStakes | None) -> int:
    emit(with_stakes({"run_id": run_id}, stakes), options.output, lambda: run_id)
    if session.own:
        say("this run waits until a node of this home runs: mesh up --detach, or mesh wait " + short(run_id))
    return 0


def _confirm(options: SubmitOptions, submission: Submission, replicas: int, stakes: DisputeStakes | None) -> None:
    """What may be spent, said before anything is signed; asked where there is somebody to answer. ``replicas``: 0 or n."""
    max_price, budget = submission.max_price, submission.budget
    if replicas and not options.quiet:
        each = amount(max_price)
        say(f"{replicas} providers compute this job, at most {each} each; those that agree are paid")
    if stakes is not None and not options.quiet:
        say(stakes_lines(stakes))
    if options.yes or not sys.stdin.isatty() or not sys.stderr.isatty():
        return
    # Enter is a yes, the end of the input is not
    answer = ask(f"Spend up to {amount(max_price)} per attempt, {amount(budget)} in all? [Y/n] ")
    if not answer or answer.strip().lower() not in ("", "y", "yes"):
        raise UsageError("nothing was submitted", why="you said no", fix=f"mesh quote {options.file}")


async def _finish(
    session: Session,
    run: RunInfo,
    name: str,
    loaded: LoadedConfig,
    options: SubmitOptions,
    stakes: DisputeStakes | None,
) -> int:
    people = options.output == "table" and not options.quiet
    if people and not options.follow:
        await copy_logs(session.api, run.run_id)
    wanted = options.directory is not None or bool(loaded.config.client.download_dir)
    if wanted:
        folder = options.directory or result_folder(loaded, name, run.run_id)
        await fetch_result(session.api, run, folder)
        say(f"result in {folder}")
    if people:
        say(summary(run))
    elif options.output != "table":
        emit(with_stakes(run, stakes), options.output, str)
    return exit_code_of(run) if options.follow else 0


def summary(run: RunInfo) -> str:
    """What a finished run came to."""
    rows = [
        ("run", run.run_id),
        ("result", f"{outcome_words(run.outcome, run.exit_code)}, checked: {checked_words(run.checked)}"),
        ("outputs", f"{run.root}   (mesh get {short(run.run_id)})"),
    ]
    if run.deals:
        deal = next((one for one in run.deals if one.root == run.root), run.deals[-1])
        rows += [
            ("deal", deal.deal_id),
            ("commitment", deal.commit_tx or "-"),
            ("settlement", deal.final_tx or "-"),
        ]
    return pairs([*rows, ("paid", amount(run.spent))])


def candidates_table(found: tuple[CandidateInfo, ...]) -> str:
    """Every offer seen and what came of it."""
    rows = [[short(one.provider), one.verdict, amount(one.price), one.code or "-", one.detail or "-"] for one in found]
    return table(["PROVIDER", "ANSWER", "PRICE", "REASON", "IN ITS OWN WORDS"], rows, folds=True)


async def quote_flow(
    loaded: LoadedConfig, file: Path, sets: tuple[str, ...], env: tuple[str, ...], explain: bool, output: Form
) -> None:
    """`mesh quote`. Raises ``NoMatch`` when nobody names a price."""
    spec = read_job(loaded, file, sets=sets, env=env)
    async with open_session(loaded, may_start=True, needs_peers=True) as session:
        _, _, submission = await admit(session.api, loaded, spec, file.parent, SystemClock().unix_s())
        await await_offers(session, needs_chain=True)
        found = await session.api.quote(submission)
    priced = tuple(one for one in found if one.verdict in ("quoted", "indicative"))
    shown = found if explain else priced
    if shown or explain:
        emit(shown, output, lambda: candidates_table(shown))
    if not priced:
        why = f"{len(found)} offers were looked at" if found else "no offer is known"
        raise NoMatch(
            "nobody quotes for this job", why=why, fix="mesh offers" if explain else f"mesh quote {file} --explain"
        )

"""How does a job file become a run, and how is it followed to its end?"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from mesh.api.port import NodeApi
from mesh.api.reading import ReadApi
from mesh.api.types import Added, RunInfo, Submission
from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig
from mesh.base.errors import ChainOrFunds, ConfigError, MeshError, NoMatch, ResultRejected
from mesh.cli.jobfile import load_job
from mesh.cli.options import Form
from mesh.cli.render import PhaseLine
from mesh.cli.searching import SearchFacts, search_event, search_facts, search_text
from mesh.cli.session import token_symbols
from protocols.job.canonical import CanonicalJob, Resolved, canonical_job
from protocols.job.schema import JobSpec
from protocols.job.sources import Held, LocalPath, Source
from protocols.transfer.cid import cid_text, parse_cid

__all__ = [
    "admit",
    "exit_code_of",
    "fetch_result",
    "follow",
    "is_over",
    "prepare",
    "raise_if_failed",
    "read_job",
    "result_folder",
    "submission_of",
]

POLL_S: Final = 0.15
SEARCH_S: Final = 60


async def prepare(
    api: NodeApi, loaded: LoadedConfig, path: Path, *, sets: Sequence[str], env: Sequence[str], now: int
) -> tuple[JobSpec, CanonicalJob, Submission]:
    """Read, import and canonicalise a job file. Raises ``JobFileError`` and other ``MeshError``."""
    return await admit(api, loaded, read_job(loaded, path, sets=sets, env=env), path.parent, now)


def read_job(loaded: LoadedConfig, path: Path, *, sets: Sequence[str], env: Sequence[str]) -> JobSpec:
    """The job in a file, with everything that can be told without a node checked. Raises ``JobFileError``."""
    spec = load_job(path, sets=sets, env=env, environ=os.environ, symbols=token_symbols(loaded), beside=True)
    if spec.module is None:
        raise ConfigError(
            f"{path} names no module", why="a wasm job is its module: module: ./job.wasm", fix="mesh job schema"
        )
    return spec


async def admit(
    api: NodeApi, loaded: LoadedConfig, spec: JobSpec, base: Path, now: int
) -> tuple[JobSpec, CanonicalJob, Submission]:
    """Import what a job names, relative to ``base``, and canonicalise it."""
    assert spec.module is not None
    module = await _resolve(api, base, spec.module, "module")
    inputs = [await _resolve(api, base, one.source, one.path) for one in spec.inputs]
    resolved = Resolved(parse_cid(module.cid), module.size, tuple((parse_cid(one.cid), one.size) for one in inputs))
    job = canonical_job(spec, resolved)
    return spec, job, submission_of(spec, job, (module, *inputs), loaded, now)


async def _resolve(api: NodeApi, base: Path, source: Source, what: str) -> Added:
    match source:
        case LocalPath(path=path):
            return await api.add((base / path).expanduser())
        case Held(cid=cid):
            raise ConfigError(
                f"{what}: content named by CID must be held by this node first",
                why=f"{cid_text(cid)} was not imported",
                fix="mesh job schema   (name a local path: nothing is fetched by CID from third parties in this version)",
            )
        case _:
            raise ConfigError(
                f"{what}: this source is not supported by this version", fix="mesh job schema   (name a local path)"
            )


def submission_of(
    spec: JobSpec, job: CanonicalJob, inputs: tuple[Added, ...], loaded: LoadedConfig, now: int
) -> Submission:
    """A job on the terms of its file, and where that says nothing on those of the configuration; ``now`` in unix seconds."""
    client, market = loaded.config.client, spec.market
    most = market.max_price.amount if market.max_price else client.max_price
    budget = market.budget.amount if market.budget else most * max(spec.verify.n, 1)
    audit = spec.verify.audit_ppm if spec.verify.audit_ppm is not None else client.audit_ppm
    return Submission(
        job=job.encode(),
        inputs=inputs,
        max_price=str(int(most)),
        budget=str(int(budget)),
        mode=market.mode,
        bid_window_ms=market.bid_window_ms or client.bid_window_ms,
        target=_target(spec),
        min_reputation_ppm=market.min_reputation_ppm,
        deadline=spec.deadline_at(now) or 0,  # type: ignore[arg-type]  # unix seconds from the wall clock
        search_s=SEARCH_S,
        retry_on=spec.retry.on,
        max_attempts=spec.retry.max_attempts,
        audit_ppm=audit,
        settlement=spec.settlement,
        enforcement=spec.verify.enforcement,
    )


def _target(spec: JobSpec) -> str:
    from protocols.job.peers import peer_to_text

    return peer_to_text(spec.market.target) if spec.market.target else ""


async def follow(
    api: NodeApi,
    run_id: str,
    *,
    settled: bool,
    shown: bool = True,
    form: Form = "table",
    line: PhaseLine | None = None,
) -> RunInfo:
    """Watch a run until it is over; ``settled`` also waits for the money. Cancelled: the run goes on.

    A search that finds nobody at once is explained on stderr, and again when its answers change: in words, or for the
    JSON forms as one JSON object a line. ``line``: the caller's, where it writes on the same terminal.
    """
    line = line or PhaseLine(SystemClock())
    before: SearchFacts | None = None
    told = ""
    try:
        while True:
            run = await api.run(run_id)
            if shown:
                line.show(run)
            facts = search_facts(run)
            if facts is not None and before is not None and (shown or form != "table"):
                text = search_text(facts) if form == "table" else search_event(facts)
                if text != told:
                    line.aside(text)
                    told = text
            before = facts
            if is_over(run, settled=settled):
                return run
            await trio.sleep(POLL_S)
    finally:
        line.end()


def is_over(run: RunInfo, *, settled: bool) -> bool:
    """Whether nothing more is to be expected of a run, its payment included if ``settled``."""
    return run.status in ("failed", "cancelled") or (run.status == "done" and (run.settled or not settled))


def raise_if_failed(run: RunInfo) -> None:
    """A run that failed ends the command with the code of its reason."""
    name = run.run_id[:10]
    if run.status == "cancelled":
        raise MeshError(f"run {name} was cancelled", fix=f"mesh retry {name}")
    if run.status != "failed":
        return
    fix = f"mesh describe {name}"
    match run.code:
        case "no-match" | "no-capacity":
            raise NoMatch(f"no provider took run {name}", why=run.detail, fix=f"{fix}   (why each offer did not fit)")
        case "funds":
            raise ChainOrFunds(f"run {name} cannot be paid", why=run.detail, fix="mesh wallet deposit 10")
        case "rejected":
            told = f"mesh deal evidence {run.deals[-1].deal_id[:10]}" if run.deals else fix
            raise ResultRejected(f"the result of run {name} was refused", why=run.detail, fix=told)
        case _:
            raise MeshError(f"run {name} failed: {run.code}", why=run.detail, fix=f"mesh retry {name}")


def result_folder(loaded: LoadedConfig, name: str, run_id: str) -> Path:
    """Where a result goes when nobody says: one folder per run."""
    return Path(loaded.config.client.download_dir or "results").expanduser() / f"{name or 'run'}-{run_id[2:10]}"


async def fetch_result(api: ReadApi, run: RunInfo, folder: Path) -> None:
    """The outcome folder on this disk. Raises ``MeshError`` when there is none, or the folder exists."""
    if run.root is None:
        raise MeshError(
            f"run {run.run_id[:10]} has no result yet", why=f"it is {run.status}", fix=f"mesh wait {run.run_id[:10]}"
        )
    if folder.exists():
        raise MeshError(f"{folder} exists already", fix=f"mesh get {run.run_id[:10]} -d {folder}-2")
    folder.parent.mkdir(parents=True, exist_ok=True)
    await api.export(run.root, folder)
    from mesh.api.calls import to_json

    (folder / "result.json").write_bytes(to_json(run) + b"\n")


def exit_code_of(run: RunInfo) -> int:
    """The job's own exit code; 1 for a run that ended otherwise."""
    if run.status != "done":
        return 1
    if run.outcome == "exited":
        return 0
    return run.exit_code if run.exit_code and 0 < run.exit_code < 126 else 1

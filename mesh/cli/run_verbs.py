"""What does a person type to look after runs? ps, describe, events, logs, wait, get, cancel, retry.

Without a running node each starts a client node of this home for itself, which also resumes what was interrupted.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mesh.cli.options import Bootstrap, Network, Output, Rpc, RunName, node_flags
from mesh.cli.session import load, run_async

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (ps, describe, events, logs, wait, get, cancel, retry):
        app.command()(verb)


def ps(
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also runs that are over.")] = False,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """List runs, newest last."""
    from mesh.cli.run_flow import list_runs

    run_async(list_runs, load(node_flags(network, rpc, bootstrap)), everything, output)


def describe(
    run: RunName,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Everything about one run. Its deals, its money, and every offer it looked at with the answer it got."""
    from mesh.cli.run_flow import describe_run

    run_async(describe_run, load(node_flags(network, rpc, bootstrap)), run, output)


def events(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or prefix; without it, all of this node.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more happens.")] = False,
    since: Annotated[int, typer.Option("--since", metavar="SEQ", help="Only what came after this number.")] = 0,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """What happened to a run, in order."""
    from mesh.cli.run_flow import show_events

    run_async(show_events, load(node_flags(network, rpc, bootstrap)), run, follow, since, output)


def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job is over.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, metavar="LINES", help="Only the last lines of what is there.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Nothing of a job that ended before: 10m, or 2026-12-01T18:00Z."),
    ] = None,
    stream: Annotated[
        Literal["both", "stdout", "stderr"], typer.Option("-s", "--stream", help="Which of the job's streams.")
    ] = "both",
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """What a job wrote, byte for byte. While it runs from its provider, afterwards from the result.

    A log is the job's bytes alone, without times: --since leaves out a whole job that ended before, and with a time that
    is now or to come only what is written from now on is shown (--since 0s -f).
    """
    from mesh.base.clock import SystemClock
    from mesh.cli.amounts import moment_s
    from mesh.cli.run_flow import LogOptions, show_logs

    options = LogOptions(
        stream=stream,
        follow=follow,
        tail=tail,
        since=None if since is None else moment_s(since, SystemClock().unix_s()),
        output=output,
    )
    run_async(show_logs, load(node_flags(network, rpc, bootstrap)), run, options)


def wait(
    run: RunName,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Wait until a run is over and paid. Resumes a run whose client was killed."""
    from mesh.cli.run_flow import wait_for_run

    run_async(wait_for_run, load(node_flags(network, rpc, bootstrap)), run, output)


def get(
    run: RunName,
    directory: Annotated[
        Path | None, typer.Option("-d", "--directory", metavar="DIR", help="Where to put it; must not exist.")
    ] = None,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Write a run's result to this disk. A folder with stdout, stderr, exitCode, outputs/ and result.json."""
    from mesh.cli.run_flow import get_result

    run_async(get_result, load(node_flags(network, rpc, bootstrap)), run, directory, output)


def cancel(
    run: RunName,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """End a run. What its provider has already earned is still paid. Again does no harm."""
    from mesh.cli.run_flow import cancel_run

    run_async(cancel_run, load(node_flags(network, rpc, bootstrap)), run, output)


def retry(
    run: RunName,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Look for a provider again, for a failed or cancelled run."""
    from mesh.cli.run_flow import retry_run

    run_async(retry_run, load(node_flags(network, rpc, bootstrap)), run, output)

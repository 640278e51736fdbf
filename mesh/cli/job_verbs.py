"""What does a person type to begin a run? submit, quote, run; and what to look at a job file."""

from pathlib import Path
from typing import Annotated

import typer

from mesh.cli.options import Bootstrap, Env, Network, Output, Rpc, Sets, Yes, node_flags
from mesh.cli.session import load, run_async, say, token_symbols

__all__ = ["register"]

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(submit)
    app.command()(quote)
    app.command()(run)
    job = typer.Typer(help="Look at a job file without running it.", no_args_is_help=True)
    job.command()(validate)
    job.command()(schema)
    app.add_typer(job, name="job")


def submit(
    file: JobFile,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Print the job's output, end with its code.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return as soon as the run exists.")] = False,
    sets: Sets = None,
    env: Env = None,
    yes: Yes = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only the run id.")] = False,
    directory: Annotated[
        Path | None, typer.Option("-d", "--directory", metavar="DIR", help="Put the result here.")
    ] = None,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Run a job on somebody's machine, and pay for it.

    Through the running node if there is one, else through a client node started for this command. Ctrl-C detaches: the
    run goes on in the running node, or when a node of this home starts again.
    """
    from mesh.cli.submit_flow import SubmitOptions, submit_flow

    loaded = load(node_flags(network, rpc, bootstrap))
    options = SubmitOptions(
        file=file,
        follow=follow,
        detach=detach,
        sets=tuple(sets or ()),
        env=tuple(env or ()),
        yes=yes,
        quiet=quiet,
        directory=directory,
        output=output,
    )
    raise typer.Exit(run_async(submit_flow, loaded, options))


def quote(
    file: JobFile,
    explain: Annotated[bool, typer.Option("--explain", help="Show every offer seen, and why it does not fit.")] = False,
    sets: Sets = None,
    env: Env = None,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Ask what a job would cost. Nothing is signed, nothing is held."""
    from mesh.cli.submit_flow import quote_flow

    loaded = load(node_flags(network, rpc, bootstrap))
    run_async(quote_flow, loaded, file, tuple(sets or ()), tuple(env or ()), explain, output)


def run(
    module: Annotated[
        str, typer.Argument(metavar="MODULE", help="cowsay:v0.0.4, or a folder with lilypad_module.json.tmpl.")
    ],
    command: Annotated[list[str] | None, typer.Argument(metavar="-- CMD", help="What to run in an image.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", metavar="K=V", help="A module input: Message=moo.")
    ] = None,
) -> None:
    """Run a Lilypad module. Modules are container images: they need the oci executor, which this version lacks."""
    from mesh.base.errors import UsageError

    given = " ".join([module, *(f"-i {one}" for one in inputs or ()), *(["--", *command] if command else [])])
    raise UsageError(
        f"{given} cannot run yet",
        why="Lilypad modules and images need the oci executor, which is not supported by this version",
        fix="mesh submit JOB.yaml   (with a wasm module)",
    )


def validate(file: JobFile, sets: Sets = None, env: Env = None, network: Network = None) -> None:
    """Read a job file and report every problem in it. Its keys, its amounts, the files it names."""
    import os

    from mesh.cli.jobfile import load_job

    spec = load_job(
        file,
        sets=tuple(sets or ()),
        env=tuple(env or ()),
        environ=os.environ,
        symbols=token_symbols(load(node_flags(network, None, None))),
        beside=True,
    )
    say(f"{file}: a valid {spec.executor} job named {spec.name}")


def schema() -> None:
    """Print the JSON Schema of job.yaml."""
    import json

    from protocols.job.reference import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))

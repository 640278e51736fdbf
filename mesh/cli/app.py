"""Which verbs are there, and how does a command end?

Heavy parts (libp2p, web3, wasmtime) are imported inside the verbs that need them, so that ``mesh --help`` answers at once.
Data goes to stdout, talk to stderr; every error ends with the next command to try.
"""

import os
import sys
from importlib.metadata import entry_points
from typing import Annotated, Final

import typer

from mesh.base.errors import MeshError
from mesh.cli import config_verbs, job_verbs, key_verbs, market_verbs, money_verbs, node_verbs, run_verbs

__all__ = ["app", "main"]

INTERRUPTED: Final = 130

app = typer.Typer(
    name="mesh",
    help="Rent and lend computers and GPUs, from peer to peer. No solver, no middleman: deals settle on Arbitrum.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

node_verbs.register(app)
job_verbs.register(app)
run_verbs.register(app)
market_verbs.register(app)
money_verbs.register(app)
key_verbs.register(app)
config_verbs.register(app)


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish")] = "bash") -> None:
    """Print a completion script: mesh completion bash > ~/.local/share/bash-completion/completions/mesh."""
    from typer.completion import get_completion_script

    typer.echo(get_completion_script(prog_name="mesh", complete_var="_MESH_COMPLETE", shell=shell))


@app.command()
def version() -> None:
    """Print the version of mesh and of what decides determinism."""
    from importlib.metadata import version as of

    for name in ("mesh-compute", "wasmtime", "libp2p"):
        typer.echo(f"{name} {of(name)}")


def _plug_in() -> None:
    """Verb groups of other packages: ``devnet`` brings its own."""
    for point in sorted(entry_points(group="mesh.verbs"), key=lambda one: one.name):
        app.add_typer(point.load(), name=point.name)


def main() -> None:
    """The console script. Ends with the exit codes of docs/reference/exit-codes.md."""
    _plug_in()
    try:
        app()
    except MeshError as error:
        print(f"mesh: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\nmesh: interrupted; what was submitted goes on (mesh ps)", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()

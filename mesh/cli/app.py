"""Which verbs are there, and how does a command end?

Heavy parts (libp2p, web3, wasmtime) are imported inside the verbs that need them, so that ``mesh --help`` answers at once.
Data goes to stdout, talk to stderr; every error ends with the next command to try.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated, Final, Literal

import typer
from typer.core import TyperGroup

from mesh.base.errors import Defect, Interrupted, MeshError, UsageError, as_mesh_error
from mesh.cli import (
    config_verbs,
    job_verbs,
    key_verbs,
    market_verbs,
    mediator_verbs,
    money_verbs,
    node_verbs,
    run_verbs,
    spend_verb,
)
from mesh.cli.options import Output
from mesh.cli.render import emit, pairs, plain

__all__ = ["app", "complete_app", "main", "told"]

LAST_RESORT: Final = "mesh --help"
"""What to try after an error that names nothing better."""

app = typer.Typer(
    name="mesh",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as of

        typer.echo(f"mesh {of('mesh-compute')}")
        raise typer.Exit


@app.callback()
def every_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Rent and lend computers and GPUs, from peer to peer. No solver, no middleman: deals settle on Arbitrum."""


node_verbs.register(app)
job_verbs.register(app)
run_verbs.register(app)
market_verbs.register(app)
money_verbs.register(app)
mediator_verbs.register(app)
spend_verb.register(app)
key_verbs.register(app)
config_verbs.register(app)


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Your shell.")] = "bash",
) -> None:
    """Print a completion script for your shell. As in: mesh completion bash > ~/.local/share/bash-completion/completions/mesh."""
    from typer._completion_shared import get_completion_script

    typer.echo(get_completion_script(prog_name="mesh", complete_var="_MESH_COMPLETE", shell=shell))


@app.command(name="help")
def help_(
    context: typer.Context,
    verb: Annotated[list[str] | None, typer.Argument(metavar="VERB", help="A verb, or a group and its verb.")] = None,
) -> None:
    """Print what a verb does and takes. For instance: mesh help submit, mesh help wallet deposit."""
    assert context.parent is not None
    shown = context.parent
    for word in verb or ():
        group = shown.command
        found = group.get_command(shown, word) if isinstance(group, TyperGroup) else None
        if found is None:
            raise UsageError(f"there is no {shown.command_path} {word}", fix=f"{shown.command_path} --help")
        shown = found.make_context(word, [], parent=shown, resilient_parsing=True)
    typer.echo(shown.get_help())


@app.command()
def version(output: Output = "table") -> None:
    """Print the version of mesh. And of the parts on which results and the network depend."""
    from importlib.metadata import version as of

    found = {name: of(name) for name in ("mesh-compute", "wasmtime", "libp2p")}
    emit(found, output, lambda: pairs(list(found.items())))


def complete_app() -> typer.Typer:
    """All verbs, with the groups that other packages bring, such as ``devnet``."""
    known = {group.name for group in app.registered_groups}
    for point in sorted(entry_points(group="mesh.verbs"), key=lambda one: one.name):
        if point.name not in known:
            app.add_typer(point.load(), name=point.name)
    return app


def told(error: MeshError) -> str:
    """An error as it is printed: what, why, and the next command. Strangers' words in it move no cursor."""
    text = f"mesh: {error}" if error.fix else f"mesh: {error}\n  try: {LAST_RESORT}"
    return "\n".join(map(plain, text.split("\n")))


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script; ``arguments`` default to the process's. Ends with the codes of docs/reference/exit-codes.md."""
    if "_MESH_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    try:
        complete_app()(args=arguments, prog_name="mesh")
    except SystemExit as ended:
        if ended.code == Interrupted.exit_code:  # typer's word for a Ctrl-C outside of any task
            print(told(Interrupted("interrupted", why="nothing was sent to any node")), file=sys.stderr)
        raise
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        shown = as_mesh_error(error) if not isinstance(error, MeshError) else error
        if isinstance(shown, Defect):
            traceback.print_exception(error)
        print(told(shown), file=sys.stderr)
        sys.exit(shown.exit_code)


if __name__ == "__main__":
    main()

"""What does a person type about settings and policies? config view|get|set, policy test."""

from pathlib import Path
from typing import Annotated

import typer

from mesh.base.errors import UsageError
from mesh.cli.options import Output
from mesh.cli.render import emit, table
from mesh.cli.session import load, say

__all__ = ["register"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A setting, such as chain.rpc.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    config = typer.Typer(
        help="Settings, and where each comes from. Flags > MESH_* > mesh.toml here, else in the home > your config.toml "
        "> network preset > defaults."
    )
    config.command()(view)
    config.command()(get)
    config.command(name="set")(set_)
    app.add_typer(config, name="config", no_args_is_help=True)
    policy = typer.Typer(help="Which jobs this machine takes.")
    policy.command(name="test")(try_policy)
    app.add_typer(policy, name="policy", no_args_is_help=True)


def view(
    origins: Annotated[bool, typer.Option("--origins", help="Also show where each value comes from.")] = False,
    output: Output = "table",
) -> None:
    """Print every setting in force."""
    rows = [(name, text, str(origin)) for name, text, origin in load().rows()]
    shown = [{"name": name, "value": text, "origin": origin} for name, text, origin in rows]
    head = ["SETTING", "VALUE", "FROM"] if origins else ["SETTING", "VALUE"]
    people = [list(row if origins else row[:2]) for row in rows]
    emit(shown, output, lambda: table(head, people, folds=True))


def get(name: Name, output: Output = "table") -> None:
    """Print one setting."""
    from mesh.base.config.load import value_text

    loaded = load()
    text = value_text(loaded.value(name))
    emit({"name": name, "value": text, "origin": str(loaded.origins[name])}, output, lambda: text)


def set_(
    name: Name,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="The new value; lists with commas.")] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Remove it from the file, so that others decide.")] = False,
    local: Annotated[bool, typer.Option("--local", help="In ./mesh.toml.")] = False,
    user: Annotated[bool, typer.Option("--user", help="In your config.toml, which every home reads.")] = False,
) -> None:
    """Write one setting where this home's node reads it. Its file's other lines and comments stay.

    With MESH_HOME set that is the mesh.toml in this home; without, your config.toml.
    """
    from mesh.base.config import set_value

    if unset == (value is not None):
        raise UsageError(
            f"{name}: give a value or --unset, not both" if unset else f"{name}: no value is given",
            fix=f"mesh config set {name} VALUE, or mesh config set --unset {name}",
        )
    if local and user:
        raise UsageError(
            "one file at a time", why="--local and --user exclude each other", fix="mesh config set --help"
        )
    file = _file(local, user)
    set_value(file, name, value)
    say(f"{name} {'removed from' if unset else 'set in'} {file}")
    loaded = load()
    origin = loaded.origins[name]
    if file not in loaded.files and not unset:
        say(
            f"but what is typed in this folder reads {Path.cwd() / 'mesh.toml'} in its place   (cd elsewhere, or --local)"
        )
    elif not unset and not origin.where.startswith(str(file)):
        say(f"but {origin} comes before it and still decides")


def _file(local: bool, user: bool) -> Path:
    """Where to write, absolute. Whoever names a home means its node: with another home's settings nothing has changed."""
    import os

    from mesh.base.config import ensure_home, mesh_home, user_config_file

    if local:
        return Path.cwd() / "mesh.toml"
    if user or not os.environ.get("MESH_HOME"):
        return user_config_file()
    return ensure_home(mesh_home()).home / "mesh.toml"


def try_policy(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Try this one instead of provider.policy_file.")
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", metavar="PEER", help="As if this client asked; without it, anybody.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As if it were then: 2026-12-01T18:00Z.")
    ] = None,
    output: Output = "table",
) -> None:
    """Say whether this machine would take a job. And if not, why. Asks nobody, signs nothing."""
    from mesh.cli import policing

    policing.try_policy(load(), job, policy, client, at, output)

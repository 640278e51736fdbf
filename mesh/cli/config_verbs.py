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
        help="Settings, and where each comes from. Flags > MESH_* > ./mesh.toml > your config.toml > network preset > defaults."
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
    emit(shown, output, lambda: table(head, people))


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
    local: Annotated[bool, typer.Option("--local", help="In ./mesh.toml instead of your config.toml.")] = False,
) -> None:
    """Write one setting to your configuration file. Its other lines and comments stay."""
    from mesh.base.config import set_value, user_config_file

    if unset == (value is not None):
        raise UsageError(
            f"{name}: give a value or --unset, not both" if unset else f"{name}: no value is given",
            fix=f"mesh config set {name} VALUE, or mesh config set --unset {name}",
        )
    file = Path("mesh.toml") if local else user_config_file()
    set_value(file, name, value)
    say(f"{name} {'removed from' if unset else 'set in'} {file}")
    origin = load().origins[name]
    if not unset and not origin.where.startswith(str(file.absolute())) and not origin.where.startswith(str(file)):
        say(f"but {origin} comes before it and still decides")


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

"""What does a person type to learn where every token went? spend."""

from typing import Annotated

import typer

from mesh.cli.options import Network, Output, Rpc, node_flags
from mesh.cli.session import load, run_async

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(spend)


def spend(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Only this run, by its id or a prefix.")] = "",
    no_chain: Annotated[
        bool, typer.Option("--no-chain", help="Do not ask the chain: neither for gas nor for the balance.")
    ] = False,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
) -> None:
    """Where every token went, by run and in all. Paid, burned as fees, penalties, refunds, still locked, gas."""
    from mesh.cli.spending import show_spending

    run_async(show_spending, load(node_flags(network, rpc, None)), run, no_chain, output)

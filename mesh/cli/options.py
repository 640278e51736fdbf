"""Which options do several verbs share, and how do they become settings?"""

from typing import Annotated, Any, Final, Literal

import typer

from mesh.cli.fitting import show_all

__all__ = [
    "FLAG_NAMES",
    "Bootstrap",
    "Env",
    "Form",
    "Network",
    "Output",
    "Rpc",
    "RunName",
    "Sets",
    "Yes",
    "flags_of",
    "node_flags",
]

FLAG_NAMES: Final = {
    "network.name": "--network",
    "provider.roles": "--role",
    "provider.policy_file": "--policy",
    "provider.price_per_cpu_s": "--price",
    "provider.price_per_gib_s": "--price",
    "provider.price_per_gpu_s": "--price",
    "provider.price_floor": "--price",
}
"""How the flags are typed that are not called like the field of the setting they mean."""

Form = Literal["table", "wide", "json", "jsonl"]


def _form(chosen: Form) -> Form:
    """``wide`` is a table that does not mind the screen's width."""
    show_all(chosen == "wide")
    return "table" if chosen == "wide" else chosen


Output = Annotated[
    Form,
    typer.Option(
        "-o", "--output", callback=_form, help="For people, as wide as the screen or with all; or JSON for programs."
    ),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the job file: limits.wall=10m.")
]
Env = Annotated[
    list[str] | None, typer.Option("-e", "--env", metavar="K[=V]", help="A variable for the job: K=V, or K from here.")
]
Network = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="devnet, arbitrum-sepolia or arbitrum-one.")
]
Rpc = Annotated[
    list[str] | None,
    typer.Option("--rpc", metavar="URL", help="Your own chain endpoint; tried before the public ones."),
]
Bootstrap = Annotated[
    list[str] | None, typer.Option("--bootstrap", metavar="MULTIADDR", help="Multiaddr with /p2p/ of a peer to dial.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its first four digits or more.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before spending.")]


def flags_of(**given: Any) -> dict[str, object]:
    """Settings named ``section__field``; None and empty lists mean not given."""
    return {
        name.replace("__", "."): ",".join(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value not in (None, [])
    }


def node_flags(network: str | None, rpc: list[str] | None, bootstrap: list[str] | None) -> dict[str, object]:
    """The settings of the three options with which any verb may start a node of its own."""
    return flags_of(network__name=network, chain__rpc=rpc, network__bootstrap=bootstrap)

"""What does a person type to have a whole network on one machine? The verbs of `mesh devnet`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mesh.cli.session import run_async, say

__all__ = ["app"]

app = typer.Typer(help="A whole network on this machine, for testing.", no_args_is_help=True)

Output = Annotated[str, typer.Option("-o", "--output", help="table or json.")]
ChainKind = Annotated[str, typer.Option("--chain", help="auto, anvil or pyevm.")]
Seed = Annotated[int, typer.Option("--seed", help="Replays a run.")]


def _finish(report: Any, output: str) -> None:
    """Print the report; a report that is not ok ends the command with 1."""
    _show(report, output)
    if not report.ok:
        raise typer.Exit(1)


def _show(report: Any, output: str) -> None:
    """Print a report: one line of JSON, or a table."""
    import msgspec

    if output == "json":
        print(msgspec.json.encode(report).decode(), flush=True)
    else:
        from devnet.show import show_report

        print(show_report(report), flush=True)


@app.command()
def demo(
    chain: ChainKind = "pyevm",
    providers: Annotated[int, typer.Option("--providers", min=1, max=20)] = 3,
    home: Annotated[Path | None, typer.Option("--home", help="Where the network lives while it runs.")] = None,
    output: Output = "table",
) -> None:
    """Run a job for money between real processes. And show every step."""
    from devnet.cluster import ClusterPlan
    from devnet.demo import run_demo
    from devnet.layout import devnet_home
    from devnet.reporting import reported

    plan = ClusterPlan(providers=providers, clients=1, chain=chain)  # type: ignore[arg-type]
    place = home or devnet_home() / "demo"
    report = run_async(reported, "demo", 0, "processes", lambda: run_demo(place, plan))
    if output == "json":
        _finish(report, output)
    elif not report.ok:
        say(f"mesh: the demo failed: {report.problem}\n  try: less {place}/provider-1/up.log")
        raise typer.Exit(1)


@app.command()
def up(
    nodes: Annotated[
        int, typer.Option("-n", "--nodes", min=2, max=40, help="Nodes in all; the last is the client.")
    ] = 4,
    chain: ChainKind = "auto",
    slots: Annotated[int, typer.Option("--slots", min=1, max=64)] = 1,
    mediators: Annotated[
        int, typer.Option("--mediators", min=0, max=20, help="Nodes more, which judge disputes for a fee.")
    ] = 0,
) -> None:
    """Start a network and keep it until Ctrl-C or `mesh devnet down`."""
    from devnet.cluster import ClusterPlan
    from devnet.running import keep_up

    plan = ClusterPlan(
        providers=nodes - 1,
        clients=1,
        mediators=mediators,
        slots=slots,
        chain=chain,  # type: ignore[arg-type]
    )
    run_async(keep_up, plan)


@app.command()
def ps(output: Output = "table") -> None:
    """Show the nodes of the running network."""
    from devnet.running import list_nodes

    list_nodes(output)


@app.command()
def logs(node: Annotated[str, typer.Argument(help="provider-1, client-1 ...")]) -> None:
    """Print a node's log."""
    from devnet.running import print_log

    print_log(node)


@app.command()
def kill(node: Annotated[str, typer.Argument()]) -> None:
    """kill -9 a node."""
    from devnet.running import kill_node

    kill_node(node)


@app.command()
def start(node: Annotated[str, typer.Argument()]) -> None:
    """Start a node that was killed."""
    from devnet.running import start_node

    run_async(start_node, node)


@app.command()
def partition(one: Annotated[str, typer.Argument()], other: Annotated[str, typer.Argument()]) -> None:
    """Make two nodes refuse each other."""
    from devnet.running import part

    run_async(part, one, other, True)


@app.command()
def heal() -> None:
    """Undo every partition."""
    from devnet.running import heal_all

    run_async(heal_all)


@app.command()
def down() -> None:
    """Stop the running network."""
    from devnet.running import stop_network

    stop_network()


@app.command()
def scenario(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; --list shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that run in this world.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Show the scenarios.")] = False,
    world: Annotated[str, typer.Option("--world", help="processes or sim; else the first that it has.")] = "",
    seed: Seed = 7,
    chain: ChainKind = "auto",
    output: Output = "table",
) -> None:
    """Run scenarios and judge them, several in one warm network. The last line with -o json is the report."""
    from devnet.running import run_scenario, run_scenarios
    from devnet.scenarios import NAMES, load_scenario
    from mesh.base.errors import UsageError

    known = [load_scenario(name) for name in NAMES]
    if listing or not (names or everything):
        for one in known:
            print(f"{one.name:<26} {one.about}  [{', '.join(one.worlds)}]")
        return
    for name in names or ():
        if name not in NAMES:
            raise UsageError(f"there is no scenario {name!r}", fix="mesh devnet scenario --list")
    alone = load_scenario(names[0]) if names and len(names) == 1 else None
    world = world or (alone.worlds[0] if alone else "processes")
    chosen = [one for one in known if one.name in names] if names else [one for one in known if world in one.worlds]
    if alone:
        _finish(run_async(run_scenario, alone, world, seed, chain), output)
    else:
        _finish(run_async(run_scenarios, chosen, world, seed, chain, partial(_show, output=output)), output)


@app.command()
def sim(
    nodes: Annotated[int, typer.Option("--nodes", min=2, max=2000)] = 200,
    minutes: Annotated[int, typer.Option("--minutes", min=1, help="Virtual minutes of trading.")] = 10,
    seed: Seed = 7,
    faults: Annotated[str, typer.Option("--faults", help="all or none.")] = "all",
    output: Output = "table",
) -> None:
    """Simulate a network of shipped cores. Same seed, same history hash."""
    from devnet.running import run_sim

    _finish(run_sim(nodes, minutes, seed, faults), output)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Which one; --list shows them.")] = "",
    listing: Annotated[bool, typer.Option("--list", help="Show the benchmarks.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The short form, as in CI.")] = False,
    seed: Seed = 7,
    output: Output = "table",
) -> None:
    """Measure. Ratios are of two sides in one run; absolute times hold for this machine alone."""
    from devnet.bench import BENCHES
    from devnet.running import run_bench
    from mesh.base.errors import UsageError

    if listing or not name:
        for one, about in BENCHES.items():
            print(f"{one:<12} {about}")
        return
    if name not in BENCHES:
        raise UsageError(f"there is no benchmark {name!r}", fix="mesh devnet bench --list")
    _finish(run_async(run_bench, name, quick, seed), output)

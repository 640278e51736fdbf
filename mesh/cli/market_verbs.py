"""What does a person type to look at the market? offers, gpus, peers, deals, deal show|evidence|verify|dispute."""

from pathlib import Path
from typing import Annotated

import typer

from mesh.api.types import DealInfo, OfferInfo, PeerInfo
from mesh.base.config import LoadedConfig
from mesh.cli.options import Network, Output, Rpc, Yes, node_flags
from mesh.cli.render import ago, amount, emit, outcome_words, pairs, share, short, table, when
from mesh.cli.session import has_history, load, open_reading, open_session, run_async, say

__all__ = ["register"]

Expression = Annotated[
    str, typer.Argument(metavar="EXPR", help="Only offers that satisfy this: 'cpus >= 2 and region in [eu]'.")
]
DealName = Annotated[str, typer.Argument(metavar="DEAL", help="A deal's id, or its first four digits or more.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (offers, gpus, peers, deals):
        app.command()(verb)
    deal = typer.Typer(help="One deal, and what was signed about it.", no_args_is_help=True)
    deal.command()(show)
    deal.command()(evidence)
    deal.command()(verify)
    deal.command()(dispute)
    app.add_typer(deal, name="deal")


def offers(expression: Expression = "", output: Output = "table") -> None:
    """List what is on offer now, as the running node has heard it."""
    loaded = load()
    found = run_async(_offers, loaded, expression)
    emit(found, output, lambda: _offers_table(found))
    if not found and output == "table":
        say("no offer satisfies that: mesh offers   (lists all)" if expression else "nothing is on offer: mesh peers")


async def _offers(loaded: LoadedConfig, expression: str) -> tuple[OfferInfo, ...]:
    from mesh.cli.watching import await_offers

    async with open_session(loaded) as session:
        await await_offers(session)
        return await session.api.offers(expression)


def _offers_table(found: tuple[OfferInfo, ...]) -> str:
    rows = [
        [
            short(one.provider),
            ", ".join(one.executors),
            f"{one.cpus_milli / 1000:g}",
            f"{one.memory_mib} MiB",
            ", ".join(one.gpus) or "-",
            _hourly(one.cpu_second),
            amount(one.minimum),
            str(one.free_slots),
            share(one.reliability_ppm),
            one.region or "-",
            f"{ago(0, one.age_s)} ago",
        ]
        for one in found
    ]
    head = [
        "PROVIDER",
        "EXECUTORS",
        "CPUS",
        "MEMORY",
        "GPUS",
        "CPU-HOUR",
        "LEAST",
        "FREE",
        "RELIABILITY",
        "REGION",
        "HEARD",
    ]
    return table(head, rows, least=("GPUS", "REGION", "LEAST", "MEMORY", "CPUS", "RELIABILITY"))


def _hourly(wei_per_second: str) -> str:
    return amount(str(int(wei_per_second) * 3600))


def gpus(output: Output = "table") -> None:
    """List the GPUs on offer. This version does not probe GPUs itself, so its own nodes offer none."""
    found = run_async(_offers, load(), "")
    rows = [{"gpu": card, "provider": one.provider, "gpu_second": one.gpu_second} for one in found for card in one.gpus]
    people = [[str(row["gpu"]), short(str(row["provider"])), _hourly(str(row["gpu_second"]))] for row in rows]
    emit(rows, output, lambda: table(["GPU", "PROVIDER", "GPU-HOUR"], people))
    say("this version probes no GPUs; listed is what other nodes say of themselves")


def peers(output: Output = "table") -> None:
    """List the peers that the running node is connected to."""
    found = run_async(_peers, load())
    emit(found, output, lambda: _peers_table(found))


async def _peers(loaded: LoadedConfig) -> tuple[PeerInfo, ...]:
    async with open_session(loaded) as session:
        return await session.api.peers()


def _peers_table(found: tuple[PeerInfo, ...]) -> str:
    rows = [
        [
            one.peer,
            one.address,
            "out" if one.dialled else "in",
            f"{one.connected_s}s",
            str(one.score),
            "-" if one.round_trip_ms is None else f"{one.round_trip_ms:.1f} ms",
        ]
        for one in found
    ]
    return table(["PEER", "ADDRESS", "WAY", "SINCE", "SCORE", "PING"], rows, least=("ADDRESS", "WAY", "SINCE"))


def deals(output: Output = "table") -> None:
    """List the deals of this home's node, as client and as provider."""
    found = run_async(_deals, load())
    emit(found, output, lambda: _deals_table(found))


async def _deals(loaded: LoadedConfig) -> tuple[DealInfo, ...]:
    if not has_history(loaded):
        return ()
    async with open_reading(loaded) as api:
        return await api.deals()


def _deals_table(found: tuple[DealInfo, ...]) -> str:
    rows = [
        [
            short(one.deal_id),
            one.role,
            short(one.provider if one.role == "client" else one.client),
            one.phase,
            one.outcome or "-",
            amount(one.price),
            amount(one.paid),
        ]
        for one in found
    ]
    return table(["DEAL", "AS", "WITH", "PHASE", "OUTCOME", "PRICE", "PAID"], rows, least=("OUTCOME", "PRICE"))


def show(deal: DealName, output: Output = "table") -> None:
    """Everything this node knows about a deal."""
    found = run_async(_deal, load(), deal)
    emit(found, output, lambda: deal_text(found))


async def _deal(loaded: LoadedConfig, name: str) -> DealInfo:
    async with open_reading(loaded) as api:
        return await api.deal(name)


def deal_text(one: DealInfo) -> str:
    """For people."""
    rows = [
        ("deal", one.deal_id),
        ("phase", " ".join(filter(None, (one.phase, one.hint, one.detail)))),
        ("as", one.role),
        ("run", one.run_id),
        ("job", one.job_id),
        ("client", f"{one.client}, operator {one.client_operator}"),
        ("provider", f"{one.provider}, operator {one.provider_operator}"),
        ("price", f"{amount(one.price)}, collateral {amount(one.collateral)}"),
        ("audited", f"{share(one.audit_ppm)} of results"),
        ("judged by", f"a panel, {amount(one.seat_fee)} a seat" if one.enforcement == "panel" else "its client alone"),
        ("commit by", f"{when(one.commit_by)} UTC"),
        ("commitment", one.commit_tx or "-"),
        ("ended", f"{one.final_how} {one.final_tx}" if one.final_tx else "-"),
        ("paid", amount(one.paid)),
    ]
    if one.outcome:
        rows += [
            ("outcome", f"{outcome_words(one.outcome, one.exit_code)}, {one.wall_ms} ms, fuel {one.fuel}"),
            ("result", f"{one.root or '-'}, {one.size} bytes, checked: {one.checked or 'not yet'}"),
        ]
    return pairs(rows)


def evidence(
    deal: DealName,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="File to write; - is stdout.")] = None,
    secret: Annotated[
        bool, typer.Option("--secret", help="Add what opens a dispute, for whoever is to fund one; for nobody else.")
    ] = False,
    output: Output = "table",
) -> None:
    """Write all that was signed about a deal into one file. Anybody can check it."""
    from mesh.cli.dossiers import write_evidence

    run_async(write_evidence, load(), deal, to, secret, output)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file from `mesh deal evidence`.")],
    output: Output = "table",
) -> None:
    """Check every signature, hash and proof of a dossier. Without node, network or chain."""
    from mesh.cli.dossiers import verify_dossier

    verify_dossier(file, output)


def dispute(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file from `mesh deal evidence --secret`.")],
    withheld: Annotated[
        bool, typer.Option("--withheld", help="The bytes never came; without it: they are wrong.")
    ] = False,
    yes: Yes = False,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
) -> None:
    """Put up the bond of a dispute for a client that cannot. Whoever has its dossier with the secret may."""
    from mesh.cli.disputing import dispute_dossier

    run_async(dispute_dossier, load(node_flags(network, rpc, None)), file, withheld, yes, output)

"""What does a person type about the node itself? up, down, drain, resume, status, doctor."""

from pathlib import Path
from typing import Annotated

import typer

from mesh.api.types import BeaconInfo, NodeStatus, ProviderInfo
from mesh.base.config import LoadedConfig
from mesh.base.errors import UsageError
from mesh.cli.amounts import duration_s, price_flags
from mesh.cli.mediator_verbs import work_text
from mesh.cli.options import Bootstrap, Form, Network, Output, Rpc, flags_of
from mesh.cli.render import ago, emit, pairs, when
from mesh.cli.session import load, open_session, run_async, say

__all__ = ["register"]

NOT_BUILT_ROLES = ("relay",)
NOT_BUILT_EXECUTORS = ("oci", "process")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (up, down, drain, resume, status, doctor):
        app.command()(verb)


def up(
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLES", help="provider, client, mediator, or some with commas.")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option("--price", metavar="TOKENS/UNIT", help="Your ask: 0.036/cpu-h, 0.001/job.")
    ] = None,
    gpus: Annotated[
        str | None, typer.Option("--gpus", metavar="WHICH", help="all, none, or indices such as 0,2.")
    ] = None,
    slots: Annotated[int | None, typer.Option("--slots", metavar="N", help="Jobs run at the same time.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="File that says which jobs to take.")
    ] = None,
    bootstrap: Bootstrap = None,
    rpc: Rpc = None,
    network: Network = None,
    listen: Annotated[
        list[str] | None, typer.Option("--listen", metavar="MULTIADDR", help="Multiaddr to listen on.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; return when it is ready.")] = False,
    output: Output = "table",
    ready_file: Annotated[Path | None, typer.Option("--ready-file", hidden=True)] = None,
    log_file_only: Annotated[bool, typer.Option("--log-file-only", hidden=True)] = False,
) -> None:
    """Run a node: lend this machine, or keep a client at hand. Ends with Ctrl-C or `mesh down`."""
    flags = flags_of(
        provider__roles=role,
        provider__gpus=gpus,
        provider__slots=slots,
        provider__policy_file=str(policy.absolute()) if policy else None,
        network__bootstrap=bootstrap,
        network__name=network,
        network__listen=listen,
        chain__rpc=rpc,
    )
    flags.update(price_flags(price or ()))
    loaded = load(flags)
    _refuse_unbuilt(loaded)
    _read_policy(loaded)
    if detach:
        from mesh.cli.detach import start_detached

        told = start_detached(loaded, flags)
        emit(told, output, lambda: f"node {told['peer_id']} runs as process {told['pid']}   (mesh status, mesh down)")
        return
    from mesh.cli.daemon import run_daemon

    run_async(run_daemon, loaded, ready_file, log_file_only)


def _read_policy(loaded: LoadedConfig) -> None:
    """A policy that cannot be used is said before anything is started. Raises ``ConfigError``."""
    from mesh.base.config.policy import read_policy

    if loaded.config.provider.policy_file:
        read_policy(Path(loaded.config.provider.policy_file).expanduser())


def _refuse_unbuilt(loaded: LoadedConfig) -> None:
    """Settings that later versions will know what to do with. Raises ``UsageError``."""
    mine = loaded.config.provider
    asked = {
        "--gpus": "" if mine.gpus in ("all", "none") else mine.gpus,
        "--role": next((role for role in mine.roles if role in NOT_BUILT_ROLES), ""),
        "provider.executors": next((kind for kind in mine.executors if kind in NOT_BUILT_EXECUTORS), ""),
        "api.http": loaded.config.api.http,
    }
    for name, value in asked.items():
        if value:
            raise UsageError(
                f"{name} {value} is not supported by this version",
                why="it comes with a later milestone",
                fix="mesh config view --origins   (shows where it comes from: leave it out there)",
            )


def down(
    wait: Annotated[
        str | None, typer.Option("--drain", metavar="10m", help="First let running jobs end, for this long at most.")
    ] = None,
) -> None:
    """Stop the node of this home. Deals that are under way go on after the next `mesh up`."""
    run_async(_down, load(), duration_s(wait) if wait else 0.0)


async def _down(loaded: LoadedConfig, drain_s: float) -> None:
    from mesh.cli.detach import await_drained, stop_node

    async with open_session(loaded) as session:
        about = await session.api.status()
        if drain_s and not await await_drained(session.api, drain_s):
            say("not everything was done in time; stopping all the same")
        await stop_node(session.api, about)
    say(
        f"node {about.peer_id} stopped" + (f"; {about.live_deals} deals wait for `mesh up`" if about.live_deals else "")
    )


def drain() -> None:
    """Take no new deals; those under way go on. `mesh resume` ends it."""
    run_async(_drain, load(), True)


def resume() -> None:
    """Take deals again after `mesh drain`."""
    run_async(_drain, load(), False)


async def _drain(loaded: LoadedConfig, draining: bool) -> None:
    async with open_session(loaded) as session:
        await session.api.drain(draining)
    say("no new deals   (mesh resume ends this)" if draining else "open for deals")


def status(output: Output = "table") -> None:
    """What the node of this home is and does."""
    run_async(_status, load(), output)


async def _status(loaded: LoadedConfig, output: Form) -> None:
    async with open_session(loaded) as session:
        found = await session.api.status()
    emit(found, output, lambda: status_text(found))


def status_text(found: NodeStatus) -> str:
    """For people."""
    rows = [
        ("node", found.peer_id),
        ("operator", found.operator),
        ("network", f"{found.network}, chain {found.chain_id}"),
        ("block", f"{found.chain_block}, {when(found.chain_time)}" if found.chain_block else "none seen yet"),
        ("roles", ", ".join(found.roles)),
        ("up", f"{ago(0, found.uptime_s)}, process {found.pid}, mesh {found.version}"),
        ("home", found.home),
        ("peers", f"{found.peers}, {found.offers} offers"),
        ("deals", f"{found.live_deals} live of {found.deals}, {found.runs} runs, {found.outbox} effects to do"),
    ]
    rows += [("listens", address) for address in found.addresses]
    for one in found.endpoints:
        serving = "serves" if one.serving else one.state
        rows.append(("rpc", f"{one.url}: {serving}, {one.calls} calls, {one.failures} failures"))
        if one.trouble:
            rows.append(("", one.trouble))
    if found.beacon is not None:
        rows.append(("beacon", beacon_text(found.beacon)))
    if found.provider is not None:
        rows.append(("provider", _provider_text(found.provider)))
    if found.mediator is not None:
        rows.append(("mediator", work_text(found.mediator)))
    text = pairs(rows)
    return f"{text}\nIN TROUBLE  {found.trouble}" if found.trouble else text


def beacon_text(heard: BeaconInfo) -> str:
    """For people."""
    well = sum(one.state == "ready" for one in heard.relays)
    relays = f"{well} of {len(heard.relays)} relays serve" if heard.relays else "no relays: heard from peers"
    lying = [one.url for one in heard.relays if one.state == "quarantined"]
    told = f"{relays}; {', '.join(lying)} lied" if lying else relays
    if heard.silent_since is not None:
        return f"silent since {when(heard.silent_since)}, last round {heard.round}; {told}"
    return f"round {heard.round}; {told}" if heard.round else f"no round heard yet; {told}"


def _provider_text(mine: ProviderInfo) -> str:
    if mine.draining:
        state = "draining: no new deals"
    elif mine.offering:
        state = f"offers {', '.join(mine.executors)} ({mine.isolation})"
    else:
        state = f"offers nothing: {mine.reason or 'not probed yet'}"
    return f"{state}; {mine.busy} of {mine.slots} slots busy, {mine.holds} held"


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired without asking.")] = False,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
) -> None:
    """Check this machine, its keys, money and network. Each fault comes with a hint."""
    from mesh.cli.doctor import run_doctor

    run_async(run_doctor, load(flags_of(network__name=network, chain__rpc=rpc)), fix, output)

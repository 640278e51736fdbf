"""How are networks kept, found and judged? What stands behind the devnet verbs."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from devnet.cluster import ClusterPlan, ProcessCluster, open_cluster
from devnet.layout import ClusterFile, NodeEntry, devnet_home, read_cluster, write_cluster
from devnet.living import alive, end_restarted, living_cluster, living_now
from devnet.members import Member, MemberPlan
from devnet.process_world import ProcessWorld
from devnet.reporting import reported
from devnet.scenario import JOBS, Cluster, Report, Scenario
from devnet.warm import Timed, run_shared
from mesh.api.client import open_remote
from mesh.base.errors import NodeUnreachable, UsageError
from mesh.base.observe import log_to
from mesh.cli.render import emit, short, table
from mesh.cli.session import say, stops_in_order

__all__ = [
    "heal_all",
    "keep_up",
    "kill_node",
    "list_nodes",
    "part",
    "print_log",
    "run_bench",
    "run_scenario",
    "run_scenarios",
    "run_sim",
    "start_node",
    "stop_network",
]

STOP_WAIT_S: Final = 15.0


async def run_scenario(scenario: Scenario, world: str, seed: int, chain: str) -> Report:
    """One scenario in a fresh world of its own."""
    if world not in scenario.worlds:
        raise UsageError(
            f"{scenario.name} does not run in world {world!r}",
            fix=f"mesh devnet scenario {scenario.name} --world {scenario.worlds[0]}",
        )
    if world == "sim":
        from devnet.sim_world import SimWorld

        with SimWorld(seed, scenario.providers, scenario.clients) as simulated:
            return await reported(scenario.name, seed, world, lambda: scenario.script(simulated, seed))

    async def script() -> dict[str, Any]:
        plan = ClusterPlan(
            providers=scenario.providers,
            clients=scenario.clients,
            mediators=scenario.mediators,
            chain=chain,  # type: ignore[arg-type]
            epoch_blocks=scenario.epoch_blocks,
        )
        async with open_cluster(devnet_home() / "scenario" / scenario.name, plan) as cluster:
            real: Cluster = ProcessWorld(cluster)
            figures = await scenario.script(real, seed)
            return {"chain": cluster.chain.kind, **figures}

    return await reported(scenario.name, seed, world, script)


async def run_scenarios(
    scenarios: Sequence[Scenario], world: str, seed: int, chain: str, tell: Callable[[Report], None]
) -> Report:
    """Several scenarios, those that can in one warm network; ``tell`` hears of each. The report of them all."""
    done: dict[str, dict[str, Any]] = {}
    began = time.monotonic()

    def judged(timed: Timed) -> None:
        told = timed.report
        done[told.name] = {"ok": told.ok, "seconds": timed.seconds, "reset_s": timed.reset_s, "problem": told.problem}
        tell(told)

    shared = [one for one in scenarios if world == "processes" and not one.alone]
    figures: dict[str, Any] = {}
    for name, told in (
        ("shared", [one for one in shared if not one.mediators]),
        ("court", [one for one in shared if one.mediators]),
    ):
        if told:
            network = await reported(name, seed, world, partial(_shared, name, told, seed, chain, judged))
            figures |= network.figures if network.ok else {f"{name}_network": network.problem}
    for one in scenarios:
        if one not in shared:
            since = time.monotonic()
            report = await run_scenario(one, world, seed, chain)
            judged(Timed(report, round(time.monotonic() - since, 3), 0.0))
    bad = [one.name for one in scenarios if not done.get(one.name, {}).get("ok")]
    figures |= {"total_s": round(time.monotonic() - began, 3), "scenarios": done}
    problem = f"{len(bad)} of {len(scenarios)} failed: {', '.join(bad)}" if bad else ""
    return Report(name="scenarios", ok=not bad, figures=figures, problem=problem, world=world, seed=seed)


async def _shared(
    name: str, shared: Sequence[Scenario], seed: int, chain: str, judged: Callable[[Timed], None]
) -> dict[str, Any]:
    up_s = await run_shared(shared, devnet_home() / "scenario" / name, seed, chain, judged)
    return {f"{name}_network_up_s": round(up_s, 3)}


def run_sim(nodes: int, minutes: int, seed: int, faults: str) -> Any:
    """One simulated history; ``ok`` when every invariant held."""
    from devnet.show import SimOutput
    from devnet.sim.faults import FAULTS
    from devnet.sim.simulate import simulate

    if faults not in FAULTS:
        raise UsageError(f"there are no faults {faults!r}", fix=f"mesh devnet sim --faults {next(iter(FAULTS))}")
    began = time.process_time()
    found = simulate(nodes, seed, minutes=minutes, faults=faults)
    return SimOutput.of(found, time.process_time() - began)


async def run_bench(name: str, quick: bool, seed: int) -> Report:
    """One benchmark, its figures beside their targets."""
    from devnet.bench import load_bench
    from devnet.bench.targets import judge

    with log_to(level="warning"):  # stdout is for the report
        figures = await load_bench(name)(quick, seed)
    judged, ok = judge(name, figures)
    return Report(name=name, ok=ok, figures=judged, seed=seed, problem="" if ok else "a figure misses its floor")


async def keep_up(plan: ClusterPlan) -> None:
    """`mesh devnet up`: until Ctrl-C, SIGTERM or `mesh devnet down`."""
    home = devnet_home()
    say(f"starting a chain and {plan.providers + plan.clients + plan.mediators} nodes, each a process of its own ...")
    async with open_cluster(home, plan) as cluster:
        write_cluster(home, _file_of(cluster))
        say(f"{len(cluster.members)} nodes run; chain {cluster.chain.kind} at {cluster.chain.rpc_url}")
        client = cluster.clients[0]
        say(f"the client's home is {client.home}; work as its owner:")
        say(f"  export MESH_HOME={client.home}")
        say(f"  mesh submit {JOBS / 'pi' / 'job.yaml'} -f")
        say("mesh devnet ps shows the nodes; Ctrl-C here, or mesh devnet down, ends them")
        try:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    break
            stops_in_order("mesh devnet up")
            await end_restarted(home, {one.process.pid for one in cluster.members.values() if one.process})
        finally:
            (home / "cluster.json").unlink(missing_ok=True)


def _file_of(cluster: ProcessCluster) -> ClusterFile:
    return ClusterFile(
        chain_kind=cluster.chain.kind,
        rpc_url=cluster.chain.rpc_url,
        chain_id=cluster.chain.chain_id,
        chain_pid=cluster.chain.pid,
        escrow=cluster.escrow,
        token=cluster.token,
        panel=cluster.panel,
        supervisor_pid=os.getpid(),
        beacon_url=cluster.beacon.url,
        nodes=tuple(_entry(member) for member in cluster.members.values()),
    )


def _entry(member: Member) -> NodeEntry:
    return NodeEntry(
        name=member.name,
        role=member.plan.roles[0],
        home=str(member.home),
        pid=member.process.pid if member.process else 0,
        peer_id=member.peer_id,
        operator=member.operator,
        addresses=member.addresses,
    )


def list_nodes(output: str) -> None:
    """`mesh devnet ps`."""
    cluster = living_cluster()
    rows = [
        [one.name, one.role, "up" if alive(one.pid) else "down", str(one.pid), short(one.peer_id), one.home]
        for one in cluster.nodes
    ]
    emit(cluster, output, lambda: table(["NAME", "ROLE", "STATE", "PID", "PEER", "HOME"], rows, least=("PEER",)))


def _node(name: str, cluster: ClusterFile | None = None) -> tuple[ClusterFile, NodeEntry]:
    cluster = cluster or read_cluster(devnet_home())
    for one in cluster.nodes:
        if one.name == name:
            return cluster, one
    names = ", ".join(one.name for one in cluster.nodes)
    raise UsageError(f"there is no node {name!r}", why=f"there are {names}", fix="mesh devnet ps")


def print_log(name: str) -> None:
    """`mesh devnet logs`."""
    _, node = _node(name)
    print((Path(node.home) / "up.log").read_text(errors="replace"), end="")


def kill_node(name: str) -> None:
    """`mesh devnet kill`."""
    _, node = _node(name, living_cluster())
    if not alive(node.pid):
        raise NodeUnreachable(f"{name} is down already", fix=f"mesh devnet start {name}")
    os.kill(node.pid, signal.SIGKILL)
    say(f"{name} (pid {node.pid}) is gone; mesh devnet start {name} brings it back")


async def start_node(name: str) -> None:
    """`mesh devnet start`."""
    cluster, node = _node(name, await living_now(read_cluster(devnet_home())))
    if alive(node.pid):
        raise UsageError(f"{name} is up", fix="mesh devnet ps")
    others = tuple(a for one in cluster.nodes if one.name != name and alive(one.pid) for a in one.addresses[:1])
    plan = MemberPlan(
        name=name,
        roles=(node.role,),
        rpc=(cluster.rpc_url,),
        escrow=cluster.escrow,
        token=cluster.token,
        panel=cluster.panel,
        chain_id=cluster.chain_id,
        bootstrap=others,
        beacon=(cluster.beacon_url,) if cluster.beacon_url else (),
    )
    member = Member(Path(node.home), plan)
    await member.start()
    nodes = tuple(_entry(member) if one.name == name else one for one in cluster.nodes)
    write_cluster(
        devnet_home(),
        ClusterFile(
            **{field: getattr(cluster, field) for field in cluster.__struct_fields__ if field != "nodes"}, nodes=nodes
        ),
    )
    say(f"{name} is up again (pid {member.process.pid if member.process else 0})")


async def part(one: str, other: str, apart: bool) -> None:
    """`mesh devnet partition`: each refuses the other."""
    _, first = _node(one)
    _, second = _node(other)
    for node, peer in ((first, second), (second, first)):
        async with open_remote(Path(node.home) / "api.sock") as api:
            await api.block(peer.peer_id, apart)
    say(f"{one} and {other} refuse each other; mesh devnet heal undoes it")


async def heal_all() -> None:
    """`mesh devnet heal`: nobody refuses anybody any more."""
    living = [one for one in (await living_now(read_cluster(devnet_home()))).nodes if alive(one.pid)]
    for node in living:
        async with open_remote(Path(node.home) / "api.sock") as api:
            for peer in living:
                if peer is not node:
                    await api.block(peer.peer_id, False)
    say(f"{len(living)} nodes take each other again; they dial within seconds")


def stop_network() -> None:
    """`mesh devnet down`: its supervisor ends everything it started; nodes started later are ended here."""
    cluster = living_cluster()
    for one in cluster.nodes:
        if alive(one.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError):
        os.kill(cluster.supervisor_pid, signal.SIGTERM)
    until = time.monotonic() + STOP_WAIT_S
    while alive(cluster.supervisor_pid) and time.monotonic() < until:
        time.sleep(0.1)
    say("the network is down")

"""What does the demo show? A stranger's job running for money between real processes, step by step, with its times."""

import sys
import time
from pathlib import Path
from typing import Any

import trio

from devnet.cluster import ClusterPlan, ProcessCluster, open_cluster
from devnet.process_world import ProcessWorld
from devnet.scenario import Failed, JobChoice, settled
from mesh.api.types import BalanceInfo, RunInfo
from mesh.base.clock import SystemClock
from mesh.cli.render import PhaseLine, amount, short, table

__all__ = ["run_demo"]

LIMIT_S = 180.0


def _say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


class _Laps:
    """How long each part took."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.laps: list[tuple[str, float]] = []

    def lap(self, name: str) -> None:
        """A part is over."""
        now = time.monotonic()
        self.laps.append((name, now - self._last))
        self._last = now

    @property
    def total_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began


async def run_demo(home: Path, plan: ClusterPlan) -> dict[str, Any]:
    """One chain, providers, a client; `devnet/jobs/pi/job.yaml` to its settlement. Raises ``Failed`` when it goes wrong."""
    laps = _Laps()
    _say("starting a chain, providers and a client, each a process of its own ...")
    async with open_cluster(home, plan) as cluster:
        laps.lap("network up, contracts deployed, nodes funded")
        _network(cluster)
        world = ProcessWorld(cluster)
        names = (*world.clients, *world.providers)
        before = {name: await world.balance(name) for name in names}
        client = world.clients[0]
        run_id = await world.submit(client, JobChoice(millions=100))
        _say(f"\n$ mesh submit devnet/jobs/pi/job.yaml --set \"command=[--samples, '100000000']\"\nrun {run_id}")
        run = await _watch(world, client, run_id, laps)
        after = {name: await world.balance(name) for name in names}
        output = (await world.stdout(client, run_id)).decode(errors="replace")
        _result(run, output)
        _money(before, after)
    laps.lap("everything stopped")
    _times(laps)
    return _figures(run, laps)


def _network(cluster: ProcessCluster) -> None:
    _say(f"\nchain     {cluster.chain.kind}, id {cluster.chain.chain_id}, {cluster.chain.rpc_url}")
    _say(f"escrow    {cluster.escrow}")
    for member in cluster.members.values():
        _say(f"{member.name:<11} {short(member.peer_id)}  {member.addresses[0].rpartition('/p2p/')[0]}")


async def _watch(world: ProcessWorld, client: str, run_id: str, laps: _Laps) -> RunInfo:
    line = PhaseLine(SystemClock())
    seen: set[str] = set()
    with trio.move_on_after(LIMIT_S):
        while True:
            run = await world.run(client, run_id)
            line.show(run)
            deal = run.deals[-1] if run.deals else None
            if deal is not None:
                for name, reached in (
                    ("quotes asked, deal signed", True),
                    ("inputs pulled, committed on chain", deal.commit_tx is not None),
                    ("job run, result committed", deal.outcome is not None),
                    ("result pulled and checked", bool(deal.checked)),
                    ("settled on chain", settled(run)),
                ):
                    if reached and name not in seen:
                        seen.add(name)
                        laps.lap(name)
            if settled(run) or run.status == "failed":
                line.end()
                if run.status == "failed":
                    raise Failed(f"the run failed: {run.code}: {run.detail}")
                _quotes(run)
                return run
            await trio.sleep(0.03)
    raise Failed(f"the run did not settle within {LIMIT_S:g} s")


def _quotes(run: RunInfo) -> None:
    rows = [
        [short(one.provider), one.verdict, amount(one.price), one.code or "-", one.detail or "-"]
        for one in run.candidates
    ]
    _say("\n" + table(["PROVIDER", "ANSWER", "PRICE", "REASON", "IN ITS OWN WORDS"], rows))


def _result(run: RunInfo, output: str) -> None:
    deal = run.deals[-1]
    _say("\nthe job's output:")
    for text in output.splitlines():
        _say(f"  | {text}")
    _say(f"\ndeal        {deal.deal_id}")
    _say(f"commitment  {deal.commit_tx}")
    _say(f"settlement  {deal.final_tx}")
    _say(f"result      {run.outcome}, exit code {run.exit_code}, checked: {run.checked}, {run.root}")


def _money(before: dict[str, BalanceInfo], after: dict[str, BalanceInfo]) -> None:
    rows = []
    for name, was in before.items():
        change = int(after[name].free) - int(was.free)
        sign = "+" if change >= 0 else "-"
        rows.append([name, amount(was.free), amount(after[name].free), f"{sign}{amount(str(abs(change)))}"])
    _say("\n" + table(["BALANCE", "BEFORE", "AFTER", "CHANGE"], rows))
    burned = -sum(int(after[name].free) - int(before[name].free) for name in before)
    _say(f"burned fee: {amount(str(burned))}")


def _times(laps: _Laps) -> None:
    _say("\n" + table(["SECONDS", "STEP"], [[f"{took:7.2f}", name] for name, took in laps.laps]))
    _say(f"{laps.total_s:7.2f}  in all")


def _figures(run: RunInfo, laps: _Laps) -> dict[str, Any]:
    deal = run.deals[-1]
    return {
        "deal_id": deal.deal_id,
        "commitment": deal.commit_tx,
        "settlement": deal.final_tx,
        "price_wei": deal.price,
        "checked": run.checked,
        "seconds": {name: round(took, 3) for name, took in laps.laps},
        "total_s": round(laps.total_s, 3),
    }

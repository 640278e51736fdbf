"""How fast, how surely and at what cost does gossip reach everybody? Real processes; stock libp2p in the same run.

Figures: ``delivery``, ``burst_delivery``, ``latency_p50``, ``latency_p99`` (10 processes, 2.5 records/s in all) and
``cpu_per_delivery`` (10 nodes in one process, ours against stock); in the full form also 60 nodes in 6 processes.
"""

import json
import random
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

__all__ = ["run"]

DEGREE: Final = 8
"""Connections each node makes or takes: the topic mesh then has 7 to 8, as in research/libp2p.md 3c."""
SETTLE_S: Final = 4.0
"""For the topic meshes to form: three heartbeats."""
DRAIN_S: Final = 3.0
"""For the last records to arrive."""
ANSWER_LIMIT_S: Final = 120.0
Figure = dict[str, object]


class Worker:
    """One child process with some nodes."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""
        self.addresses: list[str] = []

    async def line(self) -> Any:
        """The child's next line of JSON."""
        assert self._process.stdout is not None
        with trio.fail_after(ANSWER_LIMIT_S):
            while b"\n" not in self._buffer:
                chunk = await self._process.stdout.receive_some()
                if not chunk:
                    raise RuntimeError("a process of the gossip bench ended early; run it alone to see why")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, command: object) -> Any:
        """Sends a command and waits for its answer."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")
        return await self.line()


@asynccontextmanager
async def network(mode: str, processes: int, per_process: int, rng: random.Random) -> AsyncIterator[list[Worker]]:
    """A connected network of nodes, torn down at the end of the block."""
    degree = min(DEGREE, processes * per_process - 1)
    command = [sys.executable, "-W", "ignore", "-m", "devnet.bench.gossip_node", mode, str(per_process), str(degree)]
    start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        workers = [Worker(await nursery.start(start)) for _ in range(processes)]
        for worker in workers:
            worker.addresses = await worker.line()
        await _connect(workers, degree, rng)
        await trio.sleep(SETTLE_S)
        yield workers
        nursery.cancel_scope.cancel()


async def _connect(workers: Sequence[Worker], degree: int, rng: random.Random) -> None:
    """A random graph in which each node has about ``degree`` connections; each edge is dialled from one side."""
    everybody = [address for worker in workers for address in worker.addresses]
    wanted: dict[str, set[str]] = {address: set() for address in everybody}
    have = dict.fromkeys(everybody, 0)
    edges = [(a, b) for i, a in enumerate(everybody) for b in everybody[i + 1 :]]
    rng.shuffle(edges)
    for a, b in edges:
        if have[a] < degree and have[b] < degree:
            wanted[a].add(b)
            have[a] += 1
            have[b] += 1
    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(worker.ask, {"connect": [sorted(wanted[a]) for a in worker.addresses]})


async def _all(workers: Sequence[Worker], command: dict[str, object]) -> list[Any]:
    answers: list[Any] = [None] * len(workers)

    async def ask(index: int) -> None:
        answers[index] = await workers[index].ask(command)

    async with trio.open_nursery() as nursery:
        for index in range(len(workers)):
            nursery.start_soon(ask, index)
    return answers


async def _measure(workers: Sequence[Worker], total_rate: float, seconds: float) -> tuple[float, list[float], float]:
    """Publishes; returns delivery (0 to 1), sorted latencies in ms, and CPU ms per delivery."""
    nodes = sum(len(worker.addresses) for worker in workers)
    await _all(workers, {"report": True})
    await _all(workers, {"publish": total_rate / nodes, "seconds": seconds})
    await trio.sleep(DRAIN_S)
    reports = await _all(workers, {"report": True})
    latencies = sorted(x for report in reports for x in report["latencies_ms"])
    expected = sum(report["published"] for report in reports) * (nodes - 1)
    cpu_ms = 1000 * sum(report["cpu_s"] for report in reports)
    return len(latencies) / max(1, expected), latencies, cpu_ms / max(1, len(latencies))


async def _burst(workers: Sequence[Worker], count: int) -> float:
    """One node publishes ``count`` records of 1 KiB at once; the share that arrives."""
    nodes = sum(len(worker.addresses) for worker in workers)
    await _all(workers, {"report": True})
    await workers[0].ask({"burst": count})
    await trio.sleep(2 * DRAIN_S)
    reports = await _all(workers, {"report": True})
    return sum(len(report["latencies_ms"]) for report in reports) / (count * (nodes - 1))


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def _figure(value: float, unit: str, target: float, **more: object) -> Figure:
    return {"value": round(value, 4), "unit": unit, "target": target, **more}


async def run(quick: bool, seed: int) -> dict[str, Figure]:
    """Runs the bench: about a minute in its quick form, five in its full one. Leaves no process behind."""
    rng = random.Random(seed)
    figures: dict[str, Figure] = {}
    seconds = 10.0 if quick else 40.0
    async with network("ours", 10, 1, rng) as workers:
        delivery, latencies, _ = await _measure(workers, 2.5, seconds)
        figures["delivery"] = _figure(delivery, "share", 0.999)
        figures["latency_p50"] = _figure(_percentile(latencies, 0.5), "ms", 60)
        figures["latency_p99"] = _figure(_percentile(latencies, 0.99), "ms", 600)
        figures["burst_delivery"] = _figure(await _burst(workers, 200), "share", 1.0)
    async with network("stock", 1, 10, rng) as workers:
        stock_delivery, stock_latencies, stock_cpu = await _measure(workers, 1.0, seconds)
        stock_burst = await _burst(workers, 200)
    async with network("ours", 1, 10, rng) as workers:
        _, one_latencies, cpu = await _measure(workers, 10.0, seconds)
    figures["cpu_per_delivery"] = _figure(cpu, "ms", 4.5, ratio=round(cpu / stock_cpu, 3), of="stock libp2p")
    figures["one_process_p50"] = _figure(statistics.median(one_latencies), "ms", 15)
    figures["stock_delivery"] = {"value": round(stock_delivery, 4), "unit": "share"}
    figures["stock_burst_delivery"] = {"value": round(stock_burst, 4), "unit": "share"}
    figures["stock_latency_p50"] = {"value": round(_percentile(stock_latencies, 0.5), 1), "unit": "ms"}
    if not quick:
        async with network("ours", 6, 10, rng) as workers:
            delivery, latencies, _ = await _measure(workers, 1.2, seconds)
            figures["delivery_60"] = _figure(delivery, "share", 0.999)
            figures["latency_60_p50"] = {"value": round(_percentile(latencies, 0.5), 1), "unit": "ms"}
    return figures

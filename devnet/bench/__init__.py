"""Which benchmarks are there? Each measures both sides of a ratio in one run."""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

__all__ = ["BENCHES", "Run", "load_bench"]

Run = Callable[[bool, int], Awaitable[Mapping[str, Any]]]

BENCHES: Final[dict[str, str]] = {
    "first-job": "submit to first output, deal signed, set-up, on a real network",
    "gossip": "delivery, latency and CPU of gossip between real processes",
    "wire": "streams, calls and dials against raw TCP and TLS",
    "exec": "start overhead, tiny jobs per second, cancel, against native code",
    "store": "durable appends, restart",
    "transfer": "content ids, block verification, pulls",
    "beacon": "checking a round of randomness, and how long the loop stands still for it",
    "gas": "deals, channels and disputes on a local chain, beside the predecessor's",
    "triangle": "the same job under each choice of verification: time, price, transactions, who saw the data",
    "sim": "deal events and gossip deliveries per CPU second, rounds per deal",
}


def load_bench(name: str) -> Run:
    """The program behind a name."""
    run: Run = importlib.import_module(f"devnet.bench.{name.replace('-', '_')}").run
    return run

"""What is a scenario, and on what does it run? One script, two worlds: real processes, or the simulator.

A scenario sees a `Cluster` and nothing below it; it answers a `Report` whose figures are facts that were measured in it.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from mesh.api.types import BalanceInfo, ChannelInfo, DealInfo, RunInfo, TraceInfo

__all__ = ["JOBS", "Cluster", "Failed", "JobChoice", "Report", "Scenario", "ScenarioScript", "check"]

JOBS: Final = Path(__file__).parent / "jobs"


class Failed(Exception):
    """A scenario found something that is not as it must be. ``figures``: what it had measured by then."""

    def __init__(self, what: str, figures: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(what)
        self.figures = dict(figures)


def check(holds: bool, what: str) -> None:
    """Raises ``Failed`` with ``what`` unless it holds."""
    if not holds:
        raise Failed(what)


class JobChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which example job to submit, and how long it takes: ``samples`` million points of pi."""

    name: str = "pi"
    millions: int = 20
    sets: tuple[str, ...] = ()
    audit: str = ""
    """Share of results to re-execute, ``0`` to ``1``; empty follows the provider's record."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the one JSON object that ``-o json`` prints last."""

    name: str
    ok: bool
    figures: dict[str, Any]
    problem: str = ""
    world: str = "processes"
    seed: int = 0


class Cluster(Protocol):
    """A network that a scenario may use and hurt. Members are named ``provider-1``, ``client-1`` ..."""

    @property
    def world(self) -> str: ...

    @property
    def providers(self) -> tuple[str, ...]: ...

    @property
    def clients(self) -> tuple[str, ...]: ...

    async def submit(self, client: str, job: JobChoice) -> str:
        """A run's id."""
        ...

    async def run(self, client: str, run_id: str) -> RunInfo: ...

    async def until(self, client: str, run_id: str, holds: Callable[[RunInfo], bool], limit_s: float) -> RunInfo:
        """Watch a run until something holds. Raises ``Failed`` when it does not in that time."""
        ...

    async def until_deal(self, node: str, deal_id: str, holds: Callable[[DealInfo], bool], limit_s: float) -> DealInfo:
        """Watch a deal until something holds. Raises ``Failed``."""
        ...

    async def trace(self, client: str, run_id: str) -> tuple[TraceInfo, ...]: ...

    async def balance(self, node: str) -> BalanceInfo: ...

    async def until_channel(self, node: str, holds: Callable[[ChannelInfo], bool], limit_s: float) -> ChannelInfo:
        """Watch a member's channels until something holds of one. Raises ``Failed``."""
        ...

    async def channel(self, node: str, verb: str, peer: str, wei: int = 0) -> None:
        """``fund``, ``close`` or ``redeem`` the channel of two members, by name."""
        ...

    async def peer_id(self, node: str) -> str: ...

    async def transactions(self) -> int:
        """How many transactions the members have sent so far, all together."""
        ...

    async def stdout(self, client: str, run_id: str) -> bytes: ...

    async def kill(self, name: str) -> None:
        """kill -9."""
        ...

    async def start(self, name: str) -> None: ...

    async def withhold(self, client: str, withholding: bool) -> None:
        """Make a client refuse to serve its inputs."""
        ...

    async def pass_time(self, seconds: int) -> None:
        """Move the chain's clock, and let every node that runs hear of it: a deadline need not be waited for."""
        ...

    def now(self) -> float:
        """Seconds of this world's clock."""
        ...


ScenarioScript = Callable[[Cluster, int], Awaitable[dict[str, Any]]]
"""Runs the script with a seed; answers figures, raises ``Failed``."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A named script and the network it wants."""

    name: str
    about: str
    script: ScenarioScript
    providers: int = 3
    clients: int = 1
    mediators: int = 0
    """Who share the panel's seats; a scenario with some is told in a network of such."""
    worlds: tuple[str, ...] = ("processes", "sim")
    alone: str = ""
    """Why it needs a network of its own; empty for one that takes what others leave, set back."""
    epoch_blocks: int = 1
    """Blocks until the chain calls one safe, and as many more until final: more than one only in a network of its own."""


def settled(run: RunInfo) -> bool:
    """Done and paid."""
    return run.status == "done" and run.settled


def ended(run: RunInfo) -> bool:
    """Nothing more will happen by itself."""
    return run.status in ("failed", "cancelled") or settled(run)

"""What does a node's home know by itself? The part of the API that needs no running node: it only reads.

``LocalApi`` answers with it from the running engine; the command line from a store on disk when no node runs.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from mesh.api.channels import channel_info
from mesh.api.lookup import StatePort, one_deal, one_run
from mesh.api.text import deal_info, run_info
from mesh.api.types import ChannelInfo, DealInfo, LogInfo, RunInfo, TraceInfo
from mesh.base.errors import NodeUnreachable, UsageError
from protocols import views
from protocols.deals.eip712 import Domain
from protocols.transfer.cid import parse_cid
from protocols.units import Cid
from protocols.views import RunView

__all__ = [
    "MAX_LOG_BYTES",
    "MAX_TRACE_LINES",
    "HomeReader",
    "ReadApi",
    "StoredBlobs",
    "TraceLine",
    "TracePort",
    "trace_info",
]

MAX_LOG_BYTES: Final = 256 << 20
MAX_TRACE_LINES: Final = 1_000
"""Of one read."""
STREAMS: Final = ("stdout", "stderr")
_HELD: Final = ("delivered", "checking")
"""Phases of a deal whose result is here and not accepted yet: its bytes are worth seeing."""


class StoredBlobs(Protocol):
    """Reads of the blob store."""

    async def export(self, root: Cid, destination: Path) -> None: ...

    async def read_in(self, root: Cid, name: str, max_bytes: int) -> bytes:
        """A file directly below a directory root."""
        ...


class TraceLine(Protocol):
    """One record of the trace."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> bytes: ...
    @property
    def data(self) -> bytes: ...


class TracePort(Protocol):
    """What happened, oldest first."""

    async def trace(self, subject: bytes, since: int = 0, limit: int = 1_000) -> Sequence[TraceLine]: ...

    async def tail(self, limit: int = 100) -> Sequence[TraceLine]: ...


class ReadApi(Protocol):
    """The calls of ``NodeApi`` that change nothing and ask nobody else."""

    async def export(self, cid: str, destination: Path) -> None: ...

    async def runs(self) -> tuple[RunInfo, ...]: ...

    async def run(self, run: str) -> RunInfo: ...

    def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]: ...

    async def logs(self, run: str, stream: str, offset: int) -> LogInfo: ...

    async def deals(self) -> tuple[DealInfo, ...]: ...

    async def deal(self, deal: str) -> DealInfo: ...

    async def evidence(self, deal: str) -> bytes: ...

    async def channels(self) -> tuple[ChannelInfo, ...]: ...


class HomeReader:
    """``ReadApi`` over a state, a trace and the blobs of one home."""

    def __init__(self, state: StatePort, store: TracePort, blobs: StoredBlobs, domain: Domain) -> None:
        self._state = state
        self._store = store
        self._blobs = blobs
        self._domain = domain

    async def export(self, cid: str, destination: Path) -> None:
        """See ``NodeApi``."""
        await self._blobs.export(parse_cid(cid), destination)

    async def runs(self) -> tuple[RunInfo, ...]:
        """See ``NodeApi``."""
        return tuple(run_info(one) for one in self._state.view(views.runs))

    async def run(self, run: str) -> RunInfo:
        """See ``NodeApi``."""
        return run_info(one_run(self._state, run))

    async def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]:
        """See ``NodeApi``. Nothing more happens here while no node runs: ``follow`` is refused."""
        if follow:
            raise _sleeps("there is nothing to follow")
        subject = one_run(self._state, run).run_id if run else None
        for record in await self.read_trace(subject, since):
            yield trace_info(record)

    async def read_trace(self, subject: bytes | None, since: int) -> Sequence[TraceLine]:
        """The records of one subject, or the newest of all, after ``since``."""
        if subject is not None:
            return await self._store.trace(subject, since, MAX_TRACE_LINES)
        return tuple(record for record in await self._store.tail(MAX_TRACE_LINES) if record.seq > since)

    async def logs(self, run: str, stream: str, offset: int) -> LogInfo:
        """See ``NodeApi``. A job without a result has its log at its provider, which only a node can ask."""
        view = self.viewed(run, stream)
        found = await self.result_log(view, stream, offset)
        if found is None and view.status in ("searching", "dealing"):
            raise _sleeps(f"the log of run 0x{view.run_id.hex()[:8]} is not here yet")
        return found or LogInfo(data=b"", live=False)

    def viewed(self, run: str, stream: str) -> RunView:
        """The run of a log that is asked for. Raises ``UsageError``."""
        if stream not in STREAMS:
            raise UsageError(
                f"there is no stream {stream!r}", why="a job has stdout and stderr", fix="mesh logs --help"
            )
        return one_run(self._state, run)

    async def result_log(self, view: RunView, stream: str, offset: int) -> LogInfo | None:
        """The log as it stands in the result, also while that is still being checked; None while there is no result."""
        latest = view.deals[-1] if view.deals else None
        root = view.root
        if root is None and latest is not None and latest.phase in _HELD:
            root = latest.root
        if root is None:
            return None
        whole = await self._blobs.read_in(root, stream, MAX_LOG_BYTES)
        return LogInfo(data=whole[offset:], live=False)

    async def deals(self) -> tuple[DealInfo, ...]:
        """See ``NodeApi``."""
        return tuple(deal_info(one) for one in self._state.view(views.deals))

    async def deal(self, deal: str) -> DealInfo:
        """See ``NodeApi``."""
        return deal_info(one_deal(self._state, deal))

    async def evidence(self, deal: str) -> bytes:
        """See ``NodeApi``."""
        deal_id = one_deal(self._state, deal).deal_id
        return self._state.view(lambda state: views.dossier(state, deal_id, self._domain))

    async def channels(self) -> tuple[ChannelInfo, ...]:
        """See ``NodeApi``."""
        return self._state.view(lambda state: tuple(channel_info(half) for half in state.durable.channels.values()))


def trace_info(record: TraceLine) -> TraceInfo:
    """A record as the API shows it."""
    fields = msgspec.json.decode(record.data, type=dict[str, str])
    return TraceInfo(seq=record.seq, at=record.at, name=record.kind, subject="0x" + record.subject.hex(), fields=fields)


def _sleeps(what: str) -> NodeUnreachable:
    return NodeUnreachable(what, why="no node of this home runs", fix="mesh up --detach")

"""How does the command line talk to the running node? The same API, over its unix socket."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import httpcore
import msgspec
import trio

from mesh.api.calls import CALLS, from_json, to_json
from mesh.api.lines import read_lines
from mesh.api.mediation import SeatsInfo
from mesh.api.types import (
    Added,
    ApiError,
    BalanceInfo,
    CandidateInfo,
    ChannelInfo,
    DealInfo,
    LogInfo,
    NodeStatus,
    OfferInfo,
    PeerInfo,
    RunInfo,
    Submission,
    TraceInfo,
    TxInfo,
)
from mesh.base import errors
from mesh.base.errors import MeshError, NodeUnreachable
from mesh.base.http import AnswerTooLong, Connections, Unreachable

__all__ = ["RemoteApi", "open_remote"]

CALL_TIMEOUT_S: Final = 120.0
"""A quote waits for bids, a deposit for its block; importing a large folder streams on the node's side."""

CONNECTIONS: Final = 64
"""Calls of one program under way at once; the next one waits."""
MAX_ANSWER_BYTES: Final = 1 << 30
"""Of the owner's own node: all runs, or the evidence of a deal."""
_OK: Final = 200
_HEADERS: Final = ((b"host", b"node"), (b"content-type", b"application/json"))


@asynccontextmanager
async def open_remote(socket: Path) -> AsyncIterator["RemoteApi"]:
    """The API of the node that listens on ``socket``. Calls raise ``NodeUnreachable`` when none does."""
    connections = Connections(CONNECTIONS, CALL_TIMEOUT_S, socket)
    try:
        yield RemoteApi(connections, socket)
    finally:
        with trio.CancelScope(shield=True):  # nothing there waits for the node
            await connections.aclose()


class RemoteApi:
    """``NodeApi`` over a socket."""

    def __init__(self, connections: Connections, socket: Path) -> None:
        self._connections = connections
        self._socket = socket

    async def _call(self, name: str, **arguments: object) -> Any:
        content, body, statuses = to_json(arguments), bytearray(), []

        def check(response: httpcore.Response) -> None:
            statuses.append(response.status)

        headers = (*_HEADERS, (b"content-length", b"%d" % len(content)))
        url = f"http://node/v1/{name}"
        try:
            with trio.fail_after(CALL_TIMEOUT_S):
                await self._connections.ask("POST", url, headers, content, check, body, MAX_ANSWER_BYTES)
        except (Unreachable, AnswerTooLong, trio.TooSlowError) as error:
            raise self._unreachable(error) from error
        if statuses != [_OK]:
            raise _error(bytes(body))
        kind = CALLS[name].answer
        return None if kind is None else from_json(bytes(body), kind)

    def _unreachable(self, error: Exception) -> NodeUnreachable:
        return NodeUnreachable(
            "no node answers here",
            why=f"{self._socket}: {str(error) or type(error).__name__}",
            fix="mesh up --role client",
        )

    async def status(self) -> NodeStatus:
        """See ``NodeApi``."""
        found: NodeStatus = await self._call("status")
        return found

    async def add(self, path: Path) -> Added:
        """See ``NodeApi``."""
        found: Added = await self._call("add", path=path.resolve())
        return found

    async def export(self, cid: str, destination: Path) -> None:
        """See ``NodeApi``."""
        await self._call("export", cid=cid, destination=destination.absolute())

    async def submit(self, submission: Submission) -> str:
        """See ``NodeApi``."""
        found: str = await self._call("submit", submission=submission)
        return found

    async def quote(self, submission: Submission) -> tuple[CandidateInfo, ...]:
        """See ``NodeApi``."""
        found: tuple[CandidateInfo, ...] = await self._call("quote", submission=submission)
        return found

    async def runs(self) -> tuple[RunInfo, ...]:
        """See ``NodeApi``."""
        found: tuple[RunInfo, ...] = await self._call("runs")
        return found

    async def run(self, run: str) -> RunInfo:
        """See ``NodeApi``."""
        found: RunInfo = await self._call("run", run=run)
        return found

    async def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]:
        """See ``NodeApi``."""
        query = {"run": run, "since": str(since), "follow": "1" if follow else "0"}
        lines = read_lines(self._socket, "/v1/events", query)
        try:
            async with aclosing(cast("AsyncGenerator[bytes]", lines)):
                async for line in lines:
                    yield _line(line)
        except (OSError, EOFError) as error:
            raise self._unreachable(error) from error

    async def logs(self, run: str, stream: str, offset: int) -> LogInfo:
        """See ``NodeApi``."""
        found: LogInfo = await self._call("logs", run=run, stream=stream, offset=offset)
        return found

    async def cancel(self, run: str) -> RunInfo:
        """See ``NodeApi``."""
        found: RunInfo = await self._call("cancel", run=run)
        return found

    async def retry(self, run: str) -> RunInfo:
        """See ``NodeApi``."""
        found: RunInfo = await self._call("retry", run=run)
        return found

    async def deals(self) -> tuple[DealInfo, ...]:
        """See ``NodeApi``."""
        found: tuple[DealInfo, ...] = await self._call("deals")
        return found

    async def deal(self, deal: str) -> DealInfo:
        """See ``NodeApi``."""
        found: DealInfo = await self._call("deal", deal=deal)
        return found

    async def evidence(self, deal: str) -> bytes:
        """See ``NodeApi``."""
        found: bytes = await self._call("evidence", deal=deal)
        return found

    async def offers(self, expression: str = "") -> tuple[OfferInfo, ...]:
        """See ``NodeApi``."""
        found: tuple[OfferInfo, ...] = await self._call("offers", expression=expression)
        return found

    async def peers(self) -> tuple[PeerInfo, ...]:
        """See ``NodeApi``."""
        found: tuple[PeerInfo, ...] = await self._call("peers")
        return found

    async def balance(self) -> BalanceInfo:
        """See ``NodeApi``."""
        found: BalanceInfo = await self._call("balance")
        return found

    async def deposit(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._money("deposit", amount)

    async def withdraw(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._money("withdraw", amount)

    async def stake(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._money("stake", amount)

    async def unstake(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._money("unstake", amount)

    async def channels(self) -> tuple[ChannelInfo, ...]:
        """See ``NodeApi``."""
        found: tuple[ChannelInfo, ...] = await self._call("channels")
        return found

    async def channel(self, verb: str, peer: str, amount: str) -> None:
        """See ``NodeApi``."""
        await self._call("channel", verb=verb, peer=peer, amount=amount)

    async def seats(self) -> SeatsInfo:
        """See ``NodeApi``."""
        found: SeatsInfo = await self._call("seats")
        return found

    async def join_seats(self, count: int, seat_class: int) -> tuple[TxInfo, ...]:
        """See ``NodeApi``."""
        sent: tuple[TxInfo, ...] = await self._call("join_seats", count=count, seat_class=seat_class)
        return sent

    async def leave_seats(self, seat_class: int, numbers: tuple[int, ...]) -> tuple[TxInfo, ...]:
        """See ``NodeApi``."""
        sent: tuple[TxInfo, ...] = await self._call("leave_seats", seat_class=seat_class, numbers=numbers)
        return sent

    async def _money(self, name: str, amount: str) -> TxInfo:
        found: TxInfo = await self._call(name, amount=amount)
        return found

    async def block(self, peer: str, blocked: bool) -> None:
        """See ``NodeApi``."""
        await self._call("block", peer=peer, blocked=blocked)

    async def drain(self, draining: bool) -> None:
        """See ``NodeApi``."""
        await self._call("drain", draining=draining)

    async def stop(self) -> None:
        """See ``NodeApi``."""
        await self._call("stop")


def _line(line: bytes) -> TraceInfo:
    if line.startswith(b'{"kind"'):
        raise _error(line)
    found: TraceInfo = from_json(line, TraceInfo)
    return found


def _error(body: bytes) -> MeshError:
    """The node's error as the same class here."""
    try:
        told: ApiError = from_json(body, ApiError)
    except msgspec.MsgspecError:
        return MeshError("the node failed", why=body[:200].decode(errors="replace"), fix="mesh status")
    kind = getattr(errors, told.kind, MeshError)
    if not (isinstance(kind, type) and issubclass(kind, MeshError)):
        kind = MeshError
    return kind(told.what, why=told.why, fix=told.fix)

"""How do the logs of a running job reach the client that pays for it?"""

from pathlib import Path
from typing import Final

import trio

from mesh.base.errors import NodeUnreachable
from mesh.engine import Engine
from mesh.net.link import CALL_MAX_BYTES, CallRefused, Link, LinkError
from mesh.runner import JobRunner
from protocols.canonical import decode_strict, encode
from protocols.errors import RemoteProtocolError
from protocols.messages.registry import LOGS_PROTOCOL
from protocols.messages.transfer import MAX_LOG_PART, LogPart, LogPull
from protocols.state import PROVIDER, NodeState
from protocols.units import DealId, PeerId

__all__ = ["LogReader", "may_read", "serve_logs"]

PULL_TIMEOUT_S: Final = 5.0
MAX_PULL_BYTES: Final = 128


def serve_logs(link: Link, engine: Engine, runner: JobRunner) -> None:
    """Answer log pulls of the clients of running deals."""

    async def answer(peer: PeerId, request: bytes) -> bytes:
        try:
            pull = decode_strict(LogPull, request, max_bytes=MAX_PULL_BYTES)
        except RemoteProtocolError as error:
            raise CallRefused(str(error)) from error
        if not engine.view(lambda state: may_read(state, pull.deal_id, peer)):
            raise CallRefused("not a deal of yours")
        part = await trio.to_thread.run_sync(_read, runner.log_path(pull.deal_id, pull.stream), pull.offset)
        return encode(LogPart(data=part or b"", live=part is not None))

    link.serve(LOGS_PROTOCOL, answer, MAX_PULL_BYTES)


def may_read(state: NodeState, deal_id: DealId, peer: PeerId) -> bool:
    """Whether a peer may follow the log of a deal's job."""
    half = state.durable.deals.get(deal_id)
    if half is None or half.role != PROVIDER or half.state.terms.client != peer:
        return False
    # A sealed result's log is part of it: it comes with the key, not before the voucher.
    return not getattr(half.state, "sealed", False)


def _read(path: Path, offset: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(MAX_LOG_PART)
    except FileNotFoundError:
        return None


class LogReader:
    """Pulls the logs of a deal from its provider."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def pull(self, provider: PeerId, deal_id: DealId, stream: str, offset: int) -> LogPart:
        """What the provider has from ``offset`` on. Raises ``NodeUnreachable``: it does not answer, or with nonsense."""
        request = encode(LogPull(deal_id=deal_id, stream=stream, offset=offset))  # type: ignore[arg-type]
        try:
            answer = await self._link.call(provider, LOGS_PROTOCOL, request, PULL_TIMEOUT_S)
            return decode_strict(LogPart, answer, max_bytes=CALL_MAX_BYTES)
        except (LinkError, RemoteProtocolError) as error:
            raise NodeUnreachable(
                "the provider does not tell its log",
                why=str(error) or type(error).__name__,
                fix="mesh ps   (the result brings the whole log)",
            ) from error

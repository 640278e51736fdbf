"""How is a run watched from the outside: its log copied, its end awaited?"""

import sys
from collections.abc import Callable, Sequence
from typing import Final

import trio

from mesh.api.port import NodeApi
from mesh.api.reading import ReadApi
from mesh.api.types import NodeStatus, RunInfo
from mesh.base.clock import SystemClock
from mesh.base.errors import ChainOrFunds, MeshError
from mesh.cli.options import Form
from mesh.cli.render import PhaseLine
from mesh.cli.session import Session, say
from mesh.cli.submitting import follow, is_over

__all__ = ["STREAMS", "LogSink", "await_offers", "copy_logs", "to_our_streams", "watch_run"]

STREAMS: Final = ("stdout", "stderr")
LOG_POLL_S: Final = 0.3
OFFERS_POLL_S: Final = 0.1
CONNECT_S: Final = 20.0
"""Dialling, syncing the offers of a peer and seeing the first block take 1-3 s; a slow chain endpoint 10."""
MAX_CATCH_UP_BYTES: Final = 64 << 20
"""Read at once from a job that runs; the rest follows in the next round. A job keeps 1 MiB unless it asks for more."""
LogSink = Callable[[str, int, bytes], None]
"""Takes a stream's name, an offset in it, and what stands there."""
PATIENT_S: Final = 3.0
"""Longer than a start takes where all is well: then whoever waits is told for what."""
QUIET_S: Final = 0.4
"""Offers of a synced peer come in one answer, and peers are dialled at once: who is missing then comes with gossip."""
FRESH_S: Final = 20
"""A node up for longer has heard of whoever there is to hear of."""


async def await_offers(session: Session, *, shown: bool = True, needs_chain: bool = False) -> None:
    """A client that has just started needs a moment to hear of all who are there. Returns after a while in any case, and, if
    ``shown``, says what it waits for when that takes longer than a few seconds.

    ``needs_chain``: raises ``ChainOrFunds`` when no endpoint has answered by then; no offer could be judged, and no deal paid.
    """
    began = trio.current_time()
    give_up = began + CONNECT_S
    known, since = 0, began
    while (now := trio.current_time()) < give_up:
        status = await session.api.status()
        if not session.own and status.uptime_s >= FRESH_S:
            return
        if status.offers != known:
            known, since = status.offers, now
        if known and status.chain_block and now - since >= QUIET_S:
            return
        if shown and now - began >= PATIENT_S:
            shown = False
            say(_awaited(status))
        await trio.sleep(OFFERS_POLL_S)
    status = await session.api.status()
    if needs_chain and not status.chain_block and _dead(status):
        raise ChainOrFunds(
            f"no RPC endpoint of chain {status.chain_id} answers, and without the chain there is no deal",
            why=", ".join(
                f"{one.url}: {one.trouble or one.state}, {one.failures} failures" for one in status.endpoints
            ),
            fix="mesh doctor, or mesh config set chain.rpc URL   (your own endpoint is tried first)",
        )


def _dead(status: NodeStatus) -> bool:
    """Whether every endpoint has failed, and none is well now."""
    tried = [one for one in status.endpoints if one.failures]
    return bool(tried) and len(tried) == len(status.endpoints) and all(one.state != "ready" for one in tried)


def _awaited(status: NodeStatus) -> str:
    """What keeps a node that has just started from knowing the market."""
    if not status.peers:
        missing = "no peer is connected yet: its addresses come from network.bootstrap and network.mdns"
    elif not status.offers:
        missing = f"{status.peers} peers are connected, and none has told of an offer yet"
    else:
        missing = "no chain endpoint has shown a block yet"
    return f"waiting: {missing}; for {CONNECT_S - PATIENT_S:g} s more at most   (mesh doctor)"


async def watch_run(
    api: NodeApi, run_id: str, *, logs: bool, settled: bool = True, shown: bool = True, form: Form = "table"
) -> RunInfo:
    """Wait for the end of a run, with ``logs`` copying what the job says as it says it. Cancelled: the run goes on."""
    line = PhaseLine(SystemClock())

    def above_the_line(stream: str, offset: int, data: bytes) -> None:
        line.make_room(midline=not data.endswith(b"\n"))
        to_our_streams(stream, offset, data)

    async with trio.open_nursery() as nursery:
        if logs:
            nursery.start_soon(_copy_or_say, api, run_id, above_the_line)
        return await follow(api, run_id, settled=settled, shown=shown, form=form, line=line)


async def _copy_or_say(api: NodeApi, run_id: str, sink: LogSink) -> None:
    """A log that cannot be had is a pity, and no reason to leave a run that somebody pays for."""
    try:
        await copy_logs(api, run_id, following=True, sink=sink)
    except MeshError as error:
        say(f"the job's log cannot be read: {error.what}   (mesh logs {run_id[:10]})")


def to_our_streams(stream: str, offset: int, data: bytes) -> None:
    """The job's stdout to our stdout, its stderr to our stderr, byte by byte as it is."""
    out = sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer
    out.write(data)
    out.flush()


async def copy_logs(
    api: ReadApi,
    run_id: str,
    *,
    streams: Sequence[str] = STREAMS,
    following: bool = False,
    tail: int | None = None,
    sink: LogSink = to_our_streams,
) -> None:
    """Hand every byte of a job's streams to ``sink`` once; with ``following`` until the run is over.

    ``tail`` leaves out all but the last lines of what is there at the start. A provider that does not answer is asked
    again while the run goes on: the result brings the log again. Raises ``MeshError`` otherwise.
    """
    offsets = dict.fromkeys(streams, 0)
    while True:
        live = False
        for stream in streams:
            try:
                data, more = await _read_on(api, run_id, stream, offsets[stream])
            except MeshError:
                if not following or not await _goes_on(api, run_id):
                    raise
                live = True
                continue
            live = live or more
            end = offsets[stream] + len(data)
            shown = data if tail is None else _last_lines(data, tail)
            offsets[stream] = end
            if shown:
                sink(stream, end - len(shown), shown)
        tail = None
        if not live or not following:
            return
        await trio.sleep(LOG_POLL_S)


async def _goes_on(api: ReadApi, run_id: str) -> bool:
    return not is_over(await api.run(run_id), settled=False)


async def _read_on(api: ReadApi, run_id: str, stream: str, offset: int) -> tuple[bytes, bool]:
    """All that is there from ``offset`` on, which takes several parts while the job runs, and whether more may come."""
    data = b""
    while len(data) < MAX_CATCH_UP_BYTES:
        part = await api.logs(run_id, stream, offset + len(data))
        data += part.data
        if not part.live or not part.data:
            return data, part.live
    return data, True


def _last_lines(data: bytes, count: int) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[len(lines) - count :]) if count < len(lines) else data

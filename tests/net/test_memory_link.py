"""Does the in-memory link keep the promises of the seam?"""

import pytest
import trio

from devnet.sim.memory_link import open_hub
from devnet.sim.memory_pipe import PIPE_WINDOW_BYTES
from mesh.net.link import CallRefused, CallTimeout, Link, PeerDown, PeerUnreachable, PeerUp, Verdict
from protocols.units import PeerId

A, B, C = (PeerId(bytes([n]) * 39) for n in (1, 2, 3))


async def test_records_reach_the_others_once_and_never_ourselves(autojump_clock: object) -> None:
    async with open_hub() as hub:
        a, b = hub.link(A), hub.link(B)
        own = a.subscribe("t", lambda _peer, _record: Verdict.ACCEPT)
        heard = b.subscribe("t", lambda _peer, record: Verdict.REJECT if record == b"bad" else Verdict.ACCEPT)
        for record in (b"x", b"bad", b"x", b"y"):
            await a.publish("t", record)
            await trio.sleep(0.1)
        assert [await anext(heard), await anext(heard)] == [(A, b"x"), (A, b"y")]
        counts = b.statistics()
        assert (counts.delivered, counts.duplicates, counts.rejected) == (2, 1, 1)
        with trio.move_on_after(1) as patience:
            await anext(own)
        assert patience.cancelled_caught


async def test_calls_answer_refuse_time_out_and_need_a_way(autojump_clock: object) -> None:
    async with open_hub() as hub:
        a: Link = hub.link(A)
        b = hub.link(B)

        async def echo(caller: PeerId, request: bytes) -> bytes:
            if request == b"fail":
                raise RuntimeError("defect")
            if request == b"slow":
                await trio.sleep(60)
            return caller[:1] + request

        b.serve("/echo/1", echo, max_bytes=8)
        assert await a.call(B, "/echo/1", b"hi", 1) == b"\x01hi"
        for request in (b"fail", b"x" * 9):
            with pytest.raises(CallRefused):
                await a.call(B, "/echo/1", request, 1)
        with pytest.raises(CallRefused):
            await a.call(B, "/other/1", b"", 1)
        with pytest.raises(CallTimeout):
            await a.call(B, "/echo/1", b"slow", 1)
        with pytest.raises(PeerUnreachable):
            await a.call(C, "/echo/1", b"hi", 1)


async def test_streams_carry_bytes_both_ways_with_backpressure(autojump_clock: object) -> None:
    async with open_hub(latency_s=0.05) as hub:
        a, b = hub.link(A), hub.link(B)
        total = 4 * PIPE_WINDOW_BYTES

        async def send(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
            assert await stream.receive_some() == b"go"
            await stream.send_all(bytes(total))

        b.accept("/blob/1", send)
        stream = await a.open(B, "/blob/1")
        await stream.send_all(b"go")
        await stream.send_eof()
        got = 0
        while chunk := await stream.receive_some():
            got += len(chunk)
        assert got == total


async def test_a_cut_breaks_streams_and_is_told(autojump_clock: object) -> None:
    async with open_hub() as hub:
        a, b = hub.link(A), hub.link(B)
        told = a.events()
        assert await anext(told) == PeerUp(B)

        async def hold(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
            await stream.receive_some()

        b.accept("/blob/1", hold)
        stream = await a.open(B, "/blob/1")
        await hub.cut(A, B)
        assert await anext(told) == PeerDown(B)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(PeerUnreachable):
            await a.open(B, "/blob/1")
        hub.heal(A, B)
        assert await anext(told) == PeerUp(B)
        assert list(a.peers()) == [B]

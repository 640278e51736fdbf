"""Do frames mean the same however a peer cuts them, and does a peer that breaks their rules lose the connection?"""

import random
from typing import Any

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux

from mesh.net.libp2p_frames import FrameFault, FrameTaker, frame

DATA, WINDOW, PING, GO_AWAY = (yamux.TYPE_DATA, yamux.TYPE_WINDOW_UPDATE, yamux.TYPE_PING, yamux.TYPE_GO_AWAY)
SYN, ACK, FIN, RST = yamux.FLAG_SYN, yamux.FLAG_ACK, yamux.FLAG_FIN, yamux.FLAG_RST
WINDOW_BYTES = yamux.DEFAULT_WINDOW_SIZE


class Wire:
    """The listener's end of a secured connection: keeps what is sent."""

    is_initiator = False

    def __init__(self) -> None:
        self.sent = b""

    async def write(self, data: bytes) -> None:
        self.sent += data


def listener() -> tuple[Any, Wire, FrameTaker]:
    wire = Wire()
    conn = yamux.Yamux(wire, ID(b"peer"))  # type: ignore[arg-type]
    return conn, wire, FrameTaker(conn)


def data(stream_id: int, body: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, stream_id, len(body)) + body


CONVERSATION = (
    frame(WINDOW, SYN, 1, 0)
    + data(1, b"hello ")
    + data(3, b"data with the first frame", SYN)
    + frame(PING, SYN, 0, 77)
    + frame(WINDOW, 0, 1, 1000)
    + data(1, b"world", FIN)
    + data(5, bytes(1000), SYN)
    + frame(WINDOW, RST, 3, 0)
    + data(9, b"for nobody")
    + data(5, b"")
)


def state(conn: Any, wire: Wire) -> object:
    streams = {
        number: (s.recv_window, s.send_window, s.recv_closed, s.closed, s.reset_received)
        for number, s in conn.streams.items()
    }
    return streams, {number: bytes(buffer) for number, buffer in conn.stream_buffers.items()}, wire.sent


async def test_frames_cut_anywhere_mean_the_same() -> None:
    conn, wire, taker = listener()
    await taker.take(CONVERSATION)
    expected = state(conn, wire)
    assert bytes(conn.stream_buffers[1]) == b"hello world"
    assert conn.streams[1].recv_closed
    assert not conn.streams[1].closed
    assert conn.streams[1].send_window == WINDOW_BYTES + 1000
    assert 3 not in conn.streams
    assert conn.streams[5].recv_window == WINDOW_BYTES - 1000
    assert frame(PING, ACK, 0, 77) in wire.sent
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(50):
        conn, wire, taker = listener()
        at = 0
        while at < len(CONVERSATION):
            size = dice.choice((1, 2, 11, 12, 13, 500))
            await taker.take(CONVERSATION[at : at + size])
            at += size
        assert state(conn, wire) == expected


@pytest.mark.parametrize(
    "bad",
    [
        frame(WINDOW, SYN, 1, 0) + frame(DATA, 0, 1, WINDOW_BYTES + 1),
        frame(DATA, SYN, 1, WINDOW_BYTES + 1),
        frame(WINDOW, SYN, 1, 0) + data(1, bytes(WINDOW_BYTES)) + data(1, b"x"),
        frame(DATA, 0, 7, yamux.MAX_WINDOW_SIZE + 1),
        frame(4, 0, 0, 0),
        frame(GO_AWAY, 0, 0, 0),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_left_and_nothing_beyond_the_window_is_kept(bad: bytes) -> None:
    conn, _, taker = listener()
    with pytest.raises(FrameFault):
        await taker.take(bad)
    assert all(len(buffer) <= WINDOW_BYTES for buffer in conn.stream_buffers.values())


@pytest.mark.parametrize("number", [1, 2])
async def test_a_stream_number_that_is_taken_or_ours_is_refused_and_harms_nobody(number: int) -> None:
    conn, wire, taker = listener()
    await taker.take(frame(WINDOW, SYN, 1, 0) + data(1, b"kept"))
    wire.sent = b""
    await taker.take(frame(WINDOW, SYN | FIN, number, 0) + data(1, b", too"))
    assert wire.sent == frame(WINDOW, RST, number, 0)
    assert bytes(conn.stream_buffers[1]) == b"kept, too"
    assert not conn.streams[1].recv_closed
    assert 2 not in conn.streams


async def test_what_comes_for_a_stream_that_was_reset_meanwhile_is_dropped() -> None:
    conn, _, taker = listener()
    await taker.take(frame(WINDOW, SYN, 1, 0) + frame(DATA, 0, 1, 10) + b"01234")
    await conn.streams[1].reset()
    await taker.take(b"56789" + frame(WINDOW, SYN, 3, 0) + data(3, b"next"))
    assert bytes(conn.stream_buffers[3]) == b"next"
    assert b"56789" not in conn.stream_buffers.get(1, b"")


async def test_a_pong_is_a_measurement_only_if_it_answers_our_last_ping() -> None:
    conn, _, taker = listener()
    conn._ping_id, conn._ping_sent_time = 5, trio.current_time() - 1
    await taker.take(frame(PING, ACK, 0, 4))
    assert conn.rtt() == 0
    await taker.take(frame(PING, ACK, 0, 5))
    assert conn.rtt() >= 1

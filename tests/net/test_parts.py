"""Do the parts under the link keep their own promises? Without sockets, where possible under a virtual clock."""

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from devnet.sim.memory_pipe import PipeStream, pipe_pair
from mesh.net.accept_gate import AcceptGate
from mesh.net.addresses import Address, parse_address, parse_addresses, parse_peer, peer_id_of_secret, peer_text
from mesh.net.calls import CallChannel, FrameError, answer_calls, frame
from mesh.net.libp2p_pubsub import SeenCache
from mesh.net.link import CallRefused, PeerDown, PeerEvent, PeerUnreachable, PeerUp, Verdict
from mesh.net.peer_book import ADDRESSES_PER_PEER, BACKOFF_MAX_S, KNOWN_PEERS_MAX, PeerBook
from mesh.net.peer_events import PeerWatch
from mesh.net.scores import BAN_S, FLOOR, PeerScores
from mesh.net.topics import QUEUE_RECORDS, Topics
from protocols.units import PeerId

ME, A, B = (peer_id_of_secret(bytes([n]) * 32) for n in (1, 2, 3))


# --- addresses -------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=46))
def test_peer_text_and_back(raw: bytes) -> None:
    assert parse_peer(peer_text(PeerId(raw))) == raw


@given(st.text(max_size=600))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        assert parse_address(str(parse_address(text))) == parse_address(text)
    except ValueError:
        assert parse_addresses([text]) == []


@pytest.mark.parametrize(
    "good",
    [
        "/ip4/1.2.3.4/tcp/4001",
        "/ip6/::1/tcp/0",
        "/dns4/node.example.org/tcp/65535",
        f"/ip4/10.0.0.1/tcp/1/p2p/{peer_text(A)}",
    ],
)
def test_good_addresses_come_back_unchanged(good: str) -> None:
    assert str(parse_address(good)) == good


@pytest.mark.parametrize(
    "bad",
    ["", "x", "/ip4/1.2.3/tcp/1", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/65536", "/ip4/1.2.3.4/tcp/-1",
     "/dns4/-x/tcp/1", "/ip4/1.2.3.4/tcp/1/p2p/0OIl", "/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/tcp/" + "1" * 600],
)  # fmt: skip
def test_bad_addresses_are_value_errors(bad: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_address(bad)


# --- scores ----------------------------------------------------------------------------------------------------------


def test_a_peer_is_out_at_the_floor_comes_back_on_probation_and_regains_with_time() -> None:
    scores = PeerScores()
    assert [scores.penalise(A, 10, 0.0) for _ in range(10)] == [False] * 9 + [True]
    assert scores.banned(A, BAN_S - 1)
    assert not scores.banned(A, BAN_S)
    assert scores.score(A, BAN_S) == FLOOR // 2
    assert scores.score(A, BAN_S + 10_000) == 0
    scores.penalise(B, 30, 0.0)
    assert scores.score(B, 100.0) == -20


def test_score_keeping_is_bounded_and_forgets_the_best_first() -> None:
    scores = PeerScores()
    scores.penalise(A, 90, 0.0)
    for number in range(10_000):
        scores.penalise(PeerId(number.to_bytes(4, "big")), 1, 0.0)
    assert len(scores._points) <= 4096
    assert scores.score(A, 0.0) == -90


# --- accept gate -----------------------------------------------------------------------------------------------------


async def test_the_gate_evicts_the_oldest_of_the_address_with_the_most() -> None:
    gate = AcceptGate(total=4, per_ip=3)
    crowd = [gate.enter("1.1.1.1") for _ in range(3)]
    other = gate.enter("2.2.2.2")
    newcomer = gate.enter("3.3.3.3")
    assert [e.scope.cancel_called for e in crowd] == [True, False, False]
    assert not other.scope.cancel_called
    assert not newcomer.scope.cancel_called
    gate.enter("1.1.1.1")
    assert len(gate) == 4
    assert gate.evicted == 2
    for entry in (*crowd, other, newcomer):
        gate.leave(entry)
        gate.leave(entry)
    assert len(gate) == 1


# --- peer events -----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([A, B]), max_size=30), st.lists(st.booleans(), min_size=31))
def test_events_alternate_per_peer_and_end_at_the_truth(toggles: list[PeerId], reads: list[bool]) -> None:
    watch = PeerWatch([])
    truth: set[PeerId] = set()
    told: list[PeerEvent] = []

    async def drive() -> None:
        for peer, read in zip(toggles, reads, strict=False):
            truth.symmetric_difference_update({peer})
            watch.tell(PeerUp(peer) if peer in truth else PeerDown(peer))
            if read and watch._pending:
                told.append(await anext(watch))
        watch.close()
        told.extend([event async for event in watch])

    trio.run(drive)
    for peer in (A, B):
        mine = [isinstance(event, PeerUp) for event in told if event.peer == peer]
        assert mine == [number % 2 == 0 for number in range(len(mine))]
        assert (mine[-1] if mine else False) == (peer in truth)
    assert max([len(waiting) for waiting in watch._pending.values()], default=0) <= 2


# --- peer book -------------------------------------------------------------------------------------------------------


def book() -> PeerBook:
    return PeerBook(ME, lambda: 0.5)


def test_the_book_is_bounded_ignores_ourselves_and_prefers_what_worked() -> None:
    known = book()
    known.learn(ME, ["/ip4/1.1.1.1/tcp/1"])
    known.learn(A, ["nonsense", f"/ip4/1.1.1.1/tcp/1/p2p/{peer_text(B)}"])
    assert len(known) == 0
    known.learn(A, [f"/ip4/1.1.1.1/tcp/{port}" for port in range(1, 30)])
    assert len(known.addresses(A)) == ADDRESSES_PER_PEER
    worked = known.addresses(A)[5]
    known.succeeded(A, worked, 1.0)
    assert known.addresses(A)[0] == worked
    for number in range(2 * KNOWN_PEERS_MAX):
        known.learn(PeerId(number.to_bytes(39, "big")), ["/ip4/2.2.2.2/tcp/2"])
    assert len(known) == KNOWN_PEERS_MAX
    assert known.addresses(A)


def test_backoff_doubles_to_its_bound_and_a_success_ends_it() -> None:
    known = book()
    known.learn(A, ["/ip4/1.1.1.1/tcp/1"])
    pauses, now = [], 0.0
    for _ in range(20):
        assert known.due(now, []) == [A]
        known.failed(A, now)
        pauses.append(known.next_due_at([]) - now)
        assert known.due(now, []) == []
        now = known.next_due_at([])
    assert all(0 < a <= b for a, b in itertools.pairwise(pauses))
    assert pauses[-1] <= BACKOFF_MAX_S
    known.succeeded(A, None, now)
    assert known.next_due_at([]) - now <= 2
    assert known.due(now + 10, [A]) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'[{"peer":"0","addresses":[]}]', b"\xff" * 100])
def test_a_damaged_cache_counts_as_empty(damage: bytes, tmp_path: object) -> None:
    path = tmp_path / "peers.json"  # type: ignore[operator]
    path.write_bytes(damage)
    known = book()
    known.load(path)
    known.load(path.with_name("missing"))
    assert len(known) == 0


def test_bootstrap_addresses_must_say_whose_they_are() -> None:
    with pytest.raises(ValueError, match="/p2p/"):
        book().learn_bootstrap(["/ip4/1.1.1.1/tcp/1"])


def test_the_cache_round_trips(tmp_path: object) -> None:
    known, again = book(), book()
    known.learn(A, ["/ip4/1.1.1.1/tcp/1", "/ip6/::1/tcp/2"])
    known.succeeded(A, None, 5.0)
    path = tmp_path / "peers.json"  # type: ignore[operator]
    path.write_bytes(known.snapshot())
    again.load(path)
    assert again.addresses(A) == [Address("ip4", "1.1.1.1", 1, A), Address("ip6", "::1", 2, A)]


# --- topics ----------------------------------------------------------------------------------------------------------


async def test_a_full_queue_drops_and_counts_and_a_failing_validator_ignores(autojump_clock: object) -> None:
    topics = Topics()

    def judge(_peer: PeerId, record: bytes) -> Verdict:
        if record == b"defect":
            raise RuntimeError("a defect")
        return Verdict.ACCEPT

    reader = topics.open("t", judge)
    for number in range(QUEUE_RECORDS + 5):
        assert topics.deliver(A, "t", number.to_bytes(4, "big")) is Verdict.ACCEPT
    assert (topics.delivered, topics.dropped) == (QUEUE_RECORDS, 5)
    assert topics.deliver(A, "t", b"defect") is Verdict.IGNORE
    assert topics.contained == 1
    assert topics.deliver(A, "t", bytes(4)) is Verdict.IGNORE
    assert topics.duplicates == 1
    await trio.sleep(601)
    assert topics.deliver(A, "t", b"defect") is Verdict.IGNORE
    assert topics.contained == 2
    await reader.aclose()
    assert topics.deliver(A, "t", b"late") is Verdict.IGNORE
    assert [record async for record in reader] == []


async def test_the_seen_cache_forgets_by_age_and_by_number(autojump_clock: object) -> None:
    cache = SeenCache(ttl_s=10, most=3)
    assert [cache.add(bytes([n])) for n in (1, 1, 2, 3, 4)] == [True, False, True, True, True]
    assert [cache.has(bytes([n])) for n in (1, 2, 3, 4)] == [False, True, True, True]
    assert cache.length() == 3
    await trio.sleep(10)
    assert not cache.has(b"\x04")
    assert cache.add(b"\x04")
    assert cache.length() == 1


# --- calls -----------------------------------------------------------------------------------------------------------


async def serve(stream: PipeStream, max_bytes: int = 100) -> None:
    async def handler(request: bytes) -> bytes:
        if request == b"wait":
            await trio.sleep(10)
        if request == b"no":
            raise CallRefused("because")
        return request.upper()

    async with stream:
        await answer_calls(stream, handler, max_bytes)


async def test_calls_share_a_stream_and_a_cancelled_one_leaves_it_usable(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    ours, theirs = pipe_pair(0.01)
    channel = CallChannel(ours)
    nursery.start_soon(serve, theirs)
    nursery.start_soon(channel.run)
    with trio.move_on_after(1) as patience:
        await channel.call(b"wait")
    assert patience.cancelled_caught
    assert await channel.call(b"a") == b"A"
    with pytest.raises(CallRefused, match="because"):
        await channel.call(b"no")
    await trio.sleep(20)
    assert await channel.call(b"b") == b"B"
    await channel.fail()
    with pytest.raises(PeerUnreachable):
        await channel.call(b"c")


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xff\xff\xff" + bytes(5),
        b"\0\0\0\0" + bytes(5),
        frame(1, 1, b""),  # type: ignore[arg-type]
        b"\0\0\0\x05" + bytes(4) + b"\x07",
        frame(1, 0, bytes(101)),  # type: ignore[arg-type]
        frame(1, 0, b"cut off")[:-3],  # type: ignore[arg-type]
    ],
)
async def test_hostile_frames_end_the_serving_side_with_a_frame_error(hostile: bytes, autojump_clock: object) -> None:
    ours, theirs = pipe_pair()
    await ours.send_all(hostile)
    await ours.send_eof()
    with pytest.raises(FrameError), trio.fail_after(60):
        await serve(theirs)


async def test_answers_to_nobody_and_garbage_from_a_server_fail_the_callers(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    ours, theirs = pipe_pair()
    channel = CallChannel(ours)
    nursery.start_soon(channel.run)
    await theirs.send_all(frame(77, 1, b"nobody asked"))  # type: ignore[arg-type]
    async with trio.open_nursery() as inner:

        async def call() -> None:
            with pytest.raises(PeerUnreachable):
                await channel.call(b"x")

        inner.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(b"\xff" * 9)
    assert channel.broken

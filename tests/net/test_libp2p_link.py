"""Does the real link keep the promises of the seam, between real sockets?"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import coincurve
import pytest
import trio
import trio.lowlevel
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID

from mesh.net.addresses import peer_id_of_secret, peer_text
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.net.link import (
    GOSSIP_MAX_BYTES,
    CallRefused,
    CallTimeout,
    Link,
    MessageTooLarge,
    PeerDown,
    PeerUnreachable,
    PeerUp,
    Verdict,
)
from protocols.units import PeerId

StartLink = Callable[..., Awaitable[Libp2pLink]]
LIMIT_S = 90.0


def accept_all(_peer: PeerId, _record: bytes) -> Verdict:
    return Verdict.ACCEPT


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a real condition that has no event."""
    with trio.fail_after(LIMIT_S):
        while not condition():
            await trio.sleep(0.01)


async def send_for_ever(stream: trio.abc.SendStream) -> None:
    while True:
        await stream.send_all(bytes(65536))


async def until_over(stream: trio.abc.ReceiveStream) -> None:
    """Until the stream ends or breaks: which of them depends on who is faster, both tell."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def publish_until_heard(
    sender: Libp2pLink, topic: str, record: Callable[[int], bytes], heard: trio.Event
) -> None:
    """Publishes fresh records until one is heard: the topic mesh forms when it forms."""
    with trio.fail_after(LIMIT_S):
        number = 0
        while not heard.is_set():
            await sender.publish(topic, record(number))
            number += 1
            with trio.move_on_after(0.2):
                await heard.wait()


def test_one_key_is_peer_id_and_operator() -> None:
    secret = bytes(range(1, 33))
    peer = peer_id_of_secret(secret)
    assert len(peer) == 39
    assert peer[:6].hex() == "002508021221"
    assert peer == ID.from_pubkey(create_new_key_pair(secret).public_key).to_bytes()
    assert peer_text(peer) == ID(peer).to_base58()
    assert peer[6:] == coincurve.PrivateKey(secret).public_key.format()
    assert ID(peer).extract_public_key() is not None


async def serve_calls(server: Link, client: Link) -> trio.Event:
    """Serves ``/t/1``, whose handler waits, refuses, fails or answers too much; the event lets it go on waiting no more."""
    release = trio.Event()

    async def handler(caller: PeerId, request: bytes) -> bytes:
        assert caller == client.me
        if request == b"wait":
            await release.wait()
        elif request == b"refuse":
            raise CallRefused("busy until noon")
        elif request == b"fail":
            raise RuntimeError("secret detail")
        elif request == b"huge":
            return bytes(2 * 1024 * 1024)
        return request[::-1]

    server.serve("/t/1", handler, max_bytes=100_000)
    return release


async def test_calls_answer_and_overlap_on_one_stream(start_link: StartLink) -> None:
    server = await start_link("server")
    client = await start_link("client", bootstrap=server.addresses)
    release = await serve_calls(server, client)
    assert await client.call(server.me, "/t/1", b"abc", LIMIT_S) == b"cba"
    assert await client.call(server.me, "/t/1", b"x" * 99_999 + b"y", LIMIT_S) == b"y" + b"x" * 99_999
    async with trio.open_nursery() as nursery:
        waited: list[bytes] = []

        async def slow() -> None:
            waited.append(await client.call(server.me, "/t/1", b"wait", LIMIT_S))

        nursery.start_soon(slow)
        assert await client.call(server.me, "/t/1", b"12", LIMIT_S) == b"21"
        assert not waited
        release.set()
    assert waited == [b"tiaw"]


async def test_calls_refuse_time_out_and_stay_in_bounds(start_link: StartLink) -> None:
    server = await start_link("server")
    client = await start_link("client", bootstrap=server.addresses)
    await serve_calls(server, client)
    with pytest.raises(CallRefused, match="busy until noon"):
        await client.call(server.me, "/t/1", b"refuse", LIMIT_S)
    with pytest.raises(CallRefused) as refusal:
        await client.call(server.me, "/t/1", b"fail", LIMIT_S)
    assert "secret" not in str(refusal.value)
    with pytest.raises(CallRefused, match="over the bound"):
        await client.call(server.me, "/t/1", b"huge", LIMIT_S)
    with pytest.raises(CallRefused, match="does not speak"):
        await client.call(server.me, "/unknown/1", b"", LIMIT_S)
    with pytest.raises(CallTimeout):
        await client.call(server.me, "/t/1", b"wait", 0.2)
    assert await client.call(server.me, "/t/1", b"after", LIMIT_S) == b"retfa"
    with pytest.raises(MessageTooLarge):
        await client.call(server.me, "/t/1", bytes(2 * 1024 * 1024), LIMIT_S)
    with pytest.raises(PeerUnreachable):
        await client.call(peer_id_of_secret(os.urandom(32)), "/t/1", b"", LIMIT_S)
    assert server.statistics().contained == 1


async def test_a_request_over_the_bound_ends_the_stream_and_costs_score(start_link: StartLink) -> None:
    server = await start_link("server")
    client = await start_link("client", bootstrap=server.addresses)

    async def echo(_caller: PeerId, request: bytes) -> bytes:
        return request

    server.serve("/t/1", echo, max_bytes=10)
    with pytest.raises(PeerUnreachable):
        await client.call(server.me, "/t/1", bytes(11), LIMIT_S)
    assert server.peers()[client.me].score < 0
    assert await client.call(server.me, "/t/1", b"fits", LIMIT_S) == b"fits"


@pytest.mark.parametrize("side_port", [True, False])
async def test_streams_carry_much_end_cleanly_and_break_loudly(start_link: StartLink, side_port: bool) -> None:
    server = await start_link("server", side_port=side_port)
    client = await start_link("client", bootstrap=server.addresses)
    size = 3 * 1024 * 1024 + 17

    async def count(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        got = 0
        while chunk := await stream.receive_some():
            got += len(chunk)
        await stream.send_all(b"%d" % got)

    async def give(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(bytes(size))  # and close at once: nothing of it may be lost

    async def fail(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        await stream.receive_some()
        raise RuntimeError("a defect in a handler")

    for name, handler in {"/count/1": count, "/give/1": give, "/fail/1": fail}.items():
        server.accept(name, handler)
    with trio.fail_after(LIMIT_S):
        async with await client.open(server.me, "/count/1") as stream:
            await stream.send_all(bytes(size))
            await stream.send_eof()
            assert await stream.receive_some() == b"%d" % size
            assert await stream.receive_some() == b""
        async with await client.open(server.me, "/give/1") as stream:
            await trio.lowlevel.checkpoint()
            got = 0
            while chunk := await stream.receive_some():
                got += len(chunk)
            assert got == size
            with pytest.raises(trio.BrokenResourceError):
                await send_for_ever(stream)
        async with await client.open(server.me, "/fail/1") as stream:
            await stream.send_all(b"x")
            await until_over(stream)
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"after close")
    # Only the streams of calls remain: the peer exchange, both ways, and the question for a side port.
    await until(lambda: server.statistics().streams <= 3 and client.statistics().streams <= 3)


@pytest.mark.parametrize("side_port", [True, False])
async def test_a_cancelled_receive_loses_nothing(start_link: StartLink, side_port: bool) -> None:
    server = await start_link("server", side_port=side_port)
    client = await start_link("client", bootstrap=server.addresses)

    async def drip(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
        for number in range(200):
            await stream.send_all(number.to_bytes(2, "big") * 100)
            await trio.lowlevel.checkpoint()

    server.accept("/drip/1", drip)
    got = b""
    with trio.fail_after(LIMIT_S):
        async with await client.open(server.me, "/drip/1") as stream:
            ended, step = False, 0
            while not ended:
                step += 1
                with trio.move_on_after(0 if step % 2 else 0.001):
                    chunk = await stream.receive_some(333)
                    got += chunk
                    ended = not chunk
    assert got == b"".join(number.to_bytes(2, "big") * 100 for number in range(200))


async def test_records_are_heard_once_by_everybody_but_their_origin(start_link: StartLink) -> None:
    first = await start_link("first")
    links = [first, *[await start_link(f"n{i}", bootstrap=first.addresses) for i in range(3)]]
    heard: list[list[bytes]] = [[] for _ in links]
    ready = [trio.Event() for _ in links]

    async def listen(number: int, records: object) -> None:
        async for _forwarder, record in records:  # type: ignore[attr-defined]
            if record.startswith(b"probe"):
                ready[number].set()
            else:
                heard[number].append(record)

    async with trio.open_nursery() as nursery:
        for number, link in enumerate(links):
            nursery.start_soon(listen, number, link.subscribe("topic", accept_all))
        for event in ready[1:]:
            await publish_until_heard(links[0], "topic", lambda n: b"probe %d" % n, event)
        for number in range(200):  # a burst of 1 KiB records from one peer: none is lost
            await links[0].publish("topic", number.to_bytes(4, "big") + bytes(1020))
        await until(lambda: all(len(records) >= 200 for records in heard[1:]))
        await links[0].publish("topic", bytes(4) + bytes(1020))  # the same content again
        await links[0].publish("topic", b"last")
        await until(lambda: all(records[-1] == b"last" for records in heard[1:]))
        nursery.cancel_scope.cancel()
    expected = {number.to_bytes(4, "big") + bytes(1020) for number in range(200)} | {b"last"}
    for records in heard[1:]:
        assert len(records) == 201
        assert set(records) == expected
    assert heard[0] == []
    with pytest.raises(MessageTooLarge):
        await first.publish("topic", bytes(GOSSIP_MAX_BYTES + 1))
    with pytest.raises(ValueError, match="already"):
        first.subscribe("topic", accept_all)


async def test_ignored_records_stop_here_and_cost_nobody(start_link: StartLink) -> None:
    middle = await start_link("middle")
    left = await start_link("left", bootstrap=middle.addresses, keep_connected=1)
    right = await start_link("right", bootstrap=middle.addresses, keep_connected=1)
    arrived = trio.Event()

    def judge(_peer: PeerId, record: bytes) -> Verdict:
        return Verdict.IGNORE if record.startswith(b"stale") else Verdict.ACCEPT

    async def listen(records: object) -> None:
        async for _forwarder, record in records:  # type: ignore[attr-defined]
            assert not record.startswith(b"stale")
            arrived.set()

    middle.subscribe("topic", judge)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, right.subscribe("topic", accept_all))
        left.subscribe("topic", accept_all)
        await publish_until_heard(left, "topic", lambda n: b"fresh %d" % n, arrived)
        arrived = trio.Event()
        await left.publish("topic", b"stale")
        await until(lambda: middle.statistics().ignored == 1)
        await publish_until_heard(left, "topic", lambda n: b"more %d" % n, arrived)
        nursery.cancel_scope.cancel()
    assert middle.peers()[left.me].score == 0


async def test_who_forwards_rejected_records_loses_its_connection(start_link: StartLink) -> None:
    victim = await start_link("victim")
    spammer = await start_link("spammer", bootstrap=victim.addresses)
    victim.subscribe("topic", lambda _peer, _record: Verdict.REJECT)
    spammer.subscribe("topic", accept_all)
    told = victim.events()
    with trio.fail_after(LIMIT_S):
        assert await anext(told) == PeerUp(spammer.me)
        gone = trio.Event()

        async def watch() -> None:
            async for event in told:
                if event == PeerDown(spammer.me):
                    gone.set()
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await publish_until_heard(spammer, "topic", lambda n: b"spam %d" % n, gone)
        with pytest.raises(PeerUnreachable, match="misbehaving"):
            await victim.connect(spammer.me)
        # It may knock again, and is shown the door.
        with pytest.raises((PeerUnreachable, CallRefused, CallTimeout)):
            await spammer.call(victim.me, "/mesh/peers/1", b"", 2)
    assert victim.statistics().disconnected_score == 1
    assert victim.statistics().rejected >= 10


async def test_newcomers_find_everybody_through_one_bootstrap_node(start_link: StartLink) -> None:
    first = await start_link("first")
    others = [await start_link(f"n{i}", bootstrap=first.addresses) for i in range(3)]
    everybody = {link.me for link in (first, *others)}
    await until(lambda: all(set(link.peers()) == everybody - {link.me} for link in (first, *others)))


@pytest.mark.parametrize("side_port", [True, False])
async def test_a_peer_that_ends_is_noticed_and_streams_to_it_break(start_link: StartLink, side_port: bool) -> None:
    stay = await start_link("stay", side_port=side_port)
    async with trio.open_nursery() as inner:
        leave = Libp2pLink(
            b"l" * 32, LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, bootstrap=stay.addresses)
        )

        async def hold(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
            await trio.sleep_forever()

        leave.accept("/hold/1", hold)
        told = stay.events()
        await inner.start(leave.run)
        with trio.fail_after(LIMIT_S):
            assert await anext(told) == PeerUp(leave.me)
            stream = await stay.open(leave.me, "/hold/1")
            inner.cancel_scope.cancel()
    with trio.fail_after(LIMIT_S):
        assert await anext(told) == PeerDown(leave.me)
        await until_over(stream)
        with pytest.raises((PeerUnreachable, CallTimeout)):
            await stay.call(leave.me, "/hold/1", b"", 5)

"""Does the side port let in whom the link knows, nobody else, and does everything still work without it?"""

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import pytest
import trio
from libp2p.crypto.secp256k1 import create_new_key_pair

from mesh.net.libp2p_link import Libp2pLink
from mesh.net.side_port import SIDE, SidePort, SideStream, _Question, _Ticket
from mesh.net.tls_once import client_context, is_announced, server_context
from protocols.units import PeerId

StartLink = Callable[..., Awaitable[Libp2pLink]]
LIMIT_S = 90.0
PROTOCOL = "/bulk/1"
KEY = create_new_key_pair(b"side port test key, 32 bytes ok!").private_key


async def echo(_peer: PeerId, stream: trio.abc.HalfCloseableStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def connected_pair(start_link: StartLink) -> tuple[Libp2pLink, Libp2pLink]:
    server = await start_link("server")
    server.accept(PROTOCOL, echo)
    client = await start_link("client", bootstrap=server.addresses)
    with trio.fail_after(LIMIT_S):
        await client.connect(server.me)
    return server, client


async def ticket_for(client: Libp2pLink, server: Libp2pLink, protocol: str = PROTOCOL) -> _Ticket:
    answer = await client.call(server.me, SIDE, msgspec.msgpack.encode(_Question(protocol)), LIMIT_S)
    return msgspec.msgpack.decode(answer, type=_Ticket)


async def knock(ticket: _Ticket, proof: bytes) -> bytes:
    """Connects by hand, sends ``proof`` and one piece; what comes back, ``b""`` if nothing."""
    socket = await trio.open_tcp_stream("127.0.0.1", ticket.port)
    tls = trio.SSLStream(socket, client_context(), https_compatible=True)
    async with tls:
        try:
            await tls.send_all(proof + b"\0\0\0\x02hi")
            certificate = tls.getpeercert(binary_form=True)
            assert isinstance(certificate, bytes)
            assert is_announced(certificate, ticket.fingerprint)
            return bytes(await tls.receive_some(100))
        except trio.BrokenResourceError:
            return b""


async def test_open_goes_by_the_side_port_when_both_offer_it(start_link: StartLink) -> None:
    server, client = await connected_pair(start_link)
    with trio.fail_after(LIMIT_S):
        async with await client.open(server.me, PROTOCOL) as stream:
            assert isinstance(stream, SideStream)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            await stream.send_eof()
            assert await stream.receive_some() == b""


async def test_a_ticket_opens_one_stream_once(start_link: StartLink) -> None:
    server, client = await connected_pair(start_link)
    with trio.fail_after(LIMIT_S):
        ticket = await ticket_for(client, server)
        assert await knock(ticket, ticket.ticket) == b"\0\0\0\x02hi"
        assert await knock(ticket, ticket.ticket) == b""


@pytest.mark.parametrize("proof", [bytes(32), b"GET / HTTP/1.1\r\nHost: a.b.c.d\r\n\r\n", b""])
async def test_strangers_get_nothing(start_link: StartLink, proof: bytes) -> None:
    server, client = await connected_pair(start_link)
    with trio.fail_after(LIMIT_S):
        ticket = await ticket_for(client, server)
        assert await knock(ticket, proof) == b""
        async with await client.open(server.me, PROTOCOL) as stream:
            await stream.send_all(b"still here")
            assert await stream.receive_some() == b"still here"


async def test_bytes_that_are_no_tls_harm_nobody(start_link: StartLink) -> None:
    server, client = await connected_pair(start_link)
    with trio.fail_after(LIMIT_S):
        ticket = await ticket_for(client, server)
        for junk in (b"", b"\xff" * 1000, b"\x16\x03\x01\xff\xff" + bytes(100)):
            socket = await trio.open_tcp_stream("127.0.0.1", ticket.port)
            await socket.send_all(junk)
            await socket.aclose()
        assert await client.call(server.me, "/mesh/peers/1", msgspec.msgpack.encode([[], []]), LIMIT_S)
    assert server.statistics().contained == 0


class Impostor:
    """A link whose peer names a port with another certificate behind it."""

    def __init__(self, ticket: _Ticket) -> None:
        self.answer = msgspec.msgpack.encode(ticket)

    def remote_host(self, peer: PeerId) -> str:
        return "127.0.0.1"

    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes:
        return self.answer


async def test_another_certificate_than_the_announced_one_is_not_trusted(nursery: trio.Nursery) -> None:
    context, _fingerprint = server_context(KEY)
    got = b""

    async def serve(socket: trio.SocketStream) -> None:
        nonlocal got
        tls = trio.SSLStream(socket, context, server_side=True)
        with suppress(trio.BrokenResourceError):
            got += await tls.receive_some(100)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    port = listeners[0].socket.getsockname()[1]

    async def refuse(_peer: PeerId, _protocol: str, _stream: SideStream) -> None:
        raise AssertionError

    impostor = Impostor(_Ticket(port, bytes(32), b"t" * 32))
    side = SidePort(impostor, KEY, refuse, lambda _protocol: False)
    with trio.fail_after(LIMIT_S):
        assert await side.open(PeerId(b"x"), PROTOCOL) is None
    assert got == b""  # the ticket was not shown to it


async def test_a_protocol_without_takers_and_a_peer_without_side_port_use_the_link(start_link: StartLink) -> None:
    server = await start_link("server", side_port=False)
    server.accept(PROTOCOL, echo)
    client = await start_link("client", bootstrap=server.addresses)
    with trio.fail_after(LIMIT_S):
        async with await client.open(server.me, PROTOCOL) as stream:
            assert not isinstance(stream, SideStream)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"


def test_the_context_speaks_only_the_newest_tls() -> None:
    context, fingerprint = server_context(KEY)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert client_context().minimum_version is ssl.TLSVersion.TLSv1_3
    assert len(fingerprint) == 32
    assert server_context(KEY)[1] != fingerprint

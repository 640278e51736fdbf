"""How do bulk streams get more than libp2p's 0.5x of TLS? By a TLS connection beside the link, one per stream.

Asked over the link (``/mesh/side/1``), a peer names a port, the fingerprint of its certificate, and a ticket for one
stream of one protocol. The link proved both peers' keys; the fingerprint proves the server to the client, the ticket,
known to this client alone, the client to the server. Whatever fails here falls back to a stream of the link.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Final, Protocol

import msgspec
import structlog
import trio
from libp2p.crypto.keys import PrivateKey

from mesh.net.accept_gate import AcceptGate
from mesh.net.link import CallRefused, LinkError, PeerDown, PeerEvent
from mesh.net.tls_once import client_context, is_announced, server_context
from protocols.units import PeerId

__all__ = ["SIDE", "SIDE_MAX_BYTES", "SidePort", "SideStream"]

SIDE: Final = "/mesh/side/1"
SIDE_MAX_BYTES: Final = 256
ASK_LIMIT_S: Final = 3.0
CONNECT_LIMIT_S: Final = 3.0
"""Longer than any healthy way; a port behind a NAT costs this once per peer."""
TICKET_LIFE_S: Final = 10.0
TICKETS_MAX: Final = 256
"""Tickets given and not yet used."""
TICKET_BYTES: Final = 32
RETRY_S: Final = 600.0
"""A peer whose side port failed is not tried again for this long."""
FAILED_MAX: Final = 1024
CHUNK_BYTES: Final = 256 * 1024
"""One TLS write: measured best between 64 KiB and 1 MiB."""

Handler = Callable[[PeerId, str, "SideStream"], Awaitable[None]]
_log = structlog.get_logger(__name__)


class _Question(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    protocol: Annotated[str, msgspec.Meta(max_length=128)]


class _Ticket(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    fingerprint: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    ticket: Annotated[bytes, msgspec.Meta(min_length=TICKET_BYTES, max_length=TICKET_BYTES)]


class Ports(Protocol):
    """What the side port needs of the link."""

    def remote_host(self, peer: PeerId) -> str | None: ...
    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes: ...


class SideStream(trio.abc.HalfCloseableStream):
    """Bytes over TLS with an end of each direction: a length before each piece, 0 for the end.

    Unlike a stream of the link it waits for a slow reader as long as the connection stands.
    """

    def __init__(
        self, tls: trio.SSLStream, socket: trio.SocketStream, on_close: Callable[["SideStream"], None]
    ) -> None:
        self._tls, self._socket, self._on_close = tls, socket, on_close
        self._left = 0
        self._header = b""
        self._sent_eof = self._got_eof = self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises ``ClosedResourceError`` after our close or EOF, ``BrokenResourceError`` when the connection is gone."""
        if self._closed or self._sent_eof:
            raise trio.ClosedResourceError("this end was closed for sending")
        view = memoryview(data)
        offset = 0
        while offset < len(view):
            end = len(view) if len(view) - offset < 2 * CHUNK_BYTES else offset + CHUNK_BYTES  # no crumb at the end
            await self._send((end - offset).to_bytes(4, "big") + view[offset:end])
            offset = end

    async def wait_send_all_might_not_block(self) -> None:
        """As the TLS stream's."""
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, ``b""`` at the end. Raises ``ClosedResourceError``, ``BrokenResourceError``."""
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        while not self._left and not self._got_eof:
            chunk = await self._receive(4 - len(self._header))
            if not chunk:
                raise trio.BrokenResourceError("the connection ended without the peer's end of stream")
            self._header += chunk
            if len(self._header) == 4:
                self._left, self._header = int.from_bytes(self._header, "big"), b""
                self._got_eof = self._left == 0
        if self._got_eof:
            await trio.lowlevel.checkpoint()
            return b""
        data = await self._receive(min(self._left, max_bytes or CHUNK_BYTES))
        if not data:
            raise trio.BrokenResourceError("the connection ended inside a piece")
        self._left -= len(data)
        return data

    async def send_eof(self) -> None:
        """Ends our direction; the peer may go on sending."""
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if not self._sent_eof:
            self._sent_eof = True
            await self._send(bytes(4))

    async def _send(self, data: bytes) -> None:
        try:
            await self._tls.send_all(data)
        except trio.ClosedResourceError as error:
            raise trio.BrokenResourceError("the link to the peer broke") from error

    async def _receive(self, most: int) -> bytes:
        try:
            return bytes(await self._tls.receive_some(most))
        except trio.ClosedResourceError as error:
            raise trio.BrokenResourceError("the link to the peer broke") from error

    async def aclose(self) -> None:
        """Ends our direction if it is open, and closes. Completes when cancelled, too, by closing hard."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        self._on_close(self)
        try:
            with trio.move_on_after(CONNECT_LIMIT_S):
                if not self._sent_eof:
                    await self._tls.send_all(bytes(4))
                await self._tls.aclose()
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer was faster
        finally:
            self.cut()

    def cut(self) -> None:
        """Closes the socket under everything: whoever waits gets ``BrokenResourceError`` or ``ClosedResourceError``."""
        self._socket.socket.close()


class SidePort:
    """The TLS port of a node, and its way to those of others."""

    def __init__(self, link: Ports, identity: PrivateKey, handle: Handler, accepts: Callable[[str], bool]) -> None:
        """``handle(peer, protocol, stream)`` must not raise; ``accepts`` says for which protocols it will be called."""
        self._link, self._handle, self._accepts = link, handle, accepts
        self._context, self._fingerprint = server_context(identity)
        self._gate = AcceptGate()
        self._tickets: dict[bytes, tuple[PeerId, str, float]] = {}
        self._failed: dict[PeerId, float] = {}
        self._streams: dict[SideStream, PeerId] = {}
        self._port = 0
        self.opened = 0
        """Streams made here, either way."""

    def __len__(self) -> int:
        return len(self._streams)

    async def run(self, host: str, events: AsyncIterator[PeerEvent]) -> None:
        """Listens on a free port until cancelled; then every stream is cut. A peer that is gone loses its streams."""
        listeners = await trio.open_tcp_listeners(0, host=host)
        self._port = listeners[0].socket.getsockname()[1]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve, listeners)
                async for event in events:
                    if isinstance(event, PeerDown):
                        self._drop(event.peer)
        finally:
            for stream in list(self._streams):
                stream.cut()

    def _drop(self, peer: PeerId) -> None:
        for stream, owner in list(self._streams.items()):
            if owner == peer:
                stream.cut()

    async def answer(self, peer: PeerId, request: bytes) -> bytes:
        """Serves ``/mesh/side/1``: a ticket for one stream, or nothing for a protocol that takes none.

        Raises ``CallRefused``, ``msgspec.MsgspecError``.
        """
        question = msgspec.msgpack.decode(request, type=_Question)
        if not self._accepts(question.protocol):
            return b""
        now = trio.current_time()
        for ticket in [t for t, (_, _, until) in self._tickets.items() if until <= now]:
            del self._tickets[ticket]
        if not self._port or len(self._tickets) >= TICKETS_MAX:
            raise CallRefused("no side port now")
        ticket = secrets.token_bytes(TICKET_BYTES)
        self._tickets[ticket] = (peer, question.protocol, now + TICKET_LIFE_S)
        return msgspec.msgpack.encode(_Ticket(self._port, self._fingerprint, ticket))

    async def _serve(self, socket: trio.SocketStream) -> None:
        entry = self._gate.enter(str(socket.socket.getpeername()[0]))
        tls = trio.SSLStream(socket, self._context, server_side=True, https_compatible=True)
        known = None
        try:
            with entry.scope, trio.move_on_after(CONNECT_LIMIT_S):
                known = await self._admit(tls)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a stranger that does not speak TLS, or left
        finally:
            self._gate.leave(entry)
        if known is None:
            return
        peer, protocol, _ = known
        async with self._track(peer, tls, socket) as stream:
            await self._handle(peer, protocol, stream)

    async def _admit(self, tls: trio.SSLStream) -> tuple[PeerId, str, float] | None:
        await tls.do_handshake()
        ticket = b""
        while len(ticket) < TICKET_BYTES:
            chunk = await tls.receive_some(TICKET_BYTES - len(ticket))
            if not chunk:
                return None
            ticket += chunk
        known = self._tickets.pop(ticket, None)
        return known if known is not None and known[2] > trio.current_time() else None

    async def open(self, peer: PeerId, protocol: str) -> SideStream | None:
        """A stream to a connected peer, or None if it has no side port that can be reached. Raises nothing."""
        now = trio.current_time()
        host = self._link.remote_host(peer)
        if host is None or self._failed.get(peer, 0.0) > now:
            return None
        try:
            question = msgspec.msgpack.encode(_Question(protocol))
            answer = await self._link.call(peer, SIDE, question, ASK_LIMIT_S)
            return await self._connect(peer, host, msgspec.msgpack.decode(answer, type=_Ticket)) if answer else None
        except (LinkError, msgspec.MsgspecError, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            _log.debug("no side port; using the link", error=repr(error))
            if len(self._failed) >= FAILED_MAX:
                del self._failed[min(self._failed, key=lambda p: self._failed[p])]
            self._failed[peer] = now + RETRY_S
            return None

    async def _connect(self, peer: PeerId, host: str, ticket: _Ticket) -> SideStream:
        with trio.fail_after(CONNECT_LIMIT_S):
            socket = await trio.open_tcp_stream(host, ticket.port)
            tls = trio.SSLStream(socket, client_context(), https_compatible=True)
            try:
                await tls.do_handshake()
                certificate = tls.getpeercert(binary_form=True)
                if not isinstance(certificate, bytes) or not is_announced(certificate, ticket.fingerprint):
                    raise trio.BrokenResourceError("another certificate than the one announced")
                await tls.send_all(ticket.ticket)
            except BaseException:
                await trio.aclose_forcefully(socket)
                raise
        return self._track(peer, tls, socket)

    def _track(self, peer: PeerId, tls: trio.SSLStream, socket: trio.SocketStream) -> SideStream:
        stream = SideStream(tls, socket, self._forget)
        self._streams[stream] = peer
        self.opened += 1
        return stream

    def _forget(self, stream: SideStream) -> None:
        self._streams.pop(stream, None)

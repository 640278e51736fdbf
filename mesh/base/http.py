"""How is an answer read from a server that is not trusted? In pieces, cut at a bound, over connections that are kept.

For JSON-RPC endpoints, beacon relays and the node of one's own. Whoever calls sets the time limit for the whole; nothing
here retries.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import httpcore
import trio

__all__ = ["AnswerTooLong", "Connections", "Unreachable"]

_KEEPALIVE_S: Final = 60.0
_ERRORS: Final = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


class Unreachable(Exception):
    """No connection, or it broke. The message says how."""


class AnswerTooLong(Exception):
    """More bytes than were asked for."""


class Connections:
    """Kept connections to one server. httpcore's own pool looks through all requests and connections before and after each
    request, which is half of what one takes."""

    def __init__(self, most: int, connect_s: float, socket: Path | None = None) -> None:
        """``most`` at once; ``connect_s`` seconds to make one. ``socket``: the unix socket where the server is."""
        self._connect_s = connect_s
        self._socket = None if socket is None else str(socket)
        self._room = trio.Semaphore(most)
        self._idle: list[httpcore.AsyncHTTPConnection] = []
        self._busy: set[httpcore.AsyncHTTPConnection] = set()

    async def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[bytes, bytes]],
        content: bytes | None,
        check: Callable[[httpcore.Response], None],
        body: bytearray,
        most: int,
    ) -> None:
        """One request; the answer's bytes are added to ``body``, at most ``most`` and one piece of them. ``headers`` are all
        that are sent, but for the host.

        ``check`` sees status and headers first and raises for what is not worth reading. Raises ``Unreachable`` or
        ``AnswerTooLong``. Cancelling closes the connection.
        """
        request = httpcore.Request(
            method,
            url,
            headers=headers,
            content=None if content is None else _Once(content),
            extensions={"timeout": {"connect": self._connect_s}},
        )
        if not any(name.lower() == b"host" for name, _ in headers):
            request.headers.insert(0, (b"Host", _host(request.url)))
        try:  # a semaphore's own checkpoint would cost a turn of the loop
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        try:
            connection = await self._take(request.url.origin)
            try:
                await self._exchange(connection, request, check, body, most)
            except _ERRORS as error:
                raise Unreachable(str(error) or type(error).__name__) from error
            finally:
                await self._give_back(connection)
        finally:
            self._room.release()

    async def _exchange(
        self,
        connection: httpcore.AsyncHTTPConnection,
        request: httpcore.Request,
        check: Callable[[httpcore.Response], None],
        body: bytearray,
        most: int,
    ) -> None:
        response = await connection.handle_async_request(request)
        check(response)
        pieces = response.stream
        assert isinstance(pieces, AsyncIterable)
        with trio.CancelScope() as cut:
            async for piece in pieces:
                body += piece
                if len(body) > most:
                    # Leaving the loop would abandon nested generators; a cancelled read unwinds them.
                    cut.cancel()
        await response.aclose()
        if cut.cancelled_caught:
            raise AnswerTooLong

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """The connection used last that is still good, or a new one."""
        taken = None
        while taken is None and self._idle:
            taken = self._idle.pop()
            if taken.has_expired() or not taken.can_handle_request(origin):
                await _close(taken)
                taken = None
        if taken is None:
            taken = httpcore.AsyncHTTPConnection(origin, keepalive_expiry=_KEEPALIVE_S, uds=self._socket)
        self._busy.add(taken)
        return taken

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep it if its answer was read to the end and it can take another request; else it is closed."""
        if connection in self._busy and connection.is_idle() and not connection.is_closed():
            self._busy.discard(connection)
            self._idle.append(connection)
        else:
            self._busy.discard(connection)
            await _close(connection)

    async def aclose(self) -> None:
        """Drop the connections."""
        connections, self._idle = [*self._idle, *self._busy], []
        self._busy.clear()
        for connection in connections:
            await _close(connection)


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    """Also for who was cancelled: it waits for nobody's answer."""
    with trio.CancelScope(shield=True):
        await connection.aclose()


def _host(url: httpcore.URL) -> bytes:
    return url.host if url.port is None else b"%s:%d" % (url.host, url.port)


class _Once:
    """A request body. httpcore's own is a generator, which a cancelled call would abandon."""

    def __init__(self, piece: bytes) -> None:
        self._left: bytes | None = piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece, self._left = self._left, None
        if piece is None:
            raise StopAsyncIteration
        return piece

"""How is an answer read from a server that is not trusted? In pieces, cut at a bound, over connections that are kept.

For JSON-RPC endpoints, beacon relays and the node of one's own. Whoever calls sets the time limit for the whole; nothing
here retries.
"""

from collections.abc import AsyncIterator, Callable, Sequence
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
    """Kept connections to one server."""

    def __init__(self, most: int, connect_s: float, socket: Path | None = None) -> None:
        """``most`` at once; ``connect_s`` seconds to make one. ``socket``: the unix socket where the server is."""
        self._connect_s = connect_s
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=most,
            max_keepalive_connections=most,
            keepalive_expiry=_KEEPALIVE_S,
            uds=None if socket is None else str(socket),
        )

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
        """One request; the answer's bytes are added to ``body``, at most ``most`` and one piece of them.

        ``check`` sees status and headers first and raises for what is not worth reading. Raises ``Unreachable`` or
        ``AnswerTooLong``. Cancelling closes the connection.
        """
        cut = trio.CancelScope()
        sent = None if content is None else _Once(content)
        extensions = {"timeout": {"connect": self._connect_s}}
        try:
            async with self._pool.stream(method, url, headers=headers, content=sent, extensions=extensions) as response:
                check(response)
                with cut:
                    async for piece in response.aiter_stream():
                        body += piece
                        if len(body) > most:
                            # Leaving the loop would abandon nested generators; a cancelled read unwinds them.
                            cut.cancel()
        except _ERRORS as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        if cut.cancelled_caught:
            raise AnswerTooLong

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._pool.aclose()


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

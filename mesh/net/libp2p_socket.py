"""How is a socket read while a connection is made? In large blocks, whatever the handshake asks for."""

from typing import Final

import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream

__all__ = ["BufferedTCPStream"]

SOCKET_READ_BYTES: Final = 64 * 1024
"""One read from a socket: a whole noise message. Stock reads 2 bytes of length, then the rest."""


class BufferedTCPStream(TrioTCPStream):
    """A socket that is read 64 KiB at a time. Without locks: one task reads it, and the multiplexer's lock is enough."""

    _buffer: bytes = b""
    _offset: int = 0

    async def read(self, n: int | None = None) -> bytes:
        """As the stock method: up to ``n`` bytes, ``b""`` at the end."""
        if n == 0:
            return b""
        if self._offset == len(self._buffer):
            try:
                self._buffer, self._offset = bytes(await self.stream.receive_some(SOCKET_READ_BYTES)), 0
            except trio.BrokenResourceError as error:
                raise ConnectionClosedError(f"the peer reset the connection: {error}", transport="tcp") from error
            except trio.ClosedResourceError:
                return b""
        end = len(self._buffer) if n is None else min(self._offset + n, len(self._buffer))
        chunk = self._buffer[self._offset : end]
        self._offset = end
        return chunk

    def take_buffered(self) -> bytes:
        """What was read from the socket and not asked for yet; from now on the socket is read by whoever took it."""
        rest, self._buffer, self._offset = self._buffer[self._offset :], b"", 0
        return rest

    async def write(self, data: bytes) -> None:
        """As the stock method, but a socket that we closed is an error, too: nothing was sent."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(f"the connection is gone: {error}", transport="tcp") from error

"""How does a libp2p stream look to the rest of the node? Like any stream of trio.

A writer whose peer takes nothing for 5 s gets ``BrokenResourceError`` (the multiplexer gives up, measured): the reader
must pull what it can take, and whoever transfers must be able to resume.
"""

from collections.abc import Callable
from typing import Final

import trio
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream

__all__ = ["MeshStream", "linger"]

READ_BYTES: Final = 256 * 1024
"""Most that one ``receive_some`` returns when the caller names no bound."""
LINGER_S: Final = 5.0
"""How long a peer may take to end its direction after we closed ours."""
RESET_LIMIT_S: Final = 1.0
"""For sending one small frame while everything else is being cancelled."""


class MeshStream(trio.abc.HalfCloseableStream):
    """Bytes to and from one authenticated peer.

    A cancelled ``receive_some`` loses nothing. A cancelled ``send_all`` leaves an unknown part sent: close the stream.
    """

    def __init__(self, stream: NetStream, after_close: Callable[[NetStream, bool], None]) -> None:
        """``after_close(stream, ended)`` is called once; unless ``ended`` it must see that ``linger(stream)`` runs."""
        self._stream = stream
        self._after_close = after_close
        self._sending = False
        self._closed = self._sent_eof = self._got_eof = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises ``ClosedResourceError`` after our close or EOF, ``BrokenResourceError`` when the stream is gone."""
        if self._closed or self._sent_eof:
            raise trio.ClosedResourceError("this end was closed for sending")
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await self._stream.write(bytes(data))
        except Exception as error:
            raise trio.BrokenResourceError(f"the stream broke while sending: {error!r}") from error
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Returns at once: the multiplexer offers no such signal."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, ``b""`` at the end. Raises ``ClosedResourceError``, ``BrokenResourceError``."""
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if self._got_eof:
            await trio.lowlevel.checkpoint()
            return b""
        try:
            return await self._stream.read(max_bytes or READ_BYTES)
        except StreamEOF:
            self._got_eof = True
            return b""
        except Exception as error:
            raise trio.BrokenResourceError(f"the stream broke while receiving: {error!r}") from error

    async def send_eof(self) -> None:
        """Ends our direction; the peer may go on sending."""
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if not self._sent_eof:
            self._sent_eof = True
            try:
                await self._stream.close_write()
            except Exception as error:
                raise trio.BrokenResourceError(f"the stream broke while closing: {error!r}") from error

    async def aclose(self) -> None:
        """Ends our direction; what the peer still sends is thrown away. Completes when cancelled, too."""
        if not self._closed:
            self._closed = True
            with trio.CancelScope(shield=True):
                try:
                    if not self._sent_eof:
                        await self._stream.close_write()
                    if self._got_eof:
                        await self._stream.close()
                except Exception:
                    self._got_eof = True  # the connection is gone: nothing is left to close
            self._after_close(self._stream, self._got_eof)
        await trio.lowlevel.checkpoint()


async def linger(stream: NetStream) -> None:
    """Reads away what a peer sends after our close, until its end, for 5 s or one window; then resets the stream.

    A reset at once could make the peer lose the end of what we sent.
    """
    left = READ_BYTES
    try:
        with trio.move_on_after(LINGER_S):
            while left > 0:
                left -= len(await stream.read(READ_BYTES))
    except StreamEOF:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + RESET_LIMIT_S):
            await stream.close()
        return
    except Exception:
        return  # reset by the peer, or the connection is gone
    with trio.CancelScope(shield=True, deadline=trio.current_time() + RESET_LIMIT_S):
        await stream.reset()

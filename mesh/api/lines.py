"""How are the lines of a long answer read from the node's socket as they come?

httpx reads a stream through nested generators that nobody closes when a reader leaves in the middle; h11 on one stream
leaves nothing behind.
"""

from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import h11
import trio

__all__ = ["MAX_LINE_BYTES", "read_lines"]

MAX_LINE_BYTES: Final = 1 << 20
"""One line is one event: a name and a few fields of at most 400 characters."""
READ_BYTES: Final = 1 << 16


async def read_lines(socket: Path, path: str, query: dict[str, str]) -> AsyncIterator[bytes]:
    """Each line of ``GET path`` without its end, until the answer ends.

    Raises ``OSError`` when nobody listens, ``EOFError`` when the answer breaks off or cannot be read. Cancel it or
    ``aclose`` it to leave early: nothing stays open.
    """
    async with await trio.open_unix_socket(str(socket)) as stream:
        reader = _Reader(stream)
        await reader.ask(f"{path}?{urlencode(query)}")
        while (line := await reader.line()) is not None:
            yield line


class _Reader:
    """One request and the lines of its answer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._lines: deque[bytes] = deque()
        self._part = b""
        self._over = False

    async def ask(self, target: str) -> None:
        """Send the request."""
        headers = [("Host", "node"), ("Connection", "close")]
        request = h11.Request(method="GET", target=target, headers=headers)
        data = self._http.send(request), self._http.send(h11.EndOfMessage())
        await self._stream.send_all(b"".join(one for one in data if one))

    async def line(self) -> bytes | None:
        """The next line, None at the end."""
        while not self._lines and not self._over:
            try:
                await self._take(self._http.next_event())
            except h11.RemoteProtocolError as error:
                raise EOFError(str(error)) from error
        if self._lines:
            return self._lines.popleft()
        rest, self._part = self._part, b""
        return rest or None

    async def _take(self, event: object) -> None:
        if event is h11.NEED_DATA:
            try:
                self._http.receive_data(await self._stream.receive_some(READ_BYTES))
            except trio.BrokenResourceError as error:
                raise EOFError("the connection broke") from error
        elif isinstance(event, h11.Data):
            *lines, self._part = (self._part + bytes(event.data)).split(b"\n")
            self._lines += lines
            if len(self._part) > MAX_LINE_BYTES:
                raise EOFError(f"a line of more than {MAX_LINE_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            self._over = True

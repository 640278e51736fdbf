"""Does the node go on when a client of its socket leaves in the middle of a request?"""

from pathlib import Path

import pytest
import trio

from mesh.api.client import RemoteApi

HALVES = (
    b"",
    b"POST /v1/sta",
    b"POST /v1/status HTTP/1.1\r\nhost: node\r\n",
    b"POST /v1/status HTTP/1.1\r\nhost: node\r\ncontent-length: 2\r\n\r\n",
    b"POST /v1/status HTTP/1.1\r\nhost: node\r\ncontent-length: 2\r\n\r\n{",
    b"POST /v1/status HTTP/1.1\r\nhost: node\r\ncontent-length: 2\r\n\r\n{}",
    b"GET /v1/events HTTP/1.1\r\nhost: node\r\n\r\n",
    b"\x16\x03\x01\x00\x00 no http at all\r\n\r\n",
)


@pytest.mark.parametrize("half", HALVES, ids=range(len(HALVES)))
async def test_a_client_that_leaves_at_any_moment_harms_nobody(half: bytes, remote: RemoteApi, socket: Path) -> None:
    async def leave(rudely: bool) -> None:
        stream = await trio.open_unix_socket(str(socket))
        await stream.send_all(half)
        if not rudely:
            await stream.send_eof()
        await stream.aclose()

    for rudely in (False, True):
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(leave, rudely)
        await remote.status()

"""Are connections kept while they are good, bounded in number, and gone with whatever went wrong on them?"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpcore
import pytest
import trio

from mesh.base.http import AnswerTooLong, Connections, Unreachable

HEADERS = ((b"content-length", b"2"),)


class Server:
    """Counts what it is asked and over how many connections; ``answer`` says what comes, ``keep`` whether the next may."""

    def __init__(self) -> None:
        self.url = ""
        self.hosts: list[bytes] = []
        self.connections = self.open = self.most_open = 0
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
        self.keep = True
        self.held: trio.Event | None = None
        self.asked = trio.Event()
        self.left = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        got = b""
        try:
            while chunk := await stream.receive_some():
                got += chunk
                while b"\r\n\r\nhi" in got:
                    request, _, got = got.partition(b"\r\n\r\nhi")
                    self.hosts += [line[6:] for line in request.split(b"\r\n") if line.lower().startswith(b"host: ")]
                    self.asked.set()
                    if self.held is not None:
                        await self.held.wait()
                    await stream.send_all(self.answer)
                    if not self.keep:
                        return
        except trio.BrokenResourceError:
            pass
        finally:
            self.open -= 1
            self.left.set()
            await stream.aclose()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(listen)
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        yield server
        nursery.cancel_scope.cancel()


def fine(response: httpcore.Response) -> None:
    assert response.status == 200


async def ask(
    connections: Connections, url: str, most: int = 100, check: Callable[[httpcore.Response], None] = fine
) -> bytes:
    body = bytearray()
    await connections.ask("POST", url, HEADERS, b"hi", check, body, most)
    return bytes(body)


async def test_a_connection_is_kept_and_told_its_host() -> None:
    async with serving() as server:
        connections = Connections(4, 5.0)
        assert [await ask(connections, server.url) for _ in range(5)] == [b"fine"] * 5
        assert server.connections == 1
        assert set(server.hosts) == {server.url[7:-1].encode()}
        await connections.aclose()
        await server.left.wait()
        assert server.open == 0


async def test_one_that_the_server_closed_is_replaced() -> None:
    async with serving() as server:
        connections = Connections(4, 5.0)
        server.keep = False
        for number in range(1, 4):
            server.left = trio.Event()
            assert await ask(connections, server.url) == b"fine"
            await server.left.wait()
            assert server.connections == number
        await connections.aclose()


async def test_no_more_than_so_many_at_once() -> None:
    async with serving() as server:
        connections = Connections(3, 5.0)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, connections, server.url)
        assert server.most_open <= 3
        await connections.aclose()


@pytest.mark.parametrize("wrong", ["long", "refused", "cut", "no http"])
async def test_a_connection_on_which_something_went_wrong_is_closed_and_the_next_works(wrong: str) -> None:
    def refuse(response: httpcore.Response) -> None:
        raise ValueError(response.status)

    async with serving() as server:
        connections = Connections(1, 5.0)
        good = server.answer
        if wrong == "long":
            server.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + bytes(200_000)
            with pytest.raises(AnswerTooLong):
                await ask(connections, server.url)
        elif wrong == "refused":
            with pytest.raises(ValueError, match="200"):
                await ask(connections, server.url, check=refuse)
        else:
            server.keep = False
            server.answer = (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine" if wrong == "cut" else b"\x00\xff\r\n\r\n"
            )
            with pytest.raises(Unreachable):
                await ask(connections, server.url)
        await server.left.wait()
        server.answer, server.keep = good, True
        assert await ask(connections, server.url) == b"fine"
        assert server.connections == 2
        await connections.aclose()


async def test_who_is_cancelled_leaves_no_connection_and_its_place() -> None:
    async with serving() as server:
        connections = Connections(1, 5.0)
        server.held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, connections, server.url)
            await server.asked.wait()
            nursery.cancel_scope.cancel()
        server.held.set()
        await server.left.wait()
        server.held = None
        assert await ask(connections, server.url) == b"fine"
        assert server.connections == 2
        await connections.aclose()


async def test_where_nobody_listens_is_unreachable() -> None:
    async with serving() as server:
        url = server.url
    connections = Connections(1, 5.0)
    for _ in range(2):
        with pytest.raises(Unreachable):
            await ask(connections, url)
    await connections.aclose()

"""How is the API put on a unix socket? Starlette on hypercorn, in the node's own nursery.

The socket is the node owner's (mode 0600): whoever may open it may spend the node's money.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import wrap_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mesh.api.calls import CALLS, MAX_REQUEST_BYTES, from_json, to_json
from mesh.api.port import NodeApi
from mesh.api.types import ApiError, TraceInfo
from mesh.base import errors
from mesh.base.errors import MeshError
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from protocols.errors import RemoteProtocolError

__all__ = ["build_app", "serve_api"]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
READY_LINES: Final = 64
"""Trace lines joined into one piece at most: what a few transactions write."""

log = get_log("api")


def build_app(api: NodeApi) -> Starlette:
    """The ASGI application: ``POST /v1/CALL`` with a JSON object of arguments, ``GET /v1/events`` as JSON lines."""
    routes = [Route(f"/v1/{name}", partial(_answer, api, name), methods=["POST"]) for name in CALLS]
    routes.append(Route("/v1/events", partial(_events, api), methods=["GET"]))
    routes.append(Route("/healthz", _healthy, methods=["GET"]))
    return Starlette(routes=routes)


async def _healthy(request: Request) -> Response:
    return Response(b"ok\n", media_type="text/plain")


def _failed(error: MeshError) -> Response:
    return Response(to_json(_told(error)), status_code=422, media_type=JSON)


def _told(error: MeshError) -> ApiError:
    """An adapter's error travels as the class that both sides know, so that the command ends with the same code."""
    kind = next(one for one in type(error).__mro__ if getattr(errors, one.__name__, None) is one)
    return ApiError(kind=kind.__name__, what=error.what, why=error.why, fix=error.fix)


async def _answer(api: NodeApi, name: str, request: Request) -> Response:
    call = CALLS[name]
    try:
        arguments = await _arguments(request, call.arguments)
        method: Callable[..., Awaitable[Any]] = getattr(api, name)
        answer = await method(**arguments)
    except MeshError as error:
        return _failed(error)
    except RemoteProtocolError as error:
        return _failed(MeshError("the request cannot be carried out", why=str(error)))
    return Response(to_json(answer), media_type=JSON)


async def _arguments(request: Request, kinds: dict[str, Any]) -> dict[str, Any]:
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                raise MeshError("the request is too large", why=f"more than {MAX_REQUEST_BYTES} bytes")
    try:
        given: dict[str, msgspec.Raw] = msgspec.json.decode(bytes(body) or b"{}", type=dict[str, msgspec.Raw])
        if given.keys() != kinds.keys():
            raise MeshError("the request's arguments are not the call's", why=f"needs {sorted(kinds)}")
        return {name: from_json(bytes(given[name]), kind) for name, kind in kinds.items()}
    except msgspec.MsgspecError as error:
        raise MeshError("the request cannot be read", why=str(error)) from error


async def _events(api: NodeApi, request: Request) -> Response:
    query = request.query_params
    try:
        since = int(query.get("since", "0"))
    except ValueError:
        return _failed(MeshError("since must be a number", why=query["since"], fix="mesh events --since 0"))
    return _EventLines(api.events(query.get("run", ""), since=since, follow=query.get("follow") == "1"))


class _EventLines(Response):
    """Trace lines as they come, until they end or the reader leaves; then the source is closed at once."""

    media_type = NDJSON

    def __init__(self, source: AsyncIterator[TraceInfo]) -> None:
        super().__init__()
        self._source = source
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, receive, nursery.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            ready = _Ready()
            nursery.start_soon(ready.collect, self._source)
            while pieces := await ready.next():
                await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    async def _watch(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


class _Ready:
    """Lines that wait to be sent, so that those of one transaction travel together: each piece costs a system call on both
    sides and the reader a turn."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._ended = False
        self._changed = trio.Event()
        self._taken = trio.Event()

    async def collect(self, source: AsyncIterator[TraceInfo]) -> None:
        """Take lines until they end or break; at most ``READY_LINES`` ahead of the reader."""
        try:
            async with aclosing(cast("AsyncGenerator[TraceInfo]", source)) as lines:
                async for one in lines:
                    await self._put(one)
        except MeshError as error:
            await self._put(_told(error))
        self._ended = True
        self._changed.set()

    async def _put(self, value: object) -> None:
        while len(self._pieces) >= READY_LINES:
            await self._taken.wait()
        self._pieces.append(to_json(value) + b"\n")
        self._changed.set()

    async def next(self) -> list[bytes]:
        """What is there, waiting for something; empty at the end."""
        while not self._pieces and not self._ended:
            await self._changed.wait()
        pieces, self._pieces = self._pieces, []
        self._changed = trio.Event()
        self._taken.set()
        self._taken = trio.Event()
        return pieces


async def serve_api(api: NodeApi, socket: Path, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
    """Answer on ``socket`` until cancelled; started when it listens. Leaves no socket file behind.

    A client that leaves in the middle of a request costs its own connection: hypercorn's own loop ends with it.
    """
    config = ServerConfig()
    config.bind = [f"unix:{socket}"]
    config.umask = 0o177
    config.accesslog = None
    config.errorlog = None
    with suppress(FileNotFoundError):
        await trio.to_thread.run_sync(socket.unlink)
    (bound,) = config.create_sockets().insecure_sockets
    bound.listen(config.backlog)
    app = wrap_app(build_app(api), config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    connection = partial(_connection, app, config, WorkerContext(None))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, connection, [listener]))
            task_status.started()
    finally:
        with suppress(FileNotFoundError):
            os.unlink(socket)  # one system call at the very end


async def _connection(app: AppWrapper, config: ServerConfig, context: WorkerContext, stream: trio.SocketStream) -> None:
    try:
        await TCPServer(app, config, context, ConnectionState({}), stream)  # type: ignore[arg-type]  # no TLS here
    except* Exception as group:
        log.info("api.connection_broke", reason=repr(group.exceptions[0]))

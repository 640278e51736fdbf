"""How is the API put on a unix socket? Starlette on hypercorn, in the node's own nursery.

The socket is the node owner's (mode 0600): whoever may open it may spend the node's money.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mesh.api.calls import CALLS, MAX_REQUEST_BYTES, from_json, to_json
from mesh.api.port import NodeApi
from mesh.api.types import ApiError
from mesh.base.errors import MeshError
from mesh.base.tasks import Started
from protocols.errors import RemoteProtocolError

__all__ = ["build_app", "serve_api"]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
GRACE_S: Final = 1.0


def build_app(api: NodeApi) -> Starlette:
    """The ASGI application: ``POST /v1/CALL`` with a JSON object of arguments, ``GET /v1/events`` as JSON lines."""
    routes = [Route(f"/v1/{name}", partial(_answer, api, name), methods=["POST"]) for name in CALLS]
    routes.append(Route("/v1/events", partial(_events, api), methods=["GET"]))
    routes.append(Route("/healthz", _healthy, methods=["GET"]))
    return Starlette(routes=routes)


async def _healthy(request: Request) -> Response:
    return Response(b"ok\n", media_type="text/plain")


def _failed(error: MeshError) -> Response:
    body = ApiError(kind=type(error).__name__, what=error.what, why=error.why, fix=error.fix)
    return Response(to_json(body), status_code=422, media_type=JSON)


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
    async for chunk in request.stream():
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
        return _failed(MeshError("since must be a number", why=query["since"]))
    follow = query.get("follow") == "1"

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for one in api.events(query.get("run", ""), since=since, follow=follow):
                yield to_json(one) + b"\n"
        except MeshError as error:
            yield to_json(ApiError(kind=type(error).__name__, what=error.what, why=error.why, fix=error.fix)) + b"\n"

    return StreamingResponse(lines(), media_type=NDJSON)


async def serve_api(api: NodeApi, socket: Path, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
    """Answer on ``socket`` until cancelled; started when it listens. Leaves no socket file behind."""
    config = ServerConfig()
    config.bind = [f"unix:{socket}"]
    config.umask = 0o177
    config.graceful_timeout = GRACE_S
    config.accesslog = None
    config.errorlog = None
    with suppress(FileNotFoundError):
        await trio.to_thread.run_sync(socket.unlink)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, build_app(api), config))  # type: ignore[arg-type]
            task_status.started()
    finally:
        with suppress(FileNotFoundError):
            os.unlink(socket)  # noqa: PTH108  # one system call at the very end

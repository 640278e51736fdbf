"""How is one RPC endpoint asked, and what do we know about it?

One HTTP POST per call, read in pieces and cut at a bound, under one timeout for the whole answer (an endpoint that
drips a byte per second would otherwise never run out of time). Nothing here retries: ``rpc`` decides where to ask next.
httpcore is the transport of httpx; used directly it takes half the time per call and leaves nothing behind when a call
is cancelled (docs/adr/0005-chain-without-asyncio.md).
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import httpcore
import msgspec
import trio

from mesh.base.errors import ConfigError
from mesh.base.http import AnswerTooLong, Connections, Unreachable
from mesh.chain.errors import BadAnswer, EndpointFailed, RpcError

__all__ = ["MAX_ANSWER_BYTES", "Endpoint", "EndpointState", "EndpointStatistics"]

MAX_ANSWER_BYTES: Final = 32 << 20
"""One answer: 20,000 logs with 500 bytes of data each stay below 32 MiB."""
MAX_RETRY_AFTER_S: Final = 60.0
"""The longest pause that an endpoint can ask for."""
_CONNECTIONS: Final = 16
_CONNECT_S: Final = 5.0
_MESSAGE_CHARS: Final = 300
_THROTTLED: Final = frozenset({429, 503})

EndpointState = Literal["untried", "ready", "cooling", "lagging", "refused"]


class EndpointStatistics(msgspec.Struct, frozen=True):
    """What one endpoint did so far. ``name`` is its host: paths and queries may hold keys.

    ``latency_ms`` is a moving mean; ``resting_s`` how long it will still be left alone after a failure.
    """

    name: str
    state: EndpointState
    calls: int
    failures: int
    latency_ms: float
    received_bytes: int
    head_number: int | None
    resting_s: float
    last_error: str


class _Envelope(msgspec.Struct):
    """The JSON-RPC response object; what is missing stays UNSET."""

    id: object = msgspec.UNSET
    jsonrpc: object = msgspec.UNSET
    result: object = msgspec.UNSET
    error: object = msgspec.UNSET


_DECODER: Final = msgspec.json.Decoder(_Envelope)


class Endpoint:
    """One URL with its connections and its record. Closing it drops the connections."""

    def __init__(self, url: str) -> None:
        self.name, self._url, self._headers = _parse(url)
        self._connections = Connections(_CONNECTIONS, _CONNECT_S)
        self._ids = 0
        self.checking = trio.Lock()
        self.verified = False
        self.refused = ""
        self.lagging = False
        self.ready_at = 0.0
        self.streak = 0
        self.head_number: int | None = None
        self.calls = 0
        self.failures = 0
        self.last_error = ""
        self._latency_s = 0.0
        self._received = 0

    async def ask(self, method: str, params: Sequence[object], timeout_s: float) -> object:
        """The ``result`` of one call.

        ``params`` hold only what JSON knows. Raises ``EndpointFailed``, ``BadAnswer``, or ``RpcError`` when the node
        behind the endpoint declined. Cancelling closes the connection.
        """
        self._ids += 1
        call_id = self._ids
        request = msgspec.json.encode({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})
        began = trio.current_time()
        self.calls += 1
        with trio.move_on_after(timeout_s) as scope:
            body = await self._post(request)
        if scope.cancelled_caught:
            raise EndpointFailed(f"{self.name} did not answer {method} within {timeout_s:g} s", endpoint=self.name)
        elapsed = trio.current_time() - began
        self._latency_s = elapsed if self._latency_s == 0 else 0.9 * self._latency_s + 0.1 * elapsed
        return self._open(body, call_id, method)

    def statistics(self, now: float) -> EndpointStatistics:
        """A reading at event-loop time ``now``."""
        return EndpointStatistics(
            name=self.name,
            state=self._state(now),
            calls=self.calls,
            failures=self.failures,
            latency_ms=round(self._latency_s * 1000, 3),
            received_bytes=self._received,
            head_number=self.head_number,
            resting_s=max(0.0, self.ready_at - now),
            last_error=self.last_error,
        )

    def _state(self, now: float) -> EndpointState:
        if self.refused:
            return "refused"
        if self.ready_at > now:
            return "cooling"
        if self.lagging:
            return "lagging"
        return "ready" if self.verified else "untried"

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._connections.aclose()

    async def _post(self, request: bytes) -> bytes:
        body = bytearray()
        headers = [*self._headers, (b"content-length", b"%d" % len(request))]
        try:
            await self._connections.ask("POST", self._url, headers, request, self._check_status, body, MAX_ANSWER_BYTES)
        except Unreachable as error:
            raise EndpointFailed(f"{self.name} cannot be reached", why=str(error), endpoint=self.name) from error
        except AnswerTooLong as error:
            limit = f"{MAX_ANSWER_BYTES >> 20} MiB"
            raise BadAnswer(f"{self.name} sent more than {limit}", endpoint=self.name) from error
        finally:
            self._received += len(body)
        return bytes(body)

    def _check_status(self, response: httpcore.Response) -> None:
        status = response.status
        headers = {name.lower(): value for name, value in response.headers}
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise BadAnswer(f"{self.name} compressed its answer unasked", endpoint=self.name)
        # Some nodes answer declined calls with 4xx and a JSON-RPC body; those are read like any other.
        if status == 200 or (400 <= status < 500 and status not in (401, 403, 404, 429)):
            return
        raise EndpointFailed(
            f"{self.name} answered HTTP {status}",
            why="it is overloaded or limits this address" if status in _THROTTLED else "",
            endpoint=self.name,
            retry_after_s=_retry_after(headers.get(b"retry-after", b"")),
        )

    def _open(self, body: bytes, call_id: int, method: str) -> object:
        try:
            envelope = _DECODER.decode(body)
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"{self.name} did not answer JSON-RPC", why=str(error)[:200], endpoint=self.name) from error
        # A null id is what a node sends when it could not read the call; the error inside is still an answer.
        if envelope.id != call_id and not (envelope.id is None and envelope.error is not msgspec.UNSET):
            raise BadAnswer(f"{self.name} answered another call than {method}", endpoint=self.name)
        if envelope.error is not msgspec.UNSET and envelope.error is not None:
            raise self._declined(envelope.error, method)
        if envelope.result is msgspec.UNSET:
            raise BadAnswer(f"{self.name} answered {method} with neither result nor error", endpoint=self.name)
        return envelope.result

    def _declined(self, error: object, method: str) -> Exception:
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return BadAnswer(f"{self.name} answered {method} with a malformed error", endpoint=self.name)
        code = error.get("code")
        message = error["message"][:_MESSAGE_CHARS]
        lowered = message.lower()
        if code == 429 or "rate limit" in lowered or "too many requests" in lowered:
            return EndpointFailed(f"{self.name} limits the rate of calls", why=message, endpoint=self.name)
        return RpcError(
            f"the chain declined {method}",
            why=message,
            endpoint=self.name,
            code=code if isinstance(code, int) else 0,
            data=_revert_data(error.get("data")),
        )


def _retry_after(given: bytes) -> float:
    return min(float(given), MAX_RETRY_AFTER_S) if given.isdigit() and len(given) < 10 else 0.0


def _revert_data(given: object) -> bytes:
    """Revert data sits in ``data`` (geth, anvil) or in ``data.data`` (some proxies); anything else is no data."""
    if isinstance(given, dict):
        given = given.get("data")
    if isinstance(given, str) and given.startswith("0x"):
        try:
            return bytes.fromhex(given[2 : 2 + 2 * 65536])
        except ValueError:
            return b""
    return b""


def _parse(url: str) -> tuple[str, str, list[tuple[bytes, bytes]]]:
    """Host (with port), the address without its user, and the request headers. Raises ``ConfigError``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url[:80]!r} is not an RPC address", why=str(error), fix=_FIX) from error
    if parts.scheme not in ("http", "https") or not host or not url.isascii():
        raise ConfigError(f"{url[:80]!r} is not an RPC address", why="it must be http:// or https://", fix=_FIX)
    place = parts.netloc.rpartition("@")[2]
    headers = [
        (b"host", place.encode()),
        (b"content-type", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"mesh"),
    ]
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.append((b"authorization", b"Basic " + b64encode(user.encode())))
    bare = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
    return (host if port is None else f"{host}:{port}"), bare, headers


_FIX: Final = "mesh config set chain.rpc https://HOST/PATH"

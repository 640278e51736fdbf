"""How is one relay asked for a round, and what do we know about it?

One GET per round, read in pieces and cut at a bound, under one timeout for the whole answer. What is returned is well
formed and not verified. Nothing here retries: ``relays`` decides whom to ask next.
"""

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import httpcore
import msgspec
import trio
from msgspec import Meta

from mesh.base.errors import ConfigError
from mesh.base.http import AnswerTooLong, Connections, Unreachable
from protocols.beacon.chain import BeaconChain
from protocols.messages.beacon import MAX_ROUND, ROUND_SIGNATURE_BYTES, BeaconRound

__all__ = ["Relay", "RelayFailed", "RelayLied", "RelayState", "RelayStatistics", "RoundMissing"]

MAX_ANSWER_BYTES: Final = 16 * 1024
"""drand answers 300 bytes; fields that later versions may add have room."""
_CONNECTIONS: Final = 8
"""More than are ever in use at once: the poll and the fetches."""
_CONNECT_S: Final = 3.0
_HEADERS: Final = ((b"accept-encoding", b"identity"), (b"user-agent", b"mesh"))
_MISSING: Final = frozenset({404, 425})
"""Not found, too early: drand's words for a round that is not there."""

RelayState = Literal["untried", "ready", "behind", "cooling", "quarantined"]


class RelayFailed(Exception):
    """A relay gave no answer that could be read. Nobody is to blame; another one may do better."""


class RoundMissing(RelayFailed):
    """A relay works and does not have the round."""


class RelayLied(Exception):
    """A relay gave an answer that no honest relay gives."""


class RelayStatistics(msgspec.Struct, frozen=True):
    """What one relay did so far. ``latency_ms`` is a moving mean; ``resting_s`` how long it will be left alone."""

    name: str
    state: RelayState
    calls: int
    failures: int
    lies: int
    latency_ms: float
    newest: int
    resting_s: float
    last_error: str


class _Answer(msgspec.Struct):
    """drand's JSON of a round. It has more fields for other schemes."""

    round: Annotated[int, Meta(ge=1, le=MAX_ROUND)]
    signature: Annotated[str, Meta(pattern=f"^[0-9a-fA-F]{{{2 * ROUND_SIGNATURE_BYTES}}}$")]
    randomness: str = ""


_DECODER: Final = msgspec.json.Decoder(_Answer)


class Relay:
    """One relay with its connections and its record. Closing it drops the connections."""

    def __init__(self, url: str, chain: BeaconChain) -> None:
        self.name, self._base = _parse(url)
        self._base += f"/{chain.chain_hash.hex()}/public/"
        self._connections = Connections(_CONNECTIONS, _CONNECT_S)
        self.ready_at = 0.0
        """Not asked before this, on the event loop's clock, seconds."""
        self.streak = 0
        self.behind = False
        self.quarantined = False
        self.calls = self.failures = self.lies = 0
        self.newest = 0
        """Highest verified round it gave."""
        self.latency_s = 0.0
        self.asked_at = 0.0
        self.last_error = ""

    async def ask(self, number: int | None, timeout_s: float) -> BeaconRound:
        """The round of that number, or the latest one; well formed, not verified.

        Raises ``RoundMissing``, ``RelayFailed``, or ``RelayLied`` when it answers with another round than it was asked for
        or with a value that is not the signature's. Cancelling closes the connection.
        """
        began = self.asked_at = trio.current_time()
        self.calls += 1
        body = b""
        with trio.move_on_after(timeout_s) as scope:
            body = await self._get("latest" if number is None else str(number))
        if scope.cancelled_caught:
            raise RelayFailed(f"no answer within {timeout_s:g} s")
        elapsed = trio.current_time() - began
        self.latency_s = elapsed if self.latency_s == 0 else 0.8 * self.latency_s + 0.2 * elapsed
        return _read(body, number)

    def statistics(self, now: float) -> RelayStatistics:
        """A reading at event-loop time ``now``."""
        return RelayStatistics(
            name=self.name,
            state=self._state(now),
            calls=self.calls,
            failures=self.failures,
            lies=self.lies,
            latency_ms=round(self.latency_s * 1000, 3),
            newest=self.newest,
            resting_s=max(0.0, self.ready_at - now),
            last_error=self.last_error,
        )

    def _state(self, now: float) -> RelayState:
        if self.ready_at > now:
            return "quarantined" if self.quarantined else "cooling"
        if self.behind:
            return "behind"
        return "ready" if self.newest else "untried"

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._connections.aclose()

    async def _get(self, which: str) -> bytes:
        def check(response: httpcore.Response) -> None:
            if response.status in _MISSING:
                raise RoundMissing(f"it does not have round {which} (HTTP {response.status})")
            if response.status != 200:
                raise RelayFailed(f"it answered HTTP {response.status}")

        body = bytearray()
        try:
            await self._connections.ask("GET", self._base + which, _HEADERS, None, check, body, MAX_ANSWER_BYTES)
        except Unreachable as error:
            raise RelayFailed(f"it cannot be reached: {error}") from error
        except AnswerTooLong as error:
            raise RelayFailed(f"it sent more than {MAX_ANSWER_BYTES} bytes") from error
        return bytes(body)


def _read(body: bytes, number: int | None) -> BeaconRound:
    try:
        answer = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        raise RelayFailed(f"it did not answer with a round: {str(error)[:200]}") from error
    one = BeaconRound(answer.round, bytes.fromhex(answer.signature))
    if number is not None and one.number != number:
        raise RelayLied(f"asked for round {number}, it answered with round {one.number}")
    if answer.randomness and answer.randomness.lower() != one.randomness.hex():
        raise RelayLied(f"the value it gives for round {one.number} is not the signature's")
    return one


def _parse(url: str) -> tuple[str, str]:
    """Host (with port) and the address without what may be secret in it. Raises ``ConfigError``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url[:80]!r} is not a relay's address", why=str(error), fix=_FIX) from error
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or parts.username is not None:
        why = "it must be http:// or https://, without a user"
        raise ConfigError(f"{url[:80]!r} is not a relay's address", why=why, fix=_FIX)
    place = host if port is None else f"{host}:{port}"
    return place, f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


_FIX: Final = "mesh config set beacon.relays https://HOST"

"""Which RPC endpoint serves, and what happens when it does not?

Endpoints are tried in the order given (the user's own first, then the public list). Each must prove its chain id
before its first use and after every failure. One that fails cools down with jittered exponential backoff, and is not
asked by anybody who waits until a probe has found it well, as long as another one serves; one whose head is older than
the best by more than ``max_lag_s`` is put aside until it has caught up; one that names another chain, and one that was found
to forge (``agreement``), is refused for good.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import msgspec
import trio

from mesh.base.errors import ConfigError
from mesh.chain import wire
from mesh.chain.endpoint import Endpoint, EndpointStatistics
from mesh.chain.errors import BadAnswer, ChainError, ChainUnreachable, EndpointFailed, EndpointRefused, RpcError
from mesh.chain.wire import Malformed

__all__ = ["MAX_ENDPOINTS", "Doubt", "Rpc", "RpcSettings", "RpcStatistics", "open_rpc"]

MAX_ENDPOINTS: Final = 16
"""Endpoints of one network: probing is one call to each."""
STALE_S: Final = 60.0
"""A contradiction about which nobody has asked again for that long says nothing about now."""

_Value = TypeVar("_Value")


class RpcSettings(msgspec.Struct, frozen=True):
    """Times of the chain client, all in seconds."""

    attempt_s: float = 10.0
    """One whole answer of one endpoint."""
    give_up_s: float = 30.0
    """One call over all endpoints and retries."""
    probe_s: float = 30.0
    """Between two looks at every endpoint's chain id and head."""
    max_lag_s: float = 60.0
    """How far an endpoint's newest block may lie behind the best one's; load balancers differ by a few blocks."""
    max_ahead_s: float = 3600.0
    """How far a block's time may lie ahead of this machine's clock before the endpoint is taken for a liar."""
    backoff_s: float = 0.2
    """Pause after the first failure; doubles with each."""
    backoff_max_s: float = 30.0
    agree_s: float = 10.0
    """How long endpoints may contradict each other before one of them is taken for a liar: after a reorganisation honest
    ones agree again within seconds."""


class RpcStatistics(msgspec.Struct, frozen=True):
    """Which endpoint serves now, and the record of each in order of preference. ``disagreement``: what they contradict each
    other about while nobody can tell which of them lies; "" otherwise."""

    serving: str | None
    endpoints: tuple[EndpointStatistics, ...]
    disagreement: str = ""


class Doubt(msgspec.Struct):
    """A question that endpoints answer differently, or that one of them does not answer. Times of the event loop; ``told`` once
    it was judged, in vain."""

    since: float
    told: str = ""
    height: int = -1
    """The newest block that whoever is waited for has told of since."""
    denies: bool = False
    """That is as high as the block that it does not have."""


class Rpc:
    """JSON-RPC over several endpoints.

    ``jitter`` answers numbers in [0, 1). ``wall`` answers Unix seconds, or is None where block times are not real (a
    development chain whose time is moved). Use ``open_rpc`` to have the connections closed and the endpoints watched.
    """

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int,
        *,
        jitter: Callable[[], float],
        wall: Callable[[], float] | None = None,
        settings: RpcSettings | None = None,
    ) -> None:
        unique = list(dict.fromkeys(urls))
        if not 0 < len(unique) <= MAX_ENDPOINTS:
            raise ConfigError(
                f"a network needs 1 to {MAX_ENDPOINTS} RPC endpoints, {len(unique)} are set",
                fix="mesh config set chain.rpc https://HOST/PATH",
            )
        self.chain_id = chain_id
        self._endpoints = [Endpoint(url) for url in unique]
        self._jitter = jitter
        self._wall = wall
        self.settings = self._set = settings or RpcSettings()
        self.doubts: dict[str, Doubt] = {}
        """By what the endpoints contradict each other about; see ``agreement``."""

    @property
    def alone(self) -> bool:
        """One endpoint is left, or one was set: there is nobody to ask whether it tells the truth."""
        return sum(not endpoint.refused for endpoint in self._endpoints) < 2

    @property
    def disagreement(self) -> str:
        """What the endpoints contradict each other about with nobody to decide; "" when they do not."""
        live = trio.current_time() - max(STALE_S, 3 * self._set.agree_s)
        return next((doubt.told for doubt in self.doubts.values() if doubt.told and doubt.since >= live), "")

    def witnesses(self, besides: Endpoint | None = None) -> tuple[Endpoint, ...]:
        """Who else can be asked now: neither refused nor out of order, the laggards last."""
        able = [e for e in self._endpoints if e is not besides and not e.refused and e.streak == 0]
        return tuple(sorted(able, key=lambda e: e.lagging))

    def refuse(self, endpoint: Endpoint, why: str) -> None:
        """Never ask it again: it forges."""
        endpoint.refused = endpoint.last_error = f"{endpoint.name} {why}"
        endpoint.failures += 1
        endpoint.verified = False

    def which(self) -> str | None:
        """The host of the endpoint that would be asked next, None while none is usable."""
        chosen = self._pick(trio.current_time())
        return None if chosen is None else chosen.name

    def statistics(self) -> RpcStatistics:
        """The record of every endpoint."""
        now = trio.current_time()
        return RpcStatistics(
            self.which(), tuple(endpoint.statistics(now) for endpoint in self._endpoints), self.disagreement
        )

    async def call(self, method: str, params: Sequence[object], read: Callable[[object], _Value]) -> _Value:
        """Ask until one endpoint gives an answer that ``read`` accepts.

        ``read`` raises ``Malformed`` for a result no honest endpoint sends, which costs the endpoint. Every method used
        here may be asked twice, sending a signed transaction included. Raises ``RpcError`` when the chain declined and
        ``ChainUnreachable`` after ``give_up_s``. Cancelling leaves nothing but a closed connection.
        """
        return (await self.served(lambda endpoint: self.ask(endpoint, method, params, read)))[1]

    async def served(self, work: Callable[[Endpoint], Awaitable[_Value]]) -> tuple[Endpoint, _Value]:
        """Which endpoint did the work, and what came of it: ``call`` for more than one question to the same endpoint."""
        problems: dict[str, str] = {}
        with trio.move_on_after(self._set.give_up_s):
            while any(not endpoint.refused for endpoint in self._endpoints):
                endpoint = self._pick(trio.current_time())
                if endpoint is None:
                    await self._wait_for_one()
                    continue
                try:
                    return endpoint, await work(endpoint)
                except (EndpointFailed, BadAnswer, EndpointRefused) as error:
                    problems[endpoint.name] = _told(error)
        raise self._unreachable(problems)

    async def spread(self, method: str, params: Sequence[object]) -> None:
        """Say it to every endpoint that is not refused, whatever each answers: one that serves may keep it to itself."""
        async with trio.open_nursery() as nursery:
            for endpoint in self._endpoints:
                if not endpoint.refused:
                    nursery.start_soon(self._tell, endpoint, method, params)

    async def probe(self) -> None:
        """Look at every endpoint once: chain id, newest block, lag. Never raises for an endpoint's fault."""
        async with trio.open_nursery() as nursery:
            heads: dict[Endpoint, wire.Head] = {}
            for endpoint in self._endpoints:
                if not endpoint.refused:
                    nursery.start_soon(self._probe_one, endpoint, heads)
        best = max((head.timestamp for head in heads.values()), default=0)
        if self._wall is not None:  # no block is younger than now: one from the future makes nobody else late
            best = min(best, int(self._wall()))
        for endpoint, head in heads.items():
            endpoint.lagging = best - head.timestamp > self._set.max_lag_s
            if endpoint.lagging:
                endpoint.last_error = f"its newest block is {best - head.timestamp} s behind the best endpoint's"

    async def watch(self) -> None:
        """Probe for ever, at jittered intervals. Cancelling leaves nothing."""
        while True:
            await self.probe()
            await trio.sleep(self._set.probe_s * (0.75 + self._jitter() / 2))

    async def aclose(self) -> None:
        """Drop every connection."""
        for endpoint in self._endpoints:
            await endpoint.aclose()

    # inside

    def _pick(self, now: float) -> Endpoint | None:
        """The first in order of preference that is known to be well, else one not tried yet, else one that failed.

        Somebody waits for a call: whether a failed endpoint has recovered is for ``probe`` to find out.
        """
        usable = [e for e in self._endpoints if not e.refused and not e.lagging and e.ready_at <= now]
        return min(usable, key=lambda e: (e.streak > 0, not e.verified), default=None)

    async def ask(
        self, endpoint: Endpoint, method: str, params: Sequence[object], read: Callable[[object], _Value]
    ) -> _Value:
        """What one endpoint answers. Raises ``EndpointFailed``, ``BadAnswer`` or ``EndpointRefused``, all of which go on its
        record, and ``RpcError``."""
        try:
            if not endpoint.verified:
                await self._verify(endpoint)
            result = await endpoint.ask(method, params, self._set.attempt_s)
            value = read(result)
        except Malformed as error:
            bad = BadAnswer(f"{endpoint.name} answered {method} wrongly", why=str(error), endpoint=endpoint.name)
            self._cool(endpoint, bad)
            raise bad from error
        except (EndpointFailed, BadAnswer) as error:
            self._cool(endpoint, error)
            raise
        except RpcError:
            endpoint.streak = 0
            raise
        endpoint.streak = 0
        return value

    async def _tell(self, endpoint: Endpoint, method: str, params: Sequence[object]) -> None:
        with suppress(ChainError):
            await self.ask(endpoint, method, params, lambda told: told)

    async def _verify(self, endpoint: Endpoint) -> None:
        """Prove the chain id, once for all tasks that wait for it. Raises ``EndpointRefused`` on another chain."""
        failures = endpoint.failures
        async with endpoint.checking:
            if endpoint.verified:
                return
            if endpoint.failures > failures and not endpoint.refused:  # somebody else has just found out
                raise EndpointFailed(endpoint.last_error, endpoint=endpoint.name)
            if not endpoint.refused:
                told = await self._told_chain_id(endpoint)
                if told == self.chain_id:
                    endpoint.verified = True
                    return
                endpoint.refused = f"{endpoint.name} serves chain {told}, this network lives on chain {self.chain_id}"
                endpoint.last_error = endpoint.refused
                endpoint.failures += 1
            raise EndpointRefused(
                endpoint.refused, fix="mesh config get chain.rpc   (and remove or correct it)", endpoint=endpoint.name
            )

    async def _told_chain_id(self, endpoint: Endpoint) -> int:
        try:
            return wire.quantity(await endpoint.ask("eth_chainId", [], self._set.attempt_s), "chain id", 1 << 64)
        except RpcError as error:
            raise BadAnswer(
                f"{endpoint.name} does not tell its chain id", why=error.why, endpoint=endpoint.name
            ) from error

    def _cool(self, endpoint: Endpoint, error: ChainError) -> None:
        endpoint.failures += 1
        endpoint.verified = False
        endpoint.last_error = _told(error)
        pause = min(self._set.backoff_s * 2.0 ** min(endpoint.streak, 30), self._set.backoff_max_s)
        endpoint.streak += 1
        pause *= 0.5 + self._jitter()
        asked = error.retry_after_s if isinstance(error, EndpointFailed) else 0.0
        endpoint.ready_at = trio.current_time() + max(pause, asked)

    async def _wait_for_one(self) -> None:
        """Sleep until an endpoint has cooled down; when only lagging ones are left, look whether they still lag."""
        now = trio.current_time()
        usable = [endpoint for endpoint in self._endpoints if not endpoint.refused]
        cooling = [endpoint.ready_at for endpoint in usable if endpoint.ready_at > now]
        if any(endpoint.lagging and endpoint.ready_at <= now for endpoint in usable):
            await self.probe()
        if self._pick(trio.current_time()) is None:
            await trio.sleep(max(min(cooling, default=0.0) - now, self._set.backoff_s))

    async def _probe_one(self, endpoint: Endpoint, heads: dict[Endpoint, wire.Head]) -> None:
        try:
            # A server can be replaced behind its name while it serves, so the id is asked for again each time.
            endpoint.verified = False
            head = await self.ask(endpoint, "eth_getBlockByNumber", ["latest", False], self._believable)
        except ChainError as error:
            endpoint.last_error = _told(error)
            return
        endpoint.head_number = head.number
        heads[endpoint] = head

    def _believable(self, value: object) -> wire.Head:
        head = wire.head(value)
        if self._wall is not None and head.timestamp > self._wall() + self._set.max_ahead_s:
            raise Malformed(f"the newest block is {int(head.timestamp - self._wall())} s in the future")
        return head

    def _unreachable(self, problems: dict[str, str]) -> ChainUnreachable:
        for endpoint in self._endpoints:
            if endpoint.last_error:
                problems.setdefault(endpoint.name, endpoint.last_error)
        asked = ", ".join(endpoint.name for endpoint in self._endpoints)
        return ChainUnreachable(
            f"no RPC endpoint of chain {self.chain_id} answers",
            why="; ".join(problems.values()) or f"no answer came within {self._set.give_up_s:g} s from {asked}",
            fix="mesh config set chain.rpc URL   (your own endpoint is tried before the public ones)",
        )


def _told(error: ChainError) -> str:
    return f"{error.what} ({error.why})" if error.why else error.what


@asynccontextmanager
async def open_rpc(
    urls: Sequence[str],
    chain_id: int,
    *,
    jitter: Callable[[], float],
    wall: Callable[[], float] | None = None,
    settings: RpcSettings | None = None,
) -> AsyncIterator[Rpc]:
    """An ``Rpc`` whose endpoints are watched while the block runs; its connections are closed after it."""
    rpc = Rpc(urls, chain_id, jitter=jitter, wall=wall, settings=settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.watch)
        try:
            yield rpc
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await rpc.aclose()

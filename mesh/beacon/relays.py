"""Which relay is asked, and which is believed?

The fastest one that is well is asked first, the others when it fails; now and then another one is tried, so that the order
stays true. Every round is verified before it is believed. A relay that fails cools down with jittered exponential backoff;
one that lies (a signature that does not verify, another round than asked for) is quarantined for an hour.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from mesh.base.errors import ConfigError
from mesh.base.observe import get_log
from mesh.beacon.relay import Relay, RelayFailed, RelayLied, RelayStatistics, RoundMissing
from protocols.beacon.chain import BeaconChain
from protocols.beacon.scheme import verify_round
from protocols.errors import RemoteProtocolError
from protocols.messages.beacon import BeaconRound

__all__ = ["FETCHES", "MAX_RELAYS", "RelaySettings", "Relays", "open_relays"]

MAX_RELAYS: Final = 16
"""Relays of one network: a round that all of them lack costs one call to each."""
FETCHES: Final = 4
"""Old rounds asked for at a time: what waits for a connection must not use up a relay's time to answer."""
_EXPLORE: Final = 20
"""Every so many calls the relay that was left alone longest is asked first."""

log = get_log("beacon")


class RelaySettings(msgspec.Struct, frozen=True):
    """Times of the relay client, all in seconds."""

    attempt_s: float = 4.0
    """One whole answer of one relay: a round and a bit."""
    tries: int = 3
    """Relays asked for a newest round before it is taken for not made yet."""
    backoff_s: float = 1.0
    """Pause after the first failure; doubles with each."""
    backoff_max_s: float = 60.0
    quarantine_s: float = 3_600.0
    """A lie is no accident, but software gets repaired."""


class Relays:
    """Rounds of one chain from several relays. Use ``open_relays`` to have the connections closed.

    ``jitter`` answers numbers in [0, 1).
    """

    def __init__(
        self,
        urls: Sequence[str],
        chain: BeaconChain,
        *,
        jitter: Callable[[], float],
        settings: RelaySettings | None = None,
    ) -> None:
        unique = list(dict.fromkeys(urls))
        if len(unique) > MAX_RELAYS:
            raise ConfigError(
                f"a beacon has at most {MAX_RELAYS} relays, {len(unique)} are set", fix="mesh config get beacon.relays"
            )
        self.chain = chain
        self._relays = [Relay(url, chain) for url in unique]
        self._jitter = jitter
        self._set = settings or RelaySettings()
        self._asked = 0
        self._fetching = trio.CapacityLimiter(FETCHES)

    def __len__(self) -> int:
        return len(self._relays)

    async def newest(self, above: int) -> BeaconRound | None:
        """A verified round above that number, from the first of a few relays that has one; None when none does now.

        Never raises for a relay's fault. Cancelling leaves nothing but a closed connection.
        """
        for relay in self._order()[: self._set.tries]:
            one = await self._ask(relay, None, above)
            if one is not None:
                relay.behind = one.number <= above
                if not relay.behind:
                    return one
        return None

    async def fetch_round(self, number: int) -> BeaconRound | None:
        """That round, verified, from the first relay that has it; None when none has it now. Never raises, as above."""
        async with self._fetching:
            for relay in self._order():
                one = await self._ask(relay, number, 0)
                if one is not None:
                    return one
        return None

    def statistics(self) -> tuple[RelayStatistics, ...]:
        """The record of every relay."""
        now = trio.current_time()
        return tuple(relay.statistics(now) for relay in self._relays)

    async def aclose(self) -> None:
        """Drop every connection."""
        for relay in self._relays:
            await relay.aclose()

    # inside

    def _order(self) -> list[Relay]:
        """Those that may be asked: well before failing, up to date before behind, fast before slow."""
        now = trio.current_time()
        usable = [relay for relay in self._relays if relay.ready_at <= now]
        self._asked += 1
        if self._asked % _EXPLORE == 0:
            return sorted(usable, key=lambda relay: relay.asked_at)
        return sorted(usable, key=lambda relay: (relay.streak > 0, relay.behind, relay.latency_s))

    async def _ask(self, relay: Relay, number: int | None, above: int) -> BeaconRound | None:
        try:
            one = await relay.ask(number, self._set.attempt_s)
            if one.number > above:  # what is older than asked for is of no use, true or not
                # 3 ms. A thread would not spare the loop any of it: the library keeps Python's lock (bench `beacon`).
                verify_round(self.chain, one)
        except (RelayLied, RemoteProtocolError) as error:
            self._quarantine(relay, str(error))
            return None
        except RelayFailed as error:
            if number is None or not isinstance(error, RoundMissing):
                self._cool(relay, str(error))
            return None
        relay.streak, relay.quarantined, relay.last_error = 0, False, ""
        if one.number > above:
            relay.newest = max(relay.newest, one.number)
        return one

    def _cool(self, relay: Relay, why: str) -> None:
        relay.failures += 1
        relay.last_error = why
        pause = min(self._set.backoff_s * 2.0 ** min(relay.streak, 30), self._set.backoff_max_s)
        relay.streak += 1
        relay.ready_at = trio.current_time() + pause * (0.5 + self._jitter())
        log.debug("relay.failed", relay=relay.name, reason=why)

    def _quarantine(self, relay: Relay, why: str) -> None:
        relay.failures += 1
        relay.lies += 1
        relay.streak += 1
        relay.quarantined, relay.last_error = True, why
        relay.ready_at = trio.current_time() + self._set.quarantine_s
        log.warning("relay.quarantined", relay=relay.name, reason=why, for_s=self._set.quarantine_s)


@asynccontextmanager
async def open_relays(
    urls: Sequence[str],
    chain: BeaconChain,
    *,
    jitter: Callable[[], float],
    settings: RelaySettings | None = None,
) -> AsyncIterator[Relays]:
    """``Relays`` whose connections are closed after the block."""
    relays = Relays(urls, chain, jitter=jitter, settings=settings)
    try:
        yield relays
    finally:
        with trio.CancelScope(shield=True):
            await relays.aclose()

"""How do the beacon's rounds reach the rules? From relays, one poll per period at most, and from peers.

A round that gossip has brought by the time the poll is due need not be asked for, so of many nodes a few ask and all know;
a node that reaches no relay lives off gossip alone, and asks its peers for what it missed. Only verified rounds become events.
"""

from collections.abc import Callable
from typing import Final

import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.beacon.relays import Relays
from mesh.engine import Engine
from mesh.net.link import CallRefused, Link, LinkError, Verdict
from protocols.beacon.chain import BeaconChain
from protocols.beacon.gossip import check_round
from protocols.beacon.scheme import verify_round
from protocols.canonical import decode_strict, encode
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.events import RoundArrived
from protocols.messages.beacon import BEACON_PROTOCOL, MAX_ROUND_BYTES, BeaconRound, RoundPull, beacon_topic
from protocols.state import NodeState
from protocols.units import PeerId, UnixSeconds

__all__ = ["RoundFeed"]

CHECKS_PER_S: Final = 20
"""Pairings that gossip may cost: 3 ms each on the loop, so 6 % of it. An honest network needs one per period."""
SETTLE: Final = (0.1, 0.3)
"""How long after a round is due it is asked for, in periods: at least, and a random part on top. drand's relays have a round
after 0.1 to 0.5 s."""
PAUSE_FIRST_S: Final = 0.25
PAUSE_MOST_S: Final = 30.0
"""Between polls while no relay has anything new; doubles with each."""
PEERS_ASKED: Final = 3
PEER_TIMEOUT_S: Final = 3.0
"""For a round that no relay of ours has: what three peers do not know in nine seconds is asked for again at the next sweep."""

log = get_log("rounds")


class RoundFeed:
    """Follows the beacon. `run` it in the root nursery. ``jitter`` answers numbers in [0, 1)."""

    def __init__(self, engine: Engine, link: Link, clock: Clock, relays: Relays, jitter: Callable[[], float]) -> None:
        self._engine = engine
        self._link = link
        self._clock = clock
        self._relays = relays
        self._jitter = jitter
        self._chain = engine.env.params.beacon
        self._second = -1
        self._checks = 0
        link.serve(BEACON_PROTOCOL, self._answer, MAX_ROUND_BYTES)

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Follow relays and gossip until cancelled."""
        records = self._link.subscribe(beacon_topic(self._engine.env.params.name), lambda _, data: self._verdict(data))
        async with trio.open_nursery() as nursery:
            if len(self._relays):
                nursery.start_soon(self._follow)
            task_status.started()
            async for _, data in records:
                # Accepted a moment ago: genuine, and there is one spelling of a round.
                await self._post(decode_strict(BeaconRound, data, max_bytes=MAX_ROUND_BYTES), gossiped=True)

    async def _post(self, one: BeaconRound, *, gossiped: bool) -> None:
        at, wall = self._clock.monotonic_ms(), self._clock.unix_s()
        await self._engine.post(RoundArrived(at=at, beacon_round=one, gossiped=gossiped, wall=wall))

    def _newest(self) -> int:
        return self._engine.view(lambda state: state.beacon.newest)

    # --- relays --------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        known, pause = 0, PAUSE_FIRST_S
        while True:
            if self._newest() > known:
                known, pause = self._newest(), PAUSE_FIRST_S
                await trio.sleep(self._until_next(known))
                continue  # gossip may have brought the next one by now
            one = await self._relays.newest(known)
            if one is not None:
                await self._post(one, gossiped=False)
            else:
                await trio.sleep(pause * (0.5 + self._jitter()))
                pause = min(pause * 2, PAUSE_MOST_S)

    def _until_next(self, known: int) -> float:
        """Seconds until the round after ``known`` should be out; about a period, however wrong our clock is."""
        period = self._chain.period_s
        due = self._chain.time_of(known + 1) - self._clock.unix_s()
        least, more = SETTLE
        return min(max(due, period / 2), period) + period * (least + more * self._jitter())

    async def fetch_round(self, number: int) -> BeaconRound | None:
        """A verified round that has passed: from a relay, else from a few peers; None when nobody asked has it now."""
        one = await self._relays.fetch_round(number)
        if one is not None:
            return one
        peers = list(self._link.peers())
        start = int(self._jitter() * len(peers))
        for peer in (peers[start:] + peers[:start])[:PEERS_ASKED]:
            one = await self._pull(peer, number)
            if one is not None:
                return one
        return None

    # --- peers ---------------------------------------------------------------------------------------------------

    async def _pull(self, peer: PeerId, number: int) -> BeaconRound | None:
        try:
            data = await self._link.call(peer, BEACON_PROTOCOL, encode(RoundPull(number)), PEER_TIMEOUT_S)
            if not data:
                return None
            one = decode_strict(BeaconRound, data, max_bytes=MAX_ROUND_BYTES)
            if one.number != number:
                raise RemoteProtocolError(f"asked for round {number}, answered with {one.number}", code="bad_round")
            verify_round(self._chain, one)
        except LinkError as error:
            log.debug("round.not_pulled", peer=peer.hex()[-8:], reason=str(error))
            return None
        except RemoteProtocolError as error:
            log.info("round.forged", peer=peer.hex()[-8:], reason=str(error))
            self._link.penalise(peer, error.penalty)
            return None
        return one

    async def _answer(self, peer: PeerId, request: bytes) -> bytes:
        try:
            wanted = decode_strict(RoundPull, request, max_bytes=MAX_ROUND_BYTES)
        except RemoteProtocolError as error:
            raise CallRefused(str(error)) from error
        one = self._engine.view(lambda state: state.beacon.known(wanted.number))
        return b"" if one is None else encode(one)

    def _verdict(self, data: bytes) -> Verdict:
        try:
            self._engine.view(lambda state: self._check(state, data))
        except GossipIgnore:
            return Verdict.IGNORE
        except GossipReject as error:
            log.info("round.rejected", reason=str(error))
            return Verdict.REJECT
        return Verdict.ACCEPT

    def _check(self, state: NodeState, data: bytes) -> None:
        now = UnixSeconds(max(self._clock.unix_s(), state.chain_now))
        check_round(state.beacon, self._chain, data, now, self._verify)

    def _verify(self, chain: BeaconChain, one: BeaconRound) -> None:
        second = self._clock.monotonic_ms() // 1000
        if second != self._second:
            self._second, self._checks = second, 0
        self._checks += 1
        if self._checks > CHECKS_PER_S:
            raise GossipIgnore("more rounds than one node has time to check")
        verify_round(chain, one)

"""Is this gossiped round worth keeping and passing on?

Accept (the round is returned), ignore (``GossipIgnore``: nobody is to blame) or reject (``GossipReject``: whoever forwarded
it loses score). By cost: size, form, number, what is known; the pairing last. Looking changes nothing.
"""

from collections.abc import Callable
from typing import Final

from protocols.beacon.chain import BeaconChain
from protocols.beacon.scheme import verify_round
from protocols.beacon.tracker import Beacon
from protocols.canonical import decode_strict
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.messages.beacon import MAX_ROUND_BYTES, BeaconRound
from protocols.units import UnixSeconds

__all__ = ["AHEAD_S", "LATE_ROUNDS", "Verify", "check_round"]

Verify = Callable[[BeaconChain, BeaconRound], None]
"""Checks a round's signature; raises ``RemoteProtocolError``, or ``GossipIgnore`` when it has no time for that."""

AHEAD_S: Final = 60
"""Seconds that a round's time may lie ahead of our clock, as for every other record: a clock without NTP drifts so far."""
LATE_ROUNDS: Final = 20
"""A round this far behind the newest is history: it is asked for, not gossiped."""


def check_round(
    beacon: Beacon, chain: BeaconChain, data: bytes, now: UnixSeconds, verify: Verify = verify_round
) -> BeaconRound:
    """The genuine round in a gossip message. Raises ``GossipIgnore`` or ``GossipReject``.

    ``now`` is the later of the wall clock and the money chain's, so that one slow clock blames nobody.
    """
    if len(data) > MAX_ROUND_BYTES:
        raise GossipReject(f"{len(data)} bytes, at most {MAX_ROUND_BYTES} allowed")
    try:
        one = decode_strict(BeaconRound, data, max_bytes=MAX_ROUND_BYTES)
        _cheap(beacon, chain, one, now)
        verify(chain, one)
    except RemoteProtocolError as error:
        raise GossipReject(f"{error.code}: {error}") from error
    return one


def _cheap(beacon: Beacon, chain: BeaconChain, one: BeaconRound, now: UnixSeconds) -> None:
    if one.number > max(chain.round_at(UnixSeconds(now + AHEAD_S)), beacon.newest + LATE_ROUNDS):
        raise GossipReject(f"round {one.number} lies in the future")
    known = beacon.known(one.number)
    if known is not None:
        if known.signature != one.signature:
            raise GossipReject(f"round {one.number} has one signature, and this is another")
        raise GossipIgnore("seen already")
    if one.number + LATE_ROUNDS <= beacon.newest:
        raise GossipIgnore("history is not gossiped")

"""Which rounds does a node know, who waits for which, and has the beacon fallen silent?

Volatile: rounds prove themselves and can be asked for again. Whoever must not forget that it waits keeps that in a durable
machine of its own and waits again after a restart.
"""

from typing import Final

from protocols.errors import LocalProtocolError
from protocols.messages.beacon import BeaconRound
from protocols.units import Millis, UnixSeconds

__all__ = ["MAX_WAITERS", "RECENT_ROUNDS", "SILENT_ROUNDS", "Beacon"]

RECENT_ROUNDS: Final = 1_200
"""Rounds kept: an hour of quicknet, which is the span of an exam. 300 kB."""
MAX_WAITERS: Final = 20_000
"""Who waits, all rounds together: twice the deals a node may have open."""
SILENT_ROUNDS: Final = 20
"""Periods without a new round after which the beacon counts as silent: a minute of quicknet, whose relays lag by two."""


class Beacon:
    """What a node knows about its network's beacon. Holds verified rounds only."""

    def __init__(self) -> None:
        self.latest: BeaconRound | None = None
        self.news_at = Millis(0)
        """Monotonic time at which ``latest`` became what it is, or the node started."""
        self.news_wall = UnixSeconds(0)
        """The same by the wall clock."""
        self.silent_since: UnixSeconds | None = None
        """Wall clock of the last new round, once it is too long ago; None while the beacon is heard."""
        self._recent: dict[int, BeaconRound] = {}
        self._waiting: dict[int, dict[str, None]] = {}
        self._waiters = 0

    @property
    def newest(self) -> int:
        """Number of the latest verified round, 0 before the first."""
        return 0 if self.latest is None else self.latest.number

    def known(self, number: int) -> BeaconRound | None:
        """A round, if it is here."""
        return self._recent.get(number)

    def put(self, one: BeaconRound, at: Millis, wall: UnixSeconds) -> bool:
        """Remember a verified round; True if it is newer than every other. Old rounds go first when there are too many."""
        self._recent[one.number] = one
        if len(self._recent) > RECENT_ROUNDS:
            del self._recent[min(self._recent)]
        if one.number <= self.newest:
            return False
        self.latest, self.news_at, self.news_wall = one, at, wall
        return True

    def wait(self, number: int, who: str) -> None:
        """``who`` is told when the round is here; saying it twice is saying it once.

        Raises ``LocalProtocolError`` past ``MAX_WAITERS``: whoever waits has a bound of its own below that.
        """
        if who in self._waiting.get(number, ()):
            return
        if self._waiters >= MAX_WAITERS:
            raise LocalProtocolError(f"more than {MAX_WAITERS} wait for rounds of the beacon")
        self._waiting.setdefault(number, {})[who] = None
        self._waiters += 1

    def forget(self, number: int, who: str) -> None:
        """``who`` waits no more, if it did."""
        waiting = self._waiting.get(number, {})
        if who in waiting:
            del waiting[who]
            self._waiters -= 1
            if not waiting:
                del self._waiting[number]

    def take_waiters(self, number: int) -> tuple[str, ...]:
        """Who waited for a round, in the order they came; they wait no more."""
        waiting = tuple(self._waiting.pop(number, ()))
        self._waiters -= len(waiting)
        return waiting

    def awaited(self, above: int, below: int) -> list[int]:
        """Rounds strictly between the two that somebody waits for, oldest first."""
        return sorted(number for number in self._waiting if above < number < below)

    @property
    def waiters(self) -> int:
        """How many wait."""
        return self._waiters

"""How do deals between two others end? Told to the rules when nothing can take it back any more, for what it says about the
provider.

Nothing of it is kept over a restart but what was told: a deal that was committed or ended while this node was down, or in the
last blocks before, says nothing. It is a hint for a search, and no money depends on it.
"""

from typing import Final

import msgspec

from mesh.base.clock import Clock
from mesh.chain.feed import LogRef
from mesh.engine import Engine
from protocols import events as ev
from protocols.contracts.lock import Lock
from protocols.units import Address, DealId, UnixSeconds

__all__ = ["AT_ONCE", "MAX_OPEN", "Witnessing"]

MAX_OPEN: Final = 16_384
"""Deals of others under way, 300 B each, and as many ended in blocks that are not final: the newest. A deal of minutes and
half an hour to finality are 8 a second."""
_KEPT: Final[dict[str, bool]] = {
    "settled": True,
    "finalized": True,
    "acquitted": True,
    "expired": False,
    "slashed": False,
    "convicted": False,
}
"""What an end says about the provider. A cancellation says nothing: the chain does not know who gave up."""


AT_ONCE: Final = 256
"""Ends in one event, which is one transaction: a node that reads years of logs has thousands to tell."""


class _Ended(msgspec.Struct, frozen=True):
    block: int
    deal_id: DealId
    said: ev.DealEnd


class Witnessing:
    """The deals of others, from their commitment until their end is final."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[DealId, tuple[Address, Address]] = {}
        """(provider's operator, client's owner)."""
        self._untimed: dict[LogRef, _Ended] = {}
        """Of the blocks whose time is not told yet."""
        self._ended: dict[LogRef, _Ended] = {}

    def committed(self, lock: Lock) -> None:
        """Somebody has committed a deal. One between two of the same owner cannot be: the escrow refuses it."""
        self._open[lock.deal_id] = (lock.provider, lock.client_owner)
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    def moved(self, ref: LogRef, deal_id: DealId, to: str) -> None:
        """A deal of others has moved."""
        parties, kept = self._open.get(deal_id), _KEPT.get(to)
        if parties is not None and kept is not None:
            end = ev.DealEnd(*parties, kept, UnixSeconds(0))
            _put(self._untimed, ref, _Ended(ref.block_number, deal_id, end))

    def time_moved(self, now: UnixSeconds) -> None:
        """The chain's time, after the logs up to it."""
        for ref, end in self._untimed.items():
            _put(self._ended, ref, msgspec.structs.replace(end, said=msgspec.structs.replace(end.said, timestamp=now)))
        self._untimed.clear()

    def retracted(self, ref: LogRef) -> None:
        """A reorganisation took a log back. The deal is under way again, or will be committed again."""
        self._untimed.pop(ref, None)
        self._ended.pop(ref, None)

    async def settled(self, engine: Engine, finalized: int) -> None:
        """Nothing up to this block can be taken back any more: tell."""
        told = []
        for ref, end in [(ref, end) for ref, end in self._ended.items() if end.block <= finalized]:
            del self._ended[ref]
            if self._open.pop(end.deal_id, None) is not None:
                told.append(end.said)
        for first in range(0, len(told), AT_ONCE):
            ends = tuple(told[first : first + AT_ONCE])
            await engine.post(ev.DealsWitnessed(at=self._clock.monotonic_ms(), ends=ends))


def _put(ended: dict[LogRef, _Ended], ref: LogRef, end: _Ended) -> None:
    ended[ref] = end
    if len(ended) > MAX_OPEN:
        del ended[next(iter(ended))]

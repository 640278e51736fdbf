"""Which operator trades for whom, by the escrow's logs? Kept over restarts: logs are read once."""

import msgspec

from mesh.base.clock import Clock
from mesh.chain.events import OperatorSet
from mesh.engine import Engine
from protocols import events as ev
from protocols.state import MAX_OWNERS
from protocols.units import ZERO_ADDRESS, Address

__all__ = ["CURSOR", "Owners"]

CURSOR = "escrow.operators"


class Owners:
    """The newest MAX_OWNERS operators that trade for somebody else, and the events that tell the rules of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owners: dict[Address, Address] = {}
        self.changed = False
        """Since ``packed`` was called last."""

    async def resume(self, engine: Engine, kept: bytes | None) -> None:
        """Tell the rules again what was known before a restart."""
        if kept:
            self._owners = msgspec.msgpack.decode(kept, type=dict[Address, Address])
        for operator, owner in self._owners.items():
            await self._tell(engine, operator, owner)

    def packed(self) -> bytes:
        """What ``resume`` takes."""
        self.changed = False
        return msgspec.msgpack.encode(self._owners)

    async def put(self, engine: Engine, seen: OperatorSet) -> Address:
        """One log, or what it undid; the owner of before, zero for itself."""
        before = self._owners.pop(seen.operator, ZERO_ADDRESS)
        if any(seen.owner) and seen.owner != seen.operator:
            self._owners[seen.operator] = seen.owner
            while len(self._owners) > MAX_OWNERS:
                del self._owners[next(iter(self._owners))]
        self.changed = True
        await self._tell(engine, seen.operator, seen.owner)
        return before

    async def _tell(self, engine: Engine, operator: Address, owner: Address) -> None:
        await engine.post(ev.OperatorSet(at=self._clock.monotonic_ms(), operator=operator, owner=owner))

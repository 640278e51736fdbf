"""Which operator trades for whom, by the escrow's logs? Kept over restarts: logs are read once."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.chain.errors import ChainError
from mesh.chain.events import OperatorSet
from mesh.engine import Engine
from protocols import events as ev
from protocols.handlers.owners import unsure
from protocols.state import MAX_OWNERS
from protocols.units import ZERO_ADDRESS, Address

__all__ = ["CURSOR", "Owners"]

CURSOR = "escrow.operators"
ASK_S: Final = 1.0
"""Between two looks whether a search waits to know an owner: a round of it takes longer."""
ASKED_AT_ONCE: Final = 64
"""Calls to the endpoint in one look; the next ones are asked for in the next."""

log = get_log("ledger")


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is stored once some were forgotten; before that, the operators alone."""

    owners: dict[Address, Address]
    forgotten: bool


class Owners:
    """The newest MAX_OWNERS operators that trade for somebody else, and the events that tell the rules of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owners: dict[Address, Address] = {}
        self._forgotten = False
        self.changed = False
        """Since ``packed`` was called last."""

    async def resume(self, engine: Engine, kept: bytes | None) -> None:
        """Tell the rules again what was known before a restart."""
        if kept:
            known = msgspec.msgpack.decode(kept, type=dict[Address, Address] | _Kept)
            self._owners, self._forgotten = (
                (known.owners, known.forgotten) if isinstance(known, _Kept) else (known, False)
            )
        if self._forgotten:
            await engine.post(ev.OperatorsForgotten(at=self._clock.monotonic_ms()))
        for operator, owner in self._owners.items():
            await self._tell(engine, operator, owner)

    def packed(self) -> bytes:
        """What ``resume`` takes."""
        self.changed = False
        return msgspec.msgpack.encode(_Kept(self._owners, True) if self._forgotten else self._owners)

    async def put(self, engine: Engine, seen: OperatorSet) -> Address:
        """One log, or what it undid; the owner of before, zero for itself."""
        before = self._owners.pop(seen.operator, ZERO_ADDRESS)
        if any(seen.owner) and seen.owner != seen.operator:
            self._owners[seen.operator] = seen.owner
            while len(self._owners) > MAX_OWNERS:
                del self._owners[next(iter(self._owners))]
                self._forgotten = True
        self.changed = True
        await self._tell(engine, seen.operator, seen.owner)
        return before

    async def ask(self, engine: Engine, owner_of: Callable[[Address], Awaitable[Address]]) -> None:
        """Ask the chain, until cancelled, for the owners that a search waits for and that may have been forgotten."""
        while True:
            for operator in engine.view(unsure)[:ASKED_AT_ONCE]:
                try:
                    owner = await owner_of(operator)
                except ChainError as error:
                    log.info("owner.later", operator=operator.hex(), reason=str(error))
                    break
                await self._tell(engine, operator, owner)
            await trio.sleep(ASK_S)

    async def _tell(self, engine: Engine, operator: Address, owner: Address) -> None:
        await engine.post(ev.OperatorSet(at=self._clock.monotonic_ms(), operator=operator, owner=owner))

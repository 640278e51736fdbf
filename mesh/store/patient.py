"""What does a running node do when its disk is full? It waits for room: nothing is lost, and nothing new is begun."""

import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from mesh.base.clock import Clock
from mesh.base.errors import MeshError
from mesh.base.observe import get_log
from mesh.store.database import Database
from mesh.store.errors import StoreFull
from mesh.store.store import Store

__all__ = ["ROOM_PAUSE_S", "PatientStore"]

T = TypeVar("T")
ROOM_PAUSE_S: Final = 1.0
"""Between two tries: one costs a transaction that is rolled back, a person's `rm` takes longer."""

log = get_log("store")


class PatientStore(Store):
    """A ``Store`` whose writers wait while there is no room.

    The engine is one of them: it takes the next event when the last one is durable, so a node without room promises
    nothing to anybody, and goes on where it was when there is room again.
    """

    def __init__(self, database: Database, clock: Clock, trace_kept: int) -> None:
        super().__init__(database, clock, trace_kept)
        self.trouble: MeshError | None = None
        """Why writers are waiting; None when none is."""
        self._came = trio.Event()

    async def until_trouble(self) -> MeshError:
        """Return when writers wait, and for what."""
        while (found := self.trouble) is None:
            await self._came.wait()
        return found

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As ``Store.write``, but for ``StoreFull``, which is waited out. Cancelled while waiting: it did not happen."""
        while True:
            try:
                done = await super().write(work)
            except StoreFull as error:
                if self.trouble is None:
                    log.error("store.full", what=error.what, why=error.why, fix=error.fix)
                self.trouble = error
                self._came.set()
            else:
                if self.trouble is not None:
                    self.trouble, self._came = None, trio.Event()
                    log.info("store.has_room")
                return done
            await trio.sleep(ROOM_PAUSE_S)

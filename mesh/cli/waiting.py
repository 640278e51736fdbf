"""For whom does a command wait that asks the chain itself, and who of them does not answer?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from mesh.chain.rpc import Rpc
from mesh.cli.session import say

__all__ = ["REMIND_S", "Waiting", "slow_chain"]

REMIND_S: Final = 5.0
"""An endpoint answers in a second and a block comes in one: who waits longer wants to know for whom."""


class Waiting:
    """What a person waits for at the terminal: said at once, and again with every endpoint's record while it does not come."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._what = ""
        self._since = 0.0

    def begin(self, what: str, *, quiet: bool = False) -> None:
        """From now on this; ``quiet``: nothing is said unless it takes long."""
        self._what, self._since = what, trio.current_time()
        if not quiet:
            say(f"waiting for {what}")

    async def remind(self) -> None:
        """For ever. Cancelling leaves nothing."""
        while True:
            await trio.sleep(REMIND_S)
            waited = trio.current_time() - self._since
            if self._what and waited >= REMIND_S:
                say(f"still waiting for {self._what}, {waited:.0f} s   (Ctrl-C ends it)")
                for one in self._rpc.statistics().endpoints:
                    say(f"  {one.name} {one.state}" + (f": {one.last_error}" if one.last_error else ""))

    def pause(self) -> None:
        """It came, or a person is asked: nothing is waited for."""
        self._what = ""


@asynccontextmanager
async def slow_chain(rpc: Rpc) -> AsyncIterator[None]:
    """While the block asks the chain: whoever waits for long is told for which endpoints."""
    waiting = Waiting(rpc)
    waiting.begin(f"chain {rpc.chain_id}", quiet=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.remind)
        yield
        nursery.cancel_scope.cancel()

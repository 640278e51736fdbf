"""How does a test keep a store's disk busy for as long as it needs?"""

import threading

import trio

from mesh.store import Store

__all__ = ["Gate"]


class Gate:
    """Keeps the store's only writing thread busy until it is opened, so that callers queue up behind it."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self._open = threading.Event()

    async def hold(self, store: Store) -> None:
        token = trio.lowlevel.current_trio_token()

        def work(_connection: object) -> None:
            token.run_sync_soon(self.entered.set)
            assert self._open.wait(60)

        await store.write(work)

    def open(self) -> None:
        self._open.set()

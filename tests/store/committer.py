"""A process that commits without end and says on stdout what was acknowledged; the tests kill it.

Usage: committer.py STORE FIRST MODE, where MODE is ``loop`` or ``limit:BYTES`` (no file may grow beyond that).
"""

import os
import resource
import sys
from itertools import count
from pathlib import Path

import trio

from mesh.store import Batch, OutboxEntry, Row, Store, StoreError, TraceEntry


def batch_of(number: int) -> Batch:
    """Four items that belong together; large enough that a transaction covers several pages."""
    name = number.to_bytes(8, "big")
    return Batch(
        puts=[Row("deal", name, 1, name * 200), Row("run", name, 1, name * 300)],
        outbox=[OutboxEntry(f"post:{number}", "PostTx", name * 100)],
        trace=[TraceEntry(number, "deal.signed", name, name)],
    )


def say(text: str) -> None:
    """One write: a line is on the pipe whole or not at all."""
    os.write(1, f"{text}\n".encode())


async def main(path: Path, first: int, mode: str) -> None:
    """Five callers, so that transactions carry several batches."""
    numbers = count(first)
    if mode.startswith("limit:"):
        limit = int(mode.partition(":")[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    async def caller(store: Store) -> None:
        for number in numbers:
            try:
                await store.commit(batch_of(number))
            except StoreError as error:
                say(f"{type(error).__name__} {error.what}")
                return
            say(str(number))

    store = await Store.open(path)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(caller, store)
    os._exit(0)  # without closing: what was acknowledged must be there all the same


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

"""How many durable appends a second, what does group commit bring, and how long does a restart take?

All in one run on one disk: a bare write and fsync (what the disk can do), SQLite in the usual way (one thread hop and
one transaction per statement), the store with one caller, the store with fifty, and a restart with 10,000 deals.
"""

import os
import random
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Final

import trio

from mesh.store import Batch, OutboxEntry, Row, Store

__all__ = ["run"]

WRITERS: Final = 50
ROW_BYTES: Final = 400
"""As in the measurement behind the target: a deal's row without its evidence."""
DEALS: Final = 10_000
DEAL_BYTES: Final = 1_200


async def run(quick: bool, seed: int, folder: Path | None = None) -> dict[str, float]:
    """Figures by name; the unit is the end of the name. ``folder`` chooses the disk (default: the temporary folder)."""
    seconds = 1.0 if quick else 5.0
    noise = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", dir=folder) as made:
        place = Path(made)
        disk = await trio.to_thread.run_sync(_bare_fsyncs, place / "bare", seconds)
        usual = await _usual_way(place / "usual.db", noise.randbytes(ROW_BYTES), seconds)
        one = await _writers(place / "one.db", 1, seconds, noise)
        fifty = await _writers(place / "fifty.db", WRITERS, seconds, noise)
        restart = await _restart(place / "restart.db", noise)
    return {
        "bare_fsyncs_per_s": disk,
        "usual_way_appends_per_s": usual,
        "one_writer_appends_per_s": one["appends_per_s"],
        "fifty_writers_appends_per_s": fifty["appends_per_s"],
        "fifty_to_one_ratio": round(fifty["appends_per_s"] / one["appends_per_s"], 2),
        "fifty_to_usual_ratio": round(fifty["appends_per_s"] / usual, 2),
        "fifty_appends_per_fsync": fifty["appends_per_fsync"],
        "one_commit_p50_ms": one["commit_p50_ms"],
        "fifty_commit_p50_ms": fifty["commit_p50_ms"],
        "fifty_commit_p99_ms": fifty["commit_p99_ms"],
        "fifty_loop_lag_max_ms": fifty["loop_lag_max_ms"],
        **restart,
    }


def _bare_fsyncs(path: Path, seconds: float) -> float:
    """Appends of one row to a plain file, each with its fsync."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    done, started = 0, time.perf_counter()
    try:
        while time.perf_counter() - started < seconds:
            os.write(descriptor, bytes(ROW_BYTES))
            os.fsync(descriptor)
            done += 1
    finally:
        os.close(descriptor)
    return round(done / (time.perf_counter() - started), 1)


async def _usual_way(path: Path, data: bytes, seconds: float) -> float:
    """One statement, one thread hop, one transaction."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, d)"
    )
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        await trio.to_thread.run_sync(connection.execute, "INSERT INTO t (d) VALUES (?)", (data,))
        done += 1
    rate = done / (time.perf_counter() - started)
    connection.close()
    return round(rate, 1)


async def _writers(path: Path, writers: int, seconds: float, noise: random.Random) -> dict[str, float]:
    """``writers`` callers, each committing one new row after the other, with a probe of the loop beside them."""
    latencies: list[float] = []
    lag = [0.0]
    names = iter(range(1 << 40))
    data = noise.randbytes(ROW_BYTES)

    async def writer(store: Store) -> None:
        while time.perf_counter() - started < seconds:
            begun = time.perf_counter()
            await store.commit(Batch(puts=[Row("deal", next(names).to_bytes(32, "big"), 1, data)]))
            latencies.append(time.perf_counter() - begun)

    async def probe() -> None:
        while True:
            before = time.perf_counter()
            await trio.sleep(0.005)
            lag[0] = max(lag[0], time.perf_counter() - before - 0.005)

    async with await Store.open(path) as store:
        started = time.perf_counter()
        async with trio.open_nursery() as outer:
            outer.start_soon(probe)
            async with trio.open_nursery() as nursery:
                for _ in range(writers):
                    nursery.start_soon(writer, store)
            outer.cancel_scope.cancel()
        took = time.perf_counter() - started
        seen = store.statistics()
    latencies.sort()
    return {
        "appends_per_s": round(len(latencies) / took, 1),
        "appends_per_fsync": round(seen.commits / seen.transactions, 1),
        "commit_p50_ms": _ms(latencies[len(latencies) // 2]),
        "commit_p99_ms": _ms(latencies[len(latencies) * 99 // 100]),
        "loop_lag_max_ms": _ms(lag[0]),
    }


async def _restart(path: Path, noise: random.Random) -> dict[str, float]:
    """Open and load after a crash-like state: 10,000 deals, 1,000 of them with an effect still to perform."""
    rows = [Row("deal", number.to_bytes(32, "big"), 1, noise.randbytes(DEAL_BYTES)) for number in range(DEALS)]
    effects = [OutboxEntry(f"post:{number}", "PostTx", noise.randbytes(300)) for number in range(DEALS // 10)]
    async with await Store.open(path) as store:
        await store.commit(Batch(puts=rows, outbox=effects))
    opening = time.perf_counter()
    async with await Store.open(path) as store:
        loading = time.perf_counter()
        snapshot = await store.load()
        ended = time.perf_counter()
    if len(snapshot.rows) != DEALS or len(snapshot.outbox) != len(effects):
        raise AssertionError(f"{len(snapshot.rows)} rows and {len(snapshot.outbox)} effects came back")
    return {"restart_10k_deals_ms": _ms(ended - opening), "restart_load_ms": _ms(ended - loading)}


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 2)

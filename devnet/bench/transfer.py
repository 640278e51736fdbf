"""How fast are names computed, blocks verified, and trees moved between two stores?

Both sides of each ratio in one run on one machine: bare sha-256 beside the UnixFS importer and the block check, a bare
write and fsync beside the store, the bare in-memory stream beside the transfer over it. Rates in MB/s (10**6 bytes).
"""

import hashlib
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from devnet.sim.memory_link import MemoryHub, open_hub
from mesh.store.blobs import BlobStore, ImportRules, open_blobs
from mesh.transfer import BlobFetcher, BlobServer
from protocols.transfer.frames import BlockFrame, decode_answer, encode_frame
from protocols.transfer.steps import check_block
from protocols.transfer.unixfs import Block, Importer, Root
from protocols.transfer.walk import Limits
from protocols.units import DealId, PeerId

__all__ = ["run"]

_FULL_BYTES: Final = 256 * 1024 * 1024
_QUICK_BYTES: Final = 32 * 1024 * 1024
_PIECE_BYTES: Final = 1024 * 1024
_SMALL_FILES: Final = 500
_ROUNDS: Final = 3
"""Of each side, in turn; the best counts: on a busy machine the others measure the neighbours."""
_LAG_STEP_S: Final = 0.001

_SERVER, _CLIENT = PeerId(b"s" * 39), PeerId(b"c" * 39)
_DEAL: Final = DealId(bytes(32))


async def run(quick: bool, seed: int, folder: Path | None = None) -> dict[str, float]:
    """Figures by name; the unit is the end of the name. ``folder`` chooses the disk (default: the temporary folder)."""
    size = _QUICK_BYTES if quick else _FULL_BYTES
    noise = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", dir=folder) as made:
        place = Path(made)
        source = place / "source"
        await trio.to_thread.run_sync(_write_source, source, size, noise)
        figures = await trio.to_thread.run_sync(_hashing, source, size)
        async with (
            open_blobs(place / "one", quota_bytes=1 << 40) as one,
            open_blobs(place / "two", quota_bytes=1 << 40) as two,
        ):
            root = await _storing(one, source, place, size, figures)
            await _moving(one, two, root, figures)
            await _small_files(one, two, place, noise, figures)
    return {name: round(value, 2) for name, value in figures.items()}


def _write_source(path: Path, size: int, noise: random.Random) -> None:
    with open(path, "wb") as file:
        for _ in range(size // _PIECE_BYTES):
            file.write(noise.randbytes(_PIECE_BYTES))


def _best(size: int, sides: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """MB per second and per CPU second of each side, best of the rounds, the sides taking turns."""
    best: dict[str, float] = {}
    for _ in range(_ROUNDS):
        for name, side in sides.items():
            started, cpu_started = time.perf_counter(), time.thread_time()
            side()
            for unit, spent in (
                ("mb_per_s", time.perf_counter() - started),
                ("mb_per_cpu_s", time.thread_time() - cpu_started),
            ):
                best[f"{name}_{unit}"] = max(best.get(f"{name}_{unit}", 0.0), size / spent / 1e6)
    return best


def _pieces(source: Path) -> list[bytes]:
    data = source.read_bytes()
    return [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)]


def _hashing(source: Path, size: int) -> dict[str, float]:
    def bare() -> None:
        state = hashlib.sha256()
        for piece in _pieces(source):
            state.update(piece)

    def named() -> None:
        importer = Importer()
        for piece in _pieces(source):
            importer.feed(piece)
        importer.finish()

    blocks: list[Block] = []
    importer = Importer()
    for piece in _pieces(source)[:32]:
        blocks += importer.feed(piece)
    blocks = [*blocks, *importer.finish()]
    frames = [encode_frame(BlockFrame(cid, block))[4:] for cid, block in blocks]
    total = sum(len(block) for _, block in blocks)
    figures = _best(size, {"sha256_file": bare, "unixfs_cid": named}) | _best(
        total,
        {
            "sha256_blocks": lambda: [hashlib.sha256(block).digest() for _, block in blocks],
            "verify_blocks": lambda: [check_block(cid, block) for cid, block in blocks],
            "decode_and_verify": lambda: [
                check_block(f.cid, f.block) for f in map(decode_answer, frames) if isinstance(f, BlockFrame)
            ],
        },
    )
    figures["unixfs_cid_to_sha256_ratio"] = figures["unixfs_cid_mb_per_cpu_s"] / figures["sha256_file_mb_per_cpu_s"]
    figures["verify_to_sha256_ratio"] = figures["verify_blocks_mb_per_cpu_s"] / figures["sha256_blocks_mb_per_cpu_s"]
    return figures


async def _storing(store: BlobStore, source: Path, place: Path, size: int, figures: dict[str, float]) -> Root:
    bare_s = await _seconds(lambda: trio.to_thread.run_sync(_bare_write, source, place / "bare"))
    roots: list[Root] = []

    async def add() -> None:
        roots.append(await store.add_path(source, ImportRules(max_content_bytes=1 << 40), key=b"bench"))

    lag = await _lag_ms(add, figures, "import_mb_per_s", size)
    figures["import_to_bare_write_ratio"] = figures["import_mb_per_s"] / (size / bare_s / 1e6)
    figures["import_loop_lag_max_ms"] = lag
    await _lag_ms(
        lambda: store.materialise(roots[0].cid, place / "copy", Limits(max_content_bytes=1 << 40)),
        figures,
        "materialise_mb_per_s",
        size,
    )
    return roots[0]


def _bare_write(source: Path, target: Path) -> None:
    with open(target, "wb") as file:
        for piece in _pieces(source):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


async def _moving(one: BlobStore, two: BlobStore, root: Root, figures: dict[str, float]) -> None:
    async with open_hub(latency_s=0) as hub:
        server = BlobServer(one, hub.link(_SERVER))
        server.grant(_CLIENT, root.cid, _DEAL)
        await one.reach(root.cid)
        bare = await _bare_stream(hub, root.content_bytes)
        fetcher = BlobFetcher(two, hub.link(_CLIENT))
        limits = Limits(max_content_bytes=root.content_bytes)
        figures["fetch_loop_lag_max_ms"] = await _lag_ms(
            lambda: fetcher.fetch(_DEAL, [_SERVER], root.cid, limits), figures, "fetch_mb_per_s", root.content_bytes
        )
        figures["bare_memory_stream_mb_per_s"] = bare
        figures["fetch_to_bare_stream_ratio"] = figures["fetch_mb_per_s"] / bare
        again = await _seconds(lambda: fetcher.fetch(_DEAL, [_SERVER], root.cid, limits))
        figures["fetch_again_when_held_mb_per_s"] = root.content_bytes / again / 1e6


async def _bare_stream(hub: MemoryHub, size: int) -> float:
    left, right = hub.stream(_SERVER, _CLIENT)
    piece = bytes(256 * 1024)

    async def send() -> None:
        for _ in range(size // len(piece)):
            await left.send_all(piece)
        await left.send_eof()

    async def move() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while await right.receive_some(len(piece)):
                pass

    return size / await _seconds(move) / 1e6


async def _small_files(
    one: BlobStore, two: BlobStore, place: Path, noise: random.Random, figures: dict[str, float]
) -> None:
    def write() -> None:
        (place / "small").mkdir()
        for number in range(_SMALL_FILES):
            (place / "small" / str(number)).write_bytes(noise.randbytes(1000))

    await trio.to_thread.run_sync(write)
    root = await one.add_path(place / "small", ImportRules(max_content_bytes=1 << 30))
    async with open_hub(latency_s=0) as hub:
        BlobServer(one, hub.link(_SERVER)).grant(_CLIENT, root.cid, _DEAL)
        fetcher = BlobFetcher(two, hub.link(_CLIENT))
        limits = Limits(max_content_bytes=root.content_bytes)
        seconds = await _seconds(lambda: fetcher.fetch(_DEAL, [_SERVER], root.cid, limits))
    figures["fetch_small_files_per_s"] = _SMALL_FILES / seconds


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def _lag_ms(work: Callable[[], Awaitable[object]], figures: dict[str, float], name: str, size: int) -> float:
    """Notes the rate of the work under ``name``; returns the longest time the event loop did not turn."""
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            started = time.perf_counter()
            await trio.sleep(_LAG_STEP_S)
            worst = max(worst, time.perf_counter() - started - _LAG_STEP_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        figures[name] = size / await _seconds(work) / 1e6
        nursery.cancel_scope.cancel()
    return worst * 1000

"""What does it cost to check a round of the beacon, and how long does the event loop stand still meanwhile?"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import coincurve
import trio

from devnet.beacon import devnet_key
from protocols.beacon.chain import DEVNET_BEACON
from protocols.beacon.gossip import check_round
from protocols.beacon.scheme import verify_round
from protocols.beacon.tracker import Beacon
from protocols.canonical import encode
from protocols.errors import GossipIgnore
from protocols.units import Millis, UnixSeconds

__all__ = ["run"]

NUMBER: Final = 1_000_000
QUIET_S: Final = 0.001


async def run(quick: bool, seed: int) -> Mapping[str, Any]:
    """CPU milliseconds per check, beside a secp256k1 recovery in the same run; and gaps of the loop, wall milliseconds."""
    count = 100 if quick else 1_000
    checked, recovered = _verify_ms(count), _recover_ms(count)
    return {
        "verify_ms": {
            "value": round(checked, 3),
            "unit": "ms",
            "ratio": round(checked / recovered, 1),
            "of": "a secp256k1 recovery",
        },
        "seen_already_us": {"value": round(_seen_us(count), 2), "unit": "us"},
        "stall_on_the_loop_ms": {"value": await _stall(count // 5, threaded=False), "unit": "ms"},
        "stall_in_a_thread_ms": {"value": await _stall(count // 5, threaded=True), "unit": "ms"},
    }


def _each_ms(count: int, work: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(count):
        work()
    return 1000 * (time.process_time() - began) / count


def _verify_ms(count: int) -> float:
    one = devnet_key().sign(NUMBER)
    return _each_ms(count, lambda: verify_round(DEVNET_BEACON, one))


def _recover_ms(count: int) -> float:
    digest = bytes(31) + b"\x01"
    signature = coincurve.PrivateKey(digest).sign_recoverable(digest, hasher=None)
    return _each_ms(count, lambda: coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None))


def _seen_us(count: int) -> float:
    """A gossiped round that is known: by far the most frequent one."""
    one, beacon = devnet_key().sign(NUMBER), Beacon()
    beacon.put(one, Millis(0), UnixSeconds(0))
    data, now = encode(one), DEVNET_BEACON.time_of(NUMBER)

    def look() -> None:
        try:
            check_round(beacon, DEVNET_BEACON, data, now)
        except GossipIgnore:
            return
        raise AssertionError("a known round was taken for news")

    return 1000 * _each_ms(count * 10, look)


async def _stall(count: int, *, threaded: bool) -> float:
    """Median over checks of the longest time, in milliseconds, that a task which only yields had to wait for its turn."""
    one = devnet_key().sign(NUMBER)
    longest: list[float] = []
    worst = 0.0

    async def yielding() -> None:
        nonlocal worst
        last = time.perf_counter()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.perf_counter()
            worst, last = max(worst, now - last), now

    async with trio.open_nursery() as nursery:
        nursery.start_soon(yielding)
        for _ in range(count):
            worst = 0.0
            if threaded:
                await trio.to_thread.run_sync(verify_round, DEVNET_BEACON, one)
            else:
                verify_round(DEVNET_BEACON, one)
            await trio.sleep(QUIET_S)
            longest.append(worst)
        nursery.cancel_scope.cancel()
    return round(1000 * sorted(longest)[len(longest) // 2], 3)

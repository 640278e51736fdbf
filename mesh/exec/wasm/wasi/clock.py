"""What time is it for a job, and what does its dice show?  Both follow from the job's epoch and seed alone."""

from _blake2 import blake2b  # what hashlib.blake2b is; hashlib itself brings OpenSSL, which every fork would pay for

from mesh.exec.wasm.lean import Final
from mesh.exec.wasm.wasi.abi import ClockId, Errno, WasiError

__all__ = ["TICK_NS", "SeededRandom", "VirtualClock"]

TICK_NS: Final = 1_000_000
"""Each reading of the clock moves it on by a millisecond, so a loop that waits for time to pass ends."""

_U64: Final = (1 << 64) - 1
"""A guest may sleep past the end of time; its clock then starts over, as a counter of 64 bits does."""

_TAG: Final = b"mesh/wasi-random/1"


class VirtualClock:
    """Starts at the job's epoch; moves when read and when slept on, never by itself."""

    def __init__(self, epoch_s: int) -> None:
        self._epoch_ns = epoch_s * 1_000_000_000
        self._elapsed_ns = 0

    def stamp_ns(self) -> int:
        """Real time for a file's timestamps; does not move the clock."""
        return (self._epoch_ns + self._elapsed_ns) & _U64

    def read_ns(self, clock: int) -> int:
        """``clock_time_get``: move on one tick, then answer."""
        self._elapsed_ns += TICK_NS
        return (self._offset(clock) + self._elapsed_ns) & _U64

    def deadline_ns(self, clock: int, timeout_ns: int, absolute: bool) -> int:
        """When a sleep ends, on the elapsed scale that ``advance_to`` takes."""
        offset = self._offset(clock)
        return timeout_ns - offset if absolute else self._elapsed_ns + timeout_ns

    def advance_to(self, elapsed_ns: int) -> None:
        """A sleep: jump there, never back."""
        self._elapsed_ns = max(self._elapsed_ns, elapsed_ns)

    def _offset(self, clock: int) -> int:
        match clock:
            case ClockId.REALTIME:
                return self._epoch_ns
            case ClockId.MONOTONIC | ClockId.PROCESS_CPUTIME | ClockId.THREAD_CPUTIME:
                return 0
            case _:
                raise WasiError(Errno.INVAL)


class SeededRandom:
    """``random_get``: block i is ``blake2b-512("mesh/wasi-random/1" || seed || u64le(i))``, read as one stream."""

    def __init__(self, seed: bytes) -> None:
        self._key = _TAG + seed
        self._counter = 0
        self._left = b""

    def draw(self, length: int) -> bytes:
        """The next ``length`` bytes of the stream."""
        parts = [self._left]
        have = len(self._left)
        while have < length:
            parts.append(blake2b(self._key + self._counter.to_bytes(8, "little")).digest())
            self._counter += 1
            have += 64
        joined = b"".join(parts)
        self._left = joined[length:]
        return joined[:length]

"""What time is it? The only module that asks the machine; everything else is told.

Two readings, never mixed: a monotonic one for holds, retries and timeouts of this process, and the wall clock for
records. What the chain will judge uses neither: it runs on ``block.timestamp``.
"""

import time
from functools import lru_cache
from typing import Protocol

from protocols.units import Millis, UnixSeconds

__all__ = ["Clock", "ManualClock", "SystemClock", "log_time"]


class Clock(Protocol):
    """Both readings. They reach the core as events."""

    def monotonic_ms(self) -> Millis:
        """Milliseconds since an arbitrary start; never goes back, means nothing in another process."""
        ...

    def unix_s(self) -> UnixSeconds:
        """Whole seconds since 1970 UTC as this machine believes; may jump either way."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> Millis:
        """See ``Clock``."""
        return Millis(time.monotonic_ns() // 1_000_000)

    def unix_s(self) -> UnixSeconds:
        """See ``Clock``."""
        return UnixSeconds(time.time_ns() // 1_000_000_000)


class ManualClock:
    """A clock that moves only when told: for the simulator and for tests.

    Both readings advance together. ``unix_s`` may be set apart, to play a machine whose wall clock is wrong.
    """

    def __init__(self, *, monotonic_ms: int = 0, unix_ms: int = 1_700_000_000_000) -> None:
        self._monotonic_ms = monotonic_ms
        self._unix_ms = unix_ms

    def monotonic_ms(self) -> Millis:
        """See ``Clock``."""
        return Millis(self._monotonic_ms)

    def unix_s(self) -> UnixSeconds:
        """See ``Clock``."""
        return UnixSeconds(self._unix_ms // 1000)

    def advance(self, by: Millis) -> None:
        """Move both readings forward. Raises ``ValueError`` for a step back: a monotonic clock has none."""
        if by < 0:
            raise ValueError(f"a clock advances by 0 ms or more, got {by}")
        self._monotonic_ms += by
        self._unix_ms += by

    def skew(self, by: Millis) -> None:
        """Move the wall clock alone, either way."""
        self._unix_ms += by


def log_time() -> str:
    """UTC as ``2026-11-22T10:57:03.123Z``, for log lines and people; never enters the core."""
    now_ms = time.time_ns() // 1_000_000
    return f"{_second(now_ms // 1000)}.{now_ms % 1000:03d}Z"


@lru_cache(maxsize=1)
def _second(unix_s: int) -> str:
    """Written once for the lines of a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))

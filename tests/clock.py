"""How does time pass in a test whose tasks wait for a disk as well as for a clock?

Trio's own autojump clock jumps as soon as every task waits, also for a thread of this machine: then how much virtual
time a disk takes depends on what else the machine does, and any deadline may pass first.
"""

import math

import trio
import trio.testing

__all__ = ["PatientClock", "all_at_rest"]

_IDLE_S = 0.001
"""Real time in which nothing happens before the clock jumps. More than the 0 of a test that waits for its tasks."""
_FOREVER_S = 1e9


class PatientClock(trio.abc.Clock):
    """Stands still while a task or a thread works, and jumps to the next deadline when all of them wait."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def start_clock(self) -> None:
        token = trio.lowlevel.current_trio_token()
        token.run_sync_soon(trio.lowlevel.spawn_system_task, self._jump)

    def current_time(self) -> float:
        return self._now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0 if deadline <= self._now_s else _FOREVER_S

    async def _jump(self) -> None:
        while True:
            await all_at_rest(_IDLE_S)
            ahead_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if 0 < ahead_s < math.inf:
                self._now_s += ahead_s


async def all_at_rest(idle_s: float = 0.0) -> None:
    """Wait until every other task waits, and none of them for a thread: what was asked of a disk is done."""
    while True:
        await trio.testing.wait_all_threads_completed()
        await trio.testing.wait_all_tasks_blocked(idle_s)
        if trio.testing.active_thread_count() == 0:
            return

"""My box, my rules: would this machine's owner let it take this job, and if not, why not?

The owner's policy is a value and the question a pure function, so the answer of ``mesh policy test`` is the one that the
node gives to a request for a quote. A list that is empty allows everything; a refusal always wins.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.job.canonical import CanonicalJob
from protocols.job.peers import peer_to_text
from protocols.transfer.cid import cid_text
from protocols.units import Cid, PeerId, UnixSeconds

__all__ = ["DAY_MINUTES", "MAX_POLICY_ENTRIES", "Conditions", "Hours", "OwnUse", "Policy", "objections"]

DAY_MINUTES: Final = 24 * 60
MAX_POLICY_ENTRIES: Final = 1_024
"""Entries of one list: looked through for every request for a quote, which must stay below a millisecond."""
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday."""


class Hours(msgspec.Struct, frozen=True):
    """A part of each of some days, minutes since midnight; an ``end`` at or before ``start`` lies on the next day."""

    days: tuple[Annotated[int, Meta(ge=0, le=6)], ...]
    """0 is Monday; the day on which it starts."""
    start: Annotated[int, Meta(ge=0, lt=DAY_MINUTES)]
    end: Annotated[int, Meta(ge=0, le=DAY_MINUTES)]

    def holds(self, day: int, minute: int) -> bool:
        """Whether a minute of a day lies in it."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)

    def __str__(self) -> str:
        """As an owner would say it: ``mon,tue 22:00-06:00``."""
        return f"{','.join(DAYS[day] for day in self.days)} {_clock(self.start)}-{_clock(self.end)}"


class OwnUse(msgspec.Struct, frozen=True):
    """What happens while the owner uses the machine: new jobs are refused and, with ``stop``, running ones end."""

    stop: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner allows. The default allows everything."""

    executors: tuple[str, ...] = ()
    modules: tuple[Cid, ...] = ()
    refuse_modules: tuple[Cid, ...] = ()
    clients: tuple[PeerId, ...] = ()
    refuse_clients: tuple[PeerId, ...] = ()
    hours: tuple[Hours, ...] = ()
    utc_offset_min: int = 0
    """What the owner's clock is ahead of UTC, in minutes."""
    max_wall_s: int = 0
    """Longest job, seconds; 0: as the offer says."""
    max_gpu_watts: int = 0
    max_gpu_celsius: int = 0
    own_use: OwnUse = OwnUse()


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What the node last measured of its machine. None: nothing measures it."""

    own_use: str = ""
    """What the owner is doing with the machine; empty: nothing."""
    gpu_watts: int | None = None
    gpu_celsius: int | None = None


def objections(
    policy: Policy, job: CanonicalJob, client: PeerId | None, wall: UnixSeconds, now: Conditions
) -> tuple[str, ...]:
    """Every reason why the owner does not want this job, as sentences; empty when it may be taken.

    ``client`` None leaves the rules about clients out; ``wall`` is the wall clock in unix seconds.
    """
    return (*_about_job(policy, job), *_about_client(policy, client), *_about_now(policy, job, wall, now))


def _about_job(policy: Policy, job: CanonicalJob) -> Iterator[str]:
    if policy.executors and job.executor not in policy.executors:
        yield f"its owner runs {', '.join(policy.executors)} jobs only, this one is {job.executor}"
    if job.module in policy.refuse_modules:
        yield f"its owner refuses the module {cid_text(job.module)}"
    elif policy.modules and job.module not in policy.modules:
        yield f"its owner runs {_count(policy.modules, 'listed module')} only, {cid_text(job.module)} is none"
    if policy.max_wall_s and job.limits.wall_s > policy.max_wall_s:
        yield f"its owner allows jobs of {policy.max_wall_s} s, this one may run {job.limits.wall_s} s"


def _about_client(policy: Policy, client: PeerId | None) -> Iterator[str]:
    if client is None:
        return
    if client in policy.refuse_clients:
        yield f"its owner takes no jobs from {peer_to_text(client)}"
    elif policy.clients and client not in policy.clients:
        yield f"its owner takes jobs from {_count(policy.clients, 'listed client')} only"


def _about_now(policy: Policy, job: CanonicalJob, wall: UnixSeconds, now: Conditions) -> Iterator[str]:
    minute = wall // 60 + policy.utc_offset_min
    day, clock = (minute // DAY_MINUTES + _EPOCH_WEEKDAY) % 7, minute % DAY_MINUTES
    if policy.hours and not any(hours.holds(day, clock) for hours in policy.hours):
        allowed = "; ".join(map(str, policy.hours))
        yield f"its owner lends it at {allowed}, there it is {DAYS[day]} {_clock(clock)}"
    if now.own_use:
        yield f"its owner uses it at the moment ({now.own_use})"
    if job.resources.gpus.count:
        yield from _too_much("draw", "W", policy.max_gpu_watts, now.gpu_watts)
        yield from _too_much("be", "degrees Celsius", policy.max_gpu_celsius, now.gpu_celsius)


def _too_much(verb: str, unit: str, most: int, measured: int | None) -> Iterator[str]:
    if most and measured is None:
        yield f"its GPUs may {verb} {most} {unit} at most, and no GPU is measured"
    elif most and measured is not None and measured > most:
        yield f"its GPUs may {verb} {most} {unit} at most, it is {measured} now"


def _count(things: tuple[object, ...], what: str) -> str:
    return f"{len(things)} {what}{'s' if len(things) > 1 else ''}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"

"""On which gossip topic does a record travel, and to which capability class does a machine or a job belong?

The class is part of every topic from the first day, so that a large network can share the load out later.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

__all__ = ["CPU", "GPU_CLASSES", "class_of_cards", "class_of_need", "classes_within", "jobs_topic", "offers_topic"]

CPU: Final = "cpu"
GPU_CLASSES: Final = {
    "gpu-8": 7_000,
    "gpu-16": 14_500,
    "gpu-24": 22_000,
    "gpu-40": 39_000,
    "gpu-48": 45_000,
    "gpu-80": 79_000,
    "gpu-140": 139_000,
}
"""Least MiB of one card in each class: below the nominal size, because drivers report less than is printed on the box
(a 24 GB card 22,500 to 24,564 MiB, a T4 15,109, an H100 81,559, an H200 143,771)."""
_SMALLEST_CARD: Final = min(GPU_CLASSES.values())
_MANY_TOPICS: Final = 64
"""Two kinds in eight classes of a few networks."""


def class_of_cards(vram_mib: Iterable[int]) -> str:
    """The class of a machine: that of its largest card, ``cpu`` without one of at least 7,000 MiB."""
    largest = max(vram_mib, default=0)
    if largest < _SMALLEST_CARD:
        return CPU
    return next(name for name, least in reversed(GPU_CLASSES.items()) if largest >= least)


def class_of_need(gpu_count: int, memory_mib: int) -> str:
    """The smallest class whose machines can meet a job's need; ``gpu-8`` when it names no amount of memory."""
    if gpu_count == 0:
        return CPU
    return next((name for name, least in GPU_CLASSES.items() if memory_mib <= least), "gpu-140")


def classes_within(capability: str) -> tuple[str, ...]:
    """The classes of the jobs that a machine of this class can take: its own and all below."""
    ladder = (CPU, *GPU_CLASSES)
    return ladder[: ladder.index(capability) + 1]


@lru_cache(maxsize=_MANY_TOPICS)
def offers_topic(network: str, capability: str) -> str:
    """Where resource offers of a class, and their withdrawals, travel."""
    return f"/mesh/{network}/offers/{capability}/1"


@lru_cache(maxsize=_MANY_TOPICS)
def jobs_topic(network: str, capability: str) -> str:
    """Where job offers of a class, and their withdrawals, travel."""
    return f"/mesh/{network}/jobs/{capability}/1"

"""Which blocks does the follower remember, to find its way back after a reorg?

Heights and hashes in ascending order: where each window ended and where each log was. Bounded by thinning the older
half, which costs precision, never safety: a coarser ancestor retracts and re-reads a little more than it had to.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from protocols.units import Hash32

__all__ = ["MAX_CHECKPOINTS", "Checkpoints", "Point"]

MAX_CHECKPOINTS: Final = 4096
"""Points kept: 40 B each, and 12 questions to the endpoint to search them."""

Point = tuple[int, Hash32]
"""A height and the hash of its block."""


class Checkpoints:
    """Remembered points, ascending by height, one per height."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._points = sorted(dict(points).items())

    def __len__(self) -> int:
        return len(self._points)

    def remember(self, point: Point) -> None:
        """Add a point above all others; one that is not above is known already."""
        if self._points and self._points[-1][0] >= point[0]:
            return
        self._points.append(point)
        if len(self._points) > MAX_CHECKPOINTS:
            half = MAX_CHECKPOINTS // 2
            self._points = self._points[:half:2] + self._points[half:]

    def below(self, height: int) -> Point | None:
        """The highest point at or below a height."""
        return next((point for point in reversed(self._points) if point[0] <= height), None)

    def cut(self, point: Point) -> None:
        """Forget everything above ``point``, which is in the chain."""
        self._points = [kept for kept in self._points if kept[0] < point[0]] + [point]

    def settle(self, height: int) -> None:
        """Forget what lies below ``height`` for good, but for the highest such point, which proves it."""
        first_above = next((i for i, point in enumerate(self._points) if point[0] > height), len(self._points))
        self._points = self._points[max(0, first_above - 1) :]

    async def fork(self, is_canonical: Callable[[Point], Awaitable[bool]]) -> tuple[Point | None, Point | None]:
        """The highest point that is in the chain, and the one above it, which is not. Asks log2(n) times."""
        low, high = 0, len(self._points)
        while low < high:
            middle = (low + high) // 2
            if await is_canonical(self._points[middle]):
                low = middle + 1
            else:
                high = middle
        last_good = self._points[low - 1] if low > 0 else None
        return last_good, self._points[low] if low < len(self._points) else None

"""What becomes of a script that measured something, missed something, or broke? A report, unless it is a defect of ours."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from devnet.scenario import Failed, Report
from mesh.base.errors import MeshError

__all__ = ["reported"]


async def reported(name: str, seed: int, world: str, script: Callable[[], Awaitable[dict[str, Any]]]) -> Report:
    """The report of a script: what failed is part of it, a defect is not hidden."""
    try:
        figures = await script()
    except (Failed, MeshError, trio.TooSlowError) as error:
        return _failed(name, seed, world, error)
    except BaseExceptionGroup as group:
        known, rest = group.split((Failed, MeshError, trio.TooSlowError))
        if known is None or rest is not None:
            raise
        return _failed(name, seed, world, _first_leaf(known))
    return Report(name=name, ok=True, figures=figures, world=world, seed=seed)


def _failed(name: str, seed: int, world: str, error: BaseException) -> Report:
    problem = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
    figures = error.figures if isinstance(error, Failed) else {}
    return Report(name=name, ok=False, figures=figures, problem=problem, world=world, seed=seed)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group."""
    one: BaseException = group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one

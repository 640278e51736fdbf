"""What does each endpoint say? For what honest ones may tell differently, so that no answer shows a liar: gas, fees, counts."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import trio

from mesh.chain.endpoint import Endpoint
from mesh.chain.errors import ChainError
from mesh.chain.rpc import Rpc

__all__ = ["OTHERS_S", "told_by_all", "upper_median", "voted"]

OTHERS_S: Final = 3.0
"""How long the others may take once one has answered: a transaction waits for it. An endpoint takes 0.05 to 0.5 s."""

_Value = TypeVar("_Value")


async def told_by_all(rpc: Rpc, ask: Callable[[Endpoint], Awaitable[_Value]]) -> list[_Value]:
    """What the endpoint that serves says, and after it those that are up to date and answer in time: one value at least.

    Raises ``ChainUnreachable``, and what ``ask`` raises of the first; whoever else fails has no say.
    """
    first, value = await rpc.served(ask)
    told = [value]

    async def hear(other: Endpoint) -> None:
        with suppress(ChainError):
            told.append(await ask(other))

    with trio.move_on_after(OTHERS_S):
        async with trio.open_nursery() as nursery:
            for other in rpc.witnesses(first):
                if not other.lagging:
                    nursery.start_soon(hear, other)
    return told


def upper_median(told: Sequence[int]) -> int:
    """With three or more, one liar cannot move it beyond what an honest one says; of two it is the larger."""
    return sorted(told)[len(told) // 2]


def voted(votes: Sequence[bool]) -> bool:
    """All of them, or more than half and two at least."""
    return all(votes) or (sum(votes) >= 2 and 2 * sum(votes) > len(votes))

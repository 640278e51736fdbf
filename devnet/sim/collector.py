"""How seldom may the collector look for garbage while a history is told?

What a world is made of lives to its end, and next to nothing in it is a cycle: looking through it every 700 objects costs
time and finds nothing. A history of 200 nodes takes as much memory when nothing is ever collected.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["few_collections"]

YOUNG: Final = 100_000
"""New objects before the youngest are looked through: some 20 MiB."""
MIDDLE: Final = 20
"""Such looks before those that survived one are looked through."""
OLD: Final = 50
"""And before everything is: the cost of that grows with the history."""


@contextmanager
def few_collections() -> Iterator[None]:
    """For the block the collector looks seldom, and never at what was there before; afterwards as it was."""
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

"""What does ``nursery.start`` hand to the task it starts?"""

from typing import Protocol

__all__ = ["Started"]


class Started(Protocol):
    """Call it once when the task is up. (trio's own name is missing from the stubs that libp2p brings along.)"""

    def started(self) -> None:
        """Let ``nursery.start`` return."""
        ...

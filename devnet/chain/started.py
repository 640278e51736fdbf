"""How does a task say that it has started?

The one method of ``trio.TaskStatus`` that tasks call. Spelled out because the stubs of trio-typing, which libp2p
brings along, hide trio's own name from the type checker.
"""

from typing import Protocol, TypeVar

__all__ = ["Started"]

_Value = TypeVar("_Value", contravariant=True)


class Started(Protocol[_Value]):
    """What ``nursery.start`` passes as ``task_status``."""

    def started(self, value: _Value) -> None:
        """Let the caller of ``nursery.start`` go on with this value."""
        ...

"""How often did something happen? Counting behind ``statistics()``, the only window of a part."""

from typing import Generic, TypeVar

import msgspec

__all__ = ["Counters"]

S = TypeVar("S", bound=msgspec.Struct)


class Counters(Generic[S]):
    """Integer counters and gauges whose names are the fields of a frozen struct, so their number is bounded.

    ``Counters(StoreStatistics)`` starts every field at 0; ``freeze()`` returns the struct. One thread at a time.
    """

    __slots__ = ("_kind", "_values")

    def __init__(self, kind: type[S]) -> None:
        self._kind = kind
        self._values = dict.fromkeys(kind.__struct_fields__, 0)

    def add(self, name: str, n: int = 1) -> None:
        """Count ``n`` more. Raises ``KeyError`` for a name that the struct does not have."""
        self._values[name] += n

    def set(self, name: str, value: int) -> None:
        """Set a gauge. Raises ``KeyError`` as ``add``."""
        if name not in self._values:
            raise KeyError(name)
        self._values[name] = value

    def peak(self, name: str, value: int) -> None:
        """Raise a gauge to ``value`` if it is lower. Raises ``KeyError`` as ``add``."""
        if value > self._values[name]:
            self._values[name] = value

    def freeze(self) -> S:
        """The counts now; later counting does not change what was returned."""
        return self._kind(**self._values)

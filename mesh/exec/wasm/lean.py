"""How do the zygote's modules say their types without loading `typing`?  By this one, which is empty when they run.

`typing`, `enum`, `collections`, `contextlib` and what those bring along are 700 pages, which every job's fork copies the
page tables of. A type checker reads the real names.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Final, NoReturn
else:

    class _Anything:
        """Stands in every annotation."""

        def __class_getitem__(cls, item: object) -> type:
            return cls

    Any = Callable = Final = Iterable = Iterator = NoReturn = _Anything

__all__ = ["Any", "Callable", "Final", "Iterable", "Iterator", "NoReturn"]

"""How does a hostile node differ from the shipped one? One name of one module stands for something else in its process."""

from types import ModuleType
from typing import Any

__all__ = ["alter"]


def alter(module: ModuleType, name: str, becomes: Any) -> Any:
    """Put ``becomes`` where ``module`` has ``name``; answers what was there.

    Raises ``KeyError`` where there is no such name any more: a habit without an effect would be an honest node.
    """
    was = vars(module)[name]
    vars(module)[name] = becomes
    return was

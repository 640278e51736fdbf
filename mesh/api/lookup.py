"""Which run or deal does this text name?"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from mesh.api.text import prefix_of
from mesh.base.errors import UsageError
from protocols import views
from protocols.state import NodeState
from protocols.views import DealView, RunView

__all__ = ["StatePort", "one_deal", "one_run"]

T = TypeVar("T")


class StatePort(Protocol):
    """The state of a node: the engine's, or one restored from its rows."""

    def view(self, select: Callable[[NodeState], T]) -> T: ...


def _prefix(text: str, what: str, fix: str) -> tuple[bytes, int | None]:
    prefix = prefix_of(text)
    if prefix is None:
        why = "a prefix has 4 to 64 hexadecimal digits, with or without 0x"
        raise UsageError(f"{text!r} names no {what}", why=why, fix=fix)
    return prefix


def one_run(state: StatePort, text: str) -> RunView:
    """The one run with this prefix. Raises ``UsageError``."""
    whole, odd = _prefix(text, "run", "mesh ps -a")
    found = state.view(lambda known: views.find_runs(known, whole, odd))
    if len(found) != 1:
        why = f"{len(found)} runs begin with it" if found else "no run of this node begins with it"
        raise UsageError(f"{text} names no run", why=why, fix="mesh ps -a")
    return found[0]


def one_deal(state: StatePort, text: str) -> DealView:
    """The one deal with this prefix. Raises ``UsageError``."""
    whole, odd = _prefix(text, "deal", "mesh deals")
    found = state.view(lambda known: views.find_deals(known, whole, odd))
    if len(found) != 1:
        why = f"{len(found)} deals begin with it" if found else "no deal of this node begins with it"
        raise UsageError(f"{text} names no deal", why=why, fix="mesh deals")
    return found[0]

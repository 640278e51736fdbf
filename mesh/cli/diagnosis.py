"""What does one check of the doctor say, and what is every check told?"""

from typing import Literal

import msgspec

from mesh.api.types import NodeStatus
from mesh.base.config import LoadedConfig

__all__ = ["Check", "Patient", "bad", "good", "weak"]


class Check(msgspec.Struct, frozen=True):
    """One line of `mesh doctor`: ``fix`` is the next thing to type, empty when there is nothing to do."""

    name: str
    state: Literal["ok", "warn", "fail"]
    seen: str
    fix: str = ""


class Patient(msgspec.Struct, frozen=True):
    """This home with its settings; whether to repair things; what its running node says, None when none runs."""

    loaded: LoadedConfig
    repair: bool
    node: NodeStatus | None


def good(name: str, seen: str) -> Check:
    """All is well."""
    return Check(name, "ok", seen)


def weak(name: str, seen: str, fix: str) -> Check:
    """It works, less well than it could."""
    return Check(name, "warn", seen, fix)


def bad(name: str, seen: str, fix: str) -> Check:
    """It keeps this machine from working."""
    return Check(name, "fail", seen, fix)

"""What went wrong, why, what to type next, and with which code does the command end?

Every error that a user may see is a ``MeshError``: one sentence that says what happened, one that says why, and the
next command to try. Errors of libraries are mapped to it at the seam where they arise (``map_exceptions``), and the
command line maps whatever is left (``as_mesh_error``).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Final

__all__ = [
    "EXIT_CODES",
    "ChainOrFunds",
    "ConfigError",
    "Defect",
    "DoctorFailed",
    "Interrupted",
    "MeshError",
    "NoMatch",
    "NodeUnreachable",
    "ResultRejected",
    "UsageError",
    "as_mesh_error",
    "map_exceptions",
]


class MeshError(Exception):
    """Something failed that has no exit code of its own: the node's disk, its store, a tool it needs.

    ``what`` is one sentence without a full stop, ``why`` its cause as found on this machine, ``fix`` the next command
    or edit to try. All three are for people: nothing parses them.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        """What and why on one line, what to do on the next."""
        first = f"{self.what}: {self.why}" if self.why else self.what
        return f"{first}\n  try: {self.fix}" if self.fix else first

    def __reduce__(self) -> tuple[Callable[..., "MeshError"], tuple[object, ...]]:
        """Keyword arguments survive a trip through pickle (a worker process reports its error that way)."""
        return _rebuild, (type(self), self.what, self.why, self.fix)


def _rebuild(kind: type[MeshError], what: str, why: str, fix: str) -> MeshError:
    return kind(what, why=why, fix=fix)


class Defect(MeshError):
    """mesh itself is at fault: please report it with the log of the node."""


class UsageError(MeshError):
    """The command line does not say something that can be done."""

    exit_code = 2


class ConfigError(MeshError):
    """A configuration file, a MESH_ variable, a key file or a job file holds something that cannot be used."""

    exit_code = 3


class NodeUnreachable(MeshError):
    """No node answers: the local one is not running, or the peer named is gone."""

    exit_code = 4


class NoMatch(MeshError):
    """No provider took the job before its deadline."""

    exit_code = 5


class ChainOrFunds(MeshError):
    """The chain cannot be reached, refuses the transaction, or the account holds too little."""

    exit_code = 6


class ResultRejected(MeshError):
    """A result came that does not stand: its check failed, or it is disputed."""

    exit_code = 7


class DoctorFailed(MeshError):
    """The doctor found something that keeps this machine from working."""

    exit_code = 8


class Interrupted(MeshError):
    """You pressed Ctrl-C. What was submitted goes on; nothing was cancelled."""

    exit_code = 130


_KINDS: Final = (
    MeshError,
    UsageError,
    ConfigError,
    NodeUnreachable,
    NoMatch,
    ChainOrFunds,
    ResultRejected,
    DoctorFailed,
    Interrupted,
)
EXIT_CODES: Final[Mapping[int, type[MeshError]]] = {kind.exit_code: kind for kind in _KINDS}
"""Exit code -> the error that carries it; the reference page is generated from the docstrings."""


@contextmanager
def map_exceptions(to: Mapping[type[Exception], Callable[[Exception], MeshError]]) -> Iterator[None]:
    """Turn a library's errors into ours at the seam: ``with map_exceptions({OSError: lambda e: StoreError(...)})``.

    The first entry whose type fits wins, so name the narrow types first. The library's error stays as ``__cause__``.
    Cancellation and every type not named pass through untouched.
    """
    try:
        yield
    except tuple(to) as error:
        for kind, build in to.items():
            if isinstance(error, kind):
                raise build(error) from error
        raise


def as_mesh_error(error: BaseException) -> MeshError:
    """The one error to show for whatever ended a command; what has no name of its own is a ``Defect``.

    A nursery's group is searched for its leaves: a named error wins over a Ctrl-C, which often travels beside it, and
    that over a defect. Among named errors the first wins, since the others tend to be its consequences.
    """
    leaves = tuple(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, MeshError) and not isinstance(leaf, (Defect, Interrupted)):
            return leaf
    for leaf in leaves:
        if isinstance(leaf, (KeyboardInterrupt, Interrupted)):
            return Interrupted("interrupted", fix="mesh ps   (what was submitted goes on)")
    for leaf in leaves:
        if isinstance(leaf, Defect):
            return leaf
    worst = leaves[0]
    return Defect(
        "mesh stopped on an error it does not know",
        why=f"{type(worst).__name__}: {worst}",
        fix="mesh doctor   (and report this with the end of the node's log)",
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error

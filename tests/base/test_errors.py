"""Do errors say what, why and what to type, and end with the right code?"""

import pickle
from collections.abc import Callable

import pytest

from mesh.base.errors import (
    EXIT_CODES,
    ChainOrFunds,
    ConfigError,
    Defect,
    Interrupted,
    MeshError,
    NodeUnreachable,
    as_mesh_error,
    map_exceptions,
)


def test_text_has_what_why_and_the_next_command() -> None:
    error = NodeUnreachable("no node is running", why="no socket at /run/mesh", fix="mesh up")
    assert str(error) == "no node is running: no socket at /run/mesh\n  try: mesh up"
    assert str(MeshError("only what")) == "only what"


def test_exit_codes_are_the_published_ones() -> None:
    assert {code: kind.__name__ for code, kind in EXIT_CODES.items()} == {
        1: "MeshError",
        2: "UsageError",
        3: "ConfigError",
        4: "NodeUnreachable",
        5: "NoMatch",
        6: "ChainOrFunds",
        7: "ResultRejected",
        8: "DoctorFailed",
        130: "Interrupted",
    }
    assert all(kind.__doc__ for kind in EXIT_CODES.values())


def test_map_exceptions_takes_the_first_fit_and_keeps_the_cause() -> None:
    table: dict[type[Exception], Callable[[Exception], MeshError]] = {
        FileNotFoundError: lambda e: ConfigError("no file", why=str(e)),
        OSError: lambda _: MeshError("disk"),
    }
    with pytest.raises(ConfigError) as caught, map_exceptions(table):
        raise FileNotFoundError("gone")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(MeshError, match="disk"), map_exceptions(table):
        raise PermissionError("no")
    with pytest.raises(KeyError), map_exceptions(table):
        raise KeyError("untouched")


def test_a_group_is_reduced_to_the_error_that_matters() -> None:
    named = ChainOrFunds("too little", fix="mesh wallet deposit")
    group = BaseExceptionGroup("n", [ValueError("x"), KeyboardInterrupt(), BaseExceptionGroup("m", [named])])
    assert as_mesh_error(group) is named
    assert isinstance(as_mesh_error(BaseExceptionGroup("n", [ValueError("x"), KeyboardInterrupt()])), Interrupted)
    defect = as_mesh_error(ExceptionGroup("n", [ZeroDivisionError("1/0")]))
    assert isinstance(defect, Defect)
    assert "ZeroDivisionError: 1/0" in str(defect)


def test_survives_pickle_with_all_three_parts() -> None:
    copy = pickle.loads(pickle.dumps(ConfigError("a", why="b", fix="c")))
    assert type(copy) is ConfigError
    assert (copy.what, copy.why, copy.fix) == ("a", "b", "c")

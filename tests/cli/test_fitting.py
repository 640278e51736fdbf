"""Does what people read fit a screen of eighty columns, and what is left out then?"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.cli.fitting import fitted, folded, left_out, show_all

WORDS = st.text(alphabet="abc 0-", min_size=0, max_size=60)
ROWS = st.lists(st.tuples(st.just("0x12345678"), WORDS, WORDS, WORDS), max_size=5)
HEAD = ["ID", "ONE", "TWO", "WORDS"]


def widths(cells: list[list[str]]) -> int:
    columns = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    return sum(columns) + 2 * (len(columns) - 1)


@given(rows=ROWS, folds=st.booleans(), room=st.integers(60, 100))
def test_a_table_fits_and_keeps_its_names(rows, folds, room) -> None:
    cells = fitted(HEAD, rows, ("TWO",), folds, room)
    assert [row[0] for row in cells[1:] if row[0]] == ["0x12345678"] * len(rows)
    assert widths(cells) <= room
    if folds and len(cells[0]) == 4:
        told = " ".join(row[-1] for row in cells[1:])
        assert told.split() == " ".join(row[-1] for row in rows).split()


def test_what_says_nothing_goes_first() -> None:
    rows = [["0x12345678", "0 MESH", "y" * 30, "z" * 30]]
    left_out()
    assert fitted(HEAD, rows, ("TWO", "ONE"), False, 76)[0] == ["ID", "TWO", "WORDS"]
    assert left_out() == ("ONE",)
    assert fitted(HEAD, rows, ("TWO", "ONE"), False, 50)[0] == ["ID", "WORDS"]
    assert left_out() == ("ONE", "TWO")
    assert left_out() == ()
    assert fitted(HEAD, rows, ("TWO",), False, 60)[1] == ["0x12345678", "0 MESH", "z" * 30]
    assert fitted(HEAD, rows, (), False, 60)[1] == ["0x12345678", "0 MESH", "y" * 16 + "...", "z" * 16 + "..."]
    left_out()


def test_a_table_of_nothing_misses_nothing() -> None:
    left_out()
    assert fitted(HEAD, [], ("TWO", "ONE"), False, 10) == [["ID", "WORDS"]]
    assert left_out() == ()


def test_a_hint_stays_in_one_piece() -> None:
    assert folded("bafy" + "x" * 40 + "   (mesh get 0x1f3acdcd)", 60) == ["bafy" + "x" * 40, "(mesh get 0x1f3acdcd)"]


@pytest.mark.parametrize(
    ("verb", "all_of_it"),
    [
        (["ps", "-a"], "OUTCOME"),
        (["describe", "0x1f3a"], ""),
        (["events", "0x1f3a"], ""),
        (["offers"], "REGION"),
        (["peers"], "ADDRESS"),
        (["deals"], "OUTCOME"),
        (["wallet", "show"], ""),
        (["config", "view", "--origins"], "FROM"),
        (["quote", "job.yaml", "--explain"], "IN ITS OWN WORDS"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_eighty_columns(mesh, node, job, run_of, deal_of, verb, all_of_it) -> None:
    long = "the input s3://bucket/dataset is not to be had: the store answers 403 to this machine and to two others"
    dear = deal_of(detail=long, price=str(10**30 + 1), paid=str(10**30 + 1))
    node.story = [msgspec.structs.replace(run_of(), name="a-job-with-a-name-of-many-words", deals=(dear,), detail=long)]
    node.answered = [msgspec.structs.replace(one, detail=long) for one in node.answered]
    said = mesh(*verb)
    assert said.code == 0, said.talk
    assert max(map(len, said.out.splitlines()), default=0) <= 80, said.out
    wide = mesh(*verb, "-o", "wide")
    assert all_of_it in wide.out
    assert "..." not in wide.out.replace("...  >", "").replace("... >", "")
    assert "-o wide" not in wide.talk


@pytest.fixture(autouse=True)
def _narrow_again():
    yield
    show_all(False)

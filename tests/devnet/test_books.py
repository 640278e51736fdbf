"""Do the books of a devnet notice tokens that come from nowhere, stay locked, or were taken from the contracts?"""

import msgspec
import pytest

from devnet.books import Books, Holding, balance_figures, check_conserved
from devnet.scenario import Failed

BEFORE = Books({"client-1": Holding(100, 0, 0, 9), "mediator-1": Holding(5, 0, 50, 9)}, burnable=7, held=200)


def after(client: int, panel: int, burnable: int, held: int = 200) -> Books:
    return Books({"client-1": Holding(client, 0, 0, 8), "mediator-1": Holding(5, 0, panel, 9)}, burnable, held)


def test_what_all_lost_was_burned() -> None:
    ended = after(80, 60, 17)
    check_conserved(BEFORE, ended)
    assert ended.won_since(BEFORE) == {"client-1": -20, "mediator-1": 10}
    shown = balance_figures(BEFORE, ended)
    assert shown["client-1"]["free_change_wei"] == "-20"
    assert "panel_wei" not in shown["client-1"]
    assert (shown["mediator-1"]["panel_wei"], shown["mediator-1"]["panel_change_wei"]) == ("60", "10")
    assert (shown["burned_wei"], "locked_wei" in shown) == ("10", False)


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        (after(90, 60, 8), "-1 wei should|are 0 wei lighter, 1 wei were burned"),
        (after(80, 60, 7), "are 10 wei lighter, 0 wei were burned, and 0 wei should be locked"),
        (after(100, 50, 7, held=199), "own -1 wei more"),
    ],
)
def test_books_that_do_not_add_up_fail(ended: Books, says: str) -> None:
    with pytest.raises(Failed, match=says):
        check_conserved(BEFORE, ended)


def test_what_is_locked_is_told_apart_from_what_is_lost() -> None:
    ended = after(80, 50, 7)
    check_conserved(BEFORE, ended, locked=20)
    assert balance_figures(BEFORE, ended)["locked_wei"] == "20"
    with pytest.raises(Failed, match="19 wei should be locked"):
        check_conserved(BEFORE, ended, locked=19)
    joined = msgspec.structs.replace(ended, holdings={**ended.holdings, "late": Holding(1, 0, 0, 0)})
    assert set(joined.won_since(BEFORE)) == set(BEFORE.holdings)

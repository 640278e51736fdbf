"""Does a mediator see what seats cost before it signs, and afterwards what they have brought?"""

import msgspec
import pytest

from mesh.api.mediation import CaseInfo, MediatorInfo, SeatInfo, SeatsInfo
from mesh.base.errors import UsageError
from mesh.cli.mediator_verbs import _confirm, seats_text, work_text

TOKEN = 10**18
WORK = MediatorInfo(
    cases=(
        CaseInfo(
            deal_id="0x" + "ab" * 32,
            phase="committing",
            until=1_800_000_000,
            round=0,
            places=2,
            fee=str(TOKEN),
            step="executes",
        ),
    ),
    paid=3,
    fees=str(3 * TOKEN),
    lost=1,
    burned=str(2 * TOKEN),
)


def seat(number: int, **changes: object) -> SeatInfo:
    given = {"seat_class": 1, "number": number, "bond": str(1000 * TOKEN), "locked": "0", "joined_at": 100, "out_at": 0}
    return SeatInfo(**(given | changes))  # type: ignore[arg-type]


FOUND = SeatsInfo(
    seats=(seat(0), seat(4, locked=str(3 * TOKEN)), seat(5, out_at=1_800_000_000), seat(6, out_at=5, bond="0")),
    account=str(3 * TOKEN),
    free=str(7_000 * TOKEN),
    seat_bond=str(1000 * TOKEN),
    seat_age_s=86_400,
    resign_s=30 * 86_400,
    work=WORK,
    symbol="MESH",
)


def test_every_seat_says_in_which_state_it_is() -> None:
    lines = seats_text(FOUND).splitlines()
    assert "can be called from 1970-01-02 00:01:40 UTC" in lines[1]
    assert "3 MESH locked in disputes" in lines[2]
    assert "leaves, bond free from" in lines[3]
    assert lines[4].endswith("has left")
    assert any("committing" in line and "2 places, executes" in line for line in lines)


def test_without_seats_the_next_command_is_named() -> None:
    assert "mesh mediator join --seats 1" in seats_text(msgspec.structs.replace(FOUND, seats=()))


def test_what_they_brought_is_one_line() -> None:
    assert work_text(WORK) == "1 cases open; 3 places paid, 3 MESH earned, 1 locks lost (2 MESH)"
    idle = MediatorInfo(cases=(), paid=0, fees="0", lost=0, burned="0")
    assert "lost" not in work_text(idle)


def test_what_they_cost_is_said_before_anything_is_signed(capsys: pytest.CaptureFixture[str]) -> None:
    _confirm(FOUND, 3, True)
    said = capsys.readouterr().err
    assert "3 seats lock 3000 MESH of 7000 MESH" in said
    assert "loses 3 prices" in said
    with pytest.raises(UsageError, match="no seat was taken") as refused:
        _confirm(FOUND, 3, False)
    assert refused.value.fix == "mesh mediator join --seats 3 --yes"

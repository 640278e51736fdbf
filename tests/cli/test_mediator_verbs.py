"""Does a mediator see what seats cost before it signs, and afterwards what they have brought?"""

import msgspec
import pytest

from mesh.api.mediation import CaseInfo, MediatorInfo, SeatInfo, SeatsInfo
from mesh.base.errors import UsageError
from mesh.cli.mediator_verbs import _confirm, _confirm_leaving, seats_text, work_text

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
    assert "3 MESH locked in disputes" in f"{lines[2]} {lines[3].strip()}"
    assert "leaves, bond free from" in lines[4]
    assert lines[5].endswith("has left")
    assert "committing" in " ".join(lines)
    assert "2 places, executes" in " ".join(map(str.strip, lines))


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
    assert "leaving takes 30 days" in said
    with pytest.raises(UsageError, match="no seat was taken") as refused:
        _confirm(FOUND, 3, False)
    assert refused.value.fix == "mesh mediator join --seats 3 --yes"


def test_what_leaving_gives_up_is_said_and_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """The seats cannot be taken back, the bond is away for a month, and a case that is left costs its lock."""
    _confirm_leaving(FOUND, (), 1, True)
    said = capsys.readouterr().err
    assert "2 seats of class 1 given up for good (0, 4)" in said
    assert "2000 MESH of bonds stay locked for 30 days" in said
    assert "3 MESH are locked in disputes under way" in said
    assert "case 0xabababababab: 2 places, executes, committing until 2027-01-15" in said
    with pytest.raises(UsageError, match="no seat was given up") as refused:
        _confirm_leaving(FOUND, (0,), 1, False)
    assert refused.value.fix == "mesh mediator leave 0 --class 1 --yes"
    assert "disputes" not in capsys.readouterr().err


def test_nothing_is_asked_where_only_bonds_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    _confirm_leaving(FOUND, (5, 6), 1, False)
    _confirm_leaving(FOUND, (), 2, False)
    assert capsys.readouterr().err == ""


def test_leaving_asks_before_anything_is_sent(mesh, node) -> None:
    node.found = FOUND
    mesh("mediator", "leave").failed(2, "no seat was given up", "--yes")
    assert "leave_seats" not in dict(node.asked)
    assert mesh("mediator", "leave", "--yes").code == 0
    assert node.arguments("leave_seats") == {"seat_class": 1, "numbers": ()}

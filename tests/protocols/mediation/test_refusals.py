"""Does a refusal around mediation say what happened, why, and what to type next?"""

import msgspec
import pytest

from devnet.sim.samples import Samples
from protocols.deals.panel_terms import PANEL_CLASS, SeatsSeen, few_seats, snapshot_problem
from protocols.messages.negotiation import PanelRfq
from protocols.units import Millis

SEEN = SeatsSeen(total=12, eligible=3, at=Millis(0))


@pytest.mark.parametrize(("seat_class", "snapshot"), [(PANEL_CLASS + 1, 12), (PANEL_CLASS, 11), (PANEL_CLASS, 12)])
def test_seats_that_two_nodes_see_differently(seat_class: int, snapshot: int) -> None:
    sample = Samples(1).messages()["panel_rfq/1"]
    assert isinstance(sample, PanelRfq)
    said = snapshot_problem(msgspec.structs.replace(sample, seat_class=seat_class, seat_snapshot=snapshot), SEEN)
    assert ("mesh " in said) is ((seat_class, snapshot) != (PANEL_CLASS, 12))


def test_too_few_seats() -> None:
    assert "mesh mediator join" in few_seats(SEEN, 10)

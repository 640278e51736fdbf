"""Do the shipped handlers of mediators carry a dispute through the real panel: blind, once, safe from restarts?"""

from typing import TYPE_CHECKING

import msgspec

from protocols.contracts import calls, panel
from protocols.deals.panel_terms import MAX_INPUT_BYTES
from protocols.disputes import states as st
from protocols.disputes.params import appeal_deposit
from protocols.mediation.access import roots_for
from protocols.mediation.case import unfit
from protocols.mediation.earnings import Earned, earned
from protocols.mediation.machine import ANY_MACHINE
from protocols.units import Tokens
from tests.contracts.panel.mediating import JOB, RIGHT, WRONG, Mediated, ran

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld

F = 1_501


def test_seats_that_find_another_result_convict(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    assert scene.run() is st.Row.CONVICTED
    drawn = scene.drawn()
    assert [node.ran for node in drawn] == [1, 1, 1]
    assert sum(node.ran for node in scene.seats) == 3
    for node in drawn:
        assert node.said[-1] == "seat.ended"
        assert earned(scene.record, node.key.address) == Earned(paid=1)
    calls = sorted(name.partition(":")[0] for key, name in scene.sent if key == drawn[0].key.name)
    assert calls == ["panel committing", "panel drawn", "panel matching", "panel revealing"]


def test_an_honest_provider_is_acquitted(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=RIGHT)
    assert scene.run() is st.Row.ACQUITTED
    assert all("seat.ended" in node.said for node in scene.drawn())


def test_nodes_that_crash_after_every_step_do_everything_once(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.restarts = True
    assert scene.run() is st.Row.CONVICTED
    assert len(scene.sent) == len(set(scene.sent))
    assert [node.ran for node in scene.drawn()] == [1, 1, 1]


def test_a_seat_that_computes_something_else_loses_its_lock(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=RIGHT)
    scene.until(st.Phase.DRAWN)
    odd = scene.drawn()[1]
    odd.result = ran(WRONG)
    assert scene.run() is st.Row.ACQUITTED
    assert earned(scene.record, odd.key.address) == Earned(lost=1)
    assert int(court.view("burnable")) == 3 * 1_000 + F


def test_inputs_that_nobody_serves_are_said_to_be_missing_late(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.client.serves_to = scene.provider.serves_to = set()
    scene.until(st.Phase.COMMITTING)
    began, until = court.now, scene.record.until
    scene.until(st.Phase.VERDICT)
    assert court.now >= until - 3 > began
    assert scene.run() is st.Row.UNSERVED
    assert [node.ran for node in scene.drawn()] == [0, 0, 0]


def test_inputs_that_the_disputer_withholds_come_from_the_other_party(court: "PanelWorld") -> None:
    """Else a client would win by giving the mediators nothing to compute with."""
    scene = Mediated(court, provider=RIGHT)
    scene.client.serves_to = set()
    assert scene.run() is st.Row.ACQUITTED
    assert [node.ran for node in scene.drawn()] == [1, 1, 1]


def test_what_one_seat_was_served_the_others_get_from_it(court: "PanelWorld") -> None:
    """A party that serves one seat and starves the others gains nothing."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    lucky = scene.drawn()[2]
    scene.client.serves_to, scene.provider.serves_to = set(), {lucky.me}
    assert scene.run() is st.Row.CONVICTED
    assert [node.ran for node in scene.drawn()] == [1, 1, 1]


def test_a_withheld_result_reaches_its_client_through_the_seats(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=RIGHT, reason=st.Reason.WITHHELD)
    assert scene.run() is st.Row.UNPROVEN
    assert "dispute.served" in scene.client.said


def test_an_appeal_is_judged_by_seven_others_who_are_served_nothing_before_they_have_committed(
    court: "PanelWorld",
) -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.VERDICT)
    fund = calls.fund_panel(Tokens(appeal_deposit(scene.record.fee)))
    court.world.send(court.provider, fund)
    scene.send(scene.provider, "appeal", panel.deposit(scene.lock.deal_id, st.Side.PROVIDER))
    while not scene.record.over:
        record = scene.record
        if record.round == 1 and record.phase in (st.Phase.DRAWN, st.Phase.COMMITTING, st.Phase.OPENING):
            for place in record.places:
                node = next(one for one in scene.seats if one.key.address == place.operator)
                served = [roots_for(one.state, node.me, scene.lock.deal_id) for one in scene.nodes]
                assert not any(WRONG in roots for roots in served)
        if not scene.step():
            court.world.warp_to(court.now + 1)
    record = scene.record
    assert (record.row, record.round, len(record.places)) == (st.Row.CONVICTED, 1, 7)
    firsts, seconds = ({place.operator for place in sitting.places} for sitting in record.sittings)
    assert not firsts & seconds
    for node in scene.seats:
        places = (node.key.address in firsts) + (node.key.address in seconds)
        assert earned(record, node.key.address) == Earned(paid=places)
        assert node.ran == places


def test_inputs_beyond_what_a_seat_takes_are_declined(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.COMMITTING)
    case = scene.drawn()[0].state.durable.cases[scene.lock.deal_id]
    assert unfit(case, ANY_MACHINE) == ""
    large = msgspec.structs.replace(JOB, module_size=MAX_INPUT_BYTES + 1)
    assert "at most" in unfit(msgspec.structs.replace(case, job=large.encode()), ANY_MACHINE)

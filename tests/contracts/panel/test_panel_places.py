"""When does a mediator's node take a place, and of whom may it say that something was not served?

A lock is worth three prices. What its own machine or store cannot do costs a seat nothing when it declines, its lock when it
has accepted, and an honest party its bond or collateral when the seat says that the network was to blame.
"""

from typing import TYPE_CHECKING

import msgspec
import pytest

from protocols import effects as fx
from protocols import events as ev
from protocols.deals.eip712 import OutcomeCode
from protocols.disputes import states as st
from protocols.handlers import seat_work
from protocols.handlers.seat_calls import owed
from protocols.mediation.case import unfit
from protocols.mediation.earnings import Earned, earned
from protocols.mediation.machine import ANY_MACHINE, Machine
from protocols.mediation.views import mediator_view
from protocols.units import DealId
from tests.contracts.panel.mediating import JOB, RIGHT, WRONG, Mediated, Node, ran

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld

SPOILED = [OutcomeCode.TIMEOUT, OutcomeCode.OOM, OutcomeCode.DISK_LIMIT, OutcomeCode.INFRA_ERROR]


def lost(scene: Mediated) -> int:
    """Locks that were burned."""
    return sum(earned(scene.record, node.key.address).lost for node in scene.seats)


def says(scene: Mediated, node: Node) -> list[str]:
    """Calls of a node that reached the panel, by their first word."""
    return [name.split()[1].partition(":")[0] for key, name in scene.sent if key == node.key.name]


# --- what the machine cannot do --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", SPOILED)
def test_a_machine_that_cannot_do_the_job_declines_it(court: "PanelWorld", outcome: OutcomeCode) -> None:
    scene = Mediated(court, provider=RIGHT)
    scene.until(st.Phase.DRAWN)
    weak = scene.drawn()[0]
    weak.result = ran(RIGHT, outcome)
    assert scene.run() is st.Row.ACQUITTED
    assert weak not in scene.drawn()
    assert says(scene, weak) == []
    assert lost(scene) == 0


@pytest.mark.parametrize(("what", "has"), [("memory", "memory_mib"), ("scratch", "disk_mib"), ("room", "blobs_mib")])
def test_a_job_larger_than_the_machine_is_not_even_begun(court: "PanelWorld", what: str, has: str) -> None:
    scene = Mediated(court, provider=RIGHT)
    scene.until(st.Phase.DRAWN)
    small = scene.drawn()[0]
    small.env = msgspec.structs.replace(small.env, machine=msgspec.structs.replace(ANY_MACHINE, **{has: 0}))
    scene.step()
    case = small.state.durable.cases[scene.lock.deal_id]
    assert what in unfit(case, small.env.machine)
    (view,) = mediator_view(small.state, small.key.address, small.env.machine).cases
    assert view.step.startswith("declined: it may take")
    assert "mesh config set " in view.step
    assert scene.run() is st.Row.ACQUITTED
    assert small.ran == 0
    assert small not in scene.drawn()


def test_a_long_run_is_no_reason_to_decline(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    began, seats = court.now, scene.drawn()
    for node in seats:
        node.slow = True
    scene.until(st.Phase.COMMITTING)
    assert court.now > began
    assert scene.drawn() == seats
    for node in seats:
        node.slow = False
    assert scene.run() is st.Row.CONVICTED
    assert lost(scene) == 0


def test_load_passes(court: "PanelWorld") -> None:
    """A long run that was too slow is run once more when a lock is on it."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    busy = scene.drawn()[0]
    busy.result, busy.slow = ran(RIGHT, OutcomeCode.TIMEOUT), True
    scene.until(st.Phase.COMMITTING)
    busy.slow = False
    while not busy.ran:
        scene.step()
    busy.result = ran(RIGHT)
    assert scene.run() is st.Row.CONVICTED
    assert earned(scene.record, busy.key.address) == Earned(paid=1)


def test_a_machine_that_fails_for_a_while_is_waited_for_when_a_lock_is_on_it(court: "PanelWorld") -> None:
    """The tries have pauses, and do not end before the time does."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    sick = scene.drawn()[0]
    sick.result, sick.slow = ran(RIGHT, OutcomeCode.INFRA_ERROR), True
    scene.until(st.Phase.COMMITTING)
    sick.slow, began = False, court.now
    while court.now < began + 40:
        if not scene.step():
            court.world.warp_to(court.now + 1)
    assert 3 <= sick.ran <= 6
    sick.result = ran(RIGHT)
    assert scene.run() is st.Row.CONVICTED
    assert earned(scene.record, sick.key.address) == Earned(paid=1)


@pytest.mark.parametrize("outcome", SPOILED)
def test_a_job_that_no_machine_can_do_ends_and_burns_no_lock(court: "PanelWorld", outcome: OutcomeCode) -> None:
    scene = Mediated(court, provider=WRONG)
    for node in scene.seats:
        node.result = ran(RIGHT, outcome)
    began = court.now
    assert scene.run() is st.Row.VOID
    assert court.now - began < 120
    assert lost(scene) == 0


def test_bytes_withheld_of_a_job_that_was_too_slow_are_said_to_be(court: "PanelWorld") -> None:
    """Else a provider would withhold what ended in a timeout, and the bond of its client would burn."""
    scene = Mediated(court, provider=WRONG, reason=st.Reason.WITHHELD)
    scene.provider.serves_to = set()
    for node in scene.seats:
        node.result = ran(RIGHT, OutcomeCode.TIMEOUT)
    scene.client.serves_to = None
    assert scene.run() is st.Row.FORFEIT
    assert lost(scene) == 0


def test_who_has_only_a_timeout_leaves_the_place_to_who_has_more(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=RIGHT, reason=st.Reason.WITHHELD)
    scene.until(st.Phase.DRAWN)
    weak = scene.drawn()[0]
    weak.result = ran(RIGHT, OutcomeCode.TIMEOUT)
    assert scene.run() is st.Row.UNPROVEN
    assert weak not in scene.drawn()
    assert lost(scene) == 0


def test_only_so_many_places_are_taken_on_trust(court: "PanelWorld") -> None:
    """A flood of cases whose runs are long must not lock more than there is time to run."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    node = scene.drawn()[0]
    node.slow = True
    while scene.lock.deal_id not in node.state.cases.running:
        scene.step()
    real = node.state.durable.cases[scene.lock.deal_id]
    record = node.state.cases.records[scene.lock.deal_id]
    file = node.state.durable.disputes[scene.lock.deal_id]

    def calls(served: bool | None) -> bool:
        """With its run under way, with inputs that nobody serves, or without the case."""
        if served is None:
            node.state.durable.drop_case(scene.lock.deal_id)
        else:
            node.state.durable.put_case(msgspec.structs.replace(real, inputs_here=served))
        node.state.cases.pulls[scene.lock.deal_id, "case"] = False
        return _accepts(node, scene)

    assert [calls(served) for served in (True, False, None)] == [True, True, True]
    for number, still in ((1, [False, True, True]), (2, [False, False, False])):
        other = DealId(bytes([number]) * 32)  # one whose acceptance is on its way, and no case is known
        asked = msgspec.structs.replace(file, deal_id=other, asked=("drawn:0:0:0",))
        node.state.durable.put_dispute(asked)
        node.state.cases.records[other] = msgspec.structs.replace(record, deal_id=other)
        node.state.open_disputes[other] = node.state.chain_now
        assert [calls(served) for served in (True, False, None)] == still


def _accepts(node: Node, scene: Mediated) -> bool:
    """Whether it would take its place at the last moment."""
    deal_id, was = scene.lock.deal_id, node.state.chain_now
    file, record = node.state.durable.disputes[deal_id], node.state.cases.records[deal_id]
    node.state.chain_now = record.until
    made = owed(node.state, file, record, node.env)
    node.state.chain_now = was
    node.state.durable.put_dispute(file)
    return any(isinstance(one, fx.CallPanel) and one.purpose.startswith("panel drawn") for one in made)


def test_runs_share_the_memory_and_a_lock_goes_first(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    node = scene.drawn()[0]
    node.slow = True
    while scene.lock.deal_id not in node.state.cases.running:
        scene.step()
    real, record = node.state.durable.cases[scene.lock.deal_id], node.state.cases.records[scene.lock.deal_id]
    other, held = (msgspec.structs.replace(real, deal_id=DealId(bytes([n]) * 32)) for n in (1, 2))
    memory = JOB.resources.memory_mib[0]

    def begins(has: int) -> bool:
        env = msgspec.structs.replace(node.env, machine=Machine(memory_mib=has, disk_mib=1 << 20, blobs_mib=1 << 20))
        made = seat_work.prepare(node.state, record, other, env)
        node.state.cases.running.discard(other.deal_id)
        return any(isinstance(one, fx.RunJob) for one in made)

    assert [begins(has) for has in (2 * memory - 1, 2 * memory)] == [False, True]
    place = msgspec.structs.replace(record.places[0], operator=node.key.address, stage=st.Stage.ACCEPTED)
    sitting = msgspec.structs.replace(record.sittings[0], places=(place,))
    file = node.state.durable.disputes[scene.lock.deal_id]
    node.state.durable.put_dispute(msgspec.structs.replace(file, deal_id=held.deal_id))
    node.state.cases.records[held.deal_id] = msgspec.structs.replace(record, sittings=(sitting,))
    node.state.durable.put_case(held)
    node.state.open_disputes[held.deal_id] = node.state.chain_now
    assert begins(2 * memory) is False


def test_a_run_for_a_place_that_another_seat_has_now_is_ended(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    mute = scene.drawn()[0]
    mute.slow, mute.calls = True, False
    while scene.lock.deal_id not in mute.state.cases.running:
        scene.step()
    scene.until(st.Phase.COMMITTING)
    scene.step()
    assert mute not in scene.drawn()
    assert (mute.state.cases.running, mute.outbox) == (set(), {})
    assert scene.run() is st.Row.CONVICTED


# --- who is to blame -------------------------------------------------------------------------------------------------


def test_a_full_store_takes_no_place_and_blames_nobody(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    full = scene.drawn()[0]
    full.full = True
    assert scene.run() is st.Row.CONVICTED
    assert says(scene, full) == []
    assert "seat.no_room" in full.said


def test_stores_that_are_all_full_cost_nobody_the_bond_for_missing_inputs(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    for node in scene.seats:
        node.full = True
    assert scene.run() is st.Row.VOID
    assert not any(name.startswith(("panel drawn", "panel committing")) for _, name in scene.sent)


def test_a_store_that_fills_up_after_the_place_was_taken_blames_nobody(court: "PanelWorld") -> None:
    """The parties serve late; by then one disk is full."""
    scene = Mediated(court, provider=WRONG)
    scene.client.serves_to = scene.provider.serves_to = set()
    scene.until(st.Phase.COMMITTING)
    full = scene.drawn()[0]
    full.full = True
    scene.client.serves_to = scene.provider.serves_to = None
    assert scene.run() is st.Row.CONVICTED
    assert "committing" not in says(scene, full)


def test_a_node_without_a_peer_blames_nobody(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    alone = scene.drawn()[0]
    scene.seats.remove(alone)
    alone.post(ev.PeerWentDown(at=scene.at, peer=scene.client.me))
    alone.serves_to = set()
    silent = [one for one in scene.nodes if one is not alone]
    for node in silent:
        node.serves_to = {one.me for one in silent}
    alone.state.durable.drop_case(scene.lock.deal_id)
    scene.seats.append(alone)
    assert scene.run() is st.Row.CONVICTED
    assert says(scene, alone) == []


def test_a_full_store_does_not_say_that_the_provider_served_nothing(court: "PanelWorld") -> None:
    """Two of them would cost it all of its collateral: they have found something else, and so do not have its bytes."""
    scene = Mediated(court, provider=RIGHT)
    scene.until(st.Phase.DRAWN)
    for node in scene.drawn()[:2]:
        node.result = ran(WRONG)
    scene.until(st.Phase.OPENING)
    for node in scene.drawn()[:2]:
        node.full = True
    assert scene.run() is st.Row.CONVICTED
    assert all(place.served for place in scene.record.sittings[0].places)


# --- traps for who has accepted --------------------------------------------------------------------------------------


def test_a_case_that_is_told_late_and_that_nobody_judges_costs_no_lock(court: "PanelWorld") -> None:
    """Parties that collude hide a case until seats have taken it on trust."""
    scene = Mediated(court, provider=RIGHT, job=msgspec.structs.replace(JOB, executor="process"))
    scene.client.up = False
    bodies = dict(scene.provider.state.durable.jobs)
    scene.provider.state.durable.jobs.clear()
    scene.until(st.Phase.COMMITTING)
    scene.provider.state.durable.jobs.update(bodies)
    assert scene.run() is st.Row.UNSERVED
    assert all("committing" in says(scene, node) for node in scene.drawn())
    assert lost(scene) == 0


def test_inputs_that_come_too_late_to_run_cost_no_lock(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.client.serves_to = scene.provider.serves_to = set()
    scene.until(st.Phase.COMMITTING)
    for node in scene.seats:
        node.slow = True
    while court.now < scene.record.until - 4:
        if not scene.step():
            court.world.warp_to(court.now + 1)
    scene.client.serves_to = scene.provider.serves_to = None
    assert scene.run() is st.Row.UNSERVED
    assert lost(scene) == 0


def test_inputs_that_came_in_time_and_were_not_run_are_nobodys_fault_but_the_seats(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    stuck = scene.drawn()[0]
    stuck.slow = True
    assert scene.run() is st.Row.CONVICTED
    assert says(scene, stuck) == ["drawn"]

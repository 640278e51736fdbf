"""Do the shipped handlers match honest outputs at every level, and nobody whose bytes are others than it revealed?

In these tests the last byte of a root is what a normal form forgets and a tolerance allows.
"""

from typing import TYPE_CHECKING

import msgspec
import pytest

from protocols.contracts import calls, panel
from protocols.deals.terms import Level
from protocols.disputes import states as st
from protocols.disputes.params import appeal_deposit
from protocols.handlers.matching import MATCH_MARGINS
from protocols.mediation.access import roots_for
from protocols.mediation.earnings import Earned, earned
from protocols.units import Cid, Tokens
from tests.contracts.panel.mediating import RIGHT, WRONG, Mediated, Node, ran

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld

TOLERANT = [Level.NUMERIC, Level.PERCEPTUAL]
LOOSE = [Level.CANONICAL, *TOLERANT]


def near(number: int) -> Cid:
    """An output that another machine came to: right at every level but exact."""
    return Cid(RIGHT[:-1] + bytes([number]))


def noisy(court: "PanelWorld", level: Level, provider: Cid) -> Mediated:
    """A dispute whose seats all come to other bytes."""
    scene = Mediated(court, provider=provider, level=level)
    for number, node in enumerate(scene.seats):
        node.result = ran(near(number))
    return scene


@pytest.mark.parametrize("level", LOOSE)
def test_an_honest_provider_is_acquitted_by_seats_of_other_machines(court: "PanelWorld", level: Level) -> None:
    scene = noisy(court, level, near(200))
    assert scene.run() is st.Row.ACQUITTED
    assert scene.record.sittings[0].provider_mask == 0b111
    assert all(earned(scene.record, node.key.address) == Earned(paid=1) for node in scene.drawn())
    assert not any(node.state.looks for node in scene.nodes if node.state.open_disputes)


@pytest.mark.parametrize("level", LOOSE)
def test_a_wrong_result_is_beyond_what_the_level_allows(court: "PanelWorld", level: Level) -> None:
    """One failure under a tolerance costs the deal, where equal forms are asked for the collateral."""
    row = noisy(court, level, WRONG).run()
    assert row is (st.Row.CONVICTED if level is Level.CANONICAL else st.Row.LOST)


def test_at_level_exact_other_machines_match_nobody(court: "PanelWorld") -> None:
    scene = noisy(court, Level.EXACT, near(200))
    assert scene.run() is st.Row.VOID
    assert scene.record.finding is not None
    assert scene.record.finding.outcome is st.Outcome.SPLIT


@pytest.mark.parametrize("level", [Level.EXACT, *LOOSE])
def test_nobody_sees_a_seats_output_before_every_reveal_is_in(court: "PanelWorld", level: Level) -> None:
    scene = noisy(court, level, WRONG)
    asked = [node for node in scene.nodes if node is not scene.client]
    while scene.record.phase is not st.Phase.MATCHING:
        for seat in scene.seats:
            for node in asked:
                assert seat.result.root not in roots_for(seat.state, node.me, scene.lock.deal_id)
        if not scene.step():
            court.world.warp_to(court.now + 1)
    scene.step()
    first, other, _ = scene.drawn()
    idle = next(node for node in scene.seats if node not in scene.drawn())
    for node in (other, scene.provider, idle, scene.client):
        shown = first.result.root in roots_for(first.state, node.me, scene.lock.deal_id)
        assert shown == (level in TOLERANT and node in (other, scene.provider))


def shows_another(scene: Mediated, liar: Node, root: Cid) -> None:
    """From now on it says that another output is behind its fingerprint."""
    case = liar.state.durable.cases[scene.lock.deal_id]
    liar.state.durable.put_case(msgspec.structs.replace(case, ran=ran(root)))


@pytest.mark.parametrize("level", TOLERANT)
def test_a_seat_that_shows_other_bytes_than_it_revealed_matches_nobody(court: "PanelWorld", level: Level) -> None:
    """Its lie is within the tolerance: what counts is that it was not what it had committed to."""
    scene = noisy(court, level, near(200))
    scene.until(st.Phase.REVEALING)
    while scene.record.phase is not st.Phase.MATCHING:
        assert scene.step()
    liar = scene.drawn()[0]
    shows_another(scene, liar, near(99))
    assert scene.run() is st.Row.ACQUITTED
    assert earned(scene.record, liar.key.address) == Earned(lost=1)
    assert [place.mask & 1 for place in scene.record.places[1:]] == [0, 0]
    assert scene.record.sittings[0].provider_mask == 0b110


def test_a_seat_that_holds_another_output_than_it_revealed_does_not_wait_for_its_own(court: "PanelWorld") -> None:
    """After a restart with a result that came out otherwise, say: nobody can show it the bytes that it has lost."""
    scene = noisy(court, Level.NUMERIC, near(200))
    scene.until(st.Phase.REVEALING)
    while scene.record.phase is not st.Phase.MATCHING:
        assert scene.step()
    other = scene.drawn()[0]
    shows_another(scene, other, near(99))
    other.state.looks.clear()
    began = court.now
    scene.until(st.Phase.VERDICT)
    assert court.now < began + 5
    assert scene.run() is st.Row.ACQUITTED


@pytest.mark.parametrize("level", TOLERANT)
def test_a_seat_that_shows_nothing_is_waited_for_and_matches_nobody(court: "PanelWorld", level: Level) -> None:
    scene = noisy(court, level, near(200))
    scene.until(st.Phase.MATCHING)
    silent = scene.drawn()[2]
    silent.serves_to = set()
    until = scene.record.until
    for _ in range(100):
        if all(place.stage is st.Stage.MATCHED for place in scene.record.places[:2]):
            break
        if not scene.step():
            court.world.warp_to(court.now + 1)
    margin = scene.params.deadline_margin
    assert until - MATCH_MARGINS * margin <= court.now < until - margin  # time to write, which all do at once
    assert scene.run() is st.Row.ACQUITTED
    assert earned(scene.record, silent.key.address) == Earned(lost=1)


def test_an_output_that_nobody_would_pull_is_not_waited_for(court: "PanelWorld") -> None:
    """Larger than the job allows, or no tree: the pull ends for good, and so does the wait."""
    scene = noisy(court, Level.NUMERIC, near(200))
    scene.until(st.Phase.REVEALING)
    huge = scene.drawn()[2]
    huge.too_large = True
    scene.until(st.Phase.MATCHING)
    began = court.now
    scene.until(st.Phase.VERDICT)
    assert court.now < began + 5
    assert scene.run() is st.Row.ACQUITTED
    assert earned(scene.record, huge.key.address) == Earned(lost=1)


@pytest.mark.parametrize("level", LOOSE)
def test_the_second_panel_compares_with_the_first_ones_outputs_too(court: "PanelWorld", level: Level) -> None:
    scene = noisy(court, level, WRONG)
    scene.until(st.Phase.VERDICT)
    fee = scene.record.fee
    fund = calls.fund_panel(Tokens(appeal_deposit(fee)))
    scene.court.world.send(scene.provider.key, fund)
    scene.court.world.send(scene.client.key, fund)
    scene.send(scene.provider, "appeal", panel.deposit(scene.lock.deal_id, st.Side.PROVIDER))
    assert scene.run() is (st.Row.CONVICTED if level is Level.CANONICAL else st.Row.LOST)
    assert scene.record.finding is not None
    assert scene.record.finding.firsts == 0b111
    assert scene.record.finding.clique == 0b1111111

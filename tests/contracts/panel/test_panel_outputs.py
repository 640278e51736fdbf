"""Does nobody learn, or make a node believe, more about an output than a panel's rules allow? Messages from strangers."""

from typing import TYPE_CHECKING

import pytest

from protocols import effects as fx
from protocols.deals.terms import Level
from protocols.disputes import states as st
from protocols.errors import RemoteProtocolError
from protocols.handlers import outputs
from protocols.messages.dispute import OutputPull, OutputTold
from protocols.transfer.cid import raw_cid
from protocols.units import DealId
from tests.contracts.panel.mediating import RIGHT, Mediated, Node
from tests.contracts.panel.test_panel_levels import near, noisy

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld


def matching(court: "PanelWorld", level: Level = Level.NUMERIC) -> Mediated:
    """A panel that has revealed and shown nothing yet."""
    scene = noisy(court, level, near(200))
    scene.until(st.Phase.REVEALING)
    while scene.record.phase is not st.Phase.MATCHING:
        assert scene.step()
    return scene


def asks(scene: Mediated, who: Node, seat: Node, message: OutputPull | OutputTold) -> list[fx.Effect]:
    """What a seat does about a message of somebody's."""
    if isinstance(message, OutputPull):
        return outputs.pull_arrived(seat.state, who.me, message, scene.at, seat.env)
    assert not outputs.told(seat.state, who.me, message)
    return []


def hears(scene: Mediated) -> None:
    """Everybody knows what the chain has said, and has done nothing about it."""
    for node in scene.nodes:
        scene._hears(node)
    scene.bus.clear()


def test_a_seat_tells_its_output_to_those_alone_who_must_compare_it(court: "PanelWorld") -> None:
    scene = matching(court)
    pull = OutputPull(scene.lock.deal_id)
    first, other, _ = scene.drawn()
    idle = next(node for node in scene.seats if node not in scene.drawn())
    assert [asks(scene, who, first, pull) for who in (idle, scene.client, other)] == [
        []
    ] * 3  # the third asks too early
    hears(scene)
    assert [bool(asks(scene, who, first, pull)) for who in (idle, scene.client)] == [False] * 2
    for who in (other, scene.provider):
        told = asks(scene, who, first, pull)
        assert [one.peer for one in told if isinstance(one, fx.Send)] == [who.me]
        assert asks(scene, who, first, pull) == []  # once in a while
    assert asks(scene, other, scene.provider, pull) == []
    assert asks(scene, other, first, OutputPull(DealId(scene.lock.deal_id[::-1]))) == []


def test_where_bytes_decide_nothing_is_told(court: "PanelWorld") -> None:
    scene = matching(court, Level.CANONICAL)
    hears(scene)
    first, other, _ = scene.drawn()
    assert asks(scene, other, first, OutputPull(scene.lock.deal_id)) == []


def test_a_word_that_nobody_has_asked_for_is_not_kept(court: "PanelWorld") -> None:
    scene = matching(court)
    deal_id = scene.lock.deal_id
    first = scene.drawn()[0]
    idle = next(node for node in scene.seats if node not in scene.drawn())
    for who in (idle, scene.client):
        asks(scene, who, first, OutputTold(deal_id, RIGHT, 0, 0))
    asks(scene, idle, scene.client, OutputTold(deal_id, RIGHT, 0, 0))
    look = first.state.looks[deal_id]
    assert (look.told, look.peers) == ({}, {})
    with pytest.raises(RemoteProtocolError, match="no folder"):
        outputs.told(first.state, idle.me, OutputTold(deal_id, raw_cid(b"a file"), 0, 0))


def test_a_restart_in_the_middle_begins_the_comparisons_again(court: "PanelWorld") -> None:
    scene = matching(court)
    scene.step()
    for node in scene.drawn():
        node.restart()
    assert scene.run() is st.Row.ACQUITTED
    assert len(scene.sent) == len(set(scene.sent))

"""What do liars, strangers and reorganisations do to the nodes of a dispute? Nothing, or they pay for it."""

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from protocols import effects as fx
from protocols import events as ev
from protocols.contracts.panel import EVENTS
from protocols.deals.eip712 import OutcomeCode
from protocols.disputes import states as st
from protocols.disputes.file import ONLOOKER, PanelLog
from protocols.hashing import sha256
from protocols.mediation.access import roots_for
from protocols.mediation.earnings import Earned, earned
from protocols.messages.dispute import CASE_TAG, CaseFile, CaseNotice, CasePull
from protocols.units import ZERO_HASH, Hash32, Tokens, UnixSeconds
from tests.contracts.panel.mediating import JOB, RIGHT, WRONG, Mediated, Node, ran

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld


_CALLED = next(topic for topic, (name, _) in EVENTS.items() if name == "SeatCalled")


def told(scene: Mediated, node: Node, by: Node, message: msgspec.Struct) -> list[fx.Effect]:
    """What a node does when another sends it a message."""
    before = len(scene.bus)
    _, data = by.env.seal(message)
    node.post(ev.MessageArrived(at=scene.at, peer=by.me, data=data))
    made = [effect for _, effect in list(scene.bus)[before:]]
    del list(scene.bus)[before:]
    return list(made)


def case_file(scene: Mediated) -> CaseFile:
    return CaseFile(scene.deal, scene.client.me, scene.provider.me, JOB.encode(), None)


def test_a_seat_that_asks_without_a_place_gets_nothing(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.COMMITTING)
    scene.step()
    drawn = scene.drawn()
    idle = next(node for node in scene.seats if node not in drawn)
    pull = CasePull(deal_id=scene.lock.deal_id)
    for holder in (scene.client, scene.provider, drawn[0]):
        assert roots_for(holder.state, idle.me, scene.lock.deal_id) == ()
        assert roots_for(holder.state, drawn[1].me, scene.lock.deal_id) != ()
        scene.bus.clear()
        told(scene, holder, idle, pull)
        assert not scene.bus


def test_nobody_is_served_the_result_before_all_have_committed(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    while scene.record.phase is not st.Phase.OPENING:
        for node in scene.drawn() if scene.record.sittings else ():
            assert WRONG not in roots_for(scene.provider.state, node.me, scene.lock.deal_id)
        if not scene.step():
            court.world.warp_to(court.now + 1)
    scene.until(st.Phase.MATCHING)
    scene.step()
    for node in scene.drawn():
        assert WRONG in roots_for(scene.provider.state, node.me, scene.lock.deal_id)
    assert roots_for(scene.provider.state, scene.client.me, scene.lock.deal_id) == ()


def test_the_case_tells_nothing_of_the_result_before_the_panel_knows_it(court: "PanelWorld") -> None:
    """Exit code and fuel are part of a fingerprint: who had them would have less to compute."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.COMMITTING)
    scene.step()
    for node in scene.drawn():
        case = node.state.durable.cases[scene.lock.deal_id]
        assert case.result is None
    scene.until(st.Phase.VERDICT)
    for node in scene.drawn():
        assert node.state.durable.cases[scene.lock.deal_id].result == scene.commit


@pytest.mark.parametrize(
    "lie",
    [
        lambda told, scene: msgspec.structs.replace(told, client=scene.seats[0].me),
        lambda told, scene: msgspec.structs.replace(
            told, job=msgspec.structs.replace(JOB, command=("--lie",)).encode()
        ),
        lambda told, scene: msgspec.structs.replace(told, job=b"\x00" * 40),
        lambda told, scene: msgspec.structs.replace(told, result=msgspec.structs.replace(scene.commit, fuel=8)),
    ],
)
def test_a_party_that_tells_another_case_is_not_believed(court: "PanelWorld", lie: object) -> None:
    scene = Mediated(court, provider=WRONG)
    scene.client.up = scene.provider.up = False  # only what is said below reaches the seats
    scene.provider.up = True
    scene.until(st.Phase.DRAWN)
    scene.provider.up = False
    seat = scene.drawn()[0]
    scene._hears(seat)
    seat.state.durable.drop_case(scene.lock.deal_id)
    told(scene, seat, scene.client, lie(case_file(scene), scene))  # type: ignore[operator]
    assert scene.lock.deal_id not in seat.state.durable.cases
    told(scene, seat, scene.client, case_file(scene))
    assert seat.state.durable.cases[scene.lock.deal_id].deal == scene.deal


def test_another_deal_and_a_stranger_with_the_right_one_are_ignored(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    seat = scene.drawn()[0]
    scene._hears(seat)
    seat.state.durable.drop_case(scene.lock.deal_id)
    idle = next(node for node in scene.seats if node not in scene.drawn())
    other = msgspec.structs.replace(case_file(scene), deal=msgspec.structs.replace(scene.deal, price=Tokens(7)))
    told(scene, seat, scene.client, other)
    told(scene, seat, idle, case_file(scene))
    assert scene.lock.deal_id not in seat.state.durable.cases


def test_a_stranger_that_announces_a_case_is_asked_nothing(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    stranger = Node(court.stranger, scene)
    notice = CaseNotice(deal_id=scene.lock.deal_id, expires=UnixSeconds(scene.wall + 5))
    for node in scene.nodes:
        scene._hears(node)
        assert "no party" in scene.tell(node, stranger.env.record(CASE_TAG, notice))
        assert stranger.me not in node.state.cases.authors(scene.lock.deal_id, scene.wall)


@pytest.mark.parametrize("outcome", [OutcomeCode.TIMEOUT, OutcomeCode.OOM, OutcomeCode.DISK_LIMIT])
def test_a_seat_whose_machine_ended_the_run_matches_nobody(court: "PanelWorld", outcome: OutcomeCode) -> None:
    """Its lock is on it, because the run was still going on when the time to accept was over."""
    scene = Mediated(court, provider=RIGHT)
    scene.until(st.Phase.DRAWN)
    weak = scene.drawn()[0]
    weak.result, weak.slow = ran(RIGHT, outcome), True
    scene.until(st.Phase.COMMITTING)
    weak.slow = False
    assert scene.run() is st.Row.ACQUITTED
    assert weak.ran == (2 if outcome is OutcomeCode.TIMEOUT else 1)
    assert scene.record.sittings[0].places[0].mask == 0
    assert earned(scene.record, weak.key.address) == Earned(lost=1)


def test_a_run_that_this_machine_spoiled_is_tried_again(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    flaky = scene.drawn()[0]
    flaky.result = ran(RIGHT, OutcomeCode.INFRA_ERROR)
    while flaky.ran < 2:
        if not scene.step():
            court.world.warp_to(court.now + 1)
    flaky.result = ran(RIGHT)
    assert scene.run() is st.Row.CONVICTED
    assert earned(scene.record, flaky.key.address) == Earned(paid=1)


def test_an_executor_that_this_version_has_not_is_declined(court: "PanelWorld") -> None:
    """No seat takes its place, so none loses a lock; without a majority everything returns."""
    scene = Mediated(court, provider=RIGHT, job=msgspec.structs.replace(JOB, executor="process"))
    assert scene.run() is st.Row.VOID
    assert not any("panel drawn" in name for _, name in scene.sent)
    assert all(node.ran == 0 for node in scene.seats)


def test_a_dead_seat_is_replaced_and_the_newcomer_finds_the_case(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    dead = scene.drawn()[0]
    dead.up = False
    assert scene.run() is st.Row.CONVICTED
    assert dead not in scene.drawn()
    assert [node.ran for node in scene.drawn()] == [1, 1, 1]


def test_a_seat_that_was_replaced_leaves_nothing_behind(court: "PanelWorld") -> None:
    """Its call never reached the chain, and its pull goes on: neither outlives the dispute."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.DRAWN)
    mute = scene.drawn()[0]
    mute.calls = False
    for node in scene.nodes:
        node.serves_to = {one.me for one in scene.nodes if one is not mute}
    scene.step()
    assert scene.lock.deal_id in mute.state.durable.cases
    assert any(isinstance(one, fx.FetchBlobs) for one in mute.outbox.values())
    scene.until(st.Phase.COMMITTING)
    scene.step()
    assert mute not in scene.drawn()
    assert (mute.state.durable.cases, mute.state.open_disputes, mute.outbox) == ({}, {}, {})
    assert mute.state.durable.disputes[scene.lock.deal_id].role == ONLOOKER
    assert scene.run() is st.Row.CONVICTED
    assert (mute.state.durable.cases, mute.state.durable.disputes, mute.outbox) == ({}, {}, {})


@pytest.mark.parametrize("at_first", [st.Phase.DISPUTED, st.Phase.DRAWN, st.Phase.COMMITTING, st.Phase.OPENING])
def test_a_call_that_an_endpoint_behind_refuses_is_made_again(court: "PanelWorld", at_first: st.Phase) -> None:
    """It had not seen the block that makes the call possible: who never asked again would lose its collateral or lock."""
    scene = Mediated(court, provider=RIGHT)
    scene.until(at_first)
    for node in scene.nodes:
        node.calls = False
    while not any(isinstance(one, fx.CallPanel) for node in scene.nodes for one in node.outbox.values()):
        scene.step()
    refused = 0
    for node in scene.nodes:
        node.calls = True
        for key, call in list(node.outbox.items()):
            if isinstance(call, fx.CallPanel):
                failed = ev.TxFailed(at=scene.at, deal_id=call.deal_id, purpose=call.purpose, reason="WrongPhase")
                node.post(failed, key)
                refused += 1
    assert refused
    assert scene.run() is st.Row.ACQUITTED
    assert not any(name.startswith("panel poke") for _, name in scene.sent[:4])
    assert all(earned(scene.record, node.key.address).lost == 0 for node in scene.seats)


def test_a_result_that_nobody_can_serve_is_not_asked_for_without_pause(court: "PanelWorld") -> None:
    """Larger than the job allows, say: every pull of it fails at once."""
    scene = Mediated(court, provider=RIGHT, reason=st.Reason.WITHHELD)
    for node in scene.nodes:
        node.serves_to = {one.me for one in scene.nodes if one is not scene.client}
    scene.until(st.Phase.REVEALING)
    scene.step()

    def pulls() -> list[str]:
        return [key for key, one in scene.client.outbox.items() if isinstance(one, fx.FetchBlobs)]

    (key,) = pulls()
    failed = ev.BlobsFailed(
        at=scene.at, deal_id=scene.lock.deal_id, purpose="served", code="too_large", detail="too many bytes"
    )
    scene.client.post(failed, key)
    assert pulls() == []
    court.world.warp_to(court.now + 3)
    scene._hears(scene.client)
    assert pulls() == [key]


def test_a_seat_number_that_cannot_be_is_no_reason_to_end(court: "PanelWorld") -> None:
    scene = Mediated(court)
    scene.until(st.Phase.DRAWN)
    node = scene.drawn()[0]
    number = next(at for at, (topics, _) in enumerate(scene.logs) if topics[0] == _CALLED)
    topics, data = scene.logs[number]
    other = PanelLog(10_000, 0, Hash32(sha256(b"made up")), topics, data[:64] + b"\xff" * 32)
    node.post(ev.DisputeLogged(at=scene.at, deal_id=scene.lock.deal_id, log=other))
    node.post(ev.ChainTimeMoved(at=scene.at, block=1, timestamp=court.now))
    assert scene.run() is st.Row.ACQUITTED


def test_a_provider_that_serves_nothing_is_said_not_to_have(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG, reason=st.Reason.WITHHELD)
    scene.until(st.Phase.OPENING)
    scene.provider.serves_to = set()
    assert scene.run() is st.Row.FORFEIT


def gone(scene: Mediated, node: Node, left: int) -> None:
    """A reorganisation takes all logs of the dispute but the first ``left``, newest first."""
    for at in reversed(range(left, node.heard)):
        tx = Hash32(sha256(at.to_bytes(4)))
        node.post(ev.DisputeRetracted(at=scene.at, deal_id=scene.lock.deal_id, tx=tx, index=0))
    node.heard = left


def test_a_commitment_that_a_reorganisation_took_is_made_again_and_is_the_same(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.COMMITTING)
    began = len(scene.logs)
    scene.until(st.Phase.OPENING)
    seat = scene.drawn()[0]
    scene._hears(seat)
    made = scene.record.sittings[0].places[0].commitment
    gone(scene, seat, began)
    again = [one for one in seat.outbox.values() if isinstance(one, fx.CallPanel)]
    assert [one.purpose.split(":")[0] for one in again] == ["panel committing"]
    assert again[0].data.find(bytes(made)) > 0
    assert again[0].key.endswith(f":{seat.state.durable.disputes[scene.lock.deal_id].attempt}")
    seat.outbox.clear()
    scene._hears(seat)
    assert not any(isinstance(one, fx.CallPanel) for one in seat.outbox.values())
    assert seat.ran == 1


def test_a_dispute_that_a_reorganisation_took_whole_is_forgotten(court: "PanelWorld") -> None:
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.OPENING)
    for node in scene.seats:
        scene._hears(node)
        gone(scene, node, 0)
        assert (node.state.durable.disputes, node.state.open_disputes, node.state.cases.records) == ({}, {}, {})


def test_the_end_taken_back_is_worked_through_again(court: "PanelWorld") -> None:
    """The job had been put away with the end: it is asked for anew, and what it came to is known still."""
    scene = Mediated(court, provider=WRONG)
    scene.until(st.Phase.VERDICT)
    for node in scene.nodes:
        scene._hears(node)
    kept = len(scene.logs)
    assert scene.run() is st.Row.CONVICTED
    seat = scene.drawn()[0]
    assert seat.state.durable.cases[scene.lock.deal_id].job == b""
    gone(scene, seat, kept)
    assert scene.lock.deal_id in seat.state.open_disputes
    scene._hears(seat)
    assert scene.lock.deal_id not in seat.state.open_disputes
    assert seat.ran == 1


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=some.lists(some.integers(0, 2**16), min_size=6, max_size=6))
def test_every_prefix_and_repetition_of_the_logs_gives_the_same_calls(court: "PanelWorld", order: list[int]) -> None:
    """A node that hears logs twice, loses them to reorganisations and crashes in between calls what one that heard each once
    has called, and nothing else."""
    scene = _played(court)
    seat = scene.drawn()[0]
    straight, crooked = (_listener(scene, seat) for _ in range(2))
    scene._hears(straight)
    for number in order:
        at = number % (len(scene.logs) + 1)
        if crooked.heard > at:
            gone(scene, crooked, at)
        else:
            _some(scene, crooked, at)
            _some(scene, crooked, at)
        if number % 3 == 0:
            crooked.restart()
    _some(scene, crooked, len(scene.logs))
    files = [node.state.durable.disputes[scene.lock.deal_id] for node in (straight, crooked)]
    assert files[0].record() == files[1].record()
    assert straight.state.open_disputes == crooked.state.open_disputes == {}


_PLAYED: dict[int, Mediated] = {}


def _played(court: "PanelWorld") -> Mediated:
    """One dispute, played to its end; its logs are read only."""
    if id(court) not in _PLAYED:
        scene = _PLAYED[id(court)] = Mediated(court, provider=WRONG)
        assert scene.run() is st.Row.CONVICTED
    return _PLAYED[id(court)]


def _listener(scene: Mediated, like: Node) -> Node:
    """Another node with the same key, that has heard nothing."""
    node = Node(like.key, scene)
    node.post(ev.NodeStarted(at=scene.at, wall=scene.wall, incarnation=ZERO_HASH))
    return node


def _some(scene: Mediated, node: Node, until: int) -> None:
    """The logs from the beginning up to a place: those that were heard before come twice."""
    for at, (topics, data) in enumerate(scene.logs[:until]):
        log = PanelLog(at, 0, Hash32(sha256(at.to_bytes(4))), topics, data)
        node.post(ev.DisputeLogged(at=scene.at, deal_id=scene.lock.deal_id, log=log))
    node.heard = until

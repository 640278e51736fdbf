"""Does 'another owner' mean another owner, when one owner has several operators?"""

import pytest

from devnet.sim.signer import KeyRing
from protocols import events as ev
from protocols.handlers.owners import ROOM, operator_set, unsure
from protocols.runs import Done
from protocols.signing import address_of_peer
from protocols.state import MAX_OWNERS, NodeState
from protocols.units import ZERO_ADDRESS, Address, Millis
from tests.protocols.handlers.test_replicate import Scene, providers_of

OWNER = Address(b"\x0a" * 20)


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 2)])
def test_two_operators_of_one_owner_are_one_replica(pair: tuple[int, int]) -> None:
    """Three providers, two of them of one owner: it computes once, and the third has no one else to be compared with."""
    scene = Scene("hhh")
    ours = {scene.providers[place].me for place in pair}
    for peer in ours:
        scene.client.post(ev.OperatorSet(at=scene.world.now, operator=address_of_peer(peer), owner=OWNER))
    scene.until_over()
    assert isinstance(scene.run.status, Done)
    asked = set(providers_of(scene.deals))
    assert len(asked) == 2
    assert len(asked & ours) == 1


def test_an_operator_is_its_own_owner_until_the_chain_says_otherwise() -> None:
    state, operator = NodeState("devnet"), KeyRing(1).signer().address

    def told(owner: Address) -> Address:
        operator_set(state, ev.OperatorSet(at=Millis(0), operator=operator, owner=owner))
        return state.owner_of(operator)

    assert state.owner_of(operator) == operator
    assert told(OWNER) == OWNER
    assert told(ZERO_ADDRESS) == operator
    assert told(OWNER) == OWNER
    assert told(operator) == operator
    assert state.owners == {}


def test_operators_that_are_remembered_are_bounded() -> None:
    state = NodeState("devnet")
    for number in range(MAX_OWNERS + 3):
        event = ev.OperatorSet(at=Millis(0), operator=Address(number.to_bytes(20)), owner=OWNER)
        operator_set(state, event)
    assert MAX_OWNERS - ROOM <= len(state.owners) <= MAX_OWNERS
    assert Address((2).to_bytes(20)) not in state.owners


def flood(state: NodeState) -> None:
    """What strangers log for little gas: more operators than are remembered."""
    for number in range(1, MAX_OWNERS + 2):
        operator_set(state, ev.OperatorSet(at=Millis(0), operator=Address(number.to_bytes(20)), owner=OWNER))


def test_who_offers_is_not_pushed_out_by_logs_of_strangers() -> None:
    scene = Scene("hh")
    operator = address_of_peer(scene.providers[0].me)
    state = scene.client.state
    operator_set(state, ev.OperatorSet(at=scene.world.now, operator=operator, owner=OWNER))
    flood(state)
    assert state.owner_of(operator) == OWNER


@pytest.mark.parametrize("known", [True, False])
def test_two_operators_of_one_owner_are_one_replica_when_logs_were_forgotten(*, known: bool) -> None:
    """Pushed out before they offered anything, they are asked about again; nobody counts before the answer."""
    scene = Scene("hhh")
    state = scene.client.state
    ours = {scene.providers[place].me for place in (0, 1)}
    flood(state)
    if not known:
        state.owners.clear()
    truth = {address_of_peer(peer): OWNER for peer in ours}

    def over() -> bool:
        for one in unsure(state):
            scene.client.post(ev.OperatorSet(at=scene.world.now, operator=one, owner=truth.get(one, one)))
        return isinstance(scene.run.status, Done) and not state.durable.live

    scene.until(over)
    asked = set(providers_of(scene.deals))
    assert len(asked) == 2
    assert len(asked & ours) == 1
    assert unsure(state) == ()

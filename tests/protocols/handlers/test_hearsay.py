"""What becomes of what the chain shows of a provider's deals with others: is it kept, bounded, and heard at a search?"""

import pytest

from devnet.sim.samples import NOW, Samples
from devnet.sim.simulate import settle
from devnet.sim.workload import FUNDS, offer_of
from devnet.sim.world import World
from protocols import events as ev
from protocols.node import handle
from protocols.reputation import MAX_WITNESSED, lower_bound
from protocols.signing import address_of_peer
from protocols.state import MAX_HEARSAY, Hearsay, NodeState
from protocols.units import Address, Millis, UnixSeconds

SAMPLES = Samples()
ENV = SAMPLES.env(SAMPLES.client)
PROVIDER = address_of_peer(SAMPLES.provider.peer_id)


def outcome(number: int, *, kept: bool, provider: Address = PROVIDER, of: Address | None = None) -> ev.DealsWitnessed:
    end = ev.DealEnd(provider, of or Address(number.to_bytes(20)), kept, UnixSeconds(NOW))
    return ev.DealsWitnessed(at=Millis(0), ends=(end,))


def restarted(state: NodeState) -> NodeState:
    again = NodeState("devnet")
    for row in state.durable.drain_dirty():
        assert row.data is not None
        again.durable.restore(row.kind, row.id, row.data)
    return again


def test_what_was_witnessed_survives_a_restart_and_is_bounded() -> None:
    state = NodeState("devnet")
    for number in range(MAX_WITNESSED + 3):
        assert handle(state, outcome(number + 1, kept=number % 2 == 0), ENV) == []
    kept = state.durable.hearsay[PROVIDER]
    assert len(kept.seen) == MAX_WITNESSED
    assert restarted(state).durable.hearsay == {PROVIDER: kept}
    before = state.durable.drain_dirty()
    assert before == []
    for number in range(MAX_HEARSAY + 1):
        state.durable.put_hearsay(Address((number + 1).to_bytes(20)), Hearsay(()))
    assert len(state.durable.hearsay) == MAX_HEARSAY
    assert PROVIDER not in state.durable.hearsay
    gone = [row for row in state.durable.drain_dirty() if row.data is None]
    assert {row.kind for row in gone} == {"hearsay"}
    assert bytes(PROVIDER) in {row.id for row in gone}


@pytest.mark.parametrize("whose", ["mine", "my owner's"])
def test_own_deals_are_not_hearsay(whose: str) -> None:
    state, me = NodeState("devnet"), ENV.signer.address
    owner = Address(b"\x77" * 20)
    state.owners[me] = owner
    handle(state, outcome(1, kept=True, of=me if whose == "mine" else owner), ENV)
    handle(state, outcome(1, kept=True, provider=me), ENV)
    assert state.durable.hearsay == {}


def test_a_stranger_that_failed_everybody_is_not_asked_while_another_offers() -> None:
    world = World(3)
    client = world.add(free=FUNDS, stake=0)
    bad, good = (world.add(free=0, stake=FUNDS) for _ in range(2))
    for node in (bad, good):
        node.offer = offer_of(world, node)
    for node in (client, bad, good):
        node.start()
    world.run(8_000)
    for number in range(12):
        client.post(outcome(number + 1, kept=False, provider=address_of_peer(bad.me)))
        client.post(outcome(number + 1, kept=True, provider=address_of_peer(good.me)))
    world.run(world.now + 31_000)  # the next heartbeat of both
    records, now = client.state.records, client.state.chain_now or UnixSeconds(NOW)
    assert client.state.standings.shunned(records, now) == {bad.me}
    bound = lower_bound(records[good.me], now)
    assert bound is not None
    assert bound > 600_000
    settle(world)

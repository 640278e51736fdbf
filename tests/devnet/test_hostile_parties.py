"""Is a hostile party as honest as anybody but for its habit, and does a habit that has lost its hold show?"""

import pytest

from devnet.scenarios.hostile import double
from devnet.scenarios.hostile.altered import alter
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import events as ev
from protocols.handlers import search
from protocols.messages.negotiation import InputRoot
from protocols.runs import MarketTerms
from protocols.units import Hash32, Tokens


def test_a_name_that_is_no_more_is_not_altered() -> None:
    with pytest.raises(KeyError):
        alter(search, "_is_no_more", None)
    assert "_is_no_more" not in vars(search)


def test_who_signs_twice_holds_nobody_else() -> None:
    """The third provider that had quoted kept its slot for the client that had signed with two others."""
    world = World(1, network=NO_NOISE)
    client = world.add(free=FUNDS, stake=0)
    providers = [world.add(free=0, stake=FUNDS) for _ in range(3)]
    for provider in providers:
        provider.offer = offer_of(world, provider)
    for node in (client, *providers):
        node.start()
    world.run(8_000)
    job, most = toy_job(1), Tokens(10**17)
    was = double.sign_twice()
    try:
        client.post(
            ev.RunSubmitted(
                at=world.now,
                job=job.encode(),
                inputs=(InputRoot(job.module, job.module_size),),
                market=MarketTerms(max_price=most, budget=most),
                run_nonce=1,
                entropy=Hash32(bytes(32)),
                wall=client.wall,
            )
        )
        while len(client.state.durable.deals) < double.TWO:
            world.run(world.now + 10)
            assert world.now < 20_000
        world.run(world.now + 500)
    finally:
        alter(search, "_close", was)
    assert len(client.state.durable.deals) == double.TWO
    assert [one.state.desk.firm() for one in providers] == [0, 0, 0]

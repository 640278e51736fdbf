"""Does nobody honest lose when everybody vanishes, lies and restarts? The short form of the scenario."""

import pytest

from devnet.sim.chaos import chaos, play, report
from devnet.sim.promises import broken_promises
from devnet.sim.world import World
from protocols.deals.terms import Level
from protocols.disputes.states import Row

SHORT = 150


@pytest.fixture(scope="module")
def world() -> World:
    world, broken = play(6, SHORT)
    assert broken == ()
    return world


def test_nobody_honest_loses_more_than_it_had_declared(world: World) -> None:
    assert broken_promises(world) == ()
    told = report(world, 6, SHORT, ())
    assert told.deals >= SHORT
    assert told.restarts > 0 < told.gone
    assert told.ends["settled"] > SHORT // 2
    assert told.in_channels["voucher"] > SHORT // 10
    assert set(told.channels) >= {"fund", "redeem", "close_together"}
    judged = {
        half.state.terms.deal.level for node in world.nodes.values() for half in node.state.durable.deals.values()
    }
    assert judged >= {Level.EXACT, Level.CANONICAL, Level.NUMERIC, Level.PERCEPTUAL}


def test_a_loss_is_noticed(world: World) -> None:
    parties = [node.env.signer.address for node in world.nodes.values()]
    held = dict(world.escrow.free)
    world.escrow.free.update(dict.fromkeys(parties, 0))
    losers = [problem for problem in broken_promises(world) if problem.startswith(("losses", "seats"))]
    world.escrow.free.update(held)
    assert len(losers) > report(world, 6, SHORT, ()).honest // 4
    assert broken_promises(world) == ()


def test_money_missing_in_a_channel_is_noticed_on_either_side(world: World) -> None:
    held = dict(world.channels.redeemed)
    for share, sentence in ((0, "fetched 0"), (2, "its client has signed")):
        world.channels.redeemed.update({name: share * paid for name, paid in held.items()})
        assert any(one.startswith("vouchers") and sentence in one for one in broken_promises(world))
    world.channels.redeemed.update(held)
    assert broken_promises(world) == ()


def test_a_wrong_verdict_is_noticed(world: World) -> None:
    """Of any dispute one of the two would be."""
    assert world.panel is not None
    held = dict(world.panel.rows)
    found = []
    for row in (Row.CONVICTED, Row.LOST, Row.ACQUITTED):
        world.panel.rows.update(dict.fromkeys(held, row))
        found += [problem for problem in broken_promises(world) if problem.startswith("justice")]
    world.panel.rows.update(held)
    assert len(set(found)) == len(found) >= len(held) > 0


def test_one_seed_is_one_history_and_another_another() -> None:
    first = chaos(7, 20)
    assert chaos(7, 20) == first
    assert chaos(8, 20).hash != first.hash


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # two million events: minutes of CPU
def test_ten_thousand_deals() -> None:
    told = chaos(7)
    assert told.problems == ()
    assert told.deals >= 10_000
    assert {"convicted", "lost", "unproven", "forfeit", "acquitted"} <= set(told.rows)
    assert told.in_channels["voucher"] > 1_000
    assert {"keyless", "wrong"} <= set(told.in_channels)

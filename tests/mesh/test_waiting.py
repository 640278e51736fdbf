"""When does a node look at its chain as often as it may? Whenever a log there would move something on."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from devnet.sim.samples import Samples
from mesh.ledger.waiting import IDLE_PACE, pace_of, waits_for_chain
from protocols.channels.states import ChannelState, Closing, Opening, ToppingUp
from protocols.deals.terms import SettlementMode
from protocols.state import CLIENT, ChannelHalf, Half, NodeState

if TYPE_CHECKING:
    from tests.mesh.conftest import Loop

SAMPLES = Samples()


def test_who_has_nothing_under_way_waits_for_nothing() -> None:
    assert not waits_for_chain(NodeState("devnet"))


@pytest.mark.parametrize("name", sorted(SAMPLES.states()))
def test_a_deal_that_the_chain_moves_is_waited_for_until_it_is_final(name: str) -> None:
    state, deal = NodeState("devnet"), SAMPLES.states()[name]
    state.durable.put_deal(deal.terms.deal_id, Half(CLIENT, deal))
    assert waits_for_chain(state) == (deal.terms.deal_id in state.durable.live)


@pytest.mark.parametrize("name", sorted(SAMPLES.states()))
def test_a_deal_that_a_channel_pays_is_not(name: str) -> None:
    state, deal = NodeState("devnet"), SAMPLES.states()[name]
    channelled = msgspec.structs.replace(deal.terms.deal, settlement=SettlementMode.CHANNEL)
    terms = msgspec.structs.replace(deal.terms, deal=channelled)
    state.durable.put_deal(terms.deal_id, Half(CLIENT, msgspec.structs.replace(deal, terms=terms)))
    assert not waits_for_chain(state)


@pytest.mark.parametrize(("name", "half"), sorted(SAMPLES.channel_states().items()))
def test_a_channel_is_waited_for_while_it_changes(name: str, half: ChannelState) -> None:
    state = NodeState("devnet")
    state.durable.put_channel(b"pair" * 10, ChannelHalf(CLIENT, half))
    assert waits_for_chain(state) == isinstance(half, Opening | ToppingUp | Closing), name


async def test_whoever_has_a_transaction_on_its_way_looks_often(loop: "Loop") -> None:
    posted = SAMPLES.post_channel_tx()
    assert pace_of(loop.engine) == IDLE_PACE
    await loop.post(posted)
    assert pace_of(loop.engine) == 1.0
    await loop.engine.acknowledge(posted.key)
    assert pace_of(loop.engine) == IDLE_PACE

"""Is every event handled, every effect performed, every durable effect kept? A forgotten one would vanish in silence."""

from collections.abc import Iterator

from devnet.sim.perform import PERFORM
from mesh.effects import AT_ONCE, PERFORMERS
from protocols import effects as fx
from protocols import events as ev
from protocols.channels import client as client_of_channel
from protocols.channels import inputs as channel_ins
from protocols.channels import provider as provider_of_channel
from protocols.deals import channel_client, channel_provider, client, provider
from protocols.deals import inputs as ins
from protocols.node import HANDLERS

BY_THE_ENGINE = {fx.Notify, fx.DropEffects}
"""They never reach an adapter: one goes to the trace, the other into the outbox."""


def leaves(kind: type) -> Iterator[type]:
    """Every class below that has none below itself."""
    below = kind.__subclasses__()
    if not below:
        yield kind
    for one in below:
        yield from leaves(one)


def test_every_event_has_a_handler() -> None:
    assert set(HANDLERS) == set(leaves(ev.Event))
    assert {kind.__name__ for kind in leaves(ev.Event)} | {"Event", "DealEnd"} == set(ev.__all__)


def test_every_effect_is_performed_in_both_worlds() -> None:
    effects = set(leaves(fx.Effect))
    assert set(PERFORM) == effects
    assert set(PERFORMERS) | set(AT_ONCE) == effects - BY_THE_ENGINE
    assert not set(PERFORMERS) & set(AT_ONCE)
    names = {kind.__name__ for kind in effects}
    assert names | {"Effect", "DurableEffect", "OutboxItem"} == set(fx.__all__)


def test_the_outbox_can_hold_every_durable_effect() -> None:
    assert set(fx.OutboxItem.__annotations__["effect"].__args__) == set(leaves(fx.DurableEffect))


def test_every_input_of_a_deal_moves_one_half_or_the_other() -> None:
    understood = {
        event for _, event in (*client.TABLE, *provider.TABLE, *channel_client.TABLE, *channel_provider.TABLE)
    }
    assert understood == set(leaves(ins.DealInput))


def test_every_input_of_a_channel_moves_one_half_or_the_other() -> None:
    understood = {event for _, event in (*client_of_channel.TABLE, *provider_of_channel.TABLE)}
    assert understood == set(leaves(channel_ins.ChannelInput))

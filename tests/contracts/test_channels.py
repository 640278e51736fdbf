"""Who gets how much of a channel, when, and who is refused? (What a voucher can be wrong about: test_vouchers.py.)"""

from typing import TYPE_CHECKING, Final

import pytest

from protocols.contracts import channels
from protocols.contracts.channels import MAX_CHANNEL_TOKENS, Channel, ChannelWord, Redemption, Voucher
from protocols.deals.eip712 import PUBLIC_BOUNDS
from protocols.hashing import keccak256
from protocols.units import Hash32, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import World

DELAY: Final = 2
YEAR: Final = 365 * 86_400
ROOT: Final = Hash32(keccak256(b"deals"))


def money(world: "World") -> tuple[int, int, int]:
    """Client free, provider free, burnable."""
    return (world.free(world.client), world.free(world.provider), world.read("burnable"))


# --- transitions -----------------------------------------------------------------------------------------------------


def test_a_channel_locks_the_clients_money_for_one_provider(world: "World") -> None:
    channel = world.open_channel(5_000)
    assert channel.generation == 1
    assert world.free(world.client) == 5_000
    held = world.channel(channel)
    assert held == ChannelWord(world.now + YEAR, 1, Tokens(5_000), Tokens(0))
    told = world.events[0]
    assert told.name == "ChannelFunded"
    assert (told.args["client"], told.args["provider"]) == (world.client.address, world.provider.address)
    assert told.args["clientOwner"] == world.client.address
    assert ChannelWord.of(told.args["word"]) == held


def test_funding_again_adds_and_lasts_another_year(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.redeem(channel, 1_000)
    world.warp(100)
    assert world.open_channel(300) == channel
    assert world.channel(channel) == ChannelWord(world.now + YEAR, 1, Tokens(5_300), Tokens(1_000))
    assert world.free(world.client) == 4_700


def test_funding_with_nothing_lets_it_last(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.warp(100)
    world.open_channel(0)
    assert world.channel(channel) == ChannelWord(world.now + YEAR, 1, Tokens(5_000), Tokens(0))


def test_a_voucher_is_worth_all_before_it(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.redeem(channel, 1_050)
    assert money(world) == (5_000, 1_040, 0)
    told = {"channelId": channel.channel_id, "cumulative": 1_050, "count": 3, "dealsRoot": ROOT}
    assert world.events == [("VoucherRedeemed", told)]
    world.redeem(channel, 5_000)
    assert money(world) == (5_000, 4_950, 0)
    assert world.channel(channel).redeemed == 5_000


def test_the_fee_is_burned_at_the_close_and_to_the_wei_that_of_one_redemption(world: "World") -> None:
    channel = world.open_channel(5_000)
    for cumulative in (99, 150, 199, 260, 301):
        world.redeem(channel, cumulative)
    world.send(world.provider, channels.close(channel))
    assert money(world) == (9_699, 298, 3)
    told = {"channelId": channel.channel_id, "redeemed": 301, "returned": 4_699, "burned": 3}
    assert world.events == [("ChannelClosed", told)]
    assert sum(money(world)) + 100_000 == world.tokens(world.escrow)


def test_the_provider_may_let_go_at_any_time(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.send(world.provider, channels.close(channel))
    assert money(world) == (10_000, 0, 0)
    assert world.channel(channel).until == 0


def test_a_client_leaves_after_the_delay_and_not_before(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.send(world.client, channels.request_close(channel))
    until = world.now + DELAY
    assert world.events == [("ChannelClosing", {"channelId": channel.channel_id, "until": until})]
    for who in (world.client, world.stranger):
        close = lambda who=who: world.send(who, channels.close(channel))  # noqa: E731
        assert world.refused("ChannelStillOpen", close) == (until,)
    world.warp_to(until)
    world.refused("ChannelStillOpen", lambda: world.send(world.stranger, channels.close(channel)))
    world.warp(1)
    world.send(world.stranger, channels.close(channel))
    assert money(world) == (10_000, 0, 0)


def test_a_provider_redeems_for_as_long_as_nobody_has_closed(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.send(world.client, channels.request_close(channel))
    world.warp(DELAY)
    world.redeem(channel, 700)
    world.warp(100)
    world.redeem(channel, 800)
    world.send(world.client, channels.close(channel))
    assert money(world) == (9_200, 792, 8)


def test_time_alone_returns_the_money_of_a_client_and_a_provider_who_are_gone(world: "World") -> None:
    channel = world.open_channel(5_000)
    until = world.now + YEAR
    world.warp_to(until)
    world.refused("ChannelStillOpen", lambda: world.send(world.stranger, channels.close(channel)))
    world.warp(1)
    world.send(world.stranger, channels.close(channel))
    assert money(world) == (10_000, 0, 0)


@pytest.mark.parametrize("by_client", [True, False])
@pytest.mark.parametrize("cumulative", [100, 2_000, 5_000])
def test_both_together_close_at_once(world: "World", by_client: bool, cumulative: int) -> None:
    channel = world.open_channel(5_000)
    world.redeem(channel, 100)
    sender, other = (world.client, world.provider) if by_client else (world.provider, world.client)
    world.close_together(channel, cumulative, sender=sender, other=other)
    assert money(world) == (10_000 - cumulative, cumulative * 99 // 100, cumulative // 100)
    names = ["ChannelClosed"] if cumulative == 100 else ["VoucherRedeemed", "ChannelClosed"]
    assert [event.name for event in world.events] == names


def test_a_closing_channel_that_is_funded_goes_on(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.send(world.client, channels.request_close(channel))
    world.open_channel(1)
    world.warp(DELAY + 1)
    world.refused("ChannelStillOpen", lambda: world.send(world.stranger, channels.close(channel)))


def test_many_vouchers_at_once(world: "World") -> None:
    first = world.open_channel(5_000)
    world.call(world.stranger, "deposit", 900)
    world.send(world.stranger, channels.fund(world.provider.address, Tokens(900)))
    second = Channel(world.stranger.address, world.provider.address, world.stranger.address, 1)
    world.send(world.provider, channels.redeem_many([signed(world, first, 500), signed(world, second, 700)]))
    assert world.free(world.provider) == 495 + 693
    assert [event.name for event in world.events] == ["VoucherRedeemed", "VoucherRedeemed"]
    stale = [signed(world, first, 600), signed(world, second, 700)]
    world.refused("StaleVoucher", lambda: world.send(world.provider, channels.redeem_many(stale)))
    assert world.channel(first).redeemed == 500, "all or none"


def signed(world: "World", channel: Channel, cumulative: int) -> Redemption:
    """A voucher by the channel's client."""
    client = world.client if channel.client == world.client.address else world.stranger
    voucher = Voucher(channel.channel_id, Tokens(cumulative), 1, ROOT)
    return Redemption(channel, voucher, world.signed(client, voucher))


# --- refusals: money and time ----------------------------------------------------------------------------------------


def test_a_client_without_the_money(world: "World") -> None:
    refusal = world.refused("InsufficientFree", lambda: world.open_channel(10_001))
    assert refusal == (world.client.address, 10_000, 10_001)
    world.refused("EscrowFull", lambda: world.open_channel(MAX_CHANNEL_TOKENS + 1))
    world.open_channel(5_000)
    world.refused("EscrowFull", lambda: world.open_channel(MAX_CHANNEL_TOKENS))
    world.refused("", lambda: world.open_channel(2**256 - 1))


def test_money_in_a_channel_pays_no_deal_and_leaves_by_no_exit(world: "World") -> None:
    world.open_channel(9_500)
    world.refused("InsufficientFree", world.commit)
    world.refused("InsufficientFree", lambda: world.call(world.client, "requestWithdraw", 501))
    world.refused("InsufficientFree", lambda: world.call(world.client, "stake", 501))


def test_only_the_client_or_its_owner_ends_a_channel(world: "World") -> None:
    world.call(world.owner, "deposit", 5_000)
    world.adopt(world.owner, world.client)
    channel = world.open_channel(5_000)
    assert channel.client_owner == world.owner.address
    for who in (world.provider, world.stranger):
        world.refused("NotChannelClient", lambda who=who: world.send(who, channels.request_close(channel)))  # type: ignore[misc]
    world.send(world.owner, channels.request_close(channel))
    until = world.now + DELAY
    assert world.refused("AlreadyClosing", lambda: world.send(world.client, channels.request_close(channel))) == (
        until,
    )
    world.warp(DELAY + 1)
    world.send(world.owner, channels.close(channel))
    assert (world.free(world.owner), world.free(world.client)) == (5_000, 10_000)


def test_money_returns_to_the_owner_it_came_from(world: "World") -> None:
    world.call(world.owner, "deposit", 5_000)
    world.adopt(world.owner, world.client)
    channel = world.open_channel(5_000)
    world.adopt(world.stranger, world.client)
    world.redeem(channel, 1_000)
    world.send(world.provider, channels.close(channel))
    assert (world.free(world.owner), world.free(world.stranger)) == (4_000, 0)
    # Another owner's money makes another channel.
    world.call(world.stranger, "deposit", 50)
    assert world.open_channel(50).client_owner == world.stranger.address


def test_a_provider_is_paid_at_its_owners_account(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.adopt(world.owner, world.provider)
    world.redeem(channel, 1_000)
    assert (world.free(world.owner), world.free(world.provider)) == (990, 0)


def test_nobody_closes_on_its_own_signature(world: "World") -> None:
    channel = world.open_channel(5_000)
    for who in (world.client, world.provider):
        close = lambda who=who: world.close_together(channel, 10, sender=who, other=who)  # noqa: E731
        world.refused("BadSignature", close)
    close = lambda: world.close_together(channel, 10, sender=world.stranger, other=world.client)  # noqa: E731
    world.refused("NotChannelParty", close)


def test_closing_together_takes_nothing_back(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.redeem(channel, 1_000)
    close = lambda: world.close_together(channel, 999, sender=world.client, other=world.provider)  # noqa: E731
    assert world.refused("StaleVoucher", close) == (999, 1_000)


def test_a_channel_closes_once(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.send(world.provider, channels.close(channel))
    after = money(world)
    world.warp(YEAR + 1)
    for act in (
        lambda: world.send(world.provider, channels.close(channel)),
        lambda: world.send(world.client, channels.request_close(channel)),
        lambda: world.close_together(channel, 10, sender=world.client, other=world.provider),
        lambda: world.redeem(channel, 10),
    ):
        world.refused("ChannelNotOpen", act)
    assert money(world) == after


def test_a_channel_that_was_never_opened(world: "World") -> None:
    for generation in (0, 1):
        channel = Channel(world.client.address, world.provider.address, world.client.address, generation)
        world.refused("ChannelNotOpen", lambda channel=channel: world.redeem(channel, 10))  # type: ignore[misc]
        data = channels.close(channel)
        world.refused("ChannelNotOpen", lambda data=data: world.send(world.provider, data))  # type: ignore[misc]


def test_the_exit_delay_outlasts_a_silent_sequencer(make_world: "Callable[..., World]") -> None:
    world = make_world(bounds=PUBLIC_BOUNDS)
    world.fund(free=10_000, stake=0)
    channel = world.open_channel(5_000)
    world.send(world.client, channels.request_close(channel))
    world.warp(26 * 3_600)
    world.refused("ChannelStillOpen", lambda: world.send(world.client, channels.close(channel)))
    world.redeem(channel, 5_000)

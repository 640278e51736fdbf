"""Can a stale, forged, altered or foreign voucher move the money of a channel, and is its digest what wallets sign?"""

from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.contracts import channels
from protocols.contracts.channels import MAX_REDEMPTIONS, ChannelClose, Voucher, deals_root, net_of
from protocols.deals.eip712 import Domain, digest
from protocols.errors import LocalProtocolError
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, DealId, Hash32, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Key, World

ROOT: Final = Hash32(keccak256(b"deals"))


def test_a_voucher_redeems_once_and_an_older_one_never(world: "World") -> None:
    channel = world.open_channel(5_000)
    world.redeem(channel, 1_000)
    for stale in (1_000, 999, 0):
        redeem = lambda stale=stale: world.redeem(channel, stale)  # noqa: E731
        assert world.refused("StaleVoucher", redeem) == (stale, 1_000)


def test_never_more_than_the_deposit(world: "World") -> None:
    channel = world.open_channel(5_000)
    assert world.refused("Overdrawn", lambda: world.redeem(channel, 5_001)) == (5_001, 5_000)
    close = lambda: world.close_together(channel, 5_001, sender=world.provider, other=world.client)  # noqa: E731
    world.refused("Overdrawn", close)
    world.refused("Overdrawn", lambda: world.redeem(channel, 2**128 - 1))


def test_a_voucher_is_the_clients(world: "World") -> None:
    channel = world.open_channel(5_000)
    for forger in (world.provider, world.stranger, world.owner):
        redeem = lambda forger=forger: world.redeem(channel, 10, signer=forger)  # noqa: E731
        world.refused("BadSignature", redeem)


def test_only_the_provider_redeems(world: "World") -> None:
    # Else the client could redeem a voucher with another root, and the provider's record of its work would be gone.
    channel = world.open_channel(5_000)
    for who in (world.client, world.stranger):
        world.refused("NotChannelProvider", lambda who=who: world.redeem(channel, 10, sender=who))  # type: ignore[misc]


@pytest.mark.parametrize("field", ["cumulative", "count", "deals_root"])
def test_a_voucher_altered_after_signing(world: "World", field: str) -> None:
    channel = world.open_channel(5_000)
    voucher = Voucher(channel.channel_id, Tokens(10), 1, ROOT)
    changed = {"cumulative": Tokens(11), "count": 2, "deals_root": ZERO_HASH}[field]
    forged = msgspec.structs.replace(voucher, **{field: changed})
    data = channels.redeem(channel, forged, world.signed(world.client, voucher))
    world.refused("BadSignature", lambda: world.send(world.provider, data))


def test_a_voucher_is_no_consent_to_close_and_the_reverse(world: "World") -> None:
    channel = world.open_channel(5_000)
    voucher = Voucher(channel.channel_id, Tokens(10), 1, ROOT)
    last = ChannelClose(channel.channel_id, Tokens(10), 1, ROOT)
    as_close = channels.close_together(channel, last, world.signed(world.client, voucher))
    as_voucher = channels.redeem(channel, voucher, world.signed(world.client, last))
    for data in (as_close, as_voucher):
        world.refused("BadSignature", lambda data=data: world.send(world.provider, data))  # type: ignore[misc]


def test_no_voucher_outlives_its_channel(world: "World") -> None:
    old = world.open_channel(5_000)
    world.send(world.provider, channels.close(old))
    world.refused("ChannelNotOpen", lambda: world.redeem(old, 10))
    new = world.open_channel(4_000)
    assert new == msgspec.structs.replace(old, generation=2)
    world.refused("ChannelNotOpen", lambda: world.redeem(old, 10))
    voucher = Voucher(old.channel_id, Tokens(10), 1, ROOT)
    data = channels.redeem(new, voucher, world.signed(world.client, voucher))
    world.refused("BadSignature", lambda: world.send(world.provider, data))
    world.redeem(new, 10)


def test_a_voucher_of_another_escrow_or_chain(world: "World", make_world: "Callable[..., World]") -> None:
    channel = world.open_channel(5_000)
    voucher = Voucher(channel.channel_id, Tokens(10), 1, ROOT)
    for domain in (Domain(42_161, world.escrow), Domain(31_337, world.token)):
        foreign = world.client.sign(digest(domain, voucher))
        data = channels.redeem(channel, voucher, foreign)
        world.refused("BadSignature", lambda data=data: world.send(world.provider, data))  # type: ignore[misc]


def test_nobody_redeems_from_anothers_channel(world: "World") -> None:
    channel = world.open_channel(5_000)
    for change in ({"provider": world.stranger.address}, {"client_owner": world.owner.address}, {"generation": 2}):
        forged = msgspec.structs.replace(channel, **change)
        redeem = lambda forged=forged: world.redeem(forged, 10, sender=keys(world, forged.provider))  # noqa: E731
        assert world.refused("ChannelNotOpen", redeem) == (forged.channel_id,)


def keys(world: "World", address: bytes) -> "Key":
    return world.stranger if address == world.stranger.address else world.provider


def test_money_of_one_owner_is_not_redeemed_by_itself(world: "World") -> None:
    # A wash trade: it would look like paid work.
    channel = world.open_channel(5_000)
    world.adopt(world.client, world.provider)
    world.refused("SelfChannel", lambda: world.redeem(channel, 10))
    close = lambda: world.close_together(channel, 10, sender=world.client, other=world.provider)  # noqa: E731
    world.refused("SelfChannel", close)


# --- Python's side ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Voucher, ChannelClose])
def test_both_structs_are_signed_as_wallets_sign_them(world: "World", kind: type[Voucher] | type[ChannelClose]) -> None:
    value = kind(Hash32(b"\x07" * 32), Tokens(2**128 - 1), 2**64 - 1, ROOT)
    members = [member.split() for member in kind.TYPE[kind.TYPE.index("(") + 1 : -1].split(",")]
    domain = {
        "name": "MeshEscrow",
        "version": "1",
        "chainId": 31_337,
        "verifyingContract": "0x" + world.escrow.hex(),
    }
    names = {"channelId": value.channel_id, "cumulative": value.cumulative, "count": value.count, "dealsRoot": ROOT}
    types = {kind.__name__: [{"name": name, "type": member} for member, name in members]}
    message = encode_typed_data(domain, types, names)
    assert keccak256(b"\x19\x01", message.header, message.body) == digest(world.domain, value)


@given(st.lists(st.binary(min_size=32, max_size=32).map(DealId), min_size=1, max_size=12, unique=True), st.data())
@settings(deadline=None)
def test_no_two_lists_of_deals_share_a_root(deals: list[DealId], data: st.DataObject) -> None:
    other = data.draw(st.permutations(deals)) + data.draw(st.lists(st.sampled_from(deals), max_size=3))
    assert (deals_root(deals) == deals_root(other)) == (deals == other)
    assert deals_root(deals[:-1]) != deals_root(deals)


def test_roots_of_few_deals() -> None:
    one, two, three = (DealId(bytes([at]) * 32) for at in range(3))
    leaf = lambda deal: keccak256(b"\x00", deal)  # noqa: E731
    pair = keccak256(b"\x01", leaf(one), leaf(two))
    assert deals_root([]) == ZERO_HASH
    assert deals_root([one]) == leaf(one)
    assert deals_root([one, two]) == pair
    assert deals_root([one, two, three]) == keccak256(b"\x01", pair, leaf(three))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
@settings(deadline=None)
def test_many_redemptions_pay_what_one_pays(steps: list[int]) -> None:
    total = paid = 0
    for step in steps:
        paid += net_of(Tokens(total + step), Tokens(total))
        total += step
    assert paid == total - total // 100


def test_a_batch_has_a_bound() -> None:
    for count in (0, MAX_REDEMPTIONS + 1):
        with pytest.raises(LocalProtocolError, match=str(MAX_REDEMPTIONS)):
            channels.redeem_many([None] * count)  # type: ignore[list-item]

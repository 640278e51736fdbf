"""How does money come in and leave, and can anybody else get at it?"""

from typing import TYPE_CHECKING

import pytest
from eth_abi.abi import encode

from protocols.contracts import calls
from protocols.deals.eip712 import OperatorConsent, Settlement
from protocols.hashing import keccak256
from protocols.units import ZERO_ADDRESS, Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Key, World

DEAD = Address(bytes.fromhex("000000000000000000000000000000000000dead"))
WITHDRAW_DELAY, UNSTAKE_DELAY = 2, 4


# --- in --------------------------------------------------------------------------------------------------------------


def test_deposit_is_free_balance(world: "World") -> None:
    world.call(world.stranger, "deposit", 77)
    assert world.free(world.stranger) == 77
    told = {"owner": world.stranger.address, "from": world.stranger.address, "amount": 77}
    assert world.events[-1] == ("Deposited", told)


def test_deposit_for_another(world: "World") -> None:
    world.call(world.stranger, "depositFor", world.owner.hex, 77)
    assert (world.free(world.owner), world.free(world.stranger)) == (77, 0)
    world.refused("ZeroAddress", lambda: world.call(world.stranger, "depositFor", "0x" + bytes(20).hex(), 1))


def permit(world: "World", who: "Key", value: int) -> tuple[int, bytes, bytes]:
    """v, r, s of an EIP-2612 permit for the escrow."""
    kind = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
    separator = world.call(who, "DOMAIN_SEPARATOR", to=world.token)
    words = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
    body = keccak256(encode(words, [kind, who.hex, "0x" + world.escrow.hex(), value, 0, 2**64]))
    signature = who.sign(keccak256(b"\x19\x01", separator, body))
    return signature[64], signature[:32], signature[32:64]


def test_deposit_with_permit_needs_no_allowance(world: "World") -> None:
    world.call(world.stranger, "approve", "0x" + world.escrow.hex(), 0, to=world.token)
    v, r, s = permit(world, world.stranger, 55)
    world.call(world.stranger, "depositWithPermit", 55, 2**64, v, r, s)
    assert world.free(world.stranger) == 55


def test_a_permit_that_somebody_submitted_first_does_no_harm(world: "World") -> None:
    world.call(world.stranger, "approve", "0x" + world.escrow.hex(), 0, to=world.token)
    v, r, s = permit(world, world.stranger, 55)
    escrow = "0x" + world.escrow.hex()
    world.call(world.client, "permit", world.stranger.hex, escrow, 55, 2**64, v, r, s, to=world.token)
    world.call(world.stranger, "depositWithPermit", 55, 2**64, v, r, s)
    assert world.free(world.stranger) == 55


def test_stake_comes_out_of_the_free_balance(world: "World") -> None:
    world.call(world.client, "stake", 4_000)
    assert (world.free(world.client), world.stake(world.client)) == (6_000, 4_000)
    assert world.refused("InsufficientFree", lambda: world.call(world.client, "stake", 6_001))[1:] == (6_000, 6_001)


@pytest.mark.parametrize("name", ["deposit", "stake", "requestWithdraw", "requestUnstake"])
def test_nothing_is_not_an_amount(world: "World", name: str) -> None:
    world.refused("ZeroAmount", lambda: world.call(world.client, name, 0))


# --- out -------------------------------------------------------------------------------------------------------------


def test_withdraw_after_the_delay_and_not_before(world: "World") -> None:
    held = world.tokens(world.client.address)
    world.call(world.client, "requestWithdraw", 3_000)
    ready = world.now + WITHDRAW_DELAY
    assert world.events[0].args == {"owner": world.client.address, "total": 3_000, "readyAt": ready}
    assert world.free(world.client) == 7_000
    world.warp_to(ready - 1)
    assert world.refused("NotReady", lambda: world.call(world.client, "withdraw")) == (ready,)
    world.warp_to(ready)
    world.call(world.client, "withdraw")
    assert world.tokens(world.client.address) == held + 3_000
    world.refused("NothingRequested", lambda: world.call(world.client, "withdraw"))


def test_a_second_request_adds_and_starts_the_delay_again(world: "World") -> None:
    world.call(world.client, "requestWithdraw", 3_000)
    world.warp(1)
    world.call(world.client, "requestWithdraw", 500)
    assert world.read("exitsOf", world.client.hex) == (3_500, world.now + WITHDRAW_DELAY, 0, 0)


def test_money_on_its_way_out_pays_no_deal(world: "World") -> None:
    world.call(world.client, "requestWithdraw", 9_001)
    world.refused("InsufficientFree", world.commit)


def test_unstake_after_the_delay_and_not_before(world: "World") -> None:
    held = world.tokens(world.provider.address)
    world.call(world.provider, "requestUnstake", 100_000)
    ready = world.now + UNSTAKE_DELAY
    world.refused("InsufficientStake", world.commit)
    world.warp_to(ready - 1)
    assert world.refused("NotReady", lambda: world.call(world.provider, "unstake")) == (ready,)
    # Until it is out it stays in the escrow, where a verdict can reach it.
    assert world.tokens(world.escrow) == 110_000
    assert world.read("exitsOf", world.provider.hex) == (0, 0, 100_000, ready)
    world.warp_to(ready)
    world.call(world.provider, "unstake")
    assert world.tokens(world.provider.address) == held + 100_000


def test_locked_collateral_cannot_be_unstaked(world: "World") -> None:
    world.commit()
    world.refused("InsufficientStake", lambda: world.call(world.provider, "requestUnstake", 92_001))
    world.call(world.provider, "requestUnstake", 92_000)


def test_nobody_withdraws_for_another(world: "World") -> None:
    world.call(world.client, "requestWithdraw", 3_000)
    world.warp(WITHDRAW_DELAY)
    for who in (world.provider, world.stranger):
        world.refused("NothingRequested", lambda who=who: world.call(who, "withdraw"))  # type: ignore[misc]


# --- burning ---------------------------------------------------------------------------------------------------------


def test_anyone_burns_the_fees(world: "World") -> None:
    supply = world.call(world.stranger, "totalSupply", to=world.token)
    world.settle(world.commit(), 1_000)
    world.call(world.stranger, "burnFees")
    assert world.call(world.stranger, "totalSupply", to=world.token) == supply - 10
    assert (world.read("burnable"), world.tokens(world.escrow)) == (0, 109_990)
    world.refused("ZeroAmount", lambda: world.call(world.stranger, "burnFees"))


def test_a_token_that_cannot_burn_goes_where_nobody_can_spend_it(make_world: "Callable[..., World]") -> None:
    world = make_world(token_burns=False)
    world.fund(free=10_000, stake=100_000)
    world.settle(world.commit(), 1_000)
    world.call(world.stranger, "burnFees")
    assert world.tokens(DEAD) == 10


# --- operators -------------------------------------------------------------------------------------------------------


def test_an_operator_trades_on_its_owners_account(world: "World") -> None:
    world.call(world.owner, "deposit", 50_000)
    world.call(world.owner, "stake", 40_000)
    world.adopt(world.owner, world.provider)
    assert Address(world.read("ownerOf", world.provider.hex)) == world.owner.address
    lock = world.commit()
    assert lock.provider_owner == world.owner.address
    assert (world.stake(world.owner), world.stake(world.provider)) == (32_000, 100_000)
    world.settle(lock, 1_000)
    assert (world.free(world.owner), world.stake(world.owner), world.free(world.provider)) == (10_990, 40_000, 0)


def test_an_operators_deposit_is_its_owners(world: "World") -> None:
    world.adopt(world.owner, world.stranger)
    world.call(world.stranger, "deposit", 5)
    assert (world.free(world.owner), world.free(world.stranger)) == (5, 0)


def test_an_operator_cannot_take_its_owners_money_out(world: "World") -> None:
    world.call(world.owner, "deposit", 50_000)
    world.adopt(world.owner, world.stranger)
    for name in ("requestWithdraw", "stake"):
        world.refused("InsufficientFree", lambda name=name: world.call(world.stranger, name, 1))  # type: ignore[misc]
    world.refused("InsufficientStake", lambda: world.call(world.stranger, "requestUnstake", 1))


def test_nobody_adopts_a_stranger_without_its_consent(world: "World") -> None:
    # Otherwise the thief would be paid for the victim's work.
    mine = world.signed(world.stranger, OperatorConsent(world.stranger.address, world.provider.address, 0))
    world.refused("BadSignature", lambda: world.send(world.stranger, calls.set_operator(world.provider.address, mine)))


def test_a_consent_counts_for_the_owner_it_names(world: "World") -> None:
    consent = world.signed(world.provider, OperatorConsent(world.owner.address, world.provider.address, 0))
    take = calls.set_operator(world.provider.address, consent)
    world.refused("BadSignature", lambda: world.send(world.stranger, take))
    world.send(world.owner, take)


def test_an_old_consent_cannot_bring_an_operator_back(world: "World") -> None:
    consent = world.signed(world.provider, OperatorConsent(world.owner.address, world.provider.address, 0))
    take = calls.set_operator(world.provider.address, consent)
    world.send(world.owner, take)
    world.refused("BadSignature", lambda: world.send(world.owner, take))
    world.adopt(world.stranger, world.provider)
    world.refused("BadSignature", lambda: world.send(world.owner, take))
    assert Address(world.read("ownerOf", world.provider.hex)) == world.stranger.address


@pytest.mark.parametrize("by_owner", [True, False])
def test_owner_and_operator_may_part(world: "World", by_owner: bool) -> None:
    world.adopt(world.owner, world.provider)
    world.refused("NotOwnerNorOperator", lambda: world.call(world.stranger, "removeOperator", world.provider.hex))
    world.call(world.owner if by_owner else world.provider, "removeOperator", world.provider.hex)
    assert world.events[0].args == {"operator": world.provider.address, "owner": ZERO_ADDRESS}
    assert Address(world.read("ownerOf", world.provider.hex)) == world.provider.address
    world.refused("NotOwnerNorOperator", lambda: world.call(world.provider, "removeOperator", world.provider.hex))


def test_a_consent_given_before_a_removal_is_void(world: "World") -> None:
    world.adopt(world.owner, world.provider)
    stale = world.signed(world.provider, OperatorConsent(world.owner.address, world.provider.address, 1))
    world.call(world.provider, "removeOperator", world.provider.hex)
    world.refused("BadSignature", lambda: world.send(world.owner, calls.set_operator(world.provider.address, stale)))


def test_open_deals_stay_with_the_owner_they_were_committed_with(world: "World") -> None:
    lock = world.commit()
    world.adopt(world.stranger, world.provider)
    world.settle(lock, 1_000)
    # The collateral came from the provider's own stake and returns there, and so does the pay.
    assert (world.stake(world.provider), world.free(world.provider)) == (100_000, 990)
    assert (world.stake(world.stranger), world.free(world.stranger)) == (0, 0)


def test_two_operators_of_one_owner_make_no_deal(world: "World") -> None:
    world.call(world.owner, "deposit", 50_000)
    world.call(world.owner, "stake", 40_000)
    world.adopt(world.owner, world.client)
    world.adopt(world.owner, world.provider)
    assert world.refused("SelfDeal", world.commit) == (world.owner.address,)


def test_an_owner_as_the_others_operator_makes_no_deal_either(world: "World") -> None:
    world.adopt(world.client, world.provider)
    world.refused("SelfDeal", world.commit)


# --- elsewhere -------------------------------------------------------------------------------------------------------


def test_no_replay_on_another_chain(make_world: "Callable[..., World]") -> None:
    here, there = make_world(chain_id=31_337), make_world(chain_id=42_161)
    assert here.escrow == there.escrow
    for world in (here, there):
        world.fund(free=10_000, stake=100_000)
    deal = here.deal()
    commit = calls.commit(deal, here.client.sign(here.lock_of(deal).deal_id))
    there.refused("BadSignature", lambda: there.send(there.provider, commit))
    here.send(here.provider, commit)


def test_no_replay_on_another_escrow_of_the_same_token(world: "World") -> None:
    other = world.deploy_escrow()
    for key in (world.client, world.provider):
        world.call(key, "approve", "0x" + other.hex(), 10**6, to=world.token)
        world.call(key, "deposit", 100_000, to=other)
    world.call(world.provider, "stake", 50_000, to=other)
    deal = world.deal()
    here = calls.commit(deal, world.client.sign(world.lock_of(deal).deal_id))
    world.refused("BadSignature", lambda: world.send(world.provider, here, to=other))
    lock = world.commit(deal)
    consent = world.signed(world.client, Settlement(lock.deal_id, lock.price))
    settle = calls.settle(lock, lock.price, consent)
    world.refused("UnknownDeal", lambda: world.send(world.provider, settle, to=other))

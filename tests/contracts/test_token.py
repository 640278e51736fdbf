"""Who can make tokens, and how many?"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import World

# A token by hand: `transferFrom` delivers half of its third argument, anything else answers what has been delivered.
HALVING_TOKEN = bytes.fromhex(
    "602a8060095f395ff3"  # creation: return the 42 bytes that follow
    "5f3560e01c6323b872dd14601657"  # transferFrom: jump to 22
    "5f545f5260205ff3"  # return sload(0)
    "5b60443560011c5f54015f5560015f5260205ff3"  # sload(0) += amount >> 1; return true
)


@pytest.fixture
def capped(world: "World") -> "Callable[..., Any]":
    """Calls a token with a cap of 1,000 wei."""
    token = world.deploy_token(1_000)
    return lambda who, name, *args: world.call(who, name, *args, to=token)


def test_only_the_minter_mints(world: "World", capped: "Callable[..., Any]") -> None:
    for who in (world.client, world.owner, world.stranger):
        refusal = world.refused("NotMinter", lambda who=who: capped(who, "mint", who.hex, 1))  # type: ignore[misc]
        assert refusal == (who.address, world.minter.address)
    capped(world.minter, "mint", world.client.hex, 1_000)
    assert capped(world.client, "totalSupply") == 1_000


def test_the_cap_holds_and_burning_makes_room(world: "World", capped: "Callable[..., Any]") -> None:
    capped(world.minter, "mint", world.client.hex, 1_000)
    world.refused("ERC20ExceededCap", lambda: capped(world.minter, "mint", world.client.hex, 1))
    capped(world.client, "burn", 10)
    capped(world.minter, "mint", world.stranger.hex, 10)
    world.refused("ERC20ExceededCap", lambda: capped(world.minter, "mint", world.client.hex, 1))


def test_nobody_burns_anothers_tokens(world: "World", capped: "Callable[..., Any]") -> None:
    capped(world.minter, "mint", world.client.hex, 1_000)
    world.refused("ERC20InsufficientAllowance", lambda: capped(world.minter, "burnFrom", world.client.hex, 1))


def test_the_escrow_takes_no_deposit_beyond_what_its_slots_can_count(make_world: "Callable[..., World]") -> None:
    world = make_world()
    world.token = world.deploy_token(2**200)
    escrow = world.deploy_escrow()
    world.call(world.minter, "mint", world.client.hex, 2**121, to=world.token)
    world.call(world.client, "approve", "0x" + escrow.hex(), 2**200, to=world.token)
    world.call(world.client, "deposit", 2**120 - 1, to=escrow)
    refusal = world.refused("EscrowFull", lambda: world.call(world.client, "deposit", 1, to=escrow))
    assert refusal == (2**120, 2**120 - 1)


def test_a_token_that_takes_a_fee_harms_only_its_depositor(make_world: "Callable[..., World]") -> None:
    world = make_world()
    world.token = world.deploy_code(HALVING_TOKEN)
    escrow = world.deploy_escrow()
    world.call(world.client, "deposit", 1_000, to=escrow)
    assert world.call(world.client, "accountOf", world.client.hex, to=escrow) == (500, 0)
    assert world.events[-1].args["amount"] == 500

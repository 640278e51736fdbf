"""Who can make tokens, and how many?"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import World


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

"""Who can make tokens, and how many?"""

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, Final

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
    capped(world.minter, "mint", world.client.hex, 850)
    assert capped(world.client, "totalSupply") == 850


def test_only_85_percent_exist_on_the_first_day_and_burning_makes_no_room(
    world: "World", capped: "Callable[..., Any]"
) -> None:
    capped(world.minter, "mint", world.client.hex, 850)
    refusal = world.refused("AheadOfSchedule", lambda: capped(world.minter, "mint", world.client.hex, 1))
    assert refusal == (851, 850)
    capped(world.client, "burn", 10)
    world.refused("AheadOfSchedule", lambda: capped(world.minter, "mint", world.client.hex, 1))
    assert (capped(world.client, "totalSupply"), capped(world.client, "minted")) == (840, 850)


CAP: Final = 10**27
DAY: Final = 86_400
SIX_YEARS: Final = 2_190
# 2**128 * 2**(-1/2190), as a Decimal of 80 digits gives it.
DAY_FACTOR: Final = 340_174_682_701_417_803_094_384_544_003_384_441_574


def schedule(days: int) -> int:
    """The formula of the token, by the page: integers, by squaring, rounded like the contract rounds."""
    left, base = 1 << 128, DAY_FACTOR
    while days:
        if days & 1:
            left = left * base >> 128
        base = base * base >> 128
        days >>= 1
    return CAP - -(-(CAP // 100 * 15 * left) // (1 << 128))


def test_the_schedule_is_the_formula_to_the_wei_never_falls_and_never_passes_the_cap(world: "World") -> None:
    token, start, before = world.deploy_token(CAP), world.now, CAP // 100 * 85
    scheduled = lambda time: int(world.call(world.stranger, "scheduled", time, to=token))  # noqa: E731
    assert scheduled(start - 1) == 0
    for day in sorted({*range(400), *range(SIX_YEARS - 2, SIX_YEARS + 3), *range(400, 400 * 365, 977)}):
        allowed = scheduled(start + day * DAY)
        assert allowed == schedule(day) == scheduled(start + day * DAY + DAY - 1)
        assert before <= allowed <= CAP
        before = allowed
    assert scheduled(2**63) == CAP
    with localcontext() as digits:
        digits.prec = 80
        assert int(Decimal(2) ** (128 - Decimal(1) / SIX_YEARS)) == DAY_FACTOR


def test_the_curve_is_that_of_the_economics(world: "World") -> None:
    # 16.3, 43.9, 65.8 and 102.7 million after 1, 3, 5 and 10 years, of 150: what a network on its baseline may mint.
    for years, millions in ((1, 16.3), (3, 43.9), (5, 65.8), (10, 102.7)):
        assert abs((schedule(365 * years) - CAP // 100 * 85) / 10**24 - millions) < 0.1
    half = schedule(SIX_YEARS) - CAP // 100 * 85
    assert abs(half - CAP // 100 * 15 // 2) < 10**10, "half after six years, to a hundred-millionth of a token"


def test_the_minter_walks_along_the_cap(world: "World") -> None:
    token, made = world.deploy_token(CAP), 0
    start = world.now
    mint = lambda amount: world.call(world.minter, "mint", world.owner.hex, amount, to=token)  # noqa: E731
    for day in (0, 1, 2, 7, 365, SIX_YEARS, 20_000, 300_000):
        world.warp_to(start + day * DAY)
        allowed = schedule(day)
        mint(allowed - made)
        made = allowed
        assert world.refused("AheadOfSchedule", lambda: mint(1)) == (made + 1, made)
        world.warp(DAY - 1)
        world.refused("AheadOfSchedule", lambda: mint(1))
    assert world.call(world.stranger, "totalSupply", to=token) == made == CAP


def test_a_token_whose_emission_could_overflow_is_not_deployed(world: "World") -> None:
    world.refused("CapTooLarge", lambda: world.deploy_token(2**124))


def test_nobody_burns_anothers_tokens(world: "World", capped: "Callable[..., Any]") -> None:
    capped(world.minter, "mint", world.client.hex, 850)
    world.refused("ERC20InsufficientAllowance", lambda: capped(world.minter, "burnFrom", world.client.hex, 1))


def test_the_escrow_takes_no_deposit_beyond_what_its_slots_can_count(make_world: "Callable[..., World]") -> None:
    world = make_world()
    world.token = world.deploy_token(2**122)
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

"""Does the contract refuse exactly the terms that `check_terms` refuses, and name the same field?"""

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.contracts import calls
from protocols.deals.eip712 import (
    DEVNET_BOUNDS,
    PUBLIC_BOUNDS,
    Deal,
    Enforcement,
    EscrowBounds,
    Level,
    Metering,
    OnChainState,
    SettlementMode,
    check_terms,
    deal_id,
)
from protocols.errors import RemoteProtocolError
from protocols.units import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, Seconds, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import World

DAY = 86_400


def edges(*values: int) -> st.SearchStrategy[int]:
    """Each value, its neighbours, and the ends of a uint32."""
    near = {near for value in values for near in (value - 1, value, value + 1) if 0 <= near < 1 << 32}
    return st.sampled_from(sorted(near | {0, (1 << 32) - 1}))


def amounts(*values: int) -> st.SearchStrategy[Tokens]:
    near = {near for value in values for near in (value - 1, value, value + 1) if 0 <= near < 1 << 128}
    return st.sampled_from(sorted(near | {0, (1 << 128) - 1})).map(Tokens)


@st.composite
def hostile_changes(draw: st.DrawFn, now: int, bounds: EscrowBounds) -> dict[str, Any]:
    """One to three terms at or across a bound."""
    window = bounds.window_base + 60 * bounds.window_exec_factor
    secrets = st.sampled_from([ZERO_HASH, Hash32(bytes(31) + b"\x01"), Hash32(b"\xff" * 32)])
    choices: dict[str, st.SearchStrategy[Any]] = {
        "price": amounts(1, bounds.max_price),
        "collateral": amounts(8_000, 11_000, 100_000),
        "metering": st.sampled_from(Metering),
        "level": st.sampled_from(Level),
        "enforcement": st.sampled_from(Enforcement),
        "settlement": st.sampled_from(SettlementMode),
        "audit_ppm": edges(1_000_000),
        "seat_fee": amounts(1_200, 3_000),
        "seat_class": edges(1),
        "seat_snapshot": edges(1),
        "client_secret_hash": secrets,
        "provider_secret_hash": secrets,
        "commit_by": st.one_of(
            st.sampled_from([now - 1, now, now + bounds.max_commit_lead, now + bounds.max_commit_lead + 1, 2**64 - 1])
        ),
        "exec_seconds": edges(1, 60, bounds.max_exec),
        "claim_seconds": edges(bounds.min_claim, bounds.max_claim),
        "window_seconds": edges(window, bounds.max_window),
        "token": st.just(Address(b"\x09" * 20)),
        "run_nonce": st.sampled_from([0, 2**64 - 1]),
        "index": st.sampled_from([0, 2**32 - 1]),
    }
    fields = draw(st.lists(st.sampled_from(sorted(choices)), min_size=1, max_size=3, unique=True))
    return {field: draw(choices[field]) for field in fields}


def verdict_of_rules(world: "World", deal: Deal) -> str:
    try:
        check_terms(deal, world.bounds, token=world.token, now=world.now, panel=world.panel_address != ZERO_ADDRESS)
    except RemoteProtocolError as error:
        return str(error).split()[2]
    return "fair"


def verdict_of_contract(world: "World", deal: Deal) -> str:
    checkpoint = world.evm.snapshot()
    try:
        world.send(world.provider, calls.commit(deal, world.client.sign(deal_id(world.domain, deal))))
    except world.reverted as error:
        if error.name in ("InsufficientFree", "InsufficientStake"):
            return "fair"
        field = error.values[0].rstrip(b"\0").decode() if error.name == "BadTerm" else error.name
        return "".join("_" + char.lower() if char.isupper() else char for char in field)
    world.evm.revert(checkpoint)
    return "fair"


PANEL_TERMS: Final = {
    "enforcement": Enforcement.PANEL,
    "seat_fee": Tokens(1_500),
    "seat_class": 1,
    "seat_snapshot": 40,
    "client_secret_hash": Hash32(b"\x01" * 32),
    "provider_secret_hash": Hash32(b"\x02" * 32),
}


@pytest.mark.parametrize("with_panel", [True, False], ids=["panel", "no-panel"])
@pytest.mark.parametrize("bounds", [DEVNET_BOUNDS, PUBLIC_BOUNDS], ids=["devnet", "public"])
def test_contract_and_rules_agree_on_hostile_terms(
    make_world: "Callable[..., World]", bounds: EscrowBounds, with_panel: bool
) -> None:
    world = make_world(bounds=bounds, with_panel=with_panel)
    world.fund(free=10**6, stake=10**7)

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    @given(hostile_changes(world.now, bounds), st.booleans())
    def agree(changes: dict[str, Any], panel_deal: bool) -> None:
        deal = world.deal(**(PANEL_TERMS if panel_deal else {}) | changes)
        assert verdict_of_contract(world, deal) == verdict_of_rules(world, deal)

    agree()


def test_a_panel_deal_within_its_ranges_is_committed(world: "World") -> None:
    lock = world.commit(world.deal(**PANEL_TERMS))
    assert world.state(lock) is OnChainState.COMMITTED


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"collateral": Tokens(7_999)}, b"collateral"),
        ({"collateral": Tokens(100_001)}, b"collateral"),
        ({"seat_fee": Tokens(1_199)}, b"seatFee"),
        ({"seat_fee": Tokens(3_001)}, b"seatFee"),
        ({"price": Tokens(1_001), "collateral": Tokens(9_000), "seat_fee": Tokens(1_201)}, b"seatFee"),
        ({"seat_fee": Tokens(2_001)}, b"collateral"),
        ({"seat_fee": Tokens(3_000), "collateral": Tokens(10_999)}, b"collateral"),
        ({"seat_class": 0}, b"seatClass"),
        ({"seat_snapshot": 0}, b"seatSnapshot"),
        ({"client_secret_hash": ZERO_HASH}, b"clientSecretHash"),
        ({"provider_secret_hash": ZERO_HASH}, b"providerSecretHash"),
        ({"provider_secret_hash": PANEL_TERMS["client_secret_hash"]}, b"providerSecretHash"),
        ({"level": Level.NONE}, b"level"),
        ({"level": Level.REPLICATE}, b"level"),
        ({"settlement": SettlementMode.CHANNEL}, b"settlement"),
    ],
)
def test_a_panel_deal_that_a_panel_could_not_rely_on(world: "World", changes: dict[str, Any], field: bytes) -> None:
    deal = world.deal(**PANEL_TERMS | changes)
    assert world.refused("BadTerm", lambda: world.commit(deal))[0].rstrip(b"\0") == field


@pytest.mark.parametrize(("fee", "collateral"), [(1_200, 8_000), (2_000, 8_000), (2_001, 8_003), (3_000, 11_000)])
def test_collateral_that_pays_all_that_is_promised_and_no_more_is_enough(
    world: "World", fee: int, collateral: int
) -> None:
    lock = world.commit(world.deal(**PANEL_TERMS | {"seat_fee": Tokens(fee), "collateral": Tokens(collateral)}))
    assert world.state(lock) is OnChainState.COMMITTED


def test_a_public_panel_deal_has_thirty_hours_and_two_runs_to_check_it(make_world: "Callable[..., World]") -> None:
    world = make_world(bounds=PUBLIC_BOUNDS)
    world.fund(free=10_000, stake=100_000)
    shortest = 30 * 3_600 + 2 * 60
    deal = world.deal(**PANEL_TERMS, window_seconds=Seconds(shortest - 1))
    assert world.refused("BadTerm", lambda: world.commit(deal))[0].rstrip(b"\0") == b"windowSeconds"
    world.commit(world.deal(**PANEL_TERMS, window_seconds=Seconds(shortest)))


def test_an_escrow_without_a_panel_takes_no_panel_deal(make_world: "Callable[..., World]") -> None:
    world = make_world(with_panel=False)
    world.fund(free=10_000, stake=100_000)
    deal = world.deal(**PANEL_TERMS)
    assert world.refused("BadTerm", lambda: world.commit(deal))[0].rstrip(b"\0") == b"enforcement"


def test_a_deal_with_oneself_names_the_client(world: "World") -> None:
    deal = world.deal(client=world.provider.address)
    assert verdict_of_rules(world, deal) == verdict_of_contract(world, deal) == "client"


def test_a_window_that_would_wrap_is_refused_at_commit(world: "World") -> None:
    # An earlier prototype let a window of 2**40 - 1 seconds spill into the neighbouring field, and the client lost its
    # dispute window without a word.
    deal = world.deal(window_seconds=Seconds(2**32 - 1))
    assert world.refused("BadTerm", lambda: world.commit(deal))[0].rstrip(b"\0") == b"windowSeconds"


@pytest.mark.parametrize(("word", "field"), [(3, b"runNonce"), (4, b"index"), (8, b"price"), (24, b"windowSeconds")])
def test_a_number_wider_than_its_signed_type_is_refused(world: "World", word: int, field: bytes) -> None:
    data = bytearray(calls.commit(world.deal(), world.client.sign(world.lock_of(world.deal()).deal_id)))
    data[4 + 32 * word] = 1
    assert world.refused("BadTerm", lambda: world.send(world.provider, bytes(data)))[0].rstrip(b"\0") == field


def test_the_escrow_tells_its_bounds(make_world: "Callable[..., World]") -> None:
    for bounds in (DEVNET_BOUNDS, PUBLIC_BOUNDS):
        assert make_world(bounds=bounds).read("bounds") == tuple(int(n) for n in msgspec.structs.astuple(bounds))


def test_public_bounds_hold_what_the_protocol_promises() -> None:
    assert PUBLIC_BOUNDS.min_claim >= 48 * 3_600
    assert PUBLIC_BOUNDS.window_base >= 30 * 3_600
    assert PUBLIC_BOUNDS.window_exec_factor == 2
    assert PUBLIC_BOUNDS.withdraw_delay >= 26 * 3_600
    # The longest job still has a window that can be signed, and nothing is locked for a year.
    assert PUBLIC_BOUNDS.window_base + 2 * PUBLIC_BOUNDS.max_exec <= PUBLIC_BOUNDS.max_window
    assert PUBLIC_BOUNDS.max_exec + PUBLIC_BOUNDS.max_claim + PUBLIC_BOUNDS.max_window < 365 * DAY


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_price": Tokens(0)}, b"maxPrice"),
        ({"max_price": Tokens(2**96 + 1)}, b"maxPrice"),
        ({"max_commit_lead": 0}, b"maxCommitLead"),
        ({"max_exec": 366 * DAY}, b"maxExec"),
        ({"min_claim": 0}, b"minClaim"),
        ({"min_claim": 15 * DAY}, b"minClaim"),
        ({"window_base": 0}, b"windowBase"),
        ({"window_base": 61 * DAY}, b"windowBase"),
        ({"window_exec_factor": 17}, b"windowExecFactor"),
        ({"window_exec_factor": 5}, b"maxExec"),
        ({"withdraw_delay": 0}, b"withdrawDelay"),
        ({"unstake_delay": 366 * DAY}, b"unstakeDelay"),
    ],
)
def test_no_escrow_is_deployed_with_senseless_bounds(
    make_world: "Callable[..., World]", changes: dict[str, Any], field: bytes
) -> None:
    world = make_world()
    bounds = msgspec.structs.replace(PUBLIC_BOUNDS, **changes)
    assert world.refused("BadBounds", lambda: world.deploy_escrow(bounds=bounds))[0].rstrip(b"\0") == field

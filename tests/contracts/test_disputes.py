"""What can a panel do with a deal's money, and what can nobody do? The panel of these tests is a plain key."""

from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from protocols.contracts import calls
from protocols.deals.eip712 import Domain, OnChainState
from protocols.errors import LocalProtocolError
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, Hash32, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.contracts.lock import Lock
    from tests.contracts.conftest import World

RESULT: Final = Hash32(keccak256(b"result"))
YEAR: Final = 365 * 86_400
SETTLED, SLASHED, VOID = OnChainState.SETTLED, OnChainState.SLASHED, OnChainState.VOID
# A contract by hand: any call succeeds, and the last one's arguments are kept in slots 0 and 1.
RECORDER: Final = bytes.fromhex("600c8060095f395ff3" + "6004355f5560243560015500")


def claimed(world: "World") -> "Lock":
    lock = world.commit()
    world.send(world.provider, calls.claim(lock, RESULT))
    return lock


def disputed(world: "World") -> "Lock":
    lock = claimed(world)
    world.dispute(lock, RESULT)
    return lock


def money(world: "World") -> tuple[int, int, int, int]:
    """Client free, provider free, provider stake, burnable."""
    return (world.free(world.client), world.free(world.provider), world.stake(world.provider), world.read("burnable"))


# --- into a dispute --------------------------------------------------------------------------------------------------


def test_a_claimed_deal_is_disputed_with_what_was_claimed(world: "World") -> None:
    lock = claimed(world)
    assert world.dispute(lock, RESULT) is OnChainState.CLAIMED
    told = {"dealId": lock.deal_id, "resultHash": RESULT, "was": OnChainState.CLAIMED}
    assert world.events == [("DealDisputed", told)]
    slot = world.read("slotOf", world.client.hex, lock.run_nonce, lock.index)
    assert slot == (OnChainState.DISPUTED, world.now, lock.identity(RESULT))
    assert money(world) == (9_000, 0, 92_000, 0)


def test_a_committed_deal_is_disputed_with_a_result_that_is_part_of_it_from_then_on(world: "World") -> None:
    lock = world.commit()
    assert world.dispute(lock, RESULT) is OnChainState.COMMITTED
    slot = world.read("slotOf", world.client.hex, lock.run_nonce, lock.index)
    assert slot == (OnChainState.DISPUTED, world.now, lock.identity(RESULT))


def test_a_cheat_that_never_claims_can_be_disputed_while_nobody_has_expired_it(world: "World") -> None:
    late, expired = world.commit(), world.commit()
    world.warp_to(late.claim_by(world.now) + 1)
    world.dispute(late, RESULT)
    world.send(world.stranger, calls.expire(expired))
    assert world.refused("WrongState", lambda: world.dispute(expired, RESULT)) == (OnChainState.EXPIRED,)


def test_the_window_of_a_dispute_is_that_of_the_claim_and_sharp(world: "World") -> None:
    one, other = claimed(world), claimed(world)
    ends = one.window_ends(world.now)
    world.warp_to(ends)
    world.dispute(one, RESULT)
    world.warp(1)
    assert world.refused("TooLate", lambda: world.dispute(other, RESULT)) == (ends,)


def test_only_the_panel_opens_and_closes_a_dispute(world: "World") -> None:
    lock, open_one = claimed(world), disputed(world)
    for who in (world.client, world.provider, world.stranger, world.minter):
        assert world.refused("NotPanel", lambda who=who: world.dispute(lock, RESULT, sender=who)) == (  # type: ignore[misc]
            who.address,
            world.panel.address,
        )
        close = lambda who=who: world.close_dispute(open_one, RESULT, VOID, (1_000, 0, 8_000, 0, 0), sender=who)  # noqa: E731
        world.refused("NotPanel", close)


def test_a_dispute_is_about_the_claimed_result_and_no_other(world: "World") -> None:
    lock = claimed(world)
    world.refused("UnknownDeal", lambda: world.dispute(lock, Hash32(keccak256(b"another"))))
    world.refused("ZeroResult", lambda: world.dispute(lock, ZERO_HASH))
    fresh = world.commit()
    world.refused("ZeroResult", lambda: world.dispute(fresh, ZERO_HASH))
    never = world.lock_of(world.deal())
    world.refused("UnknownDeal", lambda: world.dispute(never, RESULT))


def test_a_deal_is_disputed_once(world: "World") -> None:
    lock = disputed(world)
    assert world.refused("WrongState", lambda: world.dispute(lock, RESULT)) == (OnChainState.DISPUTED,)
    world.close_dispute(lock, RESULT, VOID, (1_000, 0, 8_000, 0, 0))
    assert world.refused("WrongState", lambda: world.dispute(lock, RESULT)) == (OnChainState.VOID,)


@pytest.mark.parametrize("ending", ["settled", "cancelled", "burned"])
def test_an_ended_deal_is_not_disputed(world: "World", ending: str) -> None:
    lock = world.commit()
    if ending == "settled":
        world.settle(lock, 1_000)
    elif ending == "cancelled":
        world.cancel(lock, 0, sender=world.client, other=world.provider)
    else:
        deal = world.deal()
        world.send(world.client, calls.burn_run(deal.run_nonce, deal.index))
        lock = world.lock_of(deal)
    world.refused("UnknownDeal" if ending == "burned" else "WrongState", lambda: world.dispute(lock, RESULT))


def test_a_disputed_deal_ends_by_nobody_but_the_panel(world: "World") -> None:
    lock = disputed(world)
    before = money(world)
    world.refused("WrongState", lambda: world.settle(lock, 1_000, result_hash=RESULT))
    world.refused("UnknownDeal", lambda: world.cancel(lock, 0, sender=world.client, other=world.provider))
    world.refused("UnknownDeal", lambda: world.send(world.provider, calls.claim(lock, RESULT)))
    world.warp(lock.claim_within + lock.window_seconds + 1)
    world.refused("WrongState", lambda: world.send(world.stranger, calls.finalize(lock, RESULT)))
    world.refused("UnknownDeal", lambda: world.send(world.stranger, calls.expire(lock)))
    world.refused("TooEarly", lambda: world.send(world.stranger, calls.poke(lock, RESULT)))
    assert money(world) == before


# --- out of it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "payout", "after"),
    [
        # to client, provider, stake, panel, burned -> client free, provider free, stake, burnable
        (SLASHED, (3_000, 0, 0, 4_500, 1_500), (12_000, 0, 92_000, 1_500)),
        (SETTLED, (0, 1_000, 8_000, 0, 0), (9_000, 990, 100_000, 10)),
        (VOID, (1_000, 0, 8_000, 0, 0), (10_000, 0, 100_000, 0)),
        (SLASHED, (1_000, 0, 2_500, 4_500, 1_000), (10_000, 0, 94_500, 1_000)),
        (SETTLED, (0, 999, 8_000, 0, 1), (9_000, 990, 100_000, 10)),
    ],
    ids=["convicted", "acquitted", "void", "tolerance", "fee-rounds-down"],
)
def test_a_verdict_divides_what_the_deal_holds(
    world: "World", end: OnChainState, payout: tuple[int, ...], after: tuple[int, ...]
) -> None:
    lock, seats = disputed(world), world.tokens(world.panel.address)
    world.close_dispute(lock, RESULT, end, payout)
    assert world.state(lock) is end
    assert money(world) == after
    assert world.tokens(world.panel.address) == seats + payout[3]
    fee = payout[1] // 100
    told = dict(zip(("toClient", "paid", "toStake", "toPanel"), payout, strict=False))
    assert world.events[0] == (
        "DisputeClosed",
        {"dealId": lock.deal_id, "end": end} | told | {"burned": payout[4] + fee},
    )
    held = sum(money(world)) + world.stake(world.client)
    assert held == world.tokens(world.escrow)


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("by", [1, -1])
def test_a_verdict_divides_neither_more_nor_less(world: "World", at: int, by: int) -> None:
    lock = disputed(world)
    payout = [1_000, 1_000, 2_000, 3_000, 2_000]
    payout[at] += by
    refused = world.refused("Unbalanced", lambda: world.close_dispute(lock, RESULT, VOID, payout))
    assert refused == (9_000 + by, 9_000)


def test_a_verdict_that_overflows_is_refused(world: "World") -> None:
    lock = disputed(world)
    wraps = (2**256 - 1, 9_001, 0, 0, 0)
    world.refused("", lambda: world.close_dispute(lock, RESULT, VOID, wraps))


@pytest.mark.parametrize("end", [state for state in OnChainState if state not in (SETTLED, SLASHED, VOID)])
def test_a_verdict_is_an_end(world: "World", end: OnChainState) -> None:
    lock = disputed(world)
    world.refused("WrongState", lambda: world.close_dispute(lock, RESULT, end, (1_000, 0, 8_000, 0, 0)))


def test_the_panel_closes_nothing_that_it_has_not_opened(world: "World") -> None:
    committed, claimed_one, closed = world.commit(), claimed(world), disputed(world)
    back = (1_000, 0, 8_000, 0, 0)
    world.close_dispute(closed, RESULT, VOID, back)
    for lock, result in ((committed, ZERO_HASH), (claimed_one, RESULT), (closed, RESULT)):
        close = lambda lock=lock, result=result: world.close_dispute(lock, result, SETTLED, back)  # noqa: E731
        world.refused("WrongState", close)
    world.refused("UnknownDeal", lambda: world.close_dispute(committed, RESULT, VOID, back))


def test_a_verdict_goes_to_the_owners_of_the_commit(world: "World") -> None:
    lock = disputed(world)
    world.adopt(world.stranger, world.provider)
    world.close_dispute(lock, RESULT, SETTLED, (0, 1_000, 8_000, 0, 0))
    assert money(world) == (9_000, 990, 100_000, 10)


def test_a_panel_that_never_decides_cannot_keep_the_money(world: "World") -> None:
    lock = disputed(world)
    ends = world.now + YEAR
    world.warp_to(ends)
    assert world.refused("TooEarly", lambda: world.send(world.stranger, calls.poke(lock, RESULT))) == (ends + 1,)
    world.warp(1)
    world.send(world.stranger, calls.poke(lock, RESULT))
    assert world.state(lock) is OnChainState.VOID
    assert money(world) == (10_000, 0, 100_000, 0)
    assert world.events[0].name == "DisputeClosed"
    world.refused("WrongState", lambda: world.close_dispute(lock, RESULT, SLASHED, (3_000, 0, 0, 0, 6_000)))


def test_an_escrow_without_a_panel_has_no_disputes(make_world: "Callable[..., World]") -> None:
    world = make_world(with_panel=False)
    world.fund(free=10_000, stake=100_000)
    lock = claimed(world)
    world.refused("NotPanel", lambda: world.dispute(lock, RESULT))
    world.refused("NoPanel", lambda: world.send(world.client, calls.fund_panel(Tokens(5))))


# --- money for bonds and seats ---------------------------------------------------------------------------------------


@pytest.fixture
def recorded(world: "World") -> "World":
    """A world whose panel is a contract that keeps what it was told."""
    panel = world.deploy_code(RECORDER)
    world.escrow = world.deploy_escrow(panel=panel)
    world.domain = Domain(world.domain.chain_id, world.escrow)
    world.panel_address = panel
    for key in (world.client, world.owner):
        world.call(key, "approve", "0x" + world.escrow.hex(), 10**9, to=world.token)
        world.call(key, "deposit", 10_000)
    return world


def told(world: "World") -> tuple[Address, int]:
    """Arguments of the last ``onFunded``."""
    slots = [world.evm.storage("0x" + world.panel_address.hex(), at) for at in (0, 1)]
    return Address(slots[0].to_bytes(32)[12:]), slots[1]


def test_money_goes_to_the_panel_by_its_owners_call(recorded: "World") -> None:
    recorded.send(recorded.client, calls.fund_panel(Tokens(700)))
    assert recorded.free(recorded.client) == 9_300
    assert recorded.tokens(recorded.panel_address) == 700
    assert told(recorded) == (recorded.client.address, 700)
    assert recorded.events[0] == ("PanelFunded", {"owner": recorded.client.address, "amount": 700})


def test_an_operator_funds_the_panel_for_its_owner(recorded: "World") -> None:
    recorded.adopt(recorded.owner, recorded.client)
    recorded.send(recorded.client, calls.fund_panel(Tokens(700)))
    assert (recorded.free(recorded.owner), recorded.free(recorded.client)) == (9_300, 10_000)
    assert told(recorded) == (recorded.owner.address, 700)


def test_the_panel_is_funded_with_what_is_there(recorded: "World") -> None:
    send = lambda amount: recorded.send(recorded.client, calls.fund_panel(Tokens(amount)))  # noqa: E731
    assert recorded.refused("InsufficientFree", lambda: send(10_001))[1:] == (10_000, 10_001)
    recorded.refused("ZeroAmount", lambda: send(0))


def test_the_panel_pays_back_through_the_exit_delay(world: "World") -> None:
    world.call(world.panel, "depositFor", world.stranger.hex, 77)
    assert world.free(world.stranger) == 77


# --- fraud that needs no panel ---------------------------------------------------------------------------------------


def prove(world: "World", lock: "Lock", one: bytes, other: bytes | None, result_hash: Hash32 = ZERO_HASH) -> None:
    """A stranger shows two results of the provider, or one and the claim."""
    first = world.result(lock, one)[:2]
    second = None if other is None else world.result(lock, other)[:2]
    world.send(world.stranger, calls.prove_equivocation(lock, first, second, result_hash=result_hash))


def test_two_signed_results_cost_all_of_the_collateral(world: "World") -> None:
    lock = world.commit()
    prove(world, lock, b"one", b"other")
    assert world.state(lock) is OnChainState.SLASHED
    # Price and two prices to the client, the remaining 6,000 of the collateral burned.
    assert money(world) == (12_000, 0, 92_000, 6_000)
    assert world.events[0] == ("DealSlashed", {"dealId": lock.deal_id, "bounty": 2_000, "burned": 6_000})
    world.refused("WrongState", lambda: prove(world, lock, b"one", b"other"))


def test_half_of_a_small_collateral_is_burned_so_that_a_slash_cannot_be_laundered(world: "World") -> None:
    lock = world.commit(world.deal(collateral=Tokens(1_001)))
    prove(world, lock, b"one", b"other")
    assert money(world) == (10_500, 0, 98_999, 501)


def test_a_claim_binds_like_a_signature(world: "World") -> None:
    lock = world.commit()
    _, _, one = world.result(lock, b"one")
    world.send(world.provider, calls.claim(lock, one))
    world.refused("NoEquivocation", lambda: prove(world, lock, b"one", None, one))
    prove(world, lock, b"other", None, one)
    assert world.state(lock) is OnChainState.SLASHED


def test_one_result_is_no_contradiction(world: "World") -> None:
    lock = world.commit()
    _, _, one = world.result(lock, b"one")
    assert world.refused("NoEquivocation", lambda: prove(world, lock, b"one", b"one")) == (one,)
    with pytest.raises(LocalProtocolError, match="contradicts nothing"):
        prove(world, lock, b"one", None)


def test_results_of_another_deal_or_another_signer_prove_nothing(world: "World") -> None:
    lock, elsewhere = world.commit(), world.commit()
    mine, foreign = world.result(lock, b"one"), world.result(elsewhere, b"other")
    for first, second in ((mine, foreign), (foreign, mine)):
        data = calls.prove_equivocation(lock, first[:2], second[:2])
        world.refused("BadSignature", lambda data=data: world.send(world.stranger, data))  # type: ignore[misc]
    forged = (world.result(lock, b"two")[0], world.signed(world.client, world.result(lock, b"two")[0]))
    data = calls.prove_equivocation(lock, mine[:2], forged)
    world.refused("BadSignature", lambda: world.send(world.client, data))
    data = calls.prove_equivocation(lock, forged, None, result_hash=mine[2])
    world.refused("UnknownDeal", lambda: world.send(world.client, data))


def test_in_a_dispute_the_panel_judges_fraud_because_bonds_hang_on_it(world: "World") -> None:
    lock = world.commit()
    one, other = world.result(lock, b"one"), world.result(lock, b"other")
    world.dispute(lock, one[2])
    world.refused("WrongState", lambda: prove(world, lock, b"other", None, one[2]))
    abi = [(*packed(one), *packed_signature(one)), (*packed(other), *packed_signature(other))]
    check = lambda *pair: world.read("checkEquivocation", lock.deal_id, world.provider.hex, one[2], *pair)  # noqa: E731
    check(abi[1], abi[0])
    world.refused("NoEquivocation", lambda: check(abi[0], abi[1]))
    assert world.read("resultHashOf", lock.deal_id, world.provider.hex, abi[0]) == one[2]
    world.refused("BadSignature", lambda: world.read("resultHashOf", lock.deal_id, world.client.hex, abi[0]))


def packed(result: "tuple[object, bytes, Hash32]") -> tuple[object, ...]:
    """The members of a SignedResult before its signature."""
    made = result[0]
    names = ("salted_root", "outcome", "exit_code", "fuel", "wall_ms", "log_head")
    return tuple(getattr(made, name) for name in names)


def packed_signature(result: "tuple[object, bytes, Hash32]") -> tuple[bytes, bytes]:
    both = calls.compact(result[1])  # type: ignore[arg-type]
    return both[:32], both[32:]


def test_an_ended_deal_is_not_slashed(world: "World") -> None:
    lock = world.commit()
    world.settle(lock, 1_000)
    world.refused("WrongState", lambda: prove(world, lock, b"one", b"other"))


def test_a_verdict_on_one_deal_is_none_on_another(world: "World") -> None:
    one, other = disputed(world), disputed(world)
    mixed = msgspec.structs.replace(one, deal_id=other.deal_id)
    world.refused("UnknownDeal", lambda: world.close_dispute(mixed, RESULT, VOID, (1_000, 0, 8_000, 0, 0)))

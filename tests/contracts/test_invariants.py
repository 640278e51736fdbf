"""Do the ten invariants of the escrow hold, each shown by itself, and the threats that no other file names?

``test_conservation.py`` looks for a way around all of them at once; here each stands alone, so that a broken one has a name.
"""

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from pyrevm import AccountInfo

from protocols.contracts import artifact, calls, channels
from protocols.deals.eip712 import PUBLIC_BOUNDS, Domain, OnChainState, Settlement, deal_id, digest
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Hash32, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.contracts.lock import Lock
    from tests.contracts.conftest import World

RESULT: Final = Hash32(keccak256(b"result"))
YEAR: Final = 365 * 86_400
FINAL: Final = frozenset(OnChainState) - {
    OnChainState.NONE,
    OnChainState.COMMITTED,
    OnChainState.CLAIMED,
    OnChainState.DISPUTED,
}
OPEN_STATES: Final = ("committed", "claimed", "disputed", "disputed unclaimed")
# A contract by hand: whoever calls it has its `withdraw()` called back, and a refusal is passed on.
REENTERING: Final = bytes.fromhex("601d8060095f395ff3" + "633ccfd60b5f525f5f6004601c5f335af1601b573d5f5f3e3d5ffd5b00")


def in_state(world: "World", name: str) -> tuple["Lock", Hash32]:
    """A deal in a state, and the result it is bound to."""
    lock = world.commit()
    if name == "claimed" or name == "disputed":
        world.send(world.provider, calls.claim(lock, RESULT))
    if name.startswith("disputed"):
        world.dispute(lock, RESULT)
    return lock, ZERO_HASH if name == "committed" else RESULT


def balances(world: "World") -> dict[str, int]:
    """Free balance and stake of everybody, by name."""
    keys = (world.client, world.provider, world.stranger, world.owner, world.panel)
    return {
        f"{key.name} {kind}": got
        for key in keys
        for kind, got in zip(("free", "stake"), _both(world, key), strict=True)
    }


def _both(world: "World", key: Any) -> tuple[int, int]:
    return world.free(key), world.stake(key)


def test_i1_what_the_escrow_owes_is_what_it_has(world: "World") -> None:
    open_deals = [in_state(world, name)[0] for name in OPEN_STATES]
    channel = world.open_channel(3_000)
    world.redeem(channel, 1_000)
    world.call(world.client, "requestWithdraw", 100)
    world.call(world.provider, "requestUnstake", 100)
    locked = sum(lock.price + lock.collateral for lock in open_deals)
    in_channel, leaving = 3_000 - 1_000 + 10, 200
    owed = sum(balances(world).values()) + locked + in_channel + leaving + world.read("burnable")
    assert owed == world.tokens(world.escrow)


@pytest.mark.parametrize("ending", ["settle", "cancel", "finalize", "expire", "verdict", "fraud"])
def test_i2_a_deal_pays_out_price_and_collateral(world: "World", ending: str) -> None:
    before = sum(balances(world).values()) + world.read("burnable") + world.tokens(world.panel.address)
    lock, result = in_state(world, {"finalize": "claimed", "verdict": "disputed"}.get(ending, "committed"))
    world.warp(0 if ending in ("settle", "cancel", "verdict", "fraud") else 10**6)
    if ending == "settle":
        world.settle(lock, 333)
    elif ending == "cancel":
        world.cancel(lock, 77, sender=world.client, other=world.provider)
    elif ending == "verdict":
        world.close_dispute(lock, result, OnChainState.SLASHED, (2_001, 999, 3_000, 1_500, 1_500))
    elif ending == "fraud":
        one, other = world.result(lock, b"one"), world.result(lock, b"other")
        world.send(world.stranger, calls.prove_equivocation(lock, one[:2], other[:2]))
    else:
        world.send(world.stranger, calls.poke(lock, result))
    assert sum(balances(world).values()) + world.read("burnable") + world.tokens(world.panel.address) == before


@pytest.mark.parametrize("name", OPEN_STATES)
def test_i3_time_and_anyone_end_every_deal_once(world: "World", name: str) -> None:
    lock, result = in_state(world, name)
    world.warp(YEAR + 1)
    world.send(world.stranger, calls.poke(lock, result))
    assert world.state(lock) in FINAL
    world.refused("WrongState", lambda: world.send(world.stranger, calls.poke(lock, result)))


@pytest.mark.parametrize("name", OPEN_STATES)
def test_i4_nobody_loses_who_neither_signed_nor_sent_nor_was_judged(world: "World", name: str) -> None:
    for key in (world.stranger, world.owner):
        world.call(key, "deposit", 500)
        world.call(key, "stake", 200)
    before = balances(world)
    lock, result = in_state(world, name)
    world.warp(YEAR + 1)
    world.send(world.stranger, calls.poke(lock, result))
    after = balances(world)
    for holder in ("stranger free", "stranger stake", "owner free", "owner stake", "client stake", "provider free"):
        assert after[holder] >= before[holder]


def test_i5_a_stake_is_short_by_what_is_locked_and_backs_nothing_twice(world: "World") -> None:
    locks = [world.commit() for _ in range(3)]
    assert world.stake(world.provider) == 100_000 - sum(lock.collateral for lock in locks)
    world.settle(locks[0], 1_000)
    assert world.stake(world.provider) == 100_000 - sum(lock.collateral for lock in locks[1:])


def test_i6_redeemed_rises_and_stays_within_the_deposit(world: "World") -> None:
    channel, seen = world.open_channel(1_000), [0]
    for cumulative in (5, 3, 400, 400, 1_001, 1_000, 999):
        if seen[-1] < cumulative <= 1_000:
            world.redeem(channel, cumulative)
        else:
            name = "Overdrawn" if cumulative > 1_000 else "StaleVoucher"
            world.refused(name, lambda amount=cumulative: world.redeem(channel, amount))  # type: ignore[misc]
        seen.append(world.channel(channel).redeemed)
    assert seen == sorted(seen)
    assert seen[-1] == 1_000


@pytest.mark.parametrize("other", ["chain", "escrow"])
def test_i7_a_signature_for_another_chain_or_escrow_moves_nothing(world: "World", other: str) -> None:
    here = Domain(1, world.escrow) if other == "chain" else Domain(world.domain.chain_id, world.token)
    deal, lock = world.deal(), world.commit()
    foreign = world.client.sign(deal_id(here, deal))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.commit(deal, foreign)))
    paid = world.client.sign(digest(here, Settlement(lock.deal_id, Tokens(1))))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.settle(lock, Tokens(1), paid)))


def test_i8_no_more_tokens_than_the_schedule_allows(world: "World") -> None:
    allowed = int(world.call(world.stranger, "scheduled", world.now, to=world.token))
    made = int(world.call(world.stranger, "minted", to=world.token))
    mint = lambda amount: world.call(world.minter, "mint", world.owner.hex, amount, to=world.token)  # noqa: E731
    world.refused("AheadOfSchedule", lambda: mint(allowed - made + 1))
    mint(allowed - made)
    assert int(world.call(world.stranger, "totalSupply", to=world.token)) <= allowed


def test_i9_everybody_gets_out_all_it_has_when_nothing_is_open(world: "World") -> None:
    world.settle(world.commit(), 1_000)
    for key in (world.client, world.provider):
        for request, amount in (("requestWithdraw", world.free(key)), ("requestUnstake", world.stake(key))):
            if amount:
                world.call(key, request, amount)
    world.warp(10)
    world.call(world.client, "withdraw")
    world.call(world.provider, "withdraw")
    world.call(world.provider, "unstake")
    world.call(world.stranger, "burnFees")
    assert world.tokens(world.escrow) == 0


# I10, model and contract agree after each step: test_conservation.py.


def test_threat_reentrancy_a_contract_that_is_called_back_cannot_call_in(world: "World") -> None:
    panel = world.deploy_code(REENTERING)
    world.escrow = world.deploy_escrow(panel=panel)
    world.call(world.client, "approve", "0x" + world.escrow.hex(), 10**9, to=world.token)
    world.call(world.client, "deposit", 1_000)
    world.refused("ReentrancyGuardReentrantCall", lambda: world.send(world.client, calls.fund_panel(Tokens(5))))
    assert world.free(world.client) == 1_000


def test_threat_a_token_that_blocks_somebody_keeps_no_deal_and_no_channel_from_ending(world: "World") -> None:
    (paid, _), (claimed, result), (expired, _) = (
        in_state(world, name) for name in ("committed", "claimed", "committed")
    )
    disputed, _ = in_state(world, "disputed")
    channel = world.open_channel(1_000)
    # As if its issuer had frozen every account: from here on each call of the token fails.
    world.evm.insert_account_info("0x" + world.token.hex(), AccountInfo(nonce=1, code=b"\xfe"))
    with pytest.raises(world.reverted):
        world.call(world.client, "deposit", 1)
    world.settle(paid, 1_000)
    world.redeem(channel, 400)
    world.send(world.provider, channels.close(channel))
    world.warp(YEAR + 10)
    for lock, bound in ((claimed, result), (disputed, result), (expired, ZERO_HASH)):
        world.send(world.stranger, calls.poke(lock, bound))
    assert {world.state(lock) for lock in (paid, claimed, disputed, expired)} <= FINAL
    assert world.stake(world.provider) == 100_000 - expired.price  # the penalty for the one it let expire


def test_threat_a_silent_sequencer_every_wait_in_which_silence_costs_is_longer_than_a_day() -> None:
    a_day_and_margin = 26 * 3_600
    for seconds in (PUBLIC_BOUNDS.min_claim, PUBLIC_BOUNDS.window_base, PUBLIC_BOUNDS.withdraw_delay):
        assert seconds >= a_day_and_margin


def test_threat_packed_words_the_largest_amounts_do_not_touch_their_neighbours(
    make_world: "Callable[..., World]",
) -> None:
    world = make_world()
    world.call(world.minter, "mint", world.client.hex, 8 * 10**26, to=world.token)
    world.call(world.client, "deposit", 8 * 10**26)
    world.call(world.client, "stake", 4 * 10**26)
    channel = world.open_channel(4 * 10**26)
    world.redeem(channel, 4 * 10**26)
    held = world.channel(channel)
    assert (held.generation, held.deposit, held.redeemed) == (1, 4 * 10**26, 4 * 10**26)
    assert (world.free(world.client), world.stake(world.client)) == (0, 4 * 10**26)


def test_threat_an_administrator_nobody_sets_the_panel_after_deployment() -> None:
    names = {str(entry["name"]) for entry in artifact("MeshEscrow").abi if entry["type"] == "function"}
    assert {name for name in names if re.match("set[A-Z]|init|upgrade", name)} == {"setOperator"}


def test_threat_replay_a_settled_deal_and_a_spent_voucher_are_kept_for_good(world: "World") -> None:
    deal = world.deal()
    lock, channel = world.commit(deal), world.open_channel(1_000)
    world.settle(lock, 1_000)
    world.redeem(channel, 1_000)
    world.send(world.provider, channels.close(channel))
    world.warp(10 * YEAR)
    again = world.deal(run_nonce=deal.run_nonce)
    world.refused("AlreadyConsumed", lambda: world.commit(again))
    world.refused("ChannelNotOpen", lambda: world.redeem(channel, 1_000))

"""Which way can a deal's money go, and to the last wei? One test per transition, one per refusal."""

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from protocols.contracts import calls
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Cancellation, OnChainState, Settlement, deal_id
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Hash32, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import World

RESULT = keccak256(b"result")


def money(world: "World") -> tuple[int, int, int, int, int]:
    """Client free, client stake, provider free, provider stake, burnable."""
    client, provider = world.client, world.provider
    return (
        world.free(client),
        world.stake(client),
        world.free(provider),
        world.stake(provider),
        world.read("burnable"),
    )


# --- transitions -----------------------------------------------------------------------------------------------------


def test_commit_locks_price_and_collateral(world: "World") -> None:
    lock = world.commit()
    assert world.state(lock) is OnChainState.COMMITTED
    assert money(world) == (9_000, 0, 0, 92_000, 0)


def test_commit_tells_everything_a_stranger_needs(world: "World") -> None:
    deal = world.deal(index=3)
    lock = world.lock_of(deal)
    returned = world.send(world.provider, calls.commit(deal, world.client.sign(deal_id(world.domain, deal))))
    assert returned == lock.deal_id
    topics, data = world.committed_log
    assert Lock.from_log(topics, data) == lock
    state, since, identity = world.read("slotOf", world.client.hex, deal.run_nonce, 3)
    assert (state, since, identity) == (OnChainState.COMMITTED, world.now, lock.identity())


def test_settle_pays_burns_one_percent_and_returns_the_rest(world: "World") -> None:
    lock = world.commit()
    world.settle(lock, 700)
    assert world.state(lock) is OnChainState.SETTLED
    assert money(world) == (9_300, 0, 693, 100_000, 7)
    assert [event.name for event in world.events] == ["DealSettled"]
    assert world.events[0].args == {"dealId": lock.deal_id, "paid": 700, "burned": 7}


def test_settle_in_full(world: "World") -> None:
    lock = world.commit()
    world.settle(lock, 1_000)
    assert money(world) == (9_000, 0, 990, 100_000, 10)


def test_settle_for_nothing(world: "World") -> None:
    lock = world.commit()
    world.settle(lock, 0)
    assert money(world) == (10_000, 0, 0, 100_000, 0)


def test_settle_after_a_claim(world: "World") -> None:
    lock = world.commit()
    world.send(world.provider, calls.claim(lock, RESULT))
    world.settle(lock, 1_000, result_hash=RESULT)
    assert world.state(lock) is OnChainState.SETTLED


def test_settle_may_be_late_while_nobody_has_expired_it(world: "World") -> None:
    lock = world.commit()
    world.warp_to(lock.claim_by(world.now) + 1)
    world.settle(lock, 1_000)
    assert world.state(lock) is OnChainState.SETTLED


@pytest.mark.parametrize("by_client", [True, False])
def test_cancel_with_an_explicit_amount(world: "World", by_client: bool) -> None:
    lock = world.commit()
    sender, other = (world.client, world.provider) if by_client else (world.provider, world.client)
    world.cancel(lock, 200, sender=sender, other=other)
    assert world.state(lock) is OnChainState.CANCELLED
    assert money(world) == (9_800, 0, 198, 100_000, 2)
    assert world.events[0] == ("DealCancelled", {"dealId": lock.deal_id, "paid": 200, "burned": 2})


def test_claim_then_finalize_pays_a_provider_whose_client_is_silent(world: "World") -> None:
    lock = world.commit()
    world.warp_to(lock.claim_by(world.now))
    world.send(world.provider, calls.claim(lock, RESULT))
    assert world.state(lock) is OnChainState.CLAIMED
    ends = lock.window_ends(world.now)
    assert world.events[0].args == {"dealId": lock.deal_id, "resultHash": RESULT, "windowEnds": ends}
    slot = world.read("slotOf", world.client.hex, lock.run_nonce, lock.index)
    assert slot == (OnChainState.CLAIMED, world.now, lock.identity(RESULT))
    assert money(world) == (9_000, 0, 0, 92_000, 0)
    world.warp_to(ends + 1)
    world.send(world.stranger, calls.finalize(lock, RESULT))
    assert world.state(lock) is OnChainState.SETTLED
    assert money(world) == (9_000, 0, 990, 100_000, 10)
    assert world.events[0] == ("DealFinalized", {"dealId": lock.deal_id, "paid": 1_000, "burned": 10})


def test_expire_returns_the_price_with_half_the_penalty(world: "World") -> None:
    lock = world.commit(world.deal(price=Tokens(1_001)))
    world.warp_to(lock.claim_by(world.now) + 1)
    world.send(world.stranger, calls.expire(lock))
    assert world.state(lock) is OnChainState.EXPIRED
    # 1,001 penalty: 500 to the client, 501 burned; a collateral of 8,000 returns less the penalty.
    assert money(world) == (10_500, 0, 0, 98_999, 501)
    assert world.events[0] == ("DealExpired", {"dealId": lock.deal_id, "penalty": 1_001, "burned": 501})


@pytest.mark.parametrize(
    ("collateral", "client", "stake", "burned"), [(0, 10_000, 100_000, 0), (300, 10_150, 99_700, 150)]
)
def test_the_penalty_is_never_more_than_the_collateral(
    world: "World", collateral: int, client: int, stake: int, burned: int
) -> None:
    lock = world.commit(world.deal(collateral=Tokens(collateral)))
    world.warp_to(lock.claim_by(world.now) + 1)
    world.send(world.stranger, calls.expire(lock))
    assert money(world) == (client, 0, 0, stake, burned)


def test_poke_expires_and_finalizes(world: "World") -> None:
    silent, claimed = world.commit(), world.commit()
    world.send(world.provider, calls.claim(claimed, RESULT))
    world.warp(lock_seconds(silent))
    world.send(world.stranger, calls.poke(silent))
    world.send(world.stranger, calls.poke(claimed, RESULT))
    assert (world.state(silent), world.state(claimed)) == (OnChainState.EXPIRED, OnChainState.SETTLED)


def test_a_burned_run_can_never_be_committed(world: "World") -> None:
    deal = world.deal()
    world.send(world.client, calls.burn_run(deal.run_nonce, deal.index))
    assert world.events[0].name == "RunBurned"
    assert world.state(world.lock_of(deal)) is OnChainState.BURNED
    assert world.refused("AlreadyConsumed", lambda: world.commit(deal)) == (OnChainState.BURNED,)


def test_burning_a_run_burns_no_other_clients(world: "World") -> None:
    deal = world.deal()
    world.send(world.stranger, calls.burn_run(deal.run_nonce, deal.index))
    world.commit(deal)


def lock_seconds(lock: Lock) -> int:
    """Longer than any wait of this deal."""
    return lock.claim_within + lock.window_seconds + 1


# --- refusals: who ---------------------------------------------------------------------------------------------------


def test_only_the_providers_operator_commits(world: "World") -> None:
    deal = world.deal()
    data = calls.commit(deal, world.client.sign(deal_id(world.domain, deal)))
    for who in (world.client, world.stranger):
        assert world.refused("NotProvider", lambda who=who: world.send(who, data)) == (  # type: ignore[misc]
            who.address,
            world.provider.address,
        )


def test_only_the_providers_operator_settles_and_claims(world: "World") -> None:
    lock = world.commit()
    consent = world.signed(world.client, Settlement(lock.deal_id, lock.price))
    world.refused("NotProvider", lambda: world.send(world.client, calls.settle(lock, lock.price, consent)))
    world.refused("NotProvider", lambda: world.send(world.client, calls.claim(lock, RESULT)))


def test_only_the_parties_cancel(world: "World") -> None:
    lock = world.commit()
    consent = world.signed(world.client, Cancellation(lock.deal_id, Tokens(0)))
    world.refused("NotParty", lambda: world.send(world.stranger, calls.cancel(lock, Tokens(0), consent)))


# --- refusals: consent -----------------------------------------------------------------------------------------------


def test_a_deal_that_the_client_did_not_sign(world: "World") -> None:
    deal = world.deal()
    forged = world.provider.sign(deal_id(world.domain, deal))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.commit(deal, forged)))


def test_a_deal_altered_after_signing(world: "World") -> None:
    signed, posted = world.deal(run_nonce=70), world.deal(run_nonce=70, price=Tokens(1_001))
    consent = world.client.sign(deal_id(world.domain, signed))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.commit(posted, consent)))


def test_a_payment_that_the_client_did_not_sign(world: "World") -> None:
    lock = world.commit()
    consent = world.signed(world.client, Settlement(lock.deal_id, Tokens(10)))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.settle(lock, Tokens(11), consent)))


def test_a_consent_to_another_deal(world: "World") -> None:
    one, other = world.commit(), world.commit()
    consent = world.signed(world.client, Settlement(one.deal_id, one.price))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.settle(other, other.price, consent)))


def test_a_cancellation_is_no_settlement_and_the_reverse(world: "World") -> None:
    lock = world.commit()
    cancelling = world.signed(world.client, Cancellation(lock.deal_id, lock.price))
    settling = world.signed(world.client, Settlement(lock.deal_id, lock.price))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.settle(lock, lock.price, cancelling)))
    world.refused("BadSignature", lambda: world.send(world.provider, calls.cancel(lock, lock.price, settling)))


def test_nobody_cancels_on_its_own_signature(world: "World") -> None:
    lock = world.commit()
    for who in (world.client, world.provider):
        world.refused("BadSignature", lambda who=who: world.cancel(lock, 0, sender=who, other=who))  # type: ignore[misc]


def test_a_malleable_signature(world: "World") -> None:
    lock = world.commit()
    data = bytearray(calls.settle(lock, lock.price, world.signed(world.client, Settlement(lock.deal_id, lock.price))))
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    vs = int.from_bytes(data[-32:])
    flipped = (order - (vs & (1 << 255) - 1)) | (vs ^ 1 << 255) & 1 << 255
    data[-32:] = (flipped & (1 << 256) - 1).to_bytes(32)
    world.refused("BadSignature", lambda: world.send(world.provider, bytes(data)))


def test_a_signature_of_nobody(world: "World") -> None:
    deal = world.deal(client=bytes(20))
    data = calls.commit(deal, world.client.sign(deal_id(world.domain, deal)))[:-64] + bytes(64)
    world.refused("BadSignature", lambda: world.send(world.provider, data))


# --- refusals: state and time ----------------------------------------------------------------------------------------


def test_a_run_is_consumed_once(world: "World") -> None:
    deal = world.deal()
    lock = world.commit(deal)
    again = world.deal(run_nonce=deal.run_nonce, price=Tokens(999))
    assert world.refused("AlreadyConsumed", lambda: world.commit(again)) == (OnChainState.COMMITTED,)
    world.settle(lock, 1_000)
    assert world.refused("AlreadyConsumed", lambda: world.commit(deal)) == (OnChainState.SETTLED,)
    world.commit(world.deal(run_nonce=deal.run_nonce, index=1))


def test_a_committed_run_cannot_be_burned(world: "World") -> None:
    lock = world.commit()
    world.refused("AlreadyConsumed", lambda: world.send(world.client, calls.burn_run(lock.run_nonce, lock.index)))


@pytest.mark.parametrize("ending", ["settle", "cancel", "expire", "finalize"])
def test_a_deal_ends_once(world: "World", ending: str) -> None:
    lock, result = world.commit(), ZERO_HASH
    if ending == "settle":
        world.settle(lock, 1_000)
    elif ending == "cancel":
        world.cancel(lock, 0, sender=world.client, other=world.provider)
    elif ending == "finalize":
        result = RESULT
        world.send(world.provider, calls.claim(lock, RESULT))
    world.warp(lock_seconds(lock))
    if ending in ("expire", "finalize"):
        world.send(world.stranger, calls.poke(lock, result))
    after = money(world)
    again: list[Callable[[], object]] = [
        lambda: world.settle(lock, 1_000, result_hash=result),
        lambda: world.send(world.stranger, calls.poke(lock, result)),
        lambda: world.send(world.stranger, calls.finalize(lock, result)),
    ]
    if result == ZERO_HASH:
        again += [
            lambda: world.cancel(lock, 0, sender=world.client, other=world.provider),
            lambda: world.send(world.provider, calls.claim(lock, RESULT)),
            lambda: world.send(world.stranger, calls.expire(lock)),
        ]
    for act in again:
        world.refused("WrongState", act)
    assert money(world) == after


def test_no_cancel_and_no_expiry_after_a_claim(world: "World") -> None:
    lock = world.commit()
    world.send(world.provider, calls.claim(lock, RESULT))
    world.warp(lock_seconds(lock))
    # Without the result hash the Lock is no longer what the slot holds.
    world.refused("UnknownDeal", lambda: world.cancel(lock, 0, sender=world.client, other=world.provider))
    world.refused("UnknownDeal", lambda: world.send(world.stranger, calls.expire(lock)))
    world.refused("UnknownDeal", lambda: world.send(world.provider, calls.claim(lock, RESULT)))


def test_a_claim_can_be_finalized_only_with_its_result(world: "World") -> None:
    lock = world.commit()
    world.send(world.provider, calls.claim(lock, RESULT))
    world.warp(lock_seconds(lock))
    other = keccak256(b"another result")
    world.refused("UnknownDeal", lambda: world.send(world.provider, calls.finalize(lock, other)))
    world.refused("UnknownDeal", lambda: world.send(world.provider, calls.finalize(lock, ZERO_HASH)))
    world.send(world.provider, calls.finalize(lock, RESULT))


def test_a_claim_needs_a_result(world: "World") -> None:
    lock = world.commit()
    world.refused("ZeroResult", lambda: world.send(world.provider, calls.claim(lock, ZERO_HASH)))


def test_finalize_needs_a_claim(world: "World") -> None:
    lock = world.commit()
    world.warp(lock_seconds(lock))
    world.refused("WrongState", lambda: world.send(world.provider, calls.finalize(lock, ZERO_HASH)))


def test_the_claim_deadline_is_sharp(world: "World") -> None:
    lock = world.commit()
    deadline = lock.claim_by(world.now)
    world.warp_to(deadline)
    assert world.refused("TooEarly", lambda: world.send(world.stranger, calls.expire(lock))) == (deadline + 1,)
    world.warp(1)
    claim = calls.claim(lock, RESULT)
    assert world.refused("ClaimTooLate", lambda: world.send(world.provider, claim)) == (deadline,)
    world.send(world.stranger, calls.expire(lock))


def test_the_window_is_sharp(world: "World") -> None:
    lock = world.commit()
    world.send(world.provider, calls.claim(lock, RESULT))
    ends = lock.window_ends(world.now)
    world.warp_to(ends)
    assert world.refused("TooEarly", lambda: world.send(world.stranger, calls.poke(lock, RESULT))) == (ends + 1,)
    world.warp(1)
    world.send(world.stranger, calls.poke(lock, RESULT))


@pytest.mark.parametrize("field", ["deal_id", "provider", "client_owner", "provider_owner", "price", "collateral"])
def test_a_lock_with_one_other_field_is_unknown(world: "World", field: str) -> None:
    lock = world.commit()
    changes: dict[str, Any] = {
        "deal_id": Hash32(bytes(32)),
        "provider": world.stranger.address,
        "client_owner": world.stranger.address,
        "provider_owner": world.stranger.address,
        "price": Tokens(lock.price - 1),
        "collateral": Tokens(lock.collateral + 1),
    }
    forged = msgspec.structs.replace(lock, **{field: changes[field]})
    world.warp(lock_seconds(lock))
    assert world.refused("UnknownDeal", lambda: world.send(world.stranger, calls.expire(forged))) == (forged.deal_id,)


def test_a_deal_that_was_never_committed_is_unknown(world: "World") -> None:
    lock = world.lock_of(world.deal())
    world.refused("UnknownDeal", lambda: world.send(world.stranger, calls.poke(lock)))


# --- refusals: money -------------------------------------------------------------------------------------------------


def test_a_client_without_the_price(world: "World") -> None:
    deal = world.deal(price=Tokens(10_001))
    assert world.refused("InsufficientFree", lambda: world.commit(deal)) == (world.client.address, 10_000, 10_001)


def test_a_provider_without_the_collateral(world: "World") -> None:
    deal = world.deal(price=Tokens(10_000), collateral=Tokens(100_001))
    assert world.refused("InsufficientStake", lambda: world.commit(deal))[1:] == (100_000, 100_001)


def test_collateral_cannot_back_two_deals(world: "World") -> None:
    world.commit(world.deal(collateral=Tokens(60_000)))
    world.refused("InsufficientStake", lambda: world.commit(world.deal(collateral=Tokens(60_000))))


def test_never_more_than_the_price(world: "World") -> None:
    lock = world.commit()
    assert world.refused("Overpaid", lambda: world.settle(lock, 1_001)) == (1_001, 1_000)
    world.refused("Overpaid", lambda: world.cancel(lock, 1_001, sender=world.client, other=world.provider))

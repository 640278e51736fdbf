"""Who may dispute a deal, and which seats judge it? One test per rule, named after it.

Each call goes to the contract and to the Python machine, which must agree (twin.py).
"""

from typing import TYPE_CHECKING

from protocols.deals.eip712 import OnChainState
from protocols.disputes.draw import first_seed, seat_at
from protocols.disputes.params import bond_of
from protocols.disputes.states import Phase, Round, Row, Side, Stage
from protocols.hashing import keccak256
from protocols.units import Tokens
from tests.contracts.panel.rulings import ALL, BOND, C, F, P, account, ended, seat_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.panel.court import PanelWorld

# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_claimed_result_is_disputed_inside_the_window_and_not_after(court: "PanelWorld") -> None:
    lock = court.claimed()
    court.world.warp_to(lock.window_ends(court.now) + 1)
    court.dispute(lock, escrow_refuses="too_late")
    other = court.claimed()
    court.world.warp_to(other.window_ends(court.now))
    court.dispute(other)
    assert court.world.state(other) is OnChainState.DISPUTED


def test_a_signed_result_is_disputed_straight_from_committed(court: "PanelWorld") -> None:
    lock = court.commit_deal(court.deal())
    court.dispute_unclaimed(lock)
    assert court.phase(lock) is Phase.DISPUTED


def test_an_unsigned_result_is_not_disputed_from_committed(court: "PanelWorld") -> None:
    lock = court.commit_deal(court.deal())
    court.dispute_unclaimed(lock, signer=court.stranger, escrow_refuses="bad_signature")
    court.dispute(lock, escrow_refuses="unsigned_result")


def test_a_dispute_carries_the_clients_secret(court: "PanelWorld") -> None:
    lock = court.claimed()
    court.refused("wrong_secret", lambda: court.dispute(lock, secret=keccak256(b"guess")))


def test_a_deal_without_a_panel_has_no_dispute(court: "PanelWorld") -> None:
    terms = {"seat_fee": Tokens(0), "seat_class": 0, "seat_snapshot": 0}
    deal = court.world.deal(**terms)
    lock = court.world.commit(deal)
    court.deals[lock.deal_id] = (deal, lock)
    court.claim(lock)
    court.refused("no_panel_deal", lambda: court.dispute(lock))


def test_a_deal_is_disputed_once(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.refused("wrong_phase", lambda: court.dispute(lock))


def test_anybody_may_fund_a_dispute_and_has_the_bond_back_when_the_client_was_right(court: "PanelWorld") -> None:
    lock, before = court.claimed(), account(court, court.stranger)
    court.dispute(lock, sender=court.stranger)
    assert before - account(court, court.stranger) == BOND == bond_of(Tokens(F), P)
    court.judged(lock, ALL, guilty=True)
    assert ended(court, lock) is Row.CONVICTED
    assert account(court, court.stranger) == before


def test_the_least_collateral_pays_the_bounty_and_every_seat_the_fee_that_was_signed(court: "PanelWorld") -> None:
    fee, collateral = 3 * P, 2 * P + 3 * 3 * P
    deal = court.deal(seat_fee=Tokens(fee), collateral=Tokens(collateral - 1))
    court.world.refused("BadTerm", lambda: court.commit_deal(deal))
    lock = court.disputed(seat_fee=Tokens(fee), collateral=Tokens(collateral))
    assert court.state(lock).case.fee == fee
    court.judged(lock, ALL, guilty=True)
    free, earned = court.world.free(court.client), [account(court, key) for key in court.mediators]
    assert ended(court, lock) is Row.CONVICTED
    assert court.world.free(court.client) - free == P + 2 * P
    gains = [account(court, key) - before for key, before in zip(court.mediators, earned, strict=True)]
    assert sorted(gains)[-3:] == [fee] * 3


# --- the secret and the draw -----------------------------------------------------------------------------------------


def test_a_silent_provider_loses_its_collateral(court: "PanelWorld") -> None:
    lock = court.disputed()
    until = court.state(lock).until  # type: ignore[union-attr]
    court.world.warp_to(until)
    court.refused("too_early", lambda: court.poke(lock))
    client, funder = court.world.free(court.client), account(court, court.client)
    assert ended(court, lock) is Row.FORFEIT
    assert court.world.free(court.client) - client == P + 2 * P
    assert account(court, court.client) - funder == BOND
    court.refused("wrong_phase", lambda: court.show_secret(lock))


def test_the_secret_counts_only_in_time_and_only_the_signed_one(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.refused("wrong_secret", lambda: court.show_secret(lock, keccak256(b"another")))
    court.pass_deadline(lock)
    court.refused("too_late", lambda: court.show_secret(lock))


def test_the_seed_is_the_hash_of_both_secrets_and_the_deal(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.show_secret(lock)
    deal, _ = court.deals[lock.deal_id]
    seed = first_seed(court.secret(deal, Side.CLIENT), court.secret(deal, Side.PROVIDER), lock.deal_id)
    assert court.panel_of(lock).seed == seed
    assert [event.args["seed"] for event in court.events if event.name == "SecretRevealed"] == [seed]
    place, drawn = Round(seed=seed, turns=()), []
    for _ in range(3):
        seat, place = seat_at(place, len(court.mediators))
        drawn.append(seat)
    assert seat_numbers(court, lock) == drawn


def test_seats_are_drawn_without_replacement(make_court: "Callable[..., PanelWorld]") -> None:
    court = make_court(seats=3)
    lock = court.disputed()
    court.show_secret(lock)
    assert sorted(seat_numbers(court, lock)) == [0, 1, 2]


def test_only_seats_below_the_snapshot_of_the_deals_class_are_drawn(court: "PanelWorld") -> None:
    court.join(court.stranger, 2)
    lock = court.disputed(seat_snapshot=3)
    court.show_secret(lock)
    assert sorted(seat_numbers(court, lock)) == [0, 1, 2]


def test_a_seat_younger_than_a_day_is_not_drawn(court: "PanelWorld") -> None:
    lock = court.claimed(seat_snapshot=16)
    court.join(court.stranger)
    court.join(court.stranger)
    court.dispute(lock)
    court.show_secret(lock)
    assert max(seat_numbers(court, lock)) < 14
    snapshot = [court.lock_words(lock), 1, 16]
    assert court.view("eligibleSeats", *snapshot) == 14
    court.world.warp(court.bounds.seat_age)
    assert court.view("eligibleSeats", *snapshot) == 16


def test_the_parties_own_seats_are_not_drawn(make_court: "Callable[..., PanelWorld]") -> None:
    court = make_court(seats=2)
    for party in (court.client, court.provider):
        court.join(party)
    court.world.adopt(court.provider, court.stranger)  # an operator of the provider's owner
    court.join(court.stranger)
    court.world.warp(court.bounds.seat_age)
    lock = court.disputed()
    court.show_secret(lock)
    called = [turn.seat for turn in court.panel_of(lock).turns if turn.stage is Stage.CALLED]
    assert sorted(called) == [0, 1]


def test_seats_of_the_owners_behind_the_parties_are_not_drawn(make_court: "Callable[..., PanelWorld]") -> None:
    court = make_court(seats=3)
    behind_client, behind_provider = court.mediators[0], court.stranger
    court.join(behind_provider)
    court.world.call(behind_provider, "stake", C)
    court.world.adopt(behind_client, court.client)
    court.world.adopt(behind_provider, court.provider)
    court.world.warp(court.bounds.seat_age)
    lock = court.claimed()
    assert (lock.client_owner, lock.provider_owner) == (behind_client.address, behind_provider.address)
    court.dispute(lock, sender=court.mediators[1])
    court.show_secret(lock)
    called = [turn.seat for turn in court.panel_of(lock).turns if turn.stage is Stage.CALLED]
    assert sorted(called) == [1, 2]


def test_a_seat_that_leaves_or_is_bound_elsewhere_is_not_drawn(make_court: "Callable[..., PanelWorld]") -> None:
    court = make_court(seats=5)
    court.resign(court.mediators[0], 0)
    first = court.disputed(price=Tokens(3_000), collateral=Tokens(30_000), seat_fee=Tokens(3_600))
    court.committing(first)  # locks 9,000 of 10,000 in three seats
    second = court.disputed()
    court.show_secret(second)
    called = [turn.seat for turn in court.panel_of(second).turns if turn.stage is Stage.CALLED]
    assert len(called) == 1
    assert called[0] not in [0, *seat_numbers(court, first)]

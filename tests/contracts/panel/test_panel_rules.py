"""Does every sentence about disputes in the protocol hold on chain? One test per rule, named after it.

Each call goes to the contract and to the Python machine, which must agree (conftest.py).
"""

from typing import TYPE_CHECKING

import pytest

from protocols.contracts import calls
from protocols.deals.eip712 import Level, OnChainState, OutcomeCode
from protocols.disputes.draw import appeal_seed, first_seed, seat_at
from protocols.disputes.params import PUBLIC_PANEL, appeal_deposit, bond_of
from protocols.disputes.states import PROVIDER_BIT, Phase, Reason, Round, Row, Side, Slashed, Stage, Voided, first_bit
from protocols.hashing import keccak256
from protocols.units import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.contracts.lock import Lock
    from tests.contracts.panel.conftest import PanelWorld

P, C, F = 1_000, 30_000, 1_501
BOND = 3 * F + P // 2
LOCK = 3 * P
ALL = 0b111


def row(court: "PanelWorld", lock: "Lock") -> Row:
    state = court.state(lock)
    assert isinstance(state, (Slashed, Voided)) or court.phase(lock) is Phase.SETTLED
    return state.row  # type: ignore[union-attr]


def ended(court: "PanelWorld", lock: "Lock") -> Row:
    """Nobody does anything more."""
    court.pass_deadline(lock)
    court.poke(lock)
    return row(court, lock)


def account(court: "PanelWorld", key: object) -> int:
    return int(court.model.accounts.get(key.address, 0))  # type: ignore[attr-defined]


def seat_numbers(court: "PanelWorld", lock: "Lock") -> list[int]:
    return [turn.seat for turn in court.panel_of(lock).turns]


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


# --- seats at work ---------------------------------------------------------------------------------------------------


def test_a_seat_accepts_in_time_and_its_lock_is_taken(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.show_secret(lock)
    court.refused("not_your_turn", lambda: court.accept(lock, 0, sender=court.stranger))
    court.refused("not_your_turn", lambda: court.accept(lock, 3, sender=court.stranger))
    court.accept(lock, 0)
    assert court.model.classes[1][seat_numbers(court, lock)[0]].locked == LOCK
    court.pass_deadline(lock)
    court.refused("too_late", lambda: court.accept(lock, 1))


def test_a_seat_that_does_not_accept_is_replaced_and_loses_nothing(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.show_secret(lock)
    absent = seat_numbers(court, lock)[2]
    court.accept(lock, 0)
    court.accept(lock, 1)
    court.pass_deadline(lock)
    court.poke(lock)
    assert court.panel_of(lock).waves == 1
    assert absent not in seat_numbers(court, lock)
    assert court.model.classes[1][absent].bond == court.bounds.seat_bond


def test_a_seat_absent_after_acceptance_loses_its_lock_and_its_place(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    absent = seat_numbers(court, lock)[2]
    court.commit(lock, 0)
    court.commit(lock, 1)
    court.pass_deadline(lock)
    court.poke(lock)
    assert court.phase(lock) is Phase.DRAWN
    assert court.model.classes[1][absent].bond == court.bounds.seat_bond - LOCK
    assert court.model.classes[1][absent].out_at
    assert court.model.burnable == LOCK
    court.committing(lock)
    court.commit(lock, 2)
    assert court.phase(lock) is Phase.OPENING


def test_after_three_replacements_the_present_ones_decide(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.show_secret(lock)
    court.accept(lock, 0)
    court.accept(lock, 1)
    for waves in (1, 2, 3):
        court.pass_deadline(lock)
        court.poke(lock)
        assert court.panel_of(lock).waves == waves
    court.pass_deadline(lock)
    court.poke(lock)
    assert court.phase(lock) is Phase.COMMITTING
    court.commit(lock, 0)
    court.commit(lock, 1)
    court.open(lock)
    for position in (0, 1):
        court.reveal(lock, position)
    for position in (0, 1):
        court.publish(lock, position, 0b11)
    court.publish_provider(lock, 0b11)
    assert ended(court, lock) is Row.CONVICTED


def test_one_seat_alone_neither_convicts_nor_acquits(make_court: "Callable[..., PanelWorld]") -> None:
    court = make_court(seats=1)
    lock = court.disputed()
    court.revealing(lock)
    court.reveal(lock, 0)
    assert court.phase(lock) is Phase.VERDICT
    assert ended(court, lock) is Row.VOID


def test_without_any_seat_the_deal_is_void(make_court: "Callable[..., PanelWorld]") -> None:
    court = make_court(seats=0)
    lock = court.disputed()
    court.show_secret(lock)
    assert court.phase(lock) is Phase.VERDICT
    assert ended(court, lock) is Row.VOID


def test_a_fingerprint_is_keyed_by_seat_and_dispute_so_a_copied_commitment_is_worthless(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    for position in (0, 1, 2):
        court.commit(lock, position)
    first, second = (court.panel_of(lock).turns[i].commitment for i in (0, 1))
    assert first != second
    court.open(lock)
    court.refused("bad_reveal", lambda: court.reveal(lock, 1, salt=court.fingerprint(lock, 0)[1]))


def test_who_copies_a_seats_commitment_cannot_reveal_what_it_copied(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    court.commit(lock, 0)
    court.commit(lock, 1, copied_from=0)
    court.commit(lock, 2)
    turns = court.panel_of(lock).turns
    assert turns[0].commitment == turns[1].commitment
    court.open(lock)
    court.reveal(lock, 0)
    court.refused("bad_reveal", lambda: court.reveal(lock, 1, copied_from=0))
    court.refused("bad_reveal", lambda: court.reveal(lock, 1))
    court.reveal(lock, 2)
    court.pass_deadline(lock)
    court.poke(lock)
    copier = seat_numbers(court, lock)[1]
    assert court.model.classes[1][copier].bond == court.bounds.seat_bond - LOCK


def test_nobody_reveals_before_the_provider_has_opened(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    court.commit(lock, 0)
    court.refused("wrong_phase", lambda: court.reveal(lock, 0))
    court.refused("wrong_phase", lambda: court.open(lock))


def test_the_provider_opens_what_it_had_signed_or_loses_its_collateral(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    for position in (0, 1, 2):
        court.commit(lock, position)
    court.refused("bad_opening", lambda: court.open(lock, root=b"better"))
    court.refused("bad_opening", lambda: court.open(lock, outcome=OutcomeCode.TIMEOUT))
    court.refused("not_provider", lambda: court.open(lock, sender=court.stranger))
    assert ended(court, lock) is Row.FORFEIT
    assert court.model.burnable == 0  # locks return, the rest of C is burned in the escrow


def test_a_seat_that_does_not_reveal_loses_its_lock(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.revealing(lock)
    absent = seat_numbers(court, lock)[0]
    court.reveal(lock, 1)
    court.reveal(lock, 2)
    court.pass_deadline(lock)
    court.poke(lock)
    assert court.phase(lock) is Phase.MATCHING
    assert court.model.classes[1][absent].bond == court.bounds.seat_bond - LOCK


# --- findings --------------------------------------------------------------------------------------------------------


def test_guilty_when_a_majority_matches_each_other_and_the_provider_does_not_match_it(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.judged(lock, 0b011, guilty=True)
    outsider = seat_numbers(court, lock)[2]
    earners = [court.mediators[seat] for seat in seat_numbers(court, lock)[:2]]
    before = [account(court, key) for key in earners]
    assert ended(court, lock) is Row.CONVICTED
    assert [account(court, key) - paid for key, paid in zip(earners, before, strict=True)] == [F, F]
    assert court.model.classes[1][outsider].bond == court.bounds.seat_bond - LOCK


def test_an_edge_counts_only_when_both_ends_set_it(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.matching(lock)
    court.publish(lock, 0, 0b110)
    court.publish(lock, 1, 0b000)
    court.publish(lock, 2, 0b000)
    court.publish_provider(lock, ALL)
    assert ended(court, lock) is Row.VOID


def test_votes_without_work_match_nobody(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.matching(lock)
    lazy = seat_numbers(court, lock)[2]
    court.publish(lock, 0, 0b011)
    court.publish(lock, 1, 0b011)
    court.publish(lock, 2, 0b111 | PROVIDER_BIT)  # claims to match everybody
    court.publish_provider(lock, 0b100)
    assert ended(court, lock) is Row.CONVICTED
    assert court.model.classes[1][lazy].bond == court.bounds.seat_bond - LOCK


def test_one_bought_seat_saves_no_cheat_and_convicts_no_honest_provider(court: "PanelWorld") -> None:
    cheat, honest = court.disputed(), court.disputed()
    for lock, others, bought in ((cheat, 0, PROVIDER_BIT), (honest, PROVIDER_BIT, 0)):
        court.matching(lock)
        court.publish(lock, 0, ALL | others)
        court.publish(lock, 1, ALL | others)
        court.publish(lock, 2, ALL | bought)
        court.publish_provider(lock, ALL)
    assert ended(court, cheat) is Row.CONVICTED
    court.poke(honest)
    assert row(court, honest) is Row.ACQUITTED


def test_acquitted_the_provider_has_price_collateral_and_half_a_price_and_seats_their_fees(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.judged(lock, ALL, guilty=False)
    free, stake, own = (
        court.world.free(court.provider),
        court.world.stake(court.provider),
        account(court, court.provider),
    )
    assert ended(court, lock) is Row.ACQUITTED
    assert court.world.free(court.provider) - free == P - P // 100
    assert court.world.stake(court.provider) - stake == C
    assert account(court, court.provider) - own == P // 2
    assert court.model.burnable == 0


def test_withheld_and_acquitted_without_a_receipt_both_pay_the_seats(court: "PanelWorld") -> None:
    lock = court.disputed(Reason.WITHHELD)
    court.judged(lock, ALL, guilty=False)
    stake, own = court.world.stake(court.provider), account(court, court.client)
    assert ended(court, lock) is Row.UNPROVEN
    half = 3 * F // 2
    assert court.world.stake(court.provider) - stake == C - (3 * F - half)
    assert account(court, court.client) - own == BOND - half


def test_withheld_is_a_lie_when_the_client_has_signed_for_the_bytes(court: "PanelWorld") -> None:
    lock = court.disputed(Reason.WITHHELD)
    court.show_delivery(lock)
    court.judged(lock, ALL, guilty=False)
    own = account(court, court.client)
    assert ended(court, lock) is Row.ACQUITTED
    assert account(court, court.client) == own


def test_input_unavailable_by_a_majority_costs_the_disputer_its_bond_and_pays_no_seat(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    court.miss_inputs(lock, 0)
    court.miss_inputs(lock, 2)
    court.commit(lock, 1)
    accounts = dict(court.model.accounts)
    assert court.phase(lock) is Phase.VERDICT
    assert ended(court, lock) is Row.UNSERVED
    assert court.model.accounts == accounts
    assert court.model.burnable == BOND


def test_output_unavailable_by_a_majority_costs_the_provider_its_collateral_and_pays_no_seat(
    court: "PanelWorld",
) -> None:
    lock = court.disputed()
    court.revealing(lock)
    for position, served in enumerate((False, True, False)):
        court.reveal(lock, position, served=served)
    own = account(court, court.client)
    assert ended(court, lock) is Row.FORFEIT
    assert account(court, court.client) - own == BOND
    assert court.model.burnable == 0


@pytest.mark.parametrize("outcome", [OutcomeCode.TIMEOUT, OutcomeCode.DISK_LIMIT, OutcomeCode.OOM])
def test_timeout_disk_limit_and_oom_are_never_grounds_for_conviction(court: "PanelWorld", outcome: OutcomeCode) -> None:
    lock = court.disputed(outcome=outcome)
    court.judged(lock, ALL, guilty=True, outcome=outcome)
    stake = court.world.stake(court.provider)
    assert ended(court, lock) is Row.BLAMELESS
    assert court.world.stake(court.provider) - stake == C - (3 * F - 3 * F // 2)


def test_two_signed_results_are_fraud_in_every_phase_of_a_dispute(court: "PanelWorld") -> None:
    early, late = court.disputed(), court.disputed()
    court.equivocate(early)
    assert row(court, early) is Row.FORFEIT
    court.judged(late, ALL, guilty=False)
    court.equivocate(late)
    assert row(court, late) is Row.FORFEIT
    assert all(seat.locked == 0 for seat in court.model.classes[1])


# --- splits and appeals ----------------------------------------------------------------------------------------------


def split(court: "PanelWorld") -> "Lock":
    lock = court.disputed()
    court.judged(lock, 0, guilty=True)
    assert court.phase(lock) is Phase.VERDICT
    return lock


def test_a_split_without_deposits_is_void_and_burns_the_bond(court: "PanelWorld") -> None:
    lock = split(court)
    client, stake = court.world.free(court.client), court.world.stake(court.provider)
    assert ended(court, lock) is Row.VOID
    assert (court.world.free(court.client) - client, court.world.stake(court.provider) - stake) == (P, C)
    assert court.model.burnable == BOND
    assert all(seat.bond == court.bounds.seat_bond and not seat.locked for seat in court.model.classes[1])


@pytest.mark.parametrize(("side", "wins"), [(Side.CLIENT, Row.CONVICTED), (Side.PROVIDER, Row.ACQUITTED)])
def test_after_a_split_the_only_depositor_wins_and_has_its_deposit_back(
    court: "PanelWorld", side: Side, wins: Row
) -> None:
    lock = split(court)
    key = court.client if side is Side.CLIENT else court.provider
    own = account(court, key)
    court.deposit(lock, side)
    assert own - account(court, key) == 7 * F == appeal_deposit(Tokens(F))
    court.refused("wrong_side", lambda: court.deposit(lock, side))
    assert ended(court, lock) is wins
    assert account(court, key) - own == (BOND if side is Side.CLIENT else P // 2)


def test_only_the_side_that_lost_appeals(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.judged(lock, ALL, guilty=True)
    court.refused("wrong_side", lambda: court.deposit(lock, Side.CLIENT))
    court.deposit(lock, Side.PROVIDER)
    assert court.phase(lock) is Phase.APPEALED


def test_a_verdict_that_nobody_defends_falls_to_the_appellant(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.judged(lock, ALL, guilty=True)
    court.deposit(lock, Side.PROVIDER)
    assert ended(court, lock) is Row.ACQUITTED


def test_a_deposit_gives_the_other_side_its_full_time(court: "PanelWorld") -> None:
    lock = split(court)
    court.world.warp_to(court.state(lock).until)  # type: ignore[union-attr]
    court.deposit(lock, Side.CLIENT)
    assert court.state(lock).until == court.now + court.bounds.appeal  # type: ignore[union-attr]


def appealed(court: "PanelWorld", *, guilty: bool) -> "Lock":
    """Two of three have decided, the loser has appealed, the other has answered."""
    lock = court.disputed()
    court.judged(lock, 0b011, guilty=guilty)
    court.deposit(lock, Side.PROVIDER if guilty else Side.CLIENT)
    court.deposit(lock, Side.CLIENT if guilty else Side.PROVIDER)
    assert court.phase(lock) is Phase.DRAWN
    return lock


def test_an_appeal_draws_seven_other_seats_from_a_seed_with_the_salts_in_it(court: "PanelWorld") -> None:
    lock = appealed(court, guilty=True)
    first, second = court.state(lock).rounds  # type: ignore[union-attr]
    assert second.seed == appeal_seed(first) == keccak256(first.seed, first.salts)
    assert first.salts != bytes(32)
    assert len(second.called) == 7
    assert not set(second.called) & set(first.called)


def test_the_provider_opens_anew_only_after_the_second_panels_commits(court: "PanelWorld") -> None:
    lock = appealed(court, guilty=True)
    court.committing(lock)
    court.refused("wrong_phase", lambda: court.open(lock))
    for position in range(7):
        court.commit(lock, position)
    court.open(lock)
    assert court.phase(lock) is Phase.REVEALING


def test_four_of_seven_decide_for_good(court: "PanelWorld") -> None:
    lock = appealed(court, guilty=True)
    client = account(court, court.client)
    court.judged(lock, 0b0001111, guilty=True, firsts=first_bit(0) | first_bit(1))
    assert row(court, lock) is Row.CONVICTED
    # The winner's deposit returns with the bond; the loser's pays four fees, and three are burned.
    assert account(court, court.client) - client == 7 * F + BOND
    assert court.model.burnable == 3 * F + 3 * LOCK + LOCK
    assert len([seat for seat in court.model.classes[1] if seat.bond < court.bounds.seat_bond]) == 4


def test_three_of_seven_decide_nothing_and_all_returns(court: "PanelWorld") -> None:
    lock = appealed(court, guilty=True)
    client, provider = account(court, court.client), account(court, court.provider)
    court.judged(lock, 0b0000111, guilty=True)
    assert row(court, lock) is Row.VOID
    assert account(court, court.client) - client == 7 * F + BOND  # the first panel had a majority: the bond returns
    assert account(court, court.provider) - provider == 7 * F
    assert court.model.burnable == 0


def test_an_appeal_can_overturn_and_the_overturned_seats_lose_their_locks(court: "PanelWorld") -> None:
    lock = appealed(court, guilty=True)
    convicting = [turn.seat for turn in court.state(lock).rounds[0].turns]  # type: ignore[union-attr]
    provider = account(court, court.provider)
    court.judged(lock, 0b1111111, guilty=False)
    assert row(court, lock) is Row.ACQUITTED
    assert account(court, court.provider) - provider == 7 * F + P // 2
    assert all(court.model.classes[1][seat].bond == court.bounds.seat_bond - LOCK for seat in convicting)
    assert court.model.burnable == 3 * LOCK + 3 * F  # locks and unearned fees: nobody gains by another's loss


# --- tolerance levels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [Level.NUMERIC, Level.PERCEPTUAL])
def test_tolerance_failures_cost_the_deal_and_the_third_takes_everything(court: "PanelWorld", level: Level) -> None:
    rows = []
    for failures in (1, 2, 3):
        lock = court.disputed(level=level)
        stake, client = court.world.stake(court.provider), court.world.free(court.client)
        court.judged(lock, ALL, guilty=True)
        rows.append(ended(court, lock))
        returned = court.world.stake(court.provider) - stake
        assert returned == (C - P - 3 * F if failures < 3 else 0)
        assert court.world.free(court.client) - client == (P if failures < 3 else 3 * P)
        assert court.model.scores[court.provider.address, level][0] == min(9_159, 3_219 * failures)
    assert rows == [Row.LOST, Row.LOST, Row.CONVICTED]


def test_settled_deals_of_the_level_bring_the_score_down_once_each(court: "PanelWorld") -> None:
    before = court.commit_deal(court.deal(level=Level.NUMERIC, audit_ppm=500_000))
    court.world.settle(before, P)
    lock = court.disputed(level=Level.NUMERIC)
    court.judged(lock, ALL, guilty=True)
    ended(court, lock)
    court.refused("no_credit", lambda: court.credit(before))  # settled before the failure
    after = court.commit_deal(court.deal(level=Level.NUMERIC, audit_ppm=500_000))
    court.refused("no_credit", lambda: court.credit(after))
    court.world.warp(1)
    court.world.settle(after, P)
    court.credit(after)
    assert court.model.scores[court.provider.address, Level.NUMERIC][0] == 3_219 - 336
    court.refused("no_credit", lambda: court.credit(after))
    exact = court.commit_deal(court.deal())
    court.refused("no_panel_deal", lambda: court.credit(exact))


# --- waits -----------------------------------------------------------------------------------------------------------


def test_every_wait_of_a_public_panel_in_which_silence_costs_outlasts_a_silent_sequencer() -> None:
    a_day_and_margin = 26 * 3_600
    waits = (PUBLIC_PANEL.secret, PUBLIC_PANEL.work, PUBLIC_PANEL.open, PUBLIC_PANEL.reveal, PUBLIC_PANEL.match)
    assert {*waits, PUBLIC_PANEL.appeal} == {a_day_and_margin}
    assert PUBLIC_PANEL.accept == 3_600  # a called seat that does not accept loses nothing
    assert PUBLIC_PANEL.seat_age >= 24 * 3_600


def test_a_bond_leaves_later_than_any_dispute_ends() -> None:
    longest_run = 14 * 86_400
    sitting = 4 * PUBLIC_PANEL.accept + 4 * (PUBLIC_PANEL.work + 2 * longest_run)
    showing = PUBLIC_PANEL.open + PUBLIC_PANEL.reveal + PUBLIC_PANEL.match
    dispute = PUBLIC_PANEL.secret + 2 * (sitting + showing) + 2 * PUBLIC_PANEL.appeal
    # Locked bonds wait for their verdict however long it takes; the escrow gives up on a panel only later than that.
    assert dispute < 365 * 86_400


# --- whatever happens ------------------------------------------------------------------------------------------------


def test_a_dispute_that_the_escrow_has_voided_gives_everybody_its_own(court: "PanelWorld") -> None:
    lock = appealed(court, guilty=True)
    court.committing(lock)
    accounts = account(court, court.client), account(court, court.provider)
    court.world.warp(366 * 86_400)
    court.world.send(court.stranger, calls.poke(lock, court.result_hash(lock)))
    assert court.world.state(lock) is OnChainState.VOID
    while court.phase(lock) is not Phase.VOID:
        court.pass_deadline(lock)
        court.poke(lock)
    gains = account(court, court.client) - accounts[0], account(court, court.provider) - accounts[1]
    assert gains == (7 * F + BOND, 7 * F)
    assert all(seat.locked == 0 for seat in court.model.classes[1])


def test_a_lost_lock_is_burned_and_the_seat_leaves_its_class(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.judged(lock, 0b011, guilty=True)
    loser = seat_numbers(court, lock)[2]
    ended(court, lock)
    supply = int(court.world.call(court.stranger, "totalSupply", to=court.world.token))
    court.burn()
    assert supply - int(court.world.call(court.stranger, "totalSupply", to=court.world.token)) == F + LOCK - F
    court.refused("already_leaving", lambda: court.resign(court.mediators[loser], loser))
    court.refused("too_early", lambda: court.retire(loser))
    court.world.warp(court.bounds.resign)
    court.retire(loser)
    assert account(court, court.mediators[loser]) == 10**6 - LOCK
    court.refused("not_leaving", lambda: court.retire(loser))


def test_a_seat_in_a_dispute_is_not_retired(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    seat = seat_numbers(court, lock)[0]
    court.refused("not_your_seat", lambda: court.resign(court.stranger, seat))
    court.resign(court.mediators[seat], seat)
    court.world.warp(court.bounds.resign)
    court.refused("seat_busy", lambda: court.retire(seat))


def test_money_reaches_the_panel_only_from_the_escrow(court: "PanelWorld") -> None:
    forged = keccak256(b"onFunded(address,uint256)")[:4] + bytes(12) + court.stranger.address + (10**9).to_bytes(32)
    with pytest.raises(court.world.reverted):
        court.send(court.stranger, forged)
    court.refused("insufficient_account", lambda: court.withdraw(court.stranger, 10**6 + 1))
    free = court.world.free(court.stranger)
    court.withdraw(court.stranger, 10**6)
    assert court.world.free(court.stranger) - free == 10**6


@pytest.mark.parametrize("phase", [phase for phase in Phase if Phase.NONE < phase < Phase.SETTLED])
@pytest.mark.parametrize("second", [False, True])
def test_from_any_state_time_and_anyone_reach_an_end(court: "PanelWorld", phase: Phase, second: bool) -> None:
    lock = appealed(court, guilty=False) if second and phase > Phase.DISPUTED else court.disputed()
    steps: dict[Phase, Callable[[], object]] = {
        Phase.DISPUTED: lambda: court.show_secret(lock),
        Phase.DRAWN: lambda: court.committing(lock),
        Phase.COMMITTING: lambda: [court.commit(lock, i) for i in court.places(lock, Stage.ACCEPTED)],
        Phase.OPENING: lambda: court.open(lock),
        Phase.REVEALING: lambda: [court.reveal(lock, i) for i in court.places(lock, Stage.COMMITTED)],
        Phase.MATCHING: lambda: [
            *(court.publish(lock, i, 0) for i in court.places(lock, Stage.REVEALED)),
            court.publish_provider(lock, 0),
        ],
        Phase.VERDICT: lambda: court.deposit(lock, Side.CLIENT),
    }
    while court.phase(lock) is not phase and court.phase(lock) < Phase.SETTLED:
        steps[court.phase(lock)]()
    for _ in range(2 * (1 + 4 * 2 + 5)):
        if court.phase(lock) >= Phase.SETTLED:
            break
        court.pass_deadline(lock)
        court.poke(lock)
    assert court.world.state(lock) in (OnChainState.SETTLED, OnChainState.SLASHED, OnChainState.VOID)
    assert all(seat.locked == 0 for seat in court.model.classes[1])
    court.compare()

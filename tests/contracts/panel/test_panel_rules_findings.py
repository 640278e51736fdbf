"""What do the published matches amount to, and whom does that cost what? One test per rule, named after it.

Each call goes to the contract and to the Python machine, which must agree (twin.py).
"""

from typing import TYPE_CHECKING

import pytest

from protocols.deals.eip712 import Level, OutcomeCode
from protocols.disputes.states import PROVIDER_BIT, Phase, Reason, Row
from tests.contracts.panel.rulings import ALL, BOND, LOCK, C, F, P, account, ended, row, seat_numbers

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld

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

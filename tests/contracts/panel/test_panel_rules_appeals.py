"""What happens after a verdict or a split: deposits, a second panel, and its last word? One test per rule, named after it.

Each call goes to the contract and to the Python machine, which must agree (twin.py).
"""

from typing import TYPE_CHECKING

import pytest

from protocols.disputes.draw import appeal_seed
from protocols.disputes.params import appeal_deposit
from protocols.disputes.states import Phase, Row, Side, first_bit
from protocols.hashing import keccak256
from protocols.units import Tokens
from tests.contracts.panel.rulings import ALL, BOND, LOCK, C, F, P, account, appealed, ended, row, split

if TYPE_CHECKING:
    from tests.contracts.panel.court import PanelWorld


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

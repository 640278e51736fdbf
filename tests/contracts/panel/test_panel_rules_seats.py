"""What does a seat do and in what time, and what does it lose when it does not? One test per rule, named after it.

Each call goes to the contract and to the Python machine, which must agree (twin.py).
"""

from typing import TYPE_CHECKING

from protocols.deals.eip712 import OutcomeCode
from protocols.disputes.states import Phase, Row
from tests.contracts.panel.rulings import LOCK, ended, seat_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.panel.court import PanelWorld


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


def test_a_seat_has_its_time_and_two_executions_to_commit(court: "PanelWorld") -> None:
    lock = court.disputed()
    court.committing(lock)
    until = court.state(lock).until  # type: ignore[union-attr]
    assert until == court.now + court.bounds.work + 2 * court.deals[lock.deal_id][0].exec_seconds
    court.world.warp_to(until)
    court.commit(lock, 0)
    court.world.warp_to(until + 1)
    court.refused("too_late", lambda: court.commit(lock, 1))


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

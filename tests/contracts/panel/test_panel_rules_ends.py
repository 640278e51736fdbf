"""Does every dispute end, with every lock released and all money accounted for? One test per rule, named after it.

Each call goes to the contract and to the Python machine, which must agree (twin.py).
"""

from typing import TYPE_CHECKING

import pytest

from protocols.contracts import calls
from protocols.deals.eip712 import OnChainState
from protocols.disputes.params import PUBLIC_PANEL
from protocols.disputes.states import Phase, Side, Stage
from protocols.hashing import keccak256
from tests.contracts.panel.rulings import BOND, LOCK, F, account, appealed, ended, seat_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.panel.court import PanelWorld

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

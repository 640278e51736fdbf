"""Whatever anybody does in whatever order: do the contract and the Python machine agree after every call?

Parties, seats and strangers make every call, at right and wrong moments, with right and wrong arguments. Both refuse with
the same error or reach the same state; what the escrow is told to pay is what the rows say. In the end a stranger and time
alone end every dispute, every owner gets its money out, and the panel is empty.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Level, OnChainState, OutcomeCode
from protocols.disputes.machine import deadline
from protocols.disputes.states import PROVIDER_BIT, Disputed, Phase, Reason, Settled, Side, Slashed, Stage, Voided
from protocols.hashing import keccak256
from protocols.units import Tokens

if TYPE_CHECKING:
    from tests.contracts.conftest import Key
    from tests.contracts.panel.court import PanelWorld

MAX_DISPUTES = 3
SECOND_CLASS = 2
masks = st.sampled_from([0b111, 0b1111111, 0b0011, 0b101, 0b1111, 0]).flatmap(
    lambda low: st.sampled_from([low, low | PROVIDER_BIT, low | 0x700, low | PROVIDER_BIT | 0x700])
)
levels = st.sampled_from([Level.EXACT, Level.CANONICAL, Level.NUMERIC, Level.PERCEPTUAL])
outcomes = st.sampled_from([OutcomeCode.EXITED, OutcomeCode.EXITED, OutcomeCode.FAILED, OutcomeCode.TIMEOUT])


class Machine(RuleBasedStateMachine):
    """Up to three disputes at a time, fourteen seats and more."""

    make: "Callable[..., PanelWorld]"

    def __init__(self) -> None:
        super().__init__()
        self.court = self.make()
        self.locks: list[tuple[Lock, OutcomeCode]] = []
        self.sound = True

    def attempt(self, act: Callable[[], object]) -> None:
        """Contract and model agree, or ``act`` raises AssertionError; that both refuse is fine."""
        self.sound = False
        try:
            act()
        except Exception as error:
            if type(error).__name__ != "Refused":
                raise
            event(f"refused: {error}")
        self.sound = True

    @property
    def live(self) -> list[tuple[Lock, OutcomeCode]]:
        return [pair for pair in self.locks if deadline(self.court.state(pair[0])) is not None]

    # --- beginnings --------------------------------------------------------------------------------------------------

    @initialize()
    def first(self) -> None:
        self._dispute(Level.EXACT, OutcomeCode.EXITED, Reason.WRONG, 1_501, claimed=True)

    @precondition(lambda self: len(self.locks) < MAX_DISPUTES)
    @rule(
        level=levels,
        outcome=outcomes,
        reason=st.sampled_from(Reason),
        fee=st.sampled_from([1_200, 1_501, 3_000]),
        claimed=st.booleans(),
    )
    def dispute(self, level: Level, outcome: OutcomeCode, reason: Reason, fee: int, claimed: bool) -> None:
        self._dispute(level, outcome, reason, fee, claimed=claimed)

    def _dispute(self, level: Level, outcome: OutcomeCode, reason: Reason, fee: int, *, claimed: bool) -> None:
        court, collateral = self.court, 11_000 if fee == 3_000 else 30_000
        self.sound = False
        lock = court.commit_deal(court.deal(level=level, seat_fee=Tokens(fee), collateral=Tokens(collateral)))
        if claimed:
            court.claim(lock, outcome)
            court.dispute(lock, reason, outcome=outcome)
        else:
            outcome = OutcomeCode.EXITED
            court.dispute_unclaimed(lock, reason=reason)
        self.locks.append((lock, outcome))
        self.sound = True

    # --- what moves a dispute on ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.live)
    @rule(data=st.data(), mask=masks, served=st.booleans(), away=st.integers(0, 7))
    def go_on(self, data: st.DataObject, mask: int, served: bool, away: int) -> None:
        """What the phase waits for, by all but (sometimes) one place."""
        court = self.court
        lock, outcome = data.draw(st.sampled_from(self.live), label="dispute")
        phase = court.phase(lock)
        event(f"goes on from {phase.name}")
        match phase:
            case Phase.DISPUTED:
                self.attempt(lambda: court.show_secret(lock))
            case Phase.OPENING:
                self.attempt(lambda: court.open(lock, outcome=outcome))
            case Phase.VERDICT | Phase.APPEALED:
                side = data.draw(st.sampled_from([Side.CLIENT, Side.PROVIDER]), label="side")
                self.attempt(lambda: court.deposit(lock, side))
            case _:
                self._all(lock, phase, mask, served, away)

    def _all(self, lock: Lock, phase: Phase, mask: int, served: bool, away: int) -> None:
        court = self.court
        stage, act = {
            Phase.DRAWN: (Stage.CALLED, court.accept),
            Phase.COMMITTING: (Stage.ACCEPTED, court.commit if served else court.miss_inputs),
            Phase.REVEALING: (Stage.COMMITTED, lambda lock, i: court.reveal(lock, i, served=served)),
            Phase.MATCHING: (Stage.REVEALED, lambda lock, i: court.publish(lock, i, mask)),
        }[phase]
        if phase is Phase.MATCHING:
            self.attempt(lambda: court.publish_provider(lock, mask & 0x7F))
        for position in court.places(lock, stage):
            if position != away and court.phase(lock) is phase:
                self.attempt(lambda position=position: act(lock, position))  # type: ignore[misc]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), more=st.sampled_from([0, 1, 1, 1]))
    def deadline_passes(self, data: st.DataObject, more: int) -> None:
        """To the last moment of a phase, or just beyond, and a poke."""
        lock, _ = data.draw(st.sampled_from(self.live), label="dispute")
        until = deadline(self.court.state(lock))
        assert until is not None
        self.court.world.warp_to(max(self.court.now, until + more))
        self.attempt(lambda: self.court.poke(lock))

    # --- what anybody may try ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.locks)
    @rule(data=st.data(), position=st.integers(0, 8), mask=masks, who=st.integers(0, 3), what=st.integers(0, 9))
    def meddle(self, data: st.DataObject, position: int, mask: int, who: int, what: int) -> None:
        """Any call, whatever the moment."""
        court = self.court
        lock, outcome = data.draw(st.sampled_from(self.locks), label="dispute")
        sender = self._someone(lock, position, who)
        state = court.state(lock)
        if isinstance(state, (Disputed, Settled, Slashed, Voided)) and what in (1, 2, 3, 4):
            what = 5
        position = (
            position
            if isinstance(state, (Disputed, Settled, Slashed, Voided))
            else min(position, len(court.panel_of(lock).turns) - 1)
        )
        acts: list[Callable[[], object]] = [
            lambda: court.accept(lock, position, sender=sender),
            lambda: court.commit(lock, position, sender=sender),
            lambda: court.miss_inputs(lock, position),
            lambda: court.reveal(lock, position, salt=keccak256(b"another")),
            lambda: court.publish(lock, position, mask),
            lambda: court.publish_provider(lock, mask & 0x7F, sender=sender),
            lambda: court.open(lock, sender=sender, outcome=outcome),
            lambda: court.show_secret(lock, keccak256(b"guess")),
            lambda: court.show_delivery(lock, outcome=outcome),
            lambda: court.deposit(lock, Side(position % 2), sender=sender),
        ]
        self.attempt(acts[what])

    def _someone(self, lock: Lock, position: int, who: int) -> "Key":
        court = self.court
        if who == 0:
            return court.mediators[position % len(court.mediators)]
        return (court.client, court.provider, court.stranger)[who - 1]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), sure=st.integers(0, 9))
    def equivocation(self, data: st.DataObject, sure: int) -> None:
        if sure == 0:
            lock, _ = data.draw(st.sampled_from(self.live), label="dispute")
            self.attempt(lambda: self.court.equivocate(lock))

    @rule(
        seat=st.integers(0, 20),
        who=st.integers(0, 13),
        what=st.integers(0, 3),
        seat_class=st.sampled_from([1, 1, 2, 0]),
    )
    def seats(self, seat: int, who: int, what: int, seat_class: int) -> None:
        court = self.court
        key = court.mediators[who]
        acts: list[Callable[[], object]] = [
            lambda: court.join(key, seat_class),
            lambda: court.resign(key, seat, seat_class),
            lambda: court.retire(seat, seat_class),
            lambda: court.withdraw(key, seat * 100_000),
        ]
        self.attempt(acts[what])

    @rule(seconds=st.sampled_from([1, 3, 9, 30]))
    def time_passes(self, seconds: int) -> None:
        self.court.world.warp(seconds)

    # --- in the end ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Anyone and time end every dispute; then every owner gets its money out, and nothing is left."""
        if not self.sound:
            return  # a step has failed already: one defect, one report
        court = self.court
        court.compare()
        for lock, _ in self.locks:
            for _step in range(40):
                if deadline(court.state(lock)) is None:
                    break
                court.pass_deadline(lock)
                court.poke(lock)
            state = court.world.state(lock)
            event(f"ends {state.name}: {court.state(lock).row.name}")  # type: ignore[union-attr]
            assert state in (OnChainState.SETTLED, OnChainState.SLASHED, OnChainState.VOID)
        for seat_class, seats in list(court.model.classes.items()):
            for number, seat in enumerate(seats):
                assert seat.locked == 0
                if not seat.out_at:
                    key = next(key for key in court.mediators if key.address == seat.operator)
                    court.resign(key, number, seat_class)
        court.world.warp(court.bounds.resign)
        for seat_class, seats in list(court.model.classes.items()):
            for number, seat in enumerate(seats):
                if seat.bond:
                    court.retire(number, seat_class)
        for key in (court.client, court.provider, court.stranger, *court.mediators):
            if amount := court.model.accounts.get(key.address, 0):
                court.withdraw(key, amount)
        if court.model.burnable:
            court.burn()
        assert court.world.tokens(court.panel) == 0


def test_contract_and_machine_agree_after_every_call(make_court: "Callable[..., PanelWorld]") -> None:
    machine = type("Bound", (Machine,), {"make": staticmethod(make_court)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(1, settings().max_examples // 4),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )

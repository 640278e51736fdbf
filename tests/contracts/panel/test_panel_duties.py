"""Do the records and duties of nodes carry a dispute through the real panel, and does the record say what the panel holds?"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from protocols.contracts import panel
from protocols.deals.eip712 import OnChainState, OutcomeCode
from protocols.disputes import states as st
from protocols.disputes.draw import commitment_of
from protocols.disputes.duties import (
    Appeals,
    Duty,
    ProviderHas,
    SeatHas,
    client_duties,
    poke_due,
    provider_duties,
    seat_duties,
)
from protocols.disputes.fingerprint import Ending, fingerprint_of, provider_mask, seat_mask
from protocols.disputes.params import appeal_deposit, bond_of
from protocols.disputes.record import Record, record_of
from protocols.hashing import keccak256
from protocols.units import Hash32, Seconds

if TYPE_CHECKING:
    from tests.contracts.conftest import Key
    from tests.contracts.panel.court import PanelWorld

P, C, F = 1_000, 30_000, 1_501
MARGIN = Seconds(1)
RIGHT, WRONG = b"right", b"another output"


class Court:
    """A disputed deal, and nodes that do their duties about it. ``outputs``: what each party's execution comes to."""

    def __init__(self, court: "PanelWorld", *, provider: bytes, reason: st.Reason = st.Reason.WRONG) -> None:
        self.court, self.output = court, provider
        self.outputs: dict[bytes, bytes] = {}
        """By operator; who is not in it computes RIGHT."""
        self.silent: set[bytes] = set()
        self.missing: set[bytes] = set()
        self.provider_appeals = self.client_appeals = Appeals()
        self.logs: list[tuple[tuple[bytes, ...], bytes]] = []
        self.sent: list[str] = []
        self.lock = court.disputed(reason)
        self.hear()

    def hear(self) -> None:
        """Keep what the last call has logged."""
        self.logs += [(tuple(bytes(t) for t in log.data[0]), bytes(log.data[1])) for log in self.court.world._logs]

    @property
    def record(self) -> Record:
        record = record_of(self.logs)
        assert record is not None
        return record

    def recompute(self, output: bytes) -> Callable[[int, int], Hash32]:
        ending = Ending(OutcomeCode.EXITED, 0, 7)
        return lambda number, seat: fingerprint_of(self.lock.deal_id, number, seat, ending, [output[:3], output[3:]])

    def provider(self) -> tuple[Duty, ...]:
        deal, _ = self.court.deals[self.lock.deal_id]
        has = ProviderHas(
            secret=self.court.secret(deal, st.Side.PROVIDER),
            result=self.court.result(self.lock),
            salt=self.court.salt(self.lock),
            root=keccak256(RIGHT),
            mask=provider_mask(self.record, self.recompute(self.output)),
            appeals=self.provider_appeals,
        )
        return provider_duties(self.record, has)

    def seat(self, key: "Key") -> tuple[Duty, ...]:
        record, output = self.record, self.outputs.get(key.address, RIGHT)
        has: dict[int, SeatHas] = {}
        for position, place in enumerate(record.places):
            mark, salt = self.recompute(output)(record.round, place.seat), keccak256(b"salt", key.address)
            mask = seat_mask(
                record, Ending(OutcomeCode.EXITED, 0, 7), self.recompute(output), provider=output == self.output
            )
            made = commitment_of(self.lock.deal_id, record.round, place.seat, mark, salt)
            missing = key.address in self.missing
            has[position] = SeatHas(missing, None if missing else made, mark, salt, True, mask)
        return seat_duties(record, key.address, has)

    def step(self) -> bool:
        """The next call that anybody owes, in an order of no meaning; False when there is none."""
        court = self.court
        owed = [
            (court.provider, self.provider),
            (court.client, lambda: client_duties(self.record, self.client_appeals)),
        ]
        owed += [(key, partial(self.seat, key)) for key in court.mediators]
        for key, duties in owed:
            for duty in duties() if key.address not in self.silent else ():
                assert court.now <= duty.by
                self.call(key, duty)
                return True
        return False

    def call(self, key: "Key", duty: Duty) -> None:
        self.court.send(key, duty.data)
        self.sent.append(duty.name)
        self.hear()
        self.agrees()

    def agrees(self) -> None:
        """The record is what the panel holds."""
        record = self.record
        phase, until, number, fee, _, row = self.court.view("statusOf", self.lock.deal_id)
        assert (st.Phase(phase), fee) == (record.phase, record.fee)
        if record.over:
            assert st.Row(row) is record.row
            return
        assert (until, number) == (record.until, record.round)
        for at, sitting in enumerate(record.sittings):
            for position, place in enumerate(sitting.places):
                seat, stage, _, mask, commitment = self.court.view("turnOf", self.lock.deal_id, at, position)
                assert st.Stage(stage) is place.stage
                if place.stage is not st.Stage.VACANT:
                    assert (seat, mask, commitment) == (place.seat, place.mask, place.commitment)

    def run(self) -> Record:
        """Everybody does its duty; whoever is late is poked past."""
        for _ in range(120):
            if self.record.over:
                return self.record
            if not self.step():
                self.court.world.warp_to(self.record.until + MARGIN + 1)
                duty = poke_due(self.record, self.court.now, MARGIN)
                assert duty is not None
                self.call(self.court.stranger, duty)
        raise AssertionError(f"no end: {self.sent}")

    def account(self, key: "Key") -> int:
        return int(self.court.view("accountOf", key.hex))


def test_a_wrong_result_is_convicted_and_who_worked_is_paid(court: "PanelWorld") -> None:
    """Price, bounty and bond to the client, a fee to each seat, the rest of the collateral burned."""
    scene = Court(court, provider=WRONG)
    before = {key.address: scene.account(key) for key in (court.client, *court.mediators)}
    burned = int(court.view("burnable"))
    record = scene.run()
    assert (record.phase, record.row) == (st.Phase.SLASHED, st.Row.CONVICTED)
    assert court.world.state(scene.lock) is OnChainState.SLASHED
    gains = [scene.account(key) - before[key.address] for key in court.mediators]
    assert sorted(gains)[-3:] == [F, F, F]
    assert sum(gains) == 3 * F
    assert scene.account(court.client) - before[court.client.address] == bond_of(F, P)
    assert int(court.view("burnable")) == burned
    assert scene.sent[0] == "secret"
    assert scene.sent.count("open:0") == scene.sent.count("match:0") == 1


def test_a_right_result_is_acquitted(court: "PanelWorld") -> None:
    record = Court(court, provider=RIGHT).run()
    assert (record.phase, record.row) == (st.Phase.SETTLED, st.Row.ACQUITTED)


def test_a_provider_that_shows_no_secret_forfeits(court: "PanelWorld") -> None:
    scene = Court(court, provider=WRONG)
    scene.silent.add(court.provider.address)
    record = scene.run()
    assert (record.phase, record.row) == (st.Phase.SLASHED, st.Row.FORFEIT)
    assert [name.partition(":")[0] for name in scene.sent] == ["poke"]


def test_silent_seats_are_replaced_and_the_others_decide(court: "PanelWorld") -> None:
    """Whoever is called first never comes; the record follows every replacement."""
    scene = Court(court, provider=WRONG)
    scene.step()
    scene.silent |= {bytes(place.operator) for place in scene.record.places[:2]}
    record = scene.run()
    assert record.row is st.Row.CONVICTED
    assert any(name.startswith("poke:drawn") for name in scene.sent)


def test_a_seat_that_does_not_commit_loses_its_place(court: "PanelWorld") -> None:
    scene = Court(court, provider=WRONG)
    while scene.record.phase is not st.Phase.COMMITTING:
        assert scene.step()
    scene.silent.add(bytes(scene.record.places[0].operator))
    assert scene.run().row is st.Row.CONVICTED
    assert any(name.startswith("poke:committing") for name in scene.sent)


def test_inputs_that_nobody_serves_end_the_dispute(court: "PanelWorld") -> None:
    scene = Court(court, provider=WRONG)
    scene.missing = {bytes(key.address) for key in court.mediators}
    assert scene.run().row is st.Row.UNSERVED


def test_both_sides_deposit_and_seven_others_decide(court: "PanelWorld") -> None:
    scene = Court(court, provider=WRONG)
    scene.provider_appeals, scene.client_appeals = Appeals(verdict=True), Appeals(answer=True)
    before = scene.account(court.client)
    record = scene.run()
    assert (record.row, record.deposits) == (st.Row.CONVICTED, (st.Side.PROVIDER, st.Side.CLIENT))
    assert len(record.places) == 7
    assert {place.seat for place in record.places}.isdisjoint(place.seat for place in record.sittings[0].places)
    assert scene.sent.count("open:1") == 1
    assert scene.account(court.client) - before == bond_of(F, P)


def test_an_appeal_that_is_not_answered_is_won(court: "PanelWorld") -> None:
    scene = Court(court, provider=WRONG)
    scene.provider_appeals = Appeals(verdict=True)
    before = scene.account(court.provider)
    record = scene.run()
    assert (record.phase, record.deposits) == (st.Phase.SETTLED, (st.Side.PROVIDER,))
    assert scene.account(court.provider) - before == P // 2
    assert appeal_deposit(F) == 7 * F


def test_the_record_of_a_replay_is_the_same_at_every_prefix(court: "PanelWorld") -> None:
    """A reorganisation takes logs from the end: what is left tells where the dispute stood then."""
    scene = Court(court, provider=WRONG)
    stood: list[tuple[int, Record]] = []
    while not scene.record.over and scene.step():
        stood.append((len(scene.logs), scene.record))
    assert len(stood) > 10
    for count, record in stood:
        assert record_of(scene.logs[:count]) == record


def test_logs_of_other_disputes_and_made_up_ones_change_nothing(court: "PanelWorld") -> None:
    scene = Court(court, provider=WRONG)
    ours, kept = scene.record, list(scene.logs)
    court.disputed()
    scene.hear()
    others = scene.logs[len(kept) :]
    assert {found.name for log in others if (found := panel.event_of(*log))} >= {"DisputeOpened", "PhaseChanged"}
    told = next(topics for topics, data in kept if (found := panel.event_of(topics, data)) and "phase" in found.args)
    lied = (told, (200).to_bytes(32) + bytes(32))
    assert (
        record_of([*kept, lied, *(log for log in others if "DisputeOpened" not in str(panel.event_of(*log)))]) == ours
    )


@pytest.mark.parametrize("outcome", [OutcomeCode.TIMEOUT, OutcomeCode.OOM, OutcomeCode.DISK_LIMIT])
def test_a_run_that_the_machine_ended_matches_nobody(court: "PanelWorld", outcome: OutcomeCode) -> None:
    scene = Court(court, provider=RIGHT)
    while scene.record.phase is not st.Phase.MATCHING:
        assert scene.step()
    same = scene.recompute(RIGHT)
    assert seat_mask(scene.record, Ending(OutcomeCode.EXITED, 0, 7), same, provider=True) == 0b111 | st.PROVIDER_BIT
    assert seat_mask(scene.record, Ending(outcome, 0, 7), same, provider=True) == 0

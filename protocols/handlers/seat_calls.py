"""What does a seat tell the panel, and when? One call for each place and phase, once what it says is known.

What is owed is read from the logs and from the case's row (`protocols.disputes.duties`), so a restart and a reorganisation
change nothing.
"""

from typing import Final

from msgspec.structs import replace

from protocols.disputes.draw import commitment_of
from protocols.disputes.duties import Duty, SeatHas, poke_due, seat_duties
from protocols.disputes.file import DisputeFile
from protocols.disputes.record import Place, Record
from protocols.disputes.states import Phase, Reason, Stage
from protocols.effects import CallPanel, Effect
from protocols.env import Env
from protocols.handlers import matching
from protocols.handlers.seat_work import CASE, MAX_LONG, MAX_UNSERVED, OPENED, case_of, in_vain, trusted
from protocols.mediation.case import Case, ready, unfit
from protocols.state import NodeState
from protocols.units import Seconds

__all__ = ["owed"]

POKE_PATIENCE: Final = 3
"""A seat leaves an overdue phase to the parties for so many of their margins: a poke too many costs gas."""


def owed(state: NodeState, file: DisputeFile, record: Record, env: Env) -> list[Effect]:
    """What is owed and was not called yet."""
    asked, effects = file.asked, list[Effect]()
    for duty in _owed(state, record, env):
        if duty.name not in asked and not state.cases.waits(file.deal_id, duty.name, state.chain_now):
            asked = (*asked, duty.name)
            kind = "poke" if duty.name.startswith("poke:") else "panel"
            key = f"{kind}:{file.deal_id.hex()}:{duty.name}:{file.attempt}"
            effects.append(CallPanel(key=key, deal_id=file.deal_id, purpose=f"panel {duty.name}", data=duty.data))
    if asked != file.asked:
        state.durable.put_dispute(replace(file, asked=asked))
    return effects


def _owed(state: NodeState, record: Record, env: Env) -> tuple[Duty, ...]:
    poke = poke_due(record, state.chain_now, Seconds(POKE_PATIENCE * env.params.poke_margin))
    if poke is not None:
        return (poke,)
    if state.chain_now > record.until or (record.phase is Phase.DRAWN and not _willing(state, record, env)):
        return ()
    case = case_of(state, record.deal_id)
    has = {
        position: _has(state, record, place, case, env)
        for position, place in enumerate(record.places)
        if place.operator == env.signer.address
    }
    return seat_duties(record, env.signer.address, has)


def _willing(state: NodeState, record: Record, env: Env) -> bool:
    """A place is taken when its work is done: a job that is too much for this machine locks nothing. Shortly before the end
    of the time for it also before that: a long run goes on, and that nobody serves a case is said from a place."""
    case, late = case_of(state, record.deal_id), state.chain_now >= record.until - env.params.accept_margin
    others = sum(one != record.deal_id for one in trusted(state, env.signer.address)) if late else 0
    if case is None:
        return late and bool(state.peers) and others < MAX_UNSERVED
    if ready(case):
        return True
    if not late or unfit(case, env.machine):
        return False
    if case.ran is not None:
        return _alike(record)
    if not case.inputs_here:
        return in_vain(state, case.deal_id, CASE) and others < MAX_UNSERVED
    return not case.tries and case.deal_id in state.cases.running and others < MAX_LONG


def _alike(record: Record) -> bool:
    """Whether a run that is no proof serves to say that nothing was served: others have not come further with theirs."""
    return record.reason is Reason.WITHHELD and all(
        place.stage in (Stage.VACANT, Stage.CALLED) for place in record.places
    )


def _missing(state: NodeState, record: Record, case: Case | None, env: Env) -> bool:
    """Whether, at the end of the time for the work, the parties are to blame that it is not done: case or inputs never
    came, or too late for the run, or the case turned out to be one that nobody had taken."""
    if case is None:
        return bool(state.peers)
    if unfit(case, env.machine):
        return True
    if not case.inputs_here:
        return in_vain(state, case.deal_id, CASE)
    came = state.cases.came.get(case.deal_id, 0)
    return came > record.until - env.params.deadline_margin - case.deal.exec_seconds


def _has(state: NodeState, record: Record, place: Place, case: Case | None, env: Env) -> SeatHas:
    late = matching.late(state, record, env)
    if case is None or case.ran is None:
        return SeatHas(missing=late and _missing(state, record, case, env))
    deal_id, mark = record.deal_id, matching.seat_mark(state, record, place.seat)
    if mark is None:
        return SeatHas()
    salt = env.signer.derive("seat-salt", deal_id, bytes([record.round]), place.seat.to_bytes(8))
    return SeatHas(
        commitment=commitment_of(deal_id, record.round, place.seat, mark, salt),
        fingerprint=mark,
        salt=salt,
        served=True if case.bytes_here else not in_vain(state, deal_id, OPENED) if late else None,
        mask=matching.seat_match(state, record, case, env),
    )

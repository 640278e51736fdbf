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
from protocols.disputes.states import Phase
from protocols.effects import CallPanel, Effect
from protocols.env import Env
from protocols.handlers import matching
from protocols.handlers.seat_work import case_of
from protocols.mediation.case import Case, unfit
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
    """A place is taken when its work can be done: all is here. Shortly before the end of the time for it also without,
    because that nobody serves it has to be said from a place."""
    case, late = case_of(state, record.deal_id), state.chain_now >= record.until - env.params.accept_margin
    if case is None:
        return late
    return not unfit(case) and (late or case.inputs_here)


def _has(state: NodeState, record: Record, place: Place, case: Case | None, env: Env) -> SeatHas:
    late = state.chain_now >= record.until - env.params.deadline_margin
    if case is None or case.ran is None:
        return SeatHas(missing=late and not (case is not None and case.inputs_here))
    deal_id, mark = record.deal_id, matching.seat_mark(state, record, place.seat)
    if mark is None:
        return SeatHas()
    salt = env.signer.derive("seat-salt", deal_id, bytes([record.round]), place.seat.to_bytes(8))
    return SeatHas(
        commitment=commitment_of(deal_id, record.round, place.seat, mark, salt),
        fingerprint=mark,
        salt=salt,
        served=True if case.bytes_here else False if late else None,
        mask=matching.seat_match(state, record, case, late=late),
    )

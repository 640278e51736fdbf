"""What does a mediator want to see of its work? Pure selectors for the command line and the API."""

import msgspec

from protocols.deals.eip712 import OutcomeCode
from protocols.disputes.file import SEAT
from protocols.disputes.params import lock_of
from protocols.mediation.case import Case, spoiled, unfit
from protocols.mediation.earnings import earned
from protocols.mediation.machine import Machine
from protocols.state import NodeState
from protocols.units import Address, DealId, Tokens, UnixSeconds

__all__ = ["CaseView", "MediatorView", "mediator_view"]


class CaseView(msgspec.Struct, frozen=True):
    """One open dispute with places of ours."""

    deal_id: DealId
    phase: str
    until: UnixSeconds
    round: int
    places: int
    fee: Tokens
    """Of one place."""
    step: str
    """Where this node's own work stands."""


class MediatorView(msgspec.Struct, frozen=True):
    """Everything that is under way, and what disputes that are over have brought."""

    cases: tuple[CaseView, ...]
    paid: int
    """Places that stood with the majority."""
    fees: Tokens
    lost: int
    """Places whose lock was burned."""
    burned: Tokens
    """Of the locks whose deals this node has seen."""


def mediator_view(state: NodeState, me: Address, machine: Machine) -> MediatorView:
    """The work of an operator's seats, from the disputes that this node keeps."""
    open_, paid, fees, lost, burned = list[CaseView](), 0, 0, 0, 0
    for deal_id, file in state.durable.disputes.items():
        record = file.record() if file.role == SEAT else None
        if record is None:
            continue
        case = state.durable.cases.get(deal_id)
        if not record.over:
            places = sum(place.operator == me for place in record.places)
            step = _step(case, machine, running=deal_id in state.cases.running)
            open_.append(
                CaseView(deal_id, record.phase.name.lower(), record.until, record.round, places, record.fee, step)
            )
            continue
        found = earned(record, me)
        paid, lost = paid + found.paid, lost + found.lost
        fees += found.paid * record.fee
        burned += found.lost * lock_of(case.deal.price) if case is not None else 0
    return MediatorView(tuple(open_), paid, Tokens(fees), lost, Tokens(burned))


def _step(case: Case | None, machine: Machine, *, running: bool) -> str:
    if case is None or not case.job:
        return "asks for the case"
    problem = unfit(case, machine)
    if problem:
        return f"declined: {problem}"
    if case.ran is not None:
        return f"ended {_word(case.ran.outcome)} here, which proves nothing" if spoiled(case) else "executed"
    if not running and case.tries:
        return f"failed {case.tries} times by this machine's fault"
    return "executes" if running else "waits for a free place" if case.inputs_here else "pulls the inputs"


def _word(outcome: int) -> str:
    return OutcomeCode(outcome).name.lower()

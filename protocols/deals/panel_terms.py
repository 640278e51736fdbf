"""Which terms does a deal get that a panel judges, and would this node sign them?

Collateral and fees follow from the price, the level and the client's rate of checks, so both parties compute the same
(`protocols.verify.incentives`); what the chain says about seats is each party's own to read.
"""

from typing import Final

import msgspec

from protocols.deals.terms import Level
from protocols.disputes.fingerprint import JUDGED
from protocols.disputes.params import TOLERANCE, bond_of
from protocols.job.canonical import CanonicalJob
from protocols.messages.negotiation import PanelRfq
from protocols.units import Millis, Tokens
from protocols.verify.incentives import Stakes, audit_ppm_for, collateral_for, lint, seat_fee_for
from protocols.verify.levels import panel_problem

__all__ = [
    "MAX_INPUT_BYTES",
    "MAX_SEATS_SEEN",
    "MAX_SHOWN_BYTES",
    "PANEL_CLASS",
    "SEATS_FRESH",
    "SeatsSeen",
    "bound_by_dispute",
    "cannot_be_judged",
    "few_seats",
    "level_of",
    "panel_audit_ppm",
    "panel_stakes",
    "snapshot_problem",
    "unsound",
]

MAX_INPUT_BYTES: Final = 8 << 30
"""Of one case, with its module: whoever colludes with itself in a dispute must not fill the disks of all that are called."""
MAX_SHOWN_BYTES: Final = 2 << 30
"""Of one output under a tolerance: a seat of the second panel pulls up to ten of them, and compares each with its own."""
PANEL_CLASS: Final = 1
"""The class of seats that re-execute anywhere: jobs in wasm give the same bytes on every machine."""
SEATS_FRESH: Final = Millis(30_000)
"""How long an answer about seats is good: they join and leave in hours."""
MAX_SEATS_SEEN: Final = 4_096
"""Answers remembered, one for each pair of parties: as many as balances."""


class SeatsSeen(msgspec.Struct, frozen=True):
    """What the panel answered about one pair of parties."""

    total: int
    """Seats that the class has: the snapshot of a deal that is signed now."""
    eligible: int
    """Those that a dispute between the two could call."""
    at: Millis


def level_of(job: CanonicalJob) -> Level:
    """The level that a job asks for."""
    return Level[job.verify.level.upper()]


def panel_audit_ppm(level: Level, price: Tokens, asked: int | None, record_ppm: int) -> int:
    """How often the client checks: as it says, else by the provider's record, raised where the level needs it."""
    return audit_ppm_for(level, price, seat_fee_for(price), record_ppm) if asked is None else asked


def panel_stakes(level: Level, price: Tokens, audit_ppm: int) -> Stakes:
    """Collateral and fee of a deal at this price."""
    fee = seat_fee_for(price)
    collateral = collateral_for(level, price, fee, audit_ppm)
    return Stakes(level=level, price=price, collateral=collateral, audit_ppm=audit_ppm, seat_fee=fee)


def unsound(stakes: Stakes) -> str:
    """Why nobody should sign these numbers; empty when they are sound."""
    return "; ".join(fault.sentence for fault in lint(stakes))


def bound_by_dispute(price: Tokens) -> Tokens:
    """What opening a dispute about a deal at this price binds until its end, in wei: the bond."""
    return bond_of(seat_fee_for(price), price)


def cannot_be_judged(job: CanonicalJob) -> str:
    """Why a panel cannot judge this job; empty when it can."""
    level = level_of(job)
    problem = panel_problem(level, job.executor)
    if problem:
        return problem
    # Nobody would take a place in these: a dispute would end void, and burn the bond.
    weight = job.module_size + sum(one.size for one in job.inputs)
    if weight > MAX_INPUT_BYTES:
        return (
            f"mediators take jobs with up to {MAX_INPUT_BYTES} bytes of module and inputs, this one has {weight}; "
            "write verify.enforcement: self, or give it less"
        )
    shown = sum(one.max_bytes for one in job.outputs)
    if level in TOLERANCE and shown > MAX_SHOWN_BYTES:
        return (
            f"at level {level.name.lower()} mediators show each other up to {MAX_SHOWN_BYTES} bytes of output, this job may "
            f"write {shown}; write a smaller outputs[].max_bytes, or verify.enforcement: self"
        )
    if level in JUDGED:
        return ""
    return f"mediators judge no results at level {level.name.lower()}; write verify.level: exact, or verify.enforcement: self"


def few_seats(seen: SeatsSeen, least: int) -> str:
    """Why there are too few mediators; empty when there are enough."""
    if seen.eligible >= least:
        return ""
    return (
        f"a panel is drawn from at least {least} seats of others, {seen.eligible} can be called now; "
        "write verify.enforcement: self, or ask mediators to join (mesh mediator join)"
    )


def snapshot_problem(rfq: PanelRfq, seen: SeatsSeen) -> str:
    """Why the seats that a request names are not those that this node sees; empty when they are."""
    if rfq.seat_class != PANEL_CLASS:
        return (
            f"seats of class {rfq.seat_class} do not judge such jobs, class {PANEL_CLASS} does; a node of this version asks "
            "for that one: mesh --version says which runs here"
        )
    if rfq.seat_snapshot != seen.total:
        return (
            f"the class has {seen.total} seats, the request says {rfq.seat_snapshot}: one side's chain is behind; "
            "ask again in a minute (mesh retry RUN), and see mesh doctor when it stays so"
        )
    return ""

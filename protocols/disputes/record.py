"""What has the chain said about one dispute, and where does that leave it? The logs of the panel, folded.

A node keeps the logs of the disputes that it is part of and reads everything else from them: a reorganisation takes logs
back, and what is left is folded anew. The fold decides nothing, it repeats what the panel has decided; `machine` has the
rules, and a test compares the two after every call of the real contract.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from protocols.contracts.panel import PanelEvent, event_of
from protocols.disputes.params import APPEAL_SEATS, FIRST_SEATS
from protocols.disputes.states import Finding, Outcome, Phase, Reason, Row, Side, Stage
from protocols.units import ZERO_ADDRESS, ZERO_HASH, Address, DealId, Hash32, Tokens, UnixSeconds

__all__ = ["MAX_LOGS", "PROVIDER_POSITION", "Place", "Record", "Sitting", "fold", "record_of"]

MAX_LOGS: Final = 512
"""Logs of one dispute that a node keeps. Two panels of 3 and 7 with three replacements each, five logs a place, are 240."""
_SEAT_BITS: Final = 64
"""A seat's number, as the contract keeps it."""
PROVIDER_POSITION: Final = 7
"""The place that the contract's `Published` names for the provider."""


class Place(msgspec.Struct, frozen=True):
    """One place of a panel, as the logs tell it."""

    operator: Address = ZERO_ADDRESS
    seat: int = 0
    stage: Stage = Stage.VACANT
    commitment: Hash32 = ZERO_HASH
    fingerprint: Hash32 = ZERO_HASH
    """Once it is revealed."""
    served: bool = True
    mask: int = 0


class Sitting(msgspec.Struct, frozen=True):
    """One panel: of 3, or on appeal of 7."""

    places: tuple[Place, ...]
    provider_mask: int | None = None
    """None until the provider has published."""


class Record(msgspec.Struct, frozen=True):
    """Where a dispute stands."""

    deal_id: DealId
    client: Address
    provider: Address
    result_hash: Hash32
    reason: Reason
    funder: Address
    fee: Tokens
    phase: Phase
    until: UnixSeconds
    """The last moment of the call that is waited for."""
    seed: Hash32 = ZERO_HASH
    """Zero until the provider has shown its secret."""
    delivered: bool = False
    sittings: tuple[Sitting, ...] = ()
    root: Hash32 | None = None
    """Of the provider's result, once it is opened."""
    finding: Finding | None = None
    deposits: tuple[Side, ...] = ()
    row: Row | None = None

    @property
    def over(self) -> bool:
        """Nothing can happen any more."""
        return self.phase in (Phase.SETTLED, Phase.SLASHED, Phase.VOID)

    @property
    def round(self) -> int:
        """0, or 1 on appeal."""
        return max(len(self.sittings) - 1, 0)

    @property
    def places(self) -> tuple[Place, ...]:
        """Those of the panel that sits."""
        return self.sittings[-1].places if self.sittings else ()


def record_of(logs: Iterable[tuple[tuple[bytes, ...], bytes]]) -> Record | None:
    """The dispute that these logs (topics, data), oldest first, tell of; None when its opening is not among them."""
    record: Record | None = None
    for topics, data in logs:
        event = event_of(topics, data)
        if event is not None:
            record = fold(record, event)
    return record


def fold(record: Record | None, event: PanelEvent) -> Record | None:
    """The record after one more log. What is about no dispute, or about one whose opening is unknown, changes nothing, and
    neither does a log with a phase or a row that does not exist: an endpoint has made it up."""
    told = _TOLD.get(event.name)
    try:
        if event.name == "DisputeOpened":
            return _opened(event.args)
        if record is None or told is None or event.args["dealId"] != record.deal_id:
            return record
        return told(record, event.args)
    except ValueError:
        return record


def _opened(args: dict[str, Any]) -> Record:
    return Record(
        deal_id=DealId(args["dealId"]),
        client=args["client"],
        provider=args["provider"],
        result_hash=args["resultHash"],
        reason=Reason(args["reason"]),
        funder=args["funder"],
        fee=Tokens(args["fee"]),
        phase=Phase.DISPUTED,
        until=UnixSeconds(0),
    )


def _phase_changed(record: Record, args: dict[str, Any]) -> Record:
    """Who has missed the phase that ends here has lost its place."""
    phase = Phase(args["phase"])
    late = _LATE.get(phase)
    if late is not None and record.sittings:
        stages, becomes = late
        places = tuple(replace(one, stage=becomes) if one.stage in stages else one for one in record.places)
        record = _with_places(record, places)
    return replace(record, phase=phase, until=UnixSeconds(args["until"]))


def _called(record: Record, args: dict[str, Any]) -> Record:
    number, position = args["round"], args["position"]
    while len(record.sittings) <= number < 2:
        size = APPEAL_SEATS if record.sittings else FIRST_SEATS
        record = replace(record, sittings=(*record.sittings, Sitting((Place(),) * size)))
    if args["seat"] >> _SEAT_BITS:
        raise ValueError("no class has as many seats")
    place = Place(operator=args["operator"], seat=args["seat"], stage=Stage.CALLED)
    return _with_place(record, number, position, lambda _: place)


def _moved(stage: Stage, **fields: str) -> Callable[[Record, dict[str, Any]], Record]:
    """A log about one place: its new stage, and fields by the names of the log."""

    def told(record: Record, args: dict[str, Any]) -> Record:
        values = {ours: args[theirs] for ours, theirs in fields.items()}
        return _with_place(record, args["round"], args["position"], lambda place: replace(place, stage=stage, **values))

    return told


def _published(record: Record, args: dict[str, Any]) -> Record:
    number, position, mask = args["round"], args["position"], args["mask"]
    if position != PROVIDER_POSITION or number >= len(record.sittings):
        return _moved(Stage.MATCHED, mask="mask")(record, args)
    sitting = replace(record.sittings[number], provider_mask=mask)
    return replace(record, sittings=(*record.sittings[:number], sitting, *record.sittings[number + 1 :]))


def _found(record: Record, args: dict[str, Any]) -> Record:
    return replace(record, finding=Finding(Outcome(args["outcome"]), args["clique"], args["firsts"]))


def _ended(record: Record, args: dict[str, Any]) -> Record:
    return replace(record, phase=Phase(args["end"]), row=Row(args["row"]))


_TOLD: Final[dict[str, Callable[[Record, dict[str, Any]], Record]]] = {
    "SecretRevealed": lambda record, args: replace(record, seed=args["seed"]),
    "DeliveryShown": lambda record, args: replace(record, delivered=True),
    "PhaseChanged": _phase_changed,
    "SeatCalled": _called,
    "SeatAccepted": _moved(Stage.ACCEPTED),
    "SeatCommitted": _moved(Stage.COMMITTED, commitment="commitment"),
    "InputUnavailable": _moved(Stage.NO_INPUT),
    "ResultOpened": lambda record, args: replace(record, root=args["root"]),
    "SeatRevealed": _moved(Stage.REVEALED, fingerprint="fingerprint", served="served"),
    "Published": _published,
    "Found": _found,
    "AppealDeposited": lambda record, args: replace(record, deposits=(*record.deposits, Side(args["side"]))),
    "DisputeEnded": _ended,
}
_LATE: Final[dict[Phase, tuple[frozenset[Stage], Stage]]] = {
    Phase.COMMITTING: (frozenset({Stage.CALLED}), Stage.VACANT),
    Phase.OPENING: (frozenset({Stage.CALLED, Stage.ACCEPTED}), Stage.VACANT),
    Phase.MATCHING: (frozenset({Stage.COMMITTED}), Stage.LOST),
}
"""On entering a phase: who has not done what the phase before it wanted, and what becomes of its place."""


def _with_places(record: Record, places: tuple[Place, ...]) -> Record:
    return replace(record, sittings=(*record.sittings[:-1], replace(record.sittings[-1], places=places)))


def _with_place(record: Record, number: int, position: int, change: Callable[[Place], Place]) -> Record:
    """A log that names a place that cannot be changes nothing."""
    if number >= len(record.sittings) or position >= len(record.sittings[number].places):
        return record
    sitting = record.sittings[number]
    places = (*sitting.places[:position], change(sitting.places[position]), *sitting.places[position + 1 :])
    changed = replace(sitting, places=places)
    return replace(record, sittings=(*record.sittings[:number], changed, *record.sittings[number + 1 :]))

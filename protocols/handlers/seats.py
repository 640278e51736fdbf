"""What does a node do in the disputes of others? It keeps their logs, and works for the places that it is called to.

A place goes: have the case, pull module and inputs, accept, execute, commit blind, pull the opened result, reveal, say who
matches. `seat_work` has what is pulled and executed for that, `seat_calls` what the panel is told.
"""

from typing import Final

from msgspec.structs import replace

from protocols import events as ev
from protocols.deals.eip712 import OutcomeCode
from protocols.deals.eip712 import deal_id as deal_id_of
from protocols.disputes.file import ONLOOKER, SEAT, DisputeFile
from protocols.disputes.record import Record
from protocols.disputes.states import Phase, Stage
from protocols.effects import (
    CancelFetch,
    CancelJob,
    DropEffects,
    Effect,
    Notify,
    StopServing,
)
from protocols.env import Env
from protocols.handlers import cases, matching, seat_calls, seat_work
from protocols.handlers.seat_work import case_of
from protocols.mediation.access import sits
from protocols.mediation.book import members
from protocols.mediation.case import (
    case_from,
)
from protocols.messages.dispute import CaseFile
from protocols.signing import address_of_peer
from protocols.state import NodeState
from protocols.units import DealId, PeerId, UnixSeconds

__all__ = [
    "arrived",
    "executed",
    "failed",
    "follow",
    "heard",
    "notice_heard",
    "resumed",
    "retracted",
    "told",
    "tx_failed",
    "waited",
    "work",
]

MAX_PAST: Final = 1_000
"""Disputes with a place of ours that are over and kept, for `mesh mediator seats`; the oldest go first."""
MAX_ONLOOKED: Final = 4_096
"""Disputes of others of which a node knows whose they are, the newest: each has cost somebody a bond."""
_WORKING: Final = frozenset({Phase.DRAWN, Phase.COMMITTING})
_SHOWN: Final = frozenset({Phase.REVEALING, Phase.MATCHING})


def heard(state: NodeState, event: ev.DisputeLogged, env: Env) -> list[Effect]:
    """The panel said something about a dispute of others."""
    before = state.durable.disputes.get(event.deal_id) or DisputeFile(event.deal_id, ONLOOKER)
    file = before.heard(event.log)
    return [] if file is before else follow(state, file, env)


def follow(state: NodeState, file: DisputeFile, env: Env) -> list[Effect]:
    """Keep the file of a dispute of others, and do what is owed in it."""
    record = file.record()
    if record is None or (record.over and not sits(record, env.signer.address)):
        return _dropped(state, file)
    role = SEAT if sits(record, env.signer.address) else ONLOOKER
    left = file.role == SEAT and role == ONLOOKER
    file = replace(file, role=role)
    known = state.durable.disputes.get(file.deal_id)
    before = known.record() if known else None
    if file != known:
        state.durable.put_dispute(file)
    state.cases.records[file.deal_id] = record
    if role == ONLOOKER:
        return _left(state, file.deal_id) if left else _look_on(state)
    if record.over:
        return _over(state, file, record, env)
    state.open_disputes[file.deal_id] = UnixSeconds(0)  # looked at in every block
    return _told(file, before, record) + work(state, file.deal_id, env)


def resumed(state: NodeState, file: DisputeFile, env: Env) -> list[Effect]:
    """After a restart: what ran is in the outbox, and runs again; what was pulled is here, and is said to be."""
    key = file.deal_id
    case = case_of(state, key)
    effects = follow(state, file, env)
    if case is not None and case.inputs_here and key in state.open_disputes:
        cases.announce(state, key)
    return effects


def _look_on(state: NodeState) -> list[Effect]:
    """There is nothing to do, and no room for more than MAX_ONLOOKED of these."""
    others = [deal_id for deal_id, one in state.durable.disputes.items() if one.role == ONLOOKER]
    for deal_id in others[: max(len(others) - MAX_ONLOOKED, 0)]:
        state.durable.drop_dispute(deal_id)
        state.cases.forget(deal_id)
    return []


def retracted(state: NodeState, left: DisputeFile, env: Env) -> list[Effect]:
    """A reorganisation took a log: calls that are on their way are replaced by those that are owed now."""
    return [DropEffects(prefix=f"panel:{left.deal_id.hex()}"), *follow(state, left, env)]


def work(state: NodeState, deal_id: DealId, env: Env) -> list[Effect]:
    """Everything that can be done now for the places of this operator in one dispute."""
    file, record = state.durable.disputes[deal_id], state.cases.records[deal_id]
    case = case_of(state, deal_id)
    mine = [place for place in record.places if place.operator == env.signer.address]
    effects: list[Effect] = []
    if mine and record.phase in (*_WORKING, *_SHOWN):
        effects += cases.ask(state, record, case, env)
    if case is not None and any(place.stage in (Stage.CALLED, Stage.ACCEPTED) for place in mine):
        effects += seat_work.prepare(state, record, case, env)
    elif deal_id in state.cases.running:
        effects.append(CancelJob(deal_id=deal_id))
    if case is not None and record.phase in _SHOWN and not case.bytes_here:
        effects += seat_work.collect(state, record, case)
    if case is not None:
        effects += matching.seat_looks(state, record, case, env)
    return effects + seat_calls.owed(state, file, record, env)


# --- what comes in ---------------------------------------------------------------------------


def notice_heard(state: NodeState, event: ev.CaseHeard, env: Env) -> list[Effect]:
    """Somebody has a case: who needs it asks at once, and who pulls its inputs asks there too."""
    deal_id, peer = event.notice.deal_id, event.author
    known = peer in state.cases.authors(deal_id, state.wall)
    state.cases.put(peer, event.notice)
    file, record = state.durable.disputes.get(deal_id), state.cases.records.get(deal_id)
    if known or peer == env.me or file is None or record is None or record.over:
        return []
    half, case = state.durable.deals.get(deal_id), case_of(state, deal_id)
    if half is not None:
        return cases.collect(state, half, record)
    if file.role != SEAT:
        return []
    if case is None:
        return [cases.pull_from(peer, deal_id, env)]
    return [DropEffects(prefix=f"fetch:{deal_id.hex()}"), *work(state, deal_id, env)]


def told(state: NodeState, peer: PeerId, message: CaseFile, env: Env) -> list[Effect]:
    """Somebody tells us a case. Raises ``RemoteProtocolError`` when it is not the one that the chain is about."""
    named = deal_id_of(env.domain, message.deal)
    file, record = state.durable.disputes.get(named), state.cases.records.get(named)
    if file is None or record is None or file.role != SEAT or record.over:
        return []
    if address_of_peer(peer) not in members(record):
        return []
    case = case_from(message, record, env.domain)
    known = case_of(state, case.deal_id)
    if known is not None:
        if case.result is None or known.result is not None:
            return []
        case = replace(known, result=case.result)
    else:
        past = state.durable.cases.get(case.deal_id)  # a reorganisation took the end of a dispute back
        case = replace(past, job=case.job, inputs_here=False, result=case.result) if past else case
    state.durable.put_case(case)
    return work(state, case.deal_id, env)


def arrived(state: NodeState, event: ev.BlobsArrived, env: Env) -> list[Effect]:
    """What was pulled for a case is here."""
    case = case_of(state, event.deal_id)
    if case is None or event.deal_id not in state.open_disputes:
        return []
    state.cases.pulls.pop((event.deal_id, event.purpose), None)
    if event.purpose == seat_work.CASE:
        state.durable.put_case(replace(case, inputs_here=True))
        state.cases.came[event.deal_id] = state.chain_now
        return [*cases.announce(state, event.deal_id), *work(state, event.deal_id, env)]
    state.durable.put_case(replace(case, bytes_here=True))
    return work(state, event.deal_id, env)


def failed(state: NodeState, event: ev.BlobsFailed, env: Env) -> list[Effect]:
    """Nobody serves it, or it is not what it should be: asked again with the next block, while there is time."""
    if event.deal_id in state.open_disputes:
        state.cases.pulls[event.deal_id, event.purpose] = False
    return [_say(event.deal_id, "seat.unserved", purpose=event.purpose, code=event.code, detail=event.detail)]


def waited(state: NodeState, event: ev.PullWaited, env: Env) -> list[Effect]:
    """A pull is not complete: whether the network is to blame decides what may be said of it."""
    key = event.deal_id, event.purpose
    if event.deal_id not in state.open_disputes or state.cases.pulls.get(key) is event.ours:
        return []
    state.cases.pulls[key] = event.ours
    kind = "seat.no_room" if event.ours else "seat.waits"
    return [_say(event.deal_id, kind, purpose=event.purpose, detail=event.detail)]


def executed(state: NodeState, event: ev.AuditCompleted, env: Env) -> list[Effect]:
    """Our executor is done with a case."""
    state.cases.running.discard(event.deal_id)
    case, result = case_of(state, event.deal_id), event.result
    effects: list[Effect] = []
    if case is not None and event.deal_id in state.open_disputes and case.ran is None:
        outcome = OutcomeCode(result.outcome)
        word = outcome.name.lower()
        if not seat_work.ended(state, case, outcome, env):
            effects.append(_say(event.deal_id, "seat.run_failed", outcome=word, detail=result.detail))
        else:
            state.durable.put_case(replace(case, ran=result))
            effects.append(_say(event.deal_id, "seat.executed", outcome=word, exit_code=str(result.exit_code)))
            effects += work(state, event.deal_id, env)
    for waiting in list(state.open_disputes):
        if waiting != event.deal_id and state.durable.disputes[waiting].role == SEAT:
            effects += work(state, waiting, env)
    return effects


def _told(file: DisputeFile, before: Record | None, now: Record) -> list[Effect]:
    """A new phase, or the same anew for other seats: somebody has poked, or nobody need."""
    drop = DropEffects(prefix=f"poke:{file.deal_id.hex()}")
    if before is not None and (before.phase, before.round) == (now.phase, now.round):
        return [drop] if before.until != now.until else []
    return [drop, _say(file.deal_id, "seat." + now.phase.name.lower(), until=str(now.until), round=str(now.round))]


def tx_failed(state: NodeState, event: ev.TxFailed) -> list[Effect]:
    """The panel refused a call: somebody was quicker with a poke, or its time was over. What follows stands in the logs."""
    if event.deal_id not in state.open_disputes:
        return []
    return [_say(event.deal_id, "seat.tx_refused", purpose=event.purpose, reason=event.reason)]


def _over(state: NodeState, file: DisputeFile, record: Record, env: Env) -> list[Effect]:
    """The dispute has ended: nothing of it is wanted any more, but what it brought."""
    was_open = file.deal_id in state.open_disputes
    case = state.durable.cases.get(file.deal_id)
    state.open_disputes.pop(file.deal_id, None)
    state.cases.forget(file.deal_id)
    if case is not None and case.job:
        state.durable.put_case(replace(case, job=b"", inputs_here=False, bytes_here=False))
    _forget_oldest(state)
    if not was_open:
        return []
    return [*_stopped(file.deal_id), _say(file.deal_id, "seat.ended", row=record.row.name if record.row else "")]


def _dropped(state: NodeState, file: DisputeFile) -> list[Effect]:
    """Nothing of it is ours: of another's dispute that is over, or whose opening a reorganisation took. A place that was ours
    and was given to another seat leaves a case, pulls and blobs behind."""
    deal_id, effects = file.deal_id, list[Effect]()
    if file.role == SEAT:
        state.durable.drop_case(deal_id)
        effects = _stopped(deal_id)
    state.durable.drop_dispute(deal_id)
    state.cases.forget(deal_id)
    state.open_disputes.pop(deal_id, None)
    return effects


def _left(state: NodeState, deal_id: DealId) -> list[Effect]:
    """Another seat has the place that was ours: what goes on here is for nobody. The dispute is one of others."""
    state.durable.drop_case(deal_id)
    state.open_disputes.pop(deal_id, None)
    record = state.cases.records[deal_id]
    state.cases.forget(deal_id)
    state.cases.records[deal_id] = record
    return [*_stopped(deal_id), *_look_on(state)]


def _stopped(deal_id: DealId) -> list[Effect]:
    kinds = ("fetch", "run", "mark", "compare", "panel", "poke")
    return [
        CancelFetch(deal_id=deal_id),
        CancelJob(deal_id=deal_id),
        StopServing(deal_id=deal_id, forget=True),
        *(DropEffects(prefix=f"{kind}:{deal_id.hex()}") for kind in kinds),
    ]


def _forget_oldest(state: NodeState) -> None:
    past = [
        deal_id
        for deal_id, file in state.durable.disputes.items()
        if file.role == SEAT and deal_id not in state.open_disputes
    ]
    for deal_id in past[: max(len(past) - MAX_PAST, 0)]:
        state.durable.drop_dispute(deal_id)
        state.durable.drop_case(deal_id)


def _say(deal_id: DealId, name: str, **fields: str) -> Notify:
    return Notify(subject=deal_id, name=name, fields=fields)

"""Which bytes may a peer pull because of a dispute, beside what its own deals grant it?

Who has a place in the panel may have the module and the inputs from the moment it is called, and the opened result once its
own panel has committed. Under a tolerance the seats that have revealed, and the provider, may have each other's outputs once
every reveal is in. The client of a result that it never had gets that from the seats.
"""

from typing import Final

from protocols.deals.desk import inputs_of
from protocols.disputes.record import Record
from protocols.disputes.states import Phase, Reason
from protocols.errors import RemoteProtocolError
from protocols.job.canonical import CanonicalJob
from protocols.mediation.case import opened_root
from protocols.mediation.outputs import may_see
from protocols.messages.deal import ResultNotice
from protocols.signing import address_of_peer
from protocols.state import PROVIDER, NodeState
from protocols.units import Address, Cid, DealId, PeerId

__all__ = ["SHOWN", "roots_for", "sits"]

SHOWN: Final = frozenset({Phase.REVEALING, Phase.MATCHING, Phase.VERDICT, Phase.APPEALED})
"""Everybody in the panel that sits has committed, and the provider has opened."""


def sits(record: Record, operator: Address) -> bool:
    """Whether an operator has, or had, a place in a panel of this dispute."""
    return any(place.operator == operator for sitting in record.sittings for place in sitting.places)


def roots_for(state: NodeState, peer: PeerId, deal_id: DealId) -> tuple[Cid, ...]:
    """What this node serves to a peer because of the dispute about a deal; nothing when there is none, or it is no part of
    it."""
    record = state.cases.records.get(deal_id)
    if record is None or record.over:
        return ()
    try:
        operator = address_of_peer(peer)
    except RemoteProtocolError:
        return ()
    shown = _result_here(state, record) if record.phase in SHOWN else ()
    if sits(record, operator):
        return (*_inputs_here(state, deal_id), *shown, *_own_output(state, record, operator))
    if operator == record.provider:
        return _own_output(state, record, operator)
    if operator == record.client and record.reason is Reason.WITHHELD:
        return shown
    return ()


def _inputs_here(state: NodeState, deal_id: DealId) -> tuple[Cid, ...]:
    half, case = state.durable.deals.get(deal_id), state.durable.cases.get(deal_id)
    if half is not None:
        body = state.durable.jobs.get(half.state.terms.deal.job_id)
        return tuple(sorted(one.root for one in inputs_of(CanonicalJob.decode(body)))) if body else ()
    return tuple(one.root for one in case.inputs) if case is not None and case.job and case.inputs_here else ()


def _own_output(state: NodeState, record: Record, operator: Address) -> tuple[Cid, ...]:
    """What this node has computed as a seat, for who must compare it: once all have revealed, and under a tolerance alone."""
    case = state.durable.cases.get(record.deal_id)
    if case is None or case.ran is None or not may_see(record, operator, case.deal.level):
        return ()
    return (case.ran.root,)


def _result_here(state: NodeState, record: Record) -> tuple[Cid, ...]:
    root = opened_root(record)
    half, case = state.durable.deals.get(record.deal_id), state.durable.cases.get(record.deal_id)
    if root is None:
        return ()
    if half is not None:
        notice = getattr(half.state, "result", None)
        return (root,) if half.role == PROVIDER and isinstance(notice, ResultNotice) and notice.root == root else ()
    return (root,) if case is not None and case.bytes_here else ()

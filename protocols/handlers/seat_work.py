"""What does a seat pull and execute for its case? Module and inputs, one run of the job, and what the provider has opened.

The job runs once, whatever the number of this operator's places.
"""

from typing import Final

from msgspec.structs import replace

from protocols.disputes.record import Record
from protocols.effects import Effect, FetchBlobs, RunJob
from protocols.mediation.case import MAX_TRIES, Case, opened_root, result_bytes, unfit
from protocols.messages.negotiation import InputRoot
from protocols.state import NodeState
from protocols.units import DealId

__all__ = ["CASE", "MAX_RUNS", "OPENED", "case_of", "collect", "prepare"]

CASE: Final = "case"
OPENED: Final = "opened"
"""Purposes of a seat's pulls: what the job needs, and what the provider has opened."""
MAX_RUNS: Final = 2
"""Cases executed at once: each may take all the memory that a job may have, beside this node's own jobs."""


def case_of(state: NodeState, deal_id: DealId) -> Case | None:
    """The case of an open dispute in which this node sits, once it has been told."""
    case = state.durable.cases.get(deal_id)
    return case if case is not None and case.job else None


def prepare(state: NodeState, case: Case) -> list[Effect]:
    """Pull what the job needs, then run it, as soon as there is room."""
    name = case.deal_id.hex()
    if unfit(case) or case.ran is not None or case.tries >= MAX_TRIES:
        return []
    if not case.inputs_here:
        return [_pull(state, case, CASE, case.inputs)]
    if case.deal_id in state.cases.running or len(state.cases.running) >= MAX_RUNS:
        return []
    state.cases.running.add(case.deal_id)
    return [RunJob(key=f"run:{name}", deal_id=case.deal_id, run_id=case.run_id, job=case.job, audit=True)]


def collect(state: NodeState, record: Record, case: Case) -> list[Effect]:
    """The provider's bytes, which are here already when they are ours."""
    root = opened_root(record)
    if root is None:
        return []
    if case.ran is not None and root == case.ran.root:
        state.durable.put_case(replace(case, bytes_here=True))
        return []
    return [_pull(state, case, OPENED, (InputRoot(root, result_bytes(case.decoded)),))]


def _pull(state: NodeState, case: Case, purpose: str, roots: tuple[InputRoot, ...]) -> FetchBlobs:
    """From both parties and from the seats that have it. The same pull under way is the same effect."""
    others = dict.fromkeys((case.client, *state.cases.authors(case.deal_id)))
    others.pop(case.provider, None)
    return FetchBlobs(
        key=f"fetch:{case.deal_id.hex()}:{purpose}",
        deal_id=case.deal_id,
        purpose=purpose,
        peer=case.provider,
        others=tuple(others),
        roots=roots,
    )

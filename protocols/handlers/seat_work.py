"""What does a seat pull and execute for its case? Module and inputs, one run of the job, and what the provider has opened.

The job runs once, whatever the number of this operator's places, and where it can before a place is taken: whoever is called
loses nothing by declining, and its lock by accepting what its machine cannot do.
"""

from typing import Final

from msgspec.structs import replace

from protocols.deals.eip712 import OutcomeCode
from protocols.disputes.file import SEAT
from protocols.disputes.record import Record
from protocols.disputes.states import Phase, Stage
from protocols.effects import Effect, FetchBlobs, RunJob
from protocols.env import Env
from protocols.mediation.case import Case, opened_root, result_bytes, spoiled, unfit, unjudged
from protocols.messages.negotiation import InputRoot
from protocols.state import NodeState
from protocols.units import Address, DealId, UnixSeconds

__all__ = [
    "CASE",
    "MAX_LONG",
    "MAX_RUNS",
    "MAX_UNSERVED",
    "OPENED",
    "case_of",
    "collect",
    "ended",
    "holds",
    "in_vain",
    "prepare",
    "trusted",
]

CASE: Final = "case"
OPENED: Final = "opened"
"""Purposes of a seat's pulls: what the job needs, and what the provider has opened."""
MAX_RUNS: Final = 2
"""Cases executed at once, as far as their memory goes."""
MAX_UNSERVED: Final = 2
"""Disputes at once with places taken that nobody serves: once served, each may run for a day."""
MAX_LONG: Final = 1
"""Disputes at once with places taken while the run goes on: one run less than there may be, or a few long jobs of one who
fights with himself would keep all mediators from the disputes of others."""
_MOST_REST: Final = 6
"""Doublings of the pause between two runs that this machine spoils: on public networks from 4 minutes to 2 hours."""


def case_of(state: NodeState, deal_id: DealId) -> Case | None:
    """The case of an open dispute in which this node sits, once it has been told."""
    case = state.durable.cases.get(deal_id)
    return case if case is not None and case.job else None


def holds(record: Record, me: Address) -> bool:
    """Whether a lock of this operator's waits for its work."""
    return any(place.operator == me and place.stage is Stage.ACCEPTED for place in record.places)


def trusted(state: NodeState, me: Address) -> tuple[DealId, ...]:
    """Disputes with a place that was taken, or is being taken by a call on its way, before the run has ended."""
    found = []
    for deal_id in state.open_disputes:
        file, record, case = state.durable.disputes[deal_id], state.cases.records.get(deal_id), case_of(state, deal_id)
        if file.role != SEAT or record is None or (case is not None and case.ran is not None):
            continue
        asked = record.phase is Phase.DRAWN and any(name.startswith("drawn:") for name in file.asked)
        if asked or holds(record, me):
            found.append(deal_id)
    return tuple(found)


def prepare(state: NodeState, record: Record, case: Case, env: Env) -> list[Effect]:
    """Pull what the job needs, then run it, as soon as there is room. Whoever holds a lock tries what it can."""
    held = holds(record, env.signer.address)
    problem = unjudged(case) if held else unfit(case, env.machine) or spoiled(case)
    if problem or case.ran is not None:
        return []
    if not case.inputs_here:
        return [_pull(state, case, CASE, case.inputs)]
    if not _may_begin(state, case, env, held=held):
        return []
    state.cases.running.add(case.deal_id)
    name = case.deal_id.hex()
    return [RunJob(key=f"run:{name}", deal_id=case.deal_id, run_id=case.run_id, job=case.job, audit=True)]


def _may_begin(state: NodeState, case: Case, env: Env, *, held: bool) -> bool:
    """Whether there is room for one more run: as many as may be, within the memory, and those first that hold a lock."""
    running = state.cases.running
    if case.deal_id in running or state.cases.resting.get(case.deal_id, state.chain_now) > state.chain_now:
        return False
    waiting = (case_of(state, one) for one in trusted(state, env.signer.address) if one not in running)
    if not held and any(one is not None and one.inputs_here for one in waiting):
        return False
    taken = sum(one.decoded.resources.memory_mib[0] for one in map(state.durable.cases.get, running) if one and one.job)
    fits = taken + case.decoded.resources.memory_mib[0] <= env.machine.memory_mib
    return len(running) < MAX_RUNS and (fits or not running)


def ended(state: NodeState, case: Case, outcome: OutcomeCode, env: Env) -> bool:
    """Whether a run that ended so counts. What this machine has spoiled is tried again after a while, and so is, for who
    holds a lock, the first that was too slow: load passes."""
    held = holds(state.cases.records[case.deal_id], env.signer.address)
    if outcome is OutcomeCode.CANCELLED:
        return False
    if outcome is not OutcomeCode.INFRA_ERROR and not (outcome is OutcomeCode.TIMEOUT and held and not case.tries):
        return True
    state.durable.put_case(replace(case, tries=case.tries + 1))
    pause = env.params.poke_margin << min(case.tries + 1, _MOST_REST)
    state.cases.resting[case.deal_id] = UnixSeconds(state.chain_now + pause)
    return False


def in_vain(state: NodeState, deal_id: DealId, purpose: str) -> bool:
    """Whether this node has asked for something, could have stored it, and was not served."""
    return bool(state.peers) and state.cases.pulls.get((deal_id, purpose)) is False


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
    others = dict.fromkeys((case.client, *state.cases.authors(case.deal_id, state.wall)))
    others.pop(case.provider, None)
    return FetchBlobs(
        key=f"fetch:{case.deal_id.hex()}:{purpose}",
        deal_id=case.deal_id,
        purpose=purpose,
        peer=case.provider,
        others=tuple(others),
        roots=roots,
    )

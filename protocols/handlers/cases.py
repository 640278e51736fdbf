"""How do the seats of a panel come by the case? Whoever has it says so while the dispute is open, and tells who asks.

Both parties have it, and every seat that was served has it too, so that nobody can serve one seat and starve another. The
client of a result that it never had pulls that from the seats once the provider has opened it.
"""

from typing import Final

from msgspec.structs import replace

from protocols import events as ev
from protocols.deals.eip712 import digest
from protocols.deals.inputs import say
from protocols.disputes.record import Record
from protocols.disputes.states import Reason
from protocols.effects import Effect, FetchBlobs, Publish, Send
from protocols.env import Env
from protocols.job.canonical import CanonicalJob
from protocols.mediation.access import SHOWN, sits
from protocols.mediation.book import ASK_EVERY_S
from protocols.mediation.case import Case, opened_root, result_bytes
from protocols.messages.deal import ResultNotice
from protocols.messages.dispute import CASE_TAG, CaseFile, CaseNotice, CasePull, cases_topic
from protocols.messages.negotiation import InputRoot
from protocols.signing import address_of_peer
from protocols.state import CLIENT, Half, NodeState
from protocols.transfer.cid import cid_text
from protocols.units import DealId, Millis, PeerId, UnixSeconds

__all__ = [
    "SERVED",
    "announce",
    "announce_due",
    "ask",
    "collect",
    "pull_arrived",
    "pull_from",
    "refused",
    "served",
    "unserved",
]

TIMER: Final = "case:"
SERVED: Final = "served"
"""Purpose of a client's pull of its result from the seats."""
TTL_PERIODS: Final = 3
"""A notice lapses when three in a row were lost."""


# --- who has it ----------------------------------------------------------------------------------------------------


def announce(state: NodeState, deal_id: DealId) -> list[Effect]:
    """From now on say that this node has the case, until the dispute is over."""
    if deal_id not in state.cases.announcing:
        state.cases.announcing.add(deal_id)
        state.timers.set(TIMER + deal_id.hex(), 0)
    return []


def announce_due(state: NodeState, deal_key: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """It is time to say it again."""
    deal_id = DealId(deal_key)
    if deal_id not in state.cases.announcing:
        return []
    period = env.params.case_period
    state.timers.set(TIMER + deal_id.hex(), event.at + period * 1000)
    expires = UnixSeconds(state.wall + TTL_PERIODS * period)
    notice = CaseNotice(deal_id=deal_id, expires=expires, addresses=state.addresses)
    return [Publish(topic=cases_topic(env.params.name), data=env.record(CASE_TAG, notice))]


def ask(state: NodeState, record: Record, case: Case | None, env: Env) -> list[Effect]:
    """A seat asks everybody who may have what it still needs: the case, and once it is opened the signed result."""
    deal_id = record.deal_id
    wanted = case is None or (case.result is None and record.phase in SHOWN)
    last = state.cases.asked.get(deal_id)
    if not wanted or (last is not None and state.chain_now - last < ASK_EVERY_S):
        return []
    state.cases.asked[deal_id] = state.chain_now
    parties = (case.provider, case.client) if case is not None else ()
    peers = dict.fromkeys((*parties, *state.cases.authors(deal_id, state.wall)))
    return [pull_from(peer, deal_id, env) for peer in peers if peer != env.me]


def pull_from(peer: PeerId, deal_id: DealId, env: Env) -> Send:
    """Ask one peer for a case."""
    return _send(peer, CasePull(deal_id), env)


def _send(peer: PeerId, message: CasePull | CaseFile, env: Env) -> Send:
    protocol, data = env.seal(message)
    return Send(peer=peer, protocol=protocol, data=data)


# --- asking and telling ------------------------------------------------------------------------------------------


def pull_arrived(state: NodeState, peer: PeerId, message: CasePull, at: Millis, env: Env) -> list[Effect]:
    """Tell the case to who has a place in the panel; to nobody else. Who asks too early is not to blame: it may know the draw
    from a block that this node has not seen."""
    record = state.cases.records.get(message.deal_id)
    if record is None or record.over or not sits(record, address_of_peer(peer)):
        return []
    told = _file(state, record, env)
    if told is None or not state.cases.may_answer(message.deal_id, peer, at):
        return []
    return [_send(peer, told, env)]


def _file(state: NodeState, record: Record, env: Env) -> CaseFile | None:
    """What this node can tell. The signed result says nothing new once the panel has been shown it, and too much before."""
    half, case = state.durable.deals.get(record.deal_id), state.durable.cases.get(record.deal_id)
    opened = record.phase in SHOWN
    if half is not None:
        terms, notice = half.state.terms, getattr(half.state, "result", None)
        body = state.durable.jobs.get(terms.deal.job_id)
        if body is None:
            return None
        shown = opened and isinstance(notice, ResultNotice) and digest(env.domain, notice.commit) == record.result_hash
        return CaseFile(terms.deal, terms.client, terms.provider, body, notice.commit if shown and notice else None)
    if case is None or not case.job:
        return None
    return CaseFile(case.deal, case.client, case.provider, case.job, case.result if opened else None)


# --- what the panel did not take -----------------------------------------------------------------------------------


def refused(state: NodeState, event: ev.TxFailed, env: Env) -> None:
    """An endpoint was behind, a bond was busy, an account was empty: the call is made again after a while, for as long as
    it is owed. What came too late is owed no more."""
    deal_id, name = event.deal_id, event.purpose.removeprefix("panel ")
    file = state.durable.disputes.get(deal_id)
    if file is None or deal_id not in state.open_disputes or name not in file.asked:
        return
    state.durable.put_dispute(file.refused(name))
    again = UnixSeconds(state.chain_now + env.params.poke_margin)
    state.cases.refused[deal_id, name] = again
    state.open_disputes[deal_id] = min(state.open_disputes[deal_id], again)


# --- what a client never had -------------------------------------------------------------------------------------


def collect(state: NodeState, half: Half, record: Record) -> list[Effect]:
    """The client of a result that it never had pulls it from the seats, once the provider has opened it to them."""
    deal_id, root = record.deal_id, opened_root(record)
    file = state.durable.disputes.get(deal_id)
    if half.role != CLIENT or record.reason is not Reason.WITHHELD or root is None or record.phase not in SHOWN:
        return []
    if file is None or SERVED in file.asked:
        return []
    seats = [peer for peer in state.cases.authors(deal_id, state.wall) if sits(record, address_of_peer(peer))]
    body = state.durable.jobs.get(half.state.terms.deal.job_id)
    if not seats or body is None:
        return []
    most = InputRoot(root, result_bytes(CanonicalJob.decode(body)))
    key = f"fetch:{deal_id.hex()}:{SERVED}"
    return [FetchBlobs(key=key, deal_id=deal_id, purpose=SERVED, peer=seats[0], others=tuple(seats[1:]), roots=(most,))]


def served(state: NodeState, event: ev.BlobsArrived, env: Env) -> list[Effect]:
    """The withheld result is here: kept with the deal, and asked for no more."""
    file, record = state.durable.disputes.get(event.deal_id), state.cases.records.get(event.deal_id)
    half, root = state.durable.deals.get(event.deal_id), opened_root(record) if record else None
    if file is None or half is None or root is None:
        return []
    state.durable.put_dispute(replace(file, asked=(*file.asked, SERVED)))
    return [say(half.state.terms, "dispute.served", root=cid_text(root))]


def unserved(state: NodeState, event: ev.BlobsFailed, env: Env) -> list[Effect]:
    """No seat has it, or gives it: those that are known are asked after a while. At once would be without end where a
    provider has opened a tree that no peer could give, because it is larger than the job allows, or none."""
    until = state.open_disputes.get(event.deal_id)
    if until is not None:
        state.open_disputes[event.deal_id] = min(until, UnixSeconds(state.chain_now + env.params.poke_margin))
    return []

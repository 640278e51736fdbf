"""What does a provider do: advertise, quote, hold, countersign, run?"""

from typing import Final

import msgspec

from protocols import events as ev
from protocols.channels.states import pair_of
from protocols.deals import eip712
from protocols.deals import provider as provider_half
from protocols.deals.desk import ASK_AGAIN, Hold, Parked, check_proposal, judge, quote_for, stake_problem
from protocols.deals.panel_terms import few_seats, snapshot_problem
from protocols.deals.states import DealTerms, Running
from protocols.effects import CancelJob, Effect, Penalise, Publish, ReadAccount, Send
from protocols.env import Env
from protocols.errors import RemoteProtocolError
from protocols.handlers import deals, seating, vouchers
from protocols.handlers.announce import offer_record, renewed, withdrawal_record
from protocols.job.canonical import CanonicalJob, job_id_of, run_id_of
from protocols.limits import MAX_ACTIVE_DEALS, MAX_HOLDS, MAX_REASON_CHARS
from protocols.messages.deal import Progress
from protocols.messages.negotiation import DealProposal, DealRefusal, HoldRelease, PanelRfq, Refusal, Rfq
from protocols.offers.pricing import price_of
from protocols.offers.records import JobOffer, ResourceOffer
from protocols.offers.topics import classes_within
from protocols.signing import address_of_peer
from protocols.state import PROVIDER, Account, NodeState
from protocols.units import Address, Millis, PeerId, Seconds, Tokens

__all__ = [
    "account_read",
    "drain_requested",
    "heartbeat_due",
    "holds_due",
    "job_announced",
    "progressed",
    "proposal_arrived",
    "provider_changed",
    "release_arrived",
    "rfq_arrived",
    "seats_read",
    "started",
]

ACCOUNT_FRESH: Final = Millis(2_000)
"""How long a balance read from the chain is good for a quote: a hold outlives it, the commit is the judge."""
ADVERTISE_PAUSE: Final = Millis(1_000)
"""Calls for providers are answered this often at most: others take 2 records a second from one author."""
MAX_ACCOUNTS: Final = 4_096
"""Balances remembered, newest first kept: clients that ask within one freshness are far fewer."""
HEARTBEAT: Final = "heartbeat:"


def started(state: NodeState, event: ev.NodeStarted, env: Env) -> list[Effect]:
    """Learn our own stake."""
    return [ReadAccount(operator=env.signer.address)]


def provider_changed(state: NodeState, event: ev.ProviderChanged, env: Env) -> list[Effect]:
    """The probes or the owner changed what this node offers."""
    withdrawn = state.desk.offer if event.offer is None else None
    state.desk.offer, state.desk.slots, state.desk.queue = event.offer, event.slots, event.queue
    state.desk.policy, state.desk.conditions = event.policy, event.conditions
    if event.conditions.own_use and event.policy.own_use.stop:
        return [*_give_way(state), *_offer_changed(state, event, withdrawn, env)]
    return _offer_changed(state, event, withdrawn, env)


def _give_way(state: NodeState) -> list[Effect]:
    """The owner comes first: what runs here for others ends as our own fault, which is paid by nobody."""
    running = (half for deal_id in state.durable.live if (half := state.durable.deals[deal_id]).role == PROVIDER)
    return [CancelJob(deal_id=half.state.terms.deal_id) for half in running if isinstance(half.state, Running)]


def _offer_changed(
    state: NodeState, event: ev.ProviderChanged, withdrawn: ResourceOffer | None, env: Env
) -> list[Effect]:
    if withdrawn is not None:
        state.timers.clear(HEARTBEAT)
        return _withdraw(state, withdrawn, env)
    # A deal that was committed while this node was down could not start before it knew its slots.
    return [*_advertise(state, event.at, env), *deals.start_waiting(state, env)]


def drain_requested(state: NodeState, event: ev.DrainRequested, env: Env) -> list[Effect]:
    """Stop or resume taking new deals."""
    state.desk.draining = event.draining
    if event.draining:
        state.timers.clear(HEARTBEAT)
        return _withdraw(state, state.desk.offer, env) if state.desk.offer else []
    return _advertise(state, event.at, env)


def _withdraw(state: NodeState, offer: ResourceOffer, env: Env) -> list[Effect]:
    topic, record = withdrawal_record(offer, state.durable.next_sequence(), state.wall, env)
    return [Publish(topic=topic, data=record)]


def _advertise(state: NodeState, now: Millis, env: Env) -> list[Effect]:
    if state.desk.offer is None or state.desk.draining:
        return []
    state.desk.advertised = now
    state.timers.set(HEARTBEAT, now + env.params.offer_heartbeat * 1000)
    busy = deals.busy_slots(state) + state.desk.firm()
    sequence, free = state.durable.next_sequence(), max(state.desk.slots - busy, 0)
    offer = renewed(state.desk.offer, sequence=sequence, wall=state.wall, free_slots=free, env=env)
    topic, record = offer_record(offer, env)
    return [Publish(topic=topic, data=record)]


def heartbeat_due(state: NodeState, _: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """Say that the offer still stands, and see what collateral is left to offer."""
    return [*_advertise(state, event.at, env), ReadAccount(operator=env.signer.address)]


def job_announced(state: NodeState, offer: JobOffer, at: Millis, env: Env) -> list[Effect]:
    """A client finds nobody: show ourselves, if we could be meant."""
    mine = state.desk.offer
    if mine is None or offer.capability not in classes_within(mine.capability):
        return []
    if deals.busy_slots(state) + state.desk.firm() >= state.desk.slots + state.desk.queue:
        return []
    if state.desk.advertised and at - state.desk.advertised < ADVERTISE_PAUSE:
        return []
    return _advertise(state, at, env)


def rfq_arrived(state: NodeState, peer: PeerId, rfq: Rfq, at: Millis, env: Env) -> list[Effect]:
    """What would it cost here?"""
    state.desk.expire(at)
    hold = state.desk.holds.get(rfq.rfq_id)
    if hold is not None:
        return _say(peer, hold.quote, env) if hold.client == peer else []
    verdict = _judge(state, peer, rfq, env)
    if isinstance(verdict, Refusal):
        return _say(peer, verdict, env)
    return _weigh(state, Parked(peer, rfq, verdict, state.desk.offer), at, env)


def _weigh(state: NodeState, asked: Parked, at: Millis, env: Env) -> list[Effect]:
    """Quote a job that this provider would take, once it knows what the chain has to say about the parties."""
    peer, rfq, job = asked.client, asked.rfq, asked.job
    operator = address_of_peer(peer)
    if isinstance(rfq, PanelRfq):
        seen = seating.fresh(state, operator, env.signer.address, at, rfq.seat_snapshot)
        if seen is None:
            return _park(state, asked, env, seating.read(operator, env.signer.address, rfq.max_price))
        problem = few_seats(seen, env.params.min_seats) or snapshot_problem(rfq, seen)
        if problem:
            return _say(peer, Refusal(rfq_id=rfq.rfq_id, code="seats", detail=problem, free_in_s=0), env)
    if rfq.SETTLEMENT and state.desk.offer is not None:
        room = vouchers.room_of(state, pair_of(operator, env.signer.address))
        if room >= price_of(state.desk.offer, job):
            return _quote(state, peer, rfq, job, room, at, env)
    account = state.accounts.get(operator)
    if account is not None and at - account.at <= ACCOUNT_FRESH:
        held = sum(hold.quote.price for hold in _owners_holds(state, peer))
        return _quote(state, peer, rfq, job, Tokens(max(account.free - held, 0)), at, env)
    waits = operator in state.desk.parked
    return _park(state, asked, env, None if waits else ReadAccount(operator=operator))


def _park(state: NodeState, asked: Parked, env: Env, question: Effect | None) -> list[Effect]:
    """Until the chain has answered. ``question``: None when somebody else's is under way."""
    if sum(map(len, state.desk.parked.values())) >= MAX_HOLDS:
        detail = "too many requests wait for the chain's answer"
        busy = Refusal(rfq_id=asked.rfq.rfq_id, code="busy", detail=detail, free_in_s=ASK_AGAIN)
        return _say(asked.client, busy, env)
    state.desk.parked.setdefault(address_of_peer(asked.client), []).append(asked)
    return [question] if question is not None else []


def _judge(
    state: NodeState, peer: PeerId, rfq: Rfq, env: Env, fits: CanonicalJob | None = None
) -> CanonicalJob | Refusal:
    busy = deals.busy_slots(state) + state.desk.firm()
    if len(state.durable.live) >= MAX_ACTIVE_DEALS:
        busy = state.desk.slots + state.desk.queue
    no = _crowding(state, peer)
    if no is None:
        job = judge(state.desk, peer, rfq, env, busy=busy, free_in=deals.free_in(state), wall=state.wall, fits=fits)
        if isinstance(job, Refusal) or not rfq.SETTLEMENT or state.desk.offer is None:
            return job
        no = vouchers.objection(state, peer, rfq.enforcement, price_of(state.desk.offer, job), env)
        if no is None:
            return job
    return Refusal(rfq_id=rfq.rfq_id, code=no[0], detail=no[1], free_in_s=ASK_AGAIN if no[0] == "busy" else 0)


def _owners_holds(state: NodeState, client: PeerId) -> list[Hold]:
    """The firm holds of all operators that trade for this client's owner, with whose money each of them asks."""
    owner = state.owner_of(address_of_peer(client))
    firm = [hold for hold in state.desk.holds.values() if hold.quote.firm]
    return [hold for hold in firm if state.owner_of(address_of_peer(hold.client)) == owner]


def _crowding(state: NodeState, client: PeerId) -> tuple[str, str] | None:
    """Why an owner gets no further hold, as (code, sentence): its operators, which are free to make and share its money, hold
    half of what is free here. One hold it always gets."""
    held = len(_owners_holds(state, client))
    if held == 0:
        return None
    free = state.desk.slots + state.desk.queue - deals.busy_slots(state) - state.desk.firm() + held
    if 2 * (held + 1) <= free:
        return None
    return "busy", f"operators of your owner hold {held} of {max(free, 0)} free places here; sign or release one first"


def account_read(state: NodeState, event: ev.AccountRead, env: Env) -> list[Effect]:
    """The escrow's balance of a client (or our own) is known: answer whoever waited for it."""
    if event.known:
        state.accounts.pop(event.operator, None)
        state.accounts[event.operator] = Account(event.free, event.stake, event.at)
        while len(state.accounts) > MAX_ACCOUNTS:
            del state.accounts[next(iter(state.accounts))]
    return _answered(state, event.operator, event.known, event.at, env)


def seats_read(state: NodeState, event: ev.SeatsRead, env: Env) -> list[Effect]:
    """The panel's answer about seats: what this node asked as a provider is answered now; searches look again by themselves."""
    seating.learn(state, event)
    if event.provider != env.signer.address:
        return []
    return _answered(state, event.client, event.known, event.at, env)


def _answered(state: NodeState, operator: Address, known: bool, at: Millis, env: Env) -> list[Effect]:
    """The chain has answered, or could not: go on with whoever waited for that."""
    state.desk.expire(at)
    effects: list[Effect] = []
    for waiting in state.desk.parked.pop(operator, []):
        peer, rfq = waiting.client, waiting.rfq
        verdict = _judge(state, peer, rfq, env, waiting.job if waiting.offer is state.desk.offer else None)
        if not known:
            detail = "this node cannot reach the chain at the moment, so it cannot tell what your escrow holds"
            verdict = Refusal(rfq_id=rfq.rfq_id, code="chain", detail=detail, free_in_s=ASK_AGAIN)
        if isinstance(verdict, Refusal):
            effects += _say(peer, verdict, env)
        else:
            effects += _weigh(state, Parked(peer, rfq, verdict, state.desk.offer), at, env)
    return effects


def _quote(
    state: NodeState, peer: PeerId, rfq: Rfq, job: CanonicalJob, funds: Tokens, at: Millis, env: Env
) -> list[Effect]:
    busy = deals.busy_slots(state) + state.desk.firm()
    wait = deals.free_in(state) if busy >= state.desk.slots else Seconds(0)
    mine = state.accounts.get(env.signer.address)
    pledged = sum(hold.quote.collateral for hold in state.desk.holds.values()) + deals.pledged(state)
    stake = Tokens(0 if rfq.SETTLEMENT else max((mine.stake if mine else 0) - pledged, 0))
    problem = stake_problem(state.desk, rfq, job, stake) if isinstance(rfq, PanelRfq) else ""
    if problem:
        return _say(peer, Refusal(rfq_id=rfq.rfq_id, code="stake", detail=problem[:MAX_REASON_CHARS], free_in_s=0), env)
    quote = quote_for(state.desk, peer, rfq, job, env, funds=funds, stake=stake, wait=wait)
    if quote.firm:
        expires = Millis(at + quote.hold_ms)
        hold = Hold(rfq=rfq, client=peer, job=job, job_id=job_id_of(job), quote=quote, expires=expires)
        state.desk.holds[rfq.rfq_id] = hold
        state.timers.set("hold:", min(one.expires for one in state.desk.holds.values()))
    return _say(peer, quote, env)


def holds_due(state: NodeState, _: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """Some hold lapsed: its slot is free."""
    state.desk.expire(event.at)
    if state.desk.holds:
        state.timers.set("hold:", min(hold.expires for hold in state.desk.holds.values()))
    return []


def release_arrived(state: NodeState, peer: PeerId, message: HoldRelease) -> list[Effect]:
    """Somebody else won."""
    hold = state.desk.holds.get(message.rfq_id)
    if hold is not None and hold.client == peer:
        del state.desk.holds[message.rfq_id]
    return []


def proposal_arrived(state: NodeState, peer: PeerId, message: DealProposal, at: Millis, env: Env) -> list[Effect]:
    """The client signed. Countersign if it is what we quoted and the hold still stands."""
    deal_id = eip712.deal_id(env.domain, message.deal)
    if deal_id in state.durable.deals:
        return []
    state.desk.expire(at)
    hold = state.desk.holds.get(message.rfq_id)
    if hold is None or hold.client != peer or not hold.quote.firm:
        refusal = DealRefusal(deal_id=deal_id, code="hold-lapsed", detail="no hold of yours stands here any more")
        return _say(peer, refusal, env)
    try:
        check_proposal(hold, message, env, now=state.chain_now)
    except RemoteProtocolError as error:
        refusal = DealRefusal(deal_id=deal_id, code=error.code.replace("_", "-"), detail=str(error)[:MAX_REASON_CHARS])
        return [Penalise(peer=peer, code=error.code, penalty=error.penalty), *_say(peer, refusal, env)]
    deal = message.deal
    no = vouchers.objection(state, peer, deal.enforcement, deal.price, env) if deal.settlement else None
    if no is not None:
        return _say(peer, DealRefusal(deal_id=deal_id, code=no[0], detail=no[1]), env)
    del state.desk.holds[message.rfq_id]
    terms = DealTerms(
        deal_id=deal_id,
        deal=message.deal,
        client=peer,
        provider=env.me,
        run_id=run_id_of(hold.job_id, message.deal.client, message.deal.run_nonce),
        rfq_id=message.rfq_id,
        inputs=hold.rfq.inputs,
        client_signature=message.signature,
        provider_signature=None,
    )
    state.durable.put_job(hold.job_id, hold.rfq.job)
    return deals.place(state, PROVIDER, provider_half.sign(terms, deals.context(state, env)), env)


def progressed(state: NodeState, event: ev.JobProgressed, env: Env) -> list[Effect]:
    """Tell the client how far its deal is; for our own pulls, only remember it."""
    half = state.durable.deals.get(event.deal_id)
    if half is None:
        return []
    state.hints[event.deal_id] = (event.phase, event.done, event.total)
    if half.role != PROVIDER:
        return []
    progress = Progress(deal_id=event.deal_id, phase=event.phase, done=event.done, total=event.total)
    return _say(half.state.terms.client, progress, env)


def _say(peer: PeerId, message: msgspec.Struct, env: Env) -> list[Effect]:
    protocol, data = env.seal(message)
    return [Send(peer=peer, protocol=protocol, data=data)]

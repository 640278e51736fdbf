"""How does a node move a search on: ask, collect answers, sign the best, or say why nobody fits?"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from protocols import events as ev
from protocols.canonical import tagged_digest
from protocols.deals import client as client_half
from protocols.deals import eip712
from protocols.deals.desk import deal_of_quote, quote_problem
from protocols.deals.inputs import Rerun
from protocols.deals.panel_terms import (
    PANEL_CLASS,
    cannot_be_judged,
    few_seats,
    level_of,
    panel_audit_ppm,
    panel_stakes,
    unsound,
)
from protocols.deals.search import Asked, Search, best_quote, explain, round_entropy
from protocols.deals.states import DealTerms
from protocols.deals.terms import SettlementMode
from protocols.effects import Effect, Notify, Penalise, Publish, Send
from protocols.env import Env
from protocols.handlers import audits, deals, owners, replicas, runs, seating, vouchers
from protocols.handlers.announce import job_record
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalJob
from protocols.limits import MAX_CANDIDATES, MAX_QUOTES
from protocols.mediation.case import result_bytes
from protocols.messages.negotiation import ChannelRfq, PanelRfq, Quote, Refusal, Rfq
from protocols.offers.pricing import price_of
from protocols.offers.ranking import sample
from protocols.offers.records import ResourceOffer
from protocols.reputation import work_kind
from protocols.runs import Candidate, Dealing, Failed, Searching
from protocols.signing import address_of_peer
from protocols.state import CLIENT, NodeState
from protocols.units import PPM, ZERO_ADDRESS, ZERO_HASH, Hash32, Millis, PeerId, RunId, Tokens, UnixSeconds
from protocols.verify.incentives import audit_ppm_for

__all__ = ["answer_arrived", "recheck_due", "replica_due", "search_due"]

BETWEEN_ROUNDS: Final = Millis(400)
"""Pause after a round without a deal: a busy provider frees a slot in about that time, an offer gossips in less."""

PANEL_WINDOWS: Final = 3
"""A panel's round may take so many bid windows: providers ask the chain for its seats before they answer, and the cheapest
should not lose by the slowest endpoint. When all have answered it closes at once."""


def search_due(state: NodeState, run_key: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """Open a round, or close the one whose bid window is over."""
    run_id = RunId(run_key)
    search = state.searches.get(run_id)
    if search is None:
        run = state.durable.runs.get(run_id)
        if run is None or not isinstance(run.status, Searching):
            return []
        job = CanonicalJob.decode(state.durable.jobs[run.job_id])
        search = state.searches[run_id] = Search(run, job, started=event.at, quote_only=False, wall=state.wall)
    if search.open:
        search.give_up_silent(event.at)
        return _close(state, search, event.at, env)
    return _open(state, search, event.at, env)


def recheck_due(state: NodeState, deal_key: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """A check wants its result computed by somebody else."""
    name = audits.search_for(state, deal_key, event)
    return search_due(state, name, event, env) if name is not None else []


def replica_due(state: NodeState, run_key: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """A run wants its job computed by one more."""
    name = replicas.search_for(state, run_key, event)
    return search_due(state, name, event, env) if name is not None else []


def _open(state: NodeState, search: Search, now: Millis, env: Env) -> list[Effect]:
    run = search.run
    if state.chain_now == 0:
        return _wait(state, search, now, env)
    search.round += 1
    limit = _limit(state, search)
    barred = vouchers.barred(state, env) if run.market.settlement == "channel" else frozenset()
    live = [
        offer
        for offer in state.market.offers.live(state.wall)
        if offer.provider != env.me and owners.wants(state, search, offer.provider) and offer.provider not in barred
    ]
    offers = search.acceptable(live, limit, env.params.token, _reliability(state), now, _shunned(state))
    asked = sample(round_entropy(run, search.round), offers, env.params.rfq_fanout)
    if search.panel:
        search.unseated = _never_judged(search, limit, env)
        if search.unseated:
            return _no_match(state, search, env)
        search.unseated, question = _unseated(state, limit, now, env)
        if search.unseated:
            return [*question, *_wait(state, search, now, env)]
    if not asked:
        return [*_announce(state, search, now, env), *_wait(state, search, now, env)]
    return _ask(state, search, asked, limit, now, env)


def _never_judged(search: Search, limit: Tokens, env: Env) -> str:
    """Why no panel will ever judge this job on these terms; empty when one could."""
    if not any(env.params.panel):
        return "this network has no panel; write verify.enforcement: self"
    asked = search.run.market.audit_ppm
    rate = PPM if asked is None else asked
    return cannot_be_judged(search.job) or unsound(panel_stakes(level_of(search.job), Tokens(max(limit, 1)), rate))


def _unseated(state: NodeState, limit: Tokens, now: Millis, env: Env) -> tuple[str, list[Effect]]:
    """Why there are too few mediators, or empty; and the question for the chain, when its last answer is old."""
    seen = seating.fresh(state, env.signer.address, ZERO_ADDRESS, now)
    if seen is None:
        question = seating.read(env.signer.address, ZERO_ADDRESS, limit)
        return "the chain has not said yet how many mediators there are", [question]
    return few_seats(seen, env.params.min_seats), []


def _rfq_of(state: NodeState, search: Search, offer: ResourceOffer, limit: Tokens, env: Env) -> Rfq:
    """What one provider is asked, by how the deal would be paid and judged."""
    run, price = search.run, price_of(offer, search.job)
    turn = run.next_index.to_bytes(4, "big") + search.round.to_bytes(4, "big")
    fields: dict[str, Any] = {
        "rfq_id": tagged_digest("rfq/1", state.incarnation, search.name, turn, offer.provider),
        "run_id": run.run_id,
        "run_nonce": run.run_nonce,
        "index": run.next_index,
        "job": search.job.encode(),
        "inputs": run.inputs,
        "max_price": limit,
        "token": env.params.token,
        "enforcement": eip712.Enforcement.SELF,
        "deadline": run.market.deadline,
    }
    seen = state.seats.get((env.signer.address, ZERO_ADDRESS))
    if search.panel and seen is not None:
        fields["enforcement"] = eip712.Enforcement.PANEL
        asked, record = run.market.audit_ppm, _record_ppm(state, search, offer.provider, ZERO_HASH, env)
        rate = panel_audit_ppm(level_of(search.job), price, asked, record)
        return PanelRfq(audit_ppm=rate, seat_class=PANEL_CLASS, seat_snapshot=seen.total, **fields)
    mode = vouchers.mode_for(state, run.market, search.job.verify.level, offer.provider, price, env)
    in_channel = mode is SettlementMode.CHANNEL and search.recheck is None and offer.provider not in search.commits
    return ChannelRfq(**fields) if in_channel else Rfq(**fields)


def _record_ppm(state: NodeState, search: Search, provider: PeerId, numeric_class: Hash32, env: Env) -> int:
    """How often a provider with this record is checked at this kind of work."""
    record = state.records.get(provider)
    kind = work_kind(Hash32(search.job.module[-32:]), numeric_class)
    if record is not None and record.doubted(state.chain_now):
        return env.params.audit_doubted_ppm
    return env.params.audit_ppm(record.audited(kind) if record else 0)


def _ask(
    state: NodeState, search: Search, offers: Sequence[ResourceOffer], limit: Tokens, now: Millis, env: Env
) -> list[Effect]:
    """Send an RFQ to each, and close when all have answered or the bid window is over."""
    run, run_id = search.run, search.run.run_id
    effects: list[Effect] = []
    for offer in offers:
        rfq = _rfq_of(state, search, offer, limit, env)
        if isinstance(rfq, PanelRfq):
            effects.append(seating.read(env.signer.address, address_of_peer(offer.provider), limit))
        search.asked[rfq.rfq_id] = Asked(offer.provider, rfq, now)
        protocol, data = env.seal(rfq)
        effects.append(Send(peer=offer.provider, protocol=protocol, data=data))
    window = min(run.market.bid_window_ms, env.params.bid_window) * (PANEL_WINDOWS if search.panel else 1)
    state.timers.set(f"search:{search.name.hex()}", now + window)
    count = str(len(offers))
    return [*effects, Notify(subject=run_id, name="rfq.sent", fields={"asked": count, "round": str(search.round)})]


def _reliability(state: NodeState) -> dict[PeerId, int]:
    """What this client has seen of each provider: the lower bound in ppm. Newcomers are not in it."""
    return state.standings.bounds(state.records, state.chain_now)


def _shunned(state: NodeState) -> frozenset[PeerId]:
    """Providers that have failed this client too often to be asked while anybody else fits."""
    return state.standings.shunned(state.records, state.chain_now)


def _limit(state: NodeState, search: Search) -> Tokens:
    """The most this attempt may cost: the price limit, within what is left of the budget."""
    market = search.run.market
    left = market.budget - (0 if search.quote_only else runs.outstanding(state, search.run))
    return Tokens(max(min(market.max_price, left), 0))


def _announce(state: NodeState, search: Search, now: Millis, env: Env) -> list[Effect]:
    """Nobody fits: say on the job topic what is wanted, once per search, so that providers show themselves."""
    if search.announced or search.quote_only:
        return []
    search.announced = True
    deadline = search.run.market.deadline
    limit = _limit(state, search)
    topic, record = job_record(search.job, limit, state.durable.next_sequence(), state.wall, deadline, env)
    return [Publish(topic=topic, data=record)]


def _wait(state: NodeState, search: Search, now: Millis, env: Env) -> list[Effect]:
    """Try again shortly, unless the time for searching is over."""
    run = search.run
    over = now - search.started >= run.market.search_s * 1000
    over = over and not runs.waits_for_money(state, run)
    over = over or (run.market.deadline != 0 and state.wall >= run.market.deadline)
    if search.quote_only or over:
        return _ask_why(state, search, now, env)
    state.timers.set(f"search:{search.name.hex()}", now + BETWEEN_ROUNDS)
    return []


def _ask_why(state: NodeState, search: Search, now: Millis, env: Env) -> list[Effect]:
    """Before giving up, ask those that did not seem to fit: they may answer no in their own signed words."""
    seen = {peer for (peer, number) in search.candidates if number == 0}
    live = [
        one
        for one in state.market.offers.live(state.wall)
        if one.provider in seen and owners.wants(state, search, one.provider)
    ]
    if search.explaining or not live:
        return _no_match(state, search, env)
    search.explaining = True
    search.round += 1
    return _ask(state, search, live[: MAX_CANDIDATES // 2], _limit(state, search), now, env)


def _no_match(state: NodeState, search: Search, env: Env) -> list[Effect]:
    run_id = search.run.run_id
    _forget(state, search)
    if search.recheck is not None and search.recheck.deal_id is None:
        return deals.told_replicas(state, replicas.nobody(state, run_id, env), env)
    if search.recheck is not None and search.recheck.deal_id is not None:
        nobody = Rerun(None, None, f"nobody else computes it: {explain(search)}", Tokens(0))
        return deals.step(state, search.recheck.deal_id, nobody, env)
    candidates = tuple(search.candidates.values())
    if search.quote_only:
        state.quotes[run_id] = candidates
        while len(state.quotes) > MAX_QUOTES:
            del state.quotes[next(iter(state.quotes))]
        count = str(len(candidates))
        return [Notify(subject=run_id, name="quote.closed", fields={"candidates": count})]
    found = [c for c in candidates if c.verdict == "indicative"]
    quoted = [c for c in candidates if c.verdict == "quoted"]
    code, detail = ("funds", found[0].detail) if found and not quoted else ("no-match", explain(search))
    run = msgspec.structs.replace(state.durable.runs[run_id], candidates=_merge(search))
    failed = Failed(code, detail)
    state.durable.put_run(msgspec.structs.replace(run, status=failed))
    return [runs.finish(run, failed)]


def _forget(state: NodeState, search: Search) -> None:
    del state.searches[search.name]
    state.timers.clear(f"search:{search.name.hex()}")


def _merge(search: Search) -> tuple[Candidate, ...]:
    return (*search.run.candidates, *search.candidates.values())[-MAX_CANDIDATES:]


def answer_arrived(state: NodeState, peer: PeerId, message: Quote | Refusal, at: Millis, env: Env) -> list[Effect]:
    """A provider answered an RFQ; the last answer closes the round."""
    for search in state.searches.values():
        asked = search.asked.get(message.rfq_id)
        if asked is not None and asked.provider == peer:
            effects: list[Effect] = []
            problem = quote_problem(asked.rfq, message, search.job, env) if isinstance(message, Quote) else ""
            if problem:
                effects = [Penalise(peer=peer, code="bad_terms", penalty=10), runs.release(peer, message.rfq_id, env)]
                message = Refusal(rfq_id=message.rfq_id, code="bad-terms", detail=problem, free_in_s=0)
            search.answered(message, at)
            if search.complete or not search.open:
                effects += _close(state, search, at, env)
            return effects
    if isinstance(message, Quote) and message.firm:
        return [runs.release(peer, message.rfq_id, env)]
    return []


def _close(state: NodeState, search: Search, now: Millis, env: Env) -> list[Effect]:
    """The round is over: sign the best, release the others, or look again."""
    run = search.run
    deadline_s = max(run.market.deadline - state.wall, 1) if run.market.deadline else search.job.limits.wall_s * 4
    best = best_quote(search, _limit(state, search), _reliability(state), deadline_s=deadline_s)
    if best is not None and search.quotes[best[1].rfq_id][1] + best[1].hold_ms - now < env.params.min_hold_left:
        best = None
    if best is not None and not _seated(state, search, *best, now, env):
        best = None
    if best is not None and isinstance(best[0].rfq, ChannelRfq) and best[0].provider in vouchers.barred(state, env):
        best = None
    if best is not None and not search.quote_only and best[0].rfq.index != len(state.durable.runs[run.run_id].deals):
        # A check of an earlier result has taken this index meanwhile: ask again, with the next one.
        search.run = msgspec.structs.replace(run, next_index=len(state.durable.runs[run.run_id].deals))
        best = None
    winner = None if best is None or search.quote_only or search.explaining else best[1].rfq_id
    effects = [
        runs.release(asked.provider, rfq_id, env)
        for rfq_id, asked in search.asked.items()
        if rfq_id != winner and rfq_id in search.quotes and search.quotes[rfq_id][0].firm
    ]
    unaffordable = not any(q.firm for q, _ in search.quotes.values()) and bool(search.quotes)
    if search.quote_only or search.explaining or (best is None and unaffordable):
        return [*effects, *_no_match(state, search, env)]
    if best is None:
        search.asked.clear()
        search.quotes.clear()
        return [*effects, *_announce(state, search, now, env), *_wait(state, search, now, env)]
    return [*effects, *_propose(state, search, *best, env)]


def _audit_ppm(state: NodeState, search: Search, asked: Asked, quote: Quote, env: Env) -> int:
    """How often the deal's result is checked."""
    if isinstance(asked.rfq, PanelRfq):
        return asked.rfq.audit_ppm
    if search.run.market.audit_ppm is not None:
        return search.run.market.audit_ppm
    record = _record_ppm(state, search, asked.provider, quote.numeric_class, env)
    return audit_ppm_for(level_of(search.job), quote.price, Tokens(0), record)


def _seated(state: NodeState, search: Search, asked: Asked, quote: Quote, now: Millis, env: Env) -> bool:
    """Whether enough mediators could judge a deal with this provider, whose own do not count, and cheating would not pay."""
    if not isinstance(asked.rfq, PanelRfq):
        return True
    seen = seating.fresh(state, env.signer.address, address_of_peer(asked.provider), now)
    if seen is None:
        return False
    stakes = panel_stakes(level_of(search.job), quote.price, asked.rfq.audit_ppm)
    search.unseated = few_seats(seen, env.params.min_seats) or unsound(stakes)
    return not search.unseated and seen.total == asked.rfq.seat_snapshot


def _propose(state: NodeState, search: Search, asked: Asked, quote: Quote, env: Env) -> list[Effect]:
    run = state.durable.runs[search.run.run_id]
    deal = deal_of_quote(
        asked.rfq,
        quote,
        search.job,
        env,
        client=env.me,
        provider=asked.provider,
        client_secret_hash=keccak256(env.signer.derive("client-secret", asked.rfq.rfq_id)),
        audit_ppm=_audit_ppm(state, search, asked, quote, env),
        commit_by=UnixSeconds(state.chain_now + env.params.commit_within),
    )
    deal_id = eip712.deal_id(env.domain, deal)
    terms = DealTerms(
        deal_id=deal_id,
        deal=deal,
        client=env.me,
        provider=asked.provider,
        run_id=run.run_id,
        rfq_id=asked.rfq.rfq_id,
        inputs=run.inputs,
        client_signature=env.signer.sign(Hash32(deal_id)),
        provider_signature=None,
        checks=search.recheck.deal_id if search.recheck else None,
        most_bytes=result_bytes(search.job),
    )
    search.note(search.candidate(asked.provider, "chosen", quote.price, "", "", round_number=search.round))
    dealing = msgspec.structs.replace(
        run,
        status=run.status if search.recheck else Dealing(deal_id),
        deals=(*run.deals, deal_id),
        candidates=_merge(search),
    )
    state.durable.put_run(dealing)
    _forget(state, search)
    firm = str(sum(q.firm for q, _ in search.quotes.values()))
    note = Notify(subject=run.run_id, name="quotes.closed", fields={"quotes": firm, "round": str(search.round)})
    return [note, *deals.place(state, CLIENT, client_half.propose(terms, deals.context(state, env)), env)]

"""How does a provider answer requests for quotes? It is the single writer of its slots.

A firm quote holds a slot for a few seconds, one live hold per funded client; everything else is indicative or refused with
a reason. Holds are volatile: a restart forgets them, and a proposal that then arrives is refused, which costs a round.
"""

from typing import Final

import msgspec

from protocols.canonical import content_id
from protocols.deals import eip712
from protocols.deals.panel_terms import cannot_be_judged, level_of, panel_stakes, unsound
from protocols.deals.terms import MAX_COLLATERAL_FACTOR
from protocols.env import Env
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalJob, job_id_of
from protocols.limits import MAX_HOLDS, MAX_REASON_CHARS
from protocols.messages.negotiation import DealProposal, InputRoot, PanelRfq, Quote, Refusal, Rfq
from protocols.offers.matching import match
from protocols.offers.policy import Conditions, Policy, objections
from protocols.offers.pricing import price_of, tokens_text
from protocols.offers.records import ResourceOffer
from protocols.signing import address_of_peer
from protocols.units import PPM, ZERO_HASH, Address, Hash32, JobId, Millis, PeerId, Seconds, Tokens, UnixSeconds
from protocols.verify.incentives import require_sound, seat_fee_for

__all__ = [
    "ASK_AGAIN",
    "Desk",
    "Hold",
    "check_proposal",
    "deal_of_quote",
    "inputs_of",
    "judge",
    "quote_for",
    "quote_problem",
    "stake_problem",
]

ASK_AGAIN: Final = Seconds(2)
"""What a ``busy`` refusal suggests when the provider cannot tell when it is free."""
MAX_WAIT: Final = Seconds(24 * 3600)
"""Longest queue worth quoting: a client's money is locked while it waits."""
COMMIT_SLACK: Final = Seconds(30)
"""How far a client's idea of chain time may run ahead of the provider's."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A quote that was given out."""

    rfq: Rfq
    client: PeerId
    job: CanonicalJob
    job_id: JobId
    quote: Quote
    expires: Millis


class Parked(msgspec.Struct, frozen=True):
    """An RFQ that waits for the client's escrow balance. ``job`` was found to fit ``offer``."""

    client: PeerId
    rfq: Rfq
    job: CanonicalJob
    offer: ResourceOffer | None


class Desk:
    """The provider's side of every negotiation under way. Volatile."""

    def __init__(self) -> None:
        self.offer: ResourceOffer | None = None
        self.slots = 0
        self.queue = 0
        self.draining = False
        self.policy = Policy()
        self.conditions = Conditions()
        self.holds: dict[Hash32, Hold] = {}
        self.parked: dict[Address, list[Parked]] = {}
        """By the client's operator, at most MAX_HOLDS in all."""
        self.advertised = Millis(0)
        """When the offer was last published."""

    def expire(self, now: Millis) -> None:
        """Drop the holds whose time is over."""
        for rfq_id in [key for key, hold in self.holds.items() if hold.expires <= now]:
            del self.holds[rfq_id]

    def firm(self) -> int:
        """Slots that live holds occupy."""
        return sum(hold.quote.firm for hold in self.holds.values())

    def hold_of(self, client: PeerId) -> Hold | None:
        """The firm hold a client has here, if any."""
        return next((hold for hold in self.holds.values() if hold.client == client and hold.quote.firm), None)


def judge(
    desk: Desk,
    client: PeerId,
    rfq: Rfq,
    env: Env,
    *,
    busy: int,
    free_in: Seconds,
    wall: UnixSeconds,
    fits: CanonicalJob | None = None,
) -> CanonicalJob | Refusal:
    """Would this provider take the job? ``busy`` counts deals and firm holds; ``free_in`` is when the next one ends.

    ``wall`` is the wall clock. ``fits``: the job, when it has been found to fit this very offer before. Returns the
    decoded job, or the refusal to send. Raises ``RemoteProtocolError`` when the request itself is malformed.
    """
    if desk.offer is None:
        return _no(rfq, "not-a-provider", "this node offers nothing at the moment")
    if desk.draining:
        return _no(rfq, "draining", "this node takes no new jobs until its owner resumes it")
    job = fits or _understood(desk.offer, client, rfq, env)
    if isinstance(job, Refusal):
        return job
    unwanted = objections(desk.policy, job, client, wall, desk.conditions)
    if unwanted:
        return _no(rfq, "policy", "; ".join(unwanted))
    if desk.hold_of(client):
        return _no(rfq, "busy", "you already hold a slot here; sign or release it first", ASK_AGAIN)
    if busy >= desk.slots + desk.queue or len(desk.holds) >= MAX_HOLDS or free_in > MAX_WAIT:
        detail = f"all {desk.slots} slots and {desk.queue} waiting places are taken"
        return _no(rfq, "busy", detail, max(free_in, 1))
    ask = price_of(desk.offer, job)
    if ask > rfq.max_price:
        return _no(rfq, "price", f"asks {tokens_text(ask)} for this job, your limit is {tokens_text(rfq.max_price)}")
    return job


def _no(rfq: Rfq, code: str, detail: str, free_in_s: int = 0) -> Refusal:
    return Refusal(rfq_id=rfq.rfq_id, code=code, detail=detail[:MAX_REASON_CHARS], free_in_s=free_in_s)


def _understood(offer: ResourceOffer, client: PeerId, rfq: Rfq, env: Env) -> CanonicalJob | Refusal:
    """The job, if it could ever run here."""
    job = CanonicalJob.decode(rfq.job)
    if rfq.token != env.params.token:
        return _no(rfq, "token", f"prices here are in the token 0x{env.params.token.hex()}")
    problem = _enforcement_problem(rfq, job, env)
    if problem:
        return _no(rfq, "enforcement", problem)
    if client == env.me:
        return _no(rfq, "self", "a node does not sell to itself")
    if set(rfq.inputs) != inputs_of(job):
        return _no(rfq, "inputs", "the inputs are not the module and the inputs of the job")
    reasons = match(offer, job)
    if reasons:
        return _no(rfq, reasons[0].code, "; ".join(reason.sentence for reason in reasons))
    return job


def _enforcement_problem(rfq: Rfq, job: CanonicalJob, env: Env) -> str:
    """Why this network, or this job, has nobody who could judge such a deal; empty when it is fine."""
    if not isinstance(rfq, PanelRfq):
        return "" if rfq.enforcement == eip712.Enforcement.SELF else "a panel's deal is asked for with panel_rfq/1"
    if rfq.enforcement != eip712.Enforcement.PANEL:
        return "a panel_rfq/1 that asks for another enforcement than a panel's"
    if not any(env.params.panel):
        return "this network has no panel"
    return cannot_be_judged(job)


def quote_for(
    desk: Desk, client: PeerId, rfq: Rfq, job: CanonicalJob, env: Env, *, funds: Tokens, stake: Tokens, wait: Seconds
) -> Quote:
    """The quote for a job this provider would take: firm when the client's free escrow covers it.

    ``stake`` is what this provider has unlocked; a stake above the price puts the price itself up as collateral, so that
    vanishing costs as much as the job was worth. Under a panel it is what the panel's rules want, whatever there is: see
    `stake_problem`.
    """
    if desk.offer is None:
        raise RemoteProtocolError("no offer to quote from", code="not-a-provider", penalty=0)
    price = price_of(desk.offer, job)
    # The time of a deal that a channel pays counts from when its job began.
    exec_seconds = Seconds(job.limits.wall_s + env.params.exec_margin + (0 if rfq.SETTLEMENT else wait))
    secret = env.signer.derive("provider-secret", rfq.rfq_id)
    collateral = Tokens(price if stake >= price else 0)
    if isinstance(rfq, PanelRfq):
        collateral = panel_stakes(level_of(job), price, rfq.audit_ppm).collateral
    firm = funds >= price
    return Quote(
        rfq_id=rfq.rfq_id,
        firm=firm,
        hold_ms=env.params.hold if firm else 0,
        price=price,
        collateral=collateral,
        provider_secret_hash=keccak256(secret),
        exec_seconds=exec_seconds,
        claim_seconds=env.params.claim_seconds,
        window_seconds=env.params.window_seconds(exec_seconds),
        starts_in_s=wait,
        gpus=(),
        numeric_class=ZERO_HASH,
        detail=""
        if firm
        else f"your free escrow holds {tokens_text(funds)}, this job asks {tokens_text(price)}: deposit, then ask again",
    )


def stake_problem(desk: Desk, rfq: PanelRfq, job: CanonicalJob, stake: Tokens) -> str:
    """Why this provider cannot put up what the panel's rules want for this job; empty when it can."""
    if desk.offer is None:
        return "this node offers nothing at the moment"
    stakes = panel_stakes(level_of(job), price_of(desk.offer, job), rfq.audit_ppm)
    if stakes.collateral <= stake:
        return unsound(stakes)
    wanted = tokens_text(stakes.collateral)
    return f"a panel's deal at this price wants {wanted} of collateral, {tokens_text(stake)} is unlocked here"


def inputs_of(job: CanonicalJob) -> set[InputRoot]:
    """What a provider must hold before it commits, or it could never run what it has committed to."""
    return {InputRoot(job.module, job.module_size), *(InputRoot(one.cid, one.size) for one in job.inputs)}


def quote_problem(rfq: Rfq, quote: Quote, job: CanonicalJob, env: Env) -> str:
    """Why a client signs no deal on this quote, whatever it costs; empty when its terms are those of the network.

    A provider that could choose the times could lock a client's money for years.
    """
    params, wall_s = env.params, job.limits.wall_s
    latest = wall_s + params.exec_margin + quote.starts_in_s
    wanted = 0
    if isinstance(rfq, PanelRfq) and quote.price:
        wanted = panel_stakes(level_of(job), quote.price, rfq.audit_ppm).collateral
    checks = (
        (1 <= quote.price <= params.max_price, f"the price {quote.price} is none"),
        (not (rfq.SETTLEMENT and quote.collateral), "a deal in a channel has no collateral"),
        (quote.collateral <= MAX_COLLATERAL_FACTOR * quote.price, "the collateral is beyond what an escrow takes"),
        (not wanted or quote.collateral == wanted, f"the collateral is not the {wanted} that a panel's deal has"),
        (quote.numeric_class == ZERO_HASH, "it names a class of machines, and the job runs on any"),
        (not quote.gpus, "it names GPUs, and the job has none"),
        (quote.hold_ms <= params.hold, "it holds longer than the network allows"),
        (quote.starts_in_s <= MAX_WAIT, f"it would start in {quote.starts_in_s} s"),
        (wall_s <= quote.exec_seconds <= latest, f"execSeconds {quote.exec_seconds} does not fit a job of {wall_s} s"),
        (quote.claim_seconds == params.claim_seconds, "claimSeconds is not the network's"),
        (quote.window_seconds == params.window_seconds(quote.exec_seconds), "windowSeconds is not the network's"),
    )
    return next((problem for holds, problem in checks if not holds), "")


def deal_of_quote(
    rfq: Rfq,
    quote: Quote,
    job: CanonicalJob,
    env: Env,
    *,
    client: PeerId,
    provider: PeerId,
    client_secret_hash: Hash32,
    audit_ppm: int,
    commit_by: UnixSeconds,
) -> eip712.Deal:
    """The deal that a quote offers. Both sides build it from the same messages, so they cannot differ by accident."""
    fee, seat_class, snapshot = Tokens(0), 0, 0
    if isinstance(rfq, PanelRfq):
        fee, seat_class, snapshot = seat_fee_for(quote.price), rfq.seat_class, rfq.seat_snapshot
    return eip712.Deal(
        client=address_of_peer(client),
        provider=address_of_peer(provider),
        token=rfq.token,
        run_nonce=rfq.run_nonce,
        index=rfq.index,
        job_id=job_id_of(job),
        image=Hash32(job.module[-32:]),
        gpus=quote.gpus,
        price=quote.price,
        metering=eip712.Metering.FIXED,
        collateral=quote.collateral,
        level=level_of(job),
        level_params=content_id("level/1", job.verify),
        numeric_class=quote.numeric_class,
        enforcement=eip712.Enforcement(rfq.enforcement),
        audit_ppm=audit_ppm,
        seat_fee=fee,
        seat_class=seat_class,
        seat_snapshot=snapshot,
        client_secret_hash=client_secret_hash,
        provider_secret_hash=quote.provider_secret_hash,
        commit_by=commit_by,
        exec_seconds=Seconds(quote.exec_seconds),
        claim_seconds=Seconds(quote.claim_seconds),
        window_seconds=Seconds(quote.window_seconds),
        settlement=eip712.SettlementMode(rfq.SETTLEMENT),
    )


def check_proposal(hold: Hold, proposal: DealProposal, env: Env, *, now: UnixSeconds) -> None:
    """Is this the deal that was quoted, signed by the client that holds it?

    Raises ``RemoteProtocolError``: ``other_terms`` when a term differs, ``bad_signature``, ``bad_terms``.
    """
    deal = proposal.deal
    expected = deal_of_quote(
        hold.rfq,
        hold.quote,
        hold.job,
        env,
        client=hold.client,
        provider=env.me,
        client_secret_hash=deal.client_secret_hash,
        audit_ppm=hold.rfq.audit_ppm if isinstance(hold.rfq, PanelRfq) else deal.audit_ppm,
        commit_by=deal.commit_by,
    )
    if deal != expected:
        fields = [f for f in deal.__struct_fields__ if getattr(deal, f) != getattr(expected, f)]
        raise RemoteProtocolError(f"the deal differs from the quote in {', '.join(fields)}", code="other_terms")
    require_sound(deal)
    if deal.audit_ppm > PPM:
        raise RemoteProtocolError(f"auditPpm {deal.audit_ppm} is more than {PPM}", code="bad_terms")
    latest = now + env.params.commit_within + COMMIT_SLACK
    if not now < deal.commit_by <= latest:
        raise RemoteProtocolError(f"commitBy {deal.commit_by} is not in ({now}, {latest}]", code="bad_terms", penalty=0)
    signer = env.signer.recover(eip712.digest(env.domain, deal), proposal.signature)
    if signer != hold.client:
        raise RemoteProtocolError("the deal is signed by another key than its client's", code="bad_signature")

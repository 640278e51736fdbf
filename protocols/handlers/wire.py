"""What does a node do with bytes from peers? Check, decode, dispatch; a peer's fault costs the peer."""

from typing import Any

import msgspec

from protocols import events as ev
from protocols.deals import eip712
from protocols.deals.inputs import (
    CancelProposed,
    Countersigned,
    DealDeclined,
    DealInput,
    DeliveryConfirmed,
    KeyArrived,
    ReceiptArrived,
    ResultArrived,
    ResultDisowned,
    ResultPulled,
    SealedArrived,
    SignedOff,
)
from protocols.deals.provider import OWN_FAULT
from protocols.deals.salting import salted_root
from protocols.deals.sealing import promise_of
from protocols.deals.states import DealTerms
from protocols.effects import Effect, Penalise
from protocols.env import Env
from protocols.envelope import open_, parse_envelope
from protocols.errors import RemoteProtocolError
from protocols.handlers import cases, channels, deals, disputes, hearsay, outputs, provider, search, seats
from protocols.limits import MAX_MESSAGE_BYTES, MAX_REASON_CHARS
from protocols.messages import channel as cm
from protocols.messages import deal as dm
from protocols.messages import dispute as pm
from protocols.messages import negotiation as nm
from protocols.messages.registry import UnknownType, decode_message
from protocols.offers.records import JobOffer, ResourceOffer
from protocols.offers.validators import admit
from protocols.state import CLIENT, NodeState
from protocols.units import DealId, Hash32, PeerId, Signature

__all__ = ["gossip_arrived", "message_arrived"]


def message_arrived(state: NodeState, event: ev.MessageArrived, env: Env) -> list[Effect]:
    """A signed envelope on a direct stream. What is malformed costs the sender score; the rest goes to its handler."""
    try:
        envelope = parse_envelope(event.data, max_bytes=MAX_MESSAGE_BYTES)
        if envelope.signer != event.peer:
            raise RemoteProtocolError(
                "the envelope is signed by another node than the one that sent it", code="relayed"
            )
        message = decode_message(envelope)
        open_(env.signer, env.params.name, envelope)
        return _dispatch(state, event, message, env)
    except UnknownType:
        return []
    except RemoteProtocolError as error:
        return [Penalise(peer=event.peer, code=error.code, penalty=error.penalty)]


def _dispatch(state: NodeState, event: ev.MessageArrived, message: msgspec.Struct, env: Env) -> list[Effect]:
    peer, at = event.peer, event.at
    match message:
        case nm.Rfq():
            return provider.rfq_arrived(state, peer, message, at, env)
        case nm.Quote() | nm.Refusal():
            return search.answer_arrived(state, peer, message, at, env)
        case nm.HoldRelease():
            return provider.release_arrived(state, peer, message)
        case nm.DealProposal():
            return provider.proposal_arrived(state, peer, message, at, env)
        case cm.VoucherNotice() | cm.CloseConsent():
            return channels.message_arrived(state, peer, message, env)
        case pm.CasePull():
            return cases.pull_arrived(state, peer, message, at, env)
        case pm.CaseFile():
            return seats.told(state, peer, message, env)
        case pm.OutputPull():
            return outputs.pull_arrived(state, peer, message, at, env)
        case pm.OutputTold():
            return disputes.output_told(state, peer, message, env)
        case dm.Progress():
            return _progress(state, peer, message)
        case _:
            return _about_deal(state, peer, message, env)


def _progress(state: NodeState, peer: PeerId, message: dm.Progress) -> list[Effect]:
    half = state.durable.deals.get(message.deal_id)
    if half is not None and half.role == CLIENT and half.state.terms.provider == peer:
        state.hints[message.deal_id] = (message.phase[:16], message.done, message.total)
    return []


def _about_deal(state: NodeState, peer: PeerId, message: Any, env: Env) -> list[Effect]:
    """A message about a signed deal: from the other party, with signatures that hold."""
    deal_id = _deal_of(message)
    half = state.durable.deals.get(deal_id)
    if half is None:
        return []
    terms = half.state.terms
    other = terms.provider if half.role == CLIENT else terms.client
    if peer != other:
        raise RemoteProtocolError("a message about a deal from a node that is no party of it", code="not_a_party")
    known = _from_provider(state, terms, message, env) if half.role == CLIENT else _from_client(terms, message, env)
    return deals.step(state, deal_id, known, env) if known is not None else []


def _deal_of(message: Any) -> DealId:
    match message:
        case dm.ResultNotice() | dm.SealedNotice():
            return message.commit.deal_id
        case dm.Delivered() | dm.ReceiptNotice():
            return message.receipt.deal_id
        case dm.SignOff():
            return message.settlement.deal_id
        case dm.CancelConsent():
            return message.cancellation.deal_id
        case _:
            return DealId(message.deal_id)


def _from_provider(state: NodeState, terms: DealTerms, message: Any, env: Env) -> DealInput | None:
    match message:
        case nm.DealAcceptance():
            _signed(env, terms.provider, Hash32(terms.deal_id), message.signature)
            return Countersigned(message.signature)
        case nm.DealRefusal():
            return DealDeclined(message.code[:40], message.detail[:MAX_REASON_CHARS])
        case dm.ResultNotice():
            if salted_root(message.salt, message.root) != message.commit.salted_root:
                raise RemoteProtocolError("the salt does not open the committed root", code="bad_opening", penalty=50)
            if message.commit.outcome in OWN_FAULT:
                raise RemoteProtocolError("a provider's own failure is no result", code="bad_outcome")
            _signed(env, terms.provider, eip712.digest(env.domain, message.commit), message.signature)
            return ResultArrived(message)
        case dm.SealedNotice():
            if message.commit.outcome in OWN_FAULT:
                raise RemoteProtocolError("a provider's own failure is no result", code="bad_outcome")
            _signed(env, terms.provider, eip712.digest(env.domain, message.commit), message.signature)
            _signed(env, terms.provider, promise_of(env.domain, message), message.promise)
            return SealedArrived(message)
        case dm.KeyRelease():
            return KeyArrived(message)
        case dm.CancelConsent():
            _signed(env, terms.provider, eip712.digest(env.domain, message.cancellation), message.signature)
            return CancelProposed(message)
        case _:
            return None


def _from_client(terms: DealTerms, message: Any, env: Env) -> DealInput | None:
    match message:
        case dm.Delivered():
            _signed(env, terms.client, eip712.digest(env.domain, message.receipt), message.signature)
            return DeliveryConfirmed(message)
        case dm.ReceiptNotice():
            _signed(env, terms.client, eip712.digest(env.domain, message.receipt), message.signature)
            return ReceiptArrived(message)
        case dm.SignOff():
            if message.settlement.paid != terms.deal.price:
                raise RemoteProtocolError("a sign-off for another amount than the price", code="other_terms")
            if message.receipt.deal_id != terms.deal_id:
                raise RemoteProtocolError("a sign-off with the receipt of another deal", code="other_terms")
            _signed(env, terms.client, eip712.digest(env.domain, message.settlement), message.signature)
            _signed(env, terms.client, eip712.digest(env.domain, message.receipt), message.receipt_signature)
            return SignedOff(message)
        case dm.ResultPull():
            return ResultPulled()
        case dm.Rejection():
            return ResultDisowned(message.code[:40], message.detail[:MAX_REASON_CHARS])
        case dm.CancelConsent():
            _signed(env, terms.client, eip712.digest(env.domain, message.cancellation), message.signature)
            return CancelProposed(message)
        case _:
            return None


def _signed(env: Env, who: PeerId, digest: Hash32, signature: Signature) -> None:
    if env.signer.recover(digest, signature) != who:
        raise RemoteProtocolError("signed by another key than the party's", code="bad_signature", penalty=50)


def gossip_arrived(state: NodeState, event: ev.GossipArrived, env: Env) -> list[Effect]:
    """A record that the validator accepted: book it, and answer a call for providers."""
    admit(state.market, event.record, event.data, state.wall, event.at)
    if isinstance(event.record, ResourceOffer):
        hearsay.recall(state, event.record.provider)
    if isinstance(event.record, JobOffer):
        return provider.job_announced(state, event.record, event.at, env)
    return []

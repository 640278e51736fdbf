"""What happens to a node's channels when the chain, a peer or the owner says something?"""

from protocols import events as ev
from protocols.channels.inputs import (
    CloseArrived,
    CloseWanted,
    Ctx,
    FundWanted,
    RedeemWanted,
    Seen,
    TimePassed,
    TxRefused,
    VoucherArrived,
)
from protocols.channels.states import ChannelState, Closed, book_of, pair_of
from protocols.deals import eip712
from protocols.deals.in_channel import Paid
from protocols.deals.inputs import KeyWanted, LeftBehind
from protocols.effects import Effect, Notify, ReadChannel
from protocols.env import Env
from protocols.errors import RemoteProtocolError
from protocols.handlers import deals, vouchers
from protocols.messages.channel import CloseConsent, VoucherNotice
from protocols.signing import address_of_peer
from protocols.state import CLIENT, PROVIDER, NodeState
from protocols.units import ZERO_ADDRESS, Address, PeerId

__all__ = ["commanded", "message_arrived", "seen", "started", "time_moved", "tx_failed"]


def seen(state: NodeState, event: ev.ChannelSeen, env: Env) -> list[Effect]:
    """The chain's word about a channel: let waiting deals start, and accepted ones be paid."""
    channel = event.channel
    pair = pair_of(channel.client, channel.provider)
    half = state.durable.channels.get(pair)
    if half is None:
        return []  # of no deal of ours: its first deal asks for it again
    known = book_of(half.state)
    peer = known.peer if known else getattr(half.state, "peer", PeerId(b""))
    effects = vouchers.advance(state, pair, half.role, Seen(channel, peer, event.word), env)
    if half.role == PROVIDER:
        if known is not None and known.ahead and isinstance(_of(state, pair), Closed):
            effects += deals.step(
                state, known.ahead.deal_id, LeftBehind("the channel that was to pay it is closed"), env
            )
        return effects + deals.start_waiting(state, env)
    if vouchers.robbed(state, peer):
        effects += vouchers.advance(state, pair, CLIENT, CloseWanted(), env)
    for deal in vouchers.waiting(state, pair):
        effects += deals.place(state, CLIENT, (deal, ()), env)
    return [*effects, _note(event)]


def _of(state: NodeState, pair: bytes) -> ChannelState | None:
    half = state.durable.channels.get(pair)
    return half.state if half else None


def _note(event: ev.ChannelSeen) -> Notify:
    fields = {"deposit": str(event.word.deposit), "redeemed": str(event.word.redeemed), "until": str(event.word.until)}
    return Notify(subject=event.channel.channel_id, name="channel.seen", fields=fields)


def message_arrived(state: NodeState, peer: PeerId, message: VoucherNotice | CloseConsent, env: Env) -> list[Effect]:
    """A client's voucher, or its consent to close. Raises ``RemoteProtocolError``."""
    pair = pair_of(address_of_peer(peer), env.signer.address)
    signed = message.voucher if isinstance(message, VoucherNotice) else message.last
    if env.signer.recover(eip712.digest(env.domain, signed), message.signature) != peer:
        raise RemoteProtocolError("a voucher signed by another key", code="bad_signature", penalty=50)
    if isinstance(message, CloseConsent):
        return vouchers.advance(state, pair, PROVIDER, CloseArrived(message.last, message.signature), env)
    before = state.durable.channels.get(pair)
    arrived = VoucherArrived(message.deal_id, message.voucher, message.signature)
    effects = vouchers.advance(state, pair, PROVIDER, arrived, env)
    if state.durable.channels.get(pair) is before:
        # One that it has already: whoever signed it may still lack the key. Of a deal that is not settled nothing is said, and
        # of another client's nothing either.
        half = state.durable.deals.get(message.deal_id)
        own = half is not None and half.role == PROVIDER and half.state.terms.client == peer
        return effects + (deals.step(state, message.deal_id, KeyWanted(), env) if own else [])
    return effects + deals.step(state, message.deal_id, Paid(), env)


def commanded(state: NodeState, event: ev.ChannelCommanded, env: Env) -> list[Effect]:
    """The owner opens a channel, adds to it, closes it, or wants its earnings now."""
    me, other = env.signer.address, address_of_peer(event.peer)
    if event.verb == "fund":
        wanted = FundWanted(me, other, event.peer, event.amount)
        return vouchers.advance(state, pair_of(me, other), CLIENT, wanted, env)
    effects: list[Effect] = []
    for pair in (pair_of(me, other), pair_of(other, me)):
        half = state.durable.channels.get(pair)
        if half is not None:
            act = CloseWanted() if event.verb == "close" else RedeemWanted()
            effects += vouchers.advance(state, pair, half.role, act, env)
    return effects


def tx_failed(state: NodeState, event: ev.ChannelTxFailed, env: Env) -> list[Effect]:
    """A transaction of ours cannot succeed."""
    half = state.durable.channels.get(event.pair)
    if half is None:
        return []
    note = Notify(subject=event.pair, name="channel.tx_refused", fields={"purpose": event.purpose, "why": event.reason})
    return [note, *vouchers.advance(state, event.pair, half.role, TxRefused(event.purpose, event.reason), env)]


def time_moved(state: NodeState, event: ev.ChainTimeMoved, env: Env) -> list[Effect]:
    """Deals first; then every channel whose deadline has passed."""
    effects = deals.time_moved(state, event, env)
    for name in state.channel_deadlines.pop_due(state.chain_now):
        pair = bytes.fromhex(name)
        half = state.durable.channels.get(pair)
        if half is not None:
            effects += vouchers.advance(state, pair, half.role, TimePassed(), env)
    return effects


def started(state: NodeState, env: Env) -> list[Effect]:
    """Re-arm every deadline after a restart, and read again what may have moved meanwhile."""
    ctx = Ctx(env, state.chain_now)
    effects: list[Effect] = []
    for pair, half in list(state.durable.channels.items()):
        vouchers.put(state, pair, half, ctx)
        if not isinstance(half.state, Closed):
            book = book_of(half.state)
            owner = book.channel.client_owner if book else ZERO_ADDRESS  # not that of now: what was earned lies here
            effects.append(ReadChannel(client=Address(pair[:20]), provider=Address(pair[20:]), owner=owner))
    return effects

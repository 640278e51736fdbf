"""What does a node's channel do for a deal that it pays? Called by `deals.place`; it steps no deal itself.

The client funds when its deal is countersigned and signs a voucher when the result is held; the provider notes what is
owed. Which way of paying a deal gets is decided here too.
"""

from typing import Final

from protocols.channels import client as client_channel
from protocols.channels import provider as provider_channel
from protocols.channels.inputs import (
    ChannelInput,
    CloseWanted,
    Ctx,
    DealDropped,
    DealPaid,
    DealTaken,
    FundWanted,
)
from protocols.channels.states import Book, Closed, Closing, Open, Opening, Owing, ToppingUp, book_of, pair_of
from protocols.deals.channel_provider import UNPAID
from protocols.deals.in_channel import WRONG, Paid, in_channel
from protocols.deals.inputs import DealInput
from protocols.deals.sealing import KEYLESS
from protocols.deals.states import (
    Abandoned,
    Checking,
    Commitment,
    DealState,
    DealTerms,
    Delivered,
    PaidBy,
    Ready,
    Resulted,
    Running,
    Sealed,
    Settled,
    Signed,
    Unsealing,
)
from protocols.deals.terms import SettlementMode
from protocols.effects import Effect
from protocols.env import Env
from protocols.handlers import audits, runs
from protocols.limits import MAX_CHANNELS
from protocols.messages.channel import VoucherNotice
from protocols.messages.deal import ResultNotice
from protocols.runs import MarketTerms
from protocols.signing import address_of_peer
from protocols.state import CLIENT, PROVIDER, ChannelHalf, NodeState
from protocols.units import Address, DealId, PeerId, Tokens

__all__ = [
    "advance",
    "barred",
    "follow",
    "freed",
    "may_start",
    "mode_for",
    "objection",
    "put",
    "robbed",
    "room_of",
    "seals",
    "waiting",
]


def advance(state: NodeState, pair: bytes, role: str, event: ChannelInput, env: Env) -> list[Effect]:
    """Move one channel. Raises ``RemoteProtocolError`` for what its peer did wrong."""
    half = state.durable.channels.get(pair)
    if half is not None and half.role != role:
        return []
    ctx = Ctx(env, state.chain_now)
    if half is not None:
        machine = client_channel if role == CLIENT else provider_channel
        new, effects = machine.advance(half.state, event, ctx)
        if new is half.state:
            return list(effects)
    else:
        match event:
            case FundWanted() if role == CLIENT:
                new, effects = client_channel.fund(event, ctx)
            case DealTaken() if role == PROVIDER:
                new, effects = provider_channel.taken(event)
            case _:
                return []
    put(state, pair, ChannelHalf(role, new) if new is not None else None, ctx)
    return list(effects)


def put(state: NodeState, pair: bytes, half: ChannelHalf | None, ctx: Ctx) -> None:
    """Keep a channel's new state in its row, and arm its deadline."""
    state.durable.put_channel(pair, half)
    machine = client_channel if half and half.role == CLIENT else provider_channel
    due = machine.deadline(half.state, ctx) if half else None
    if due is None:
        state.channel_deadlines.clear(pair.hex())
    else:
        state.channel_deadlines.set(pair.hex(), due)


def _pair(terms: DealTerms) -> bytes:
    return pair_of(terms.deal.client, terms.deal.provider)


def follow(state: NodeState, role: str, new: DealState, env: Env) -> tuple[list[Effect], DealInput | None]:
    """One deal of a channel moved: what the channel, and the run, do about it; and what the deal hears back."""
    if role == PROVIDER:
        return _provider_follows(state, new, env), None
    terms, price = new.terms, new.terms.deal.price
    out: list[Effect] = []
    then: DealInput | None = None
    match new:
        case Signed() if _short(state, terms):
            wanted = FundWanted(terms.deal.client, terms.deal.provider, terms.provider, funding(state, terms, env))
            out += advance(state, _pair(terms), CLIENT, wanted, env)
        case Delivered() if room_of(state, _pair(terms)) >= price:
            out += advance(state, _pair(terms), CLIENT, DealPaid(terms.deal_id, price), env)
            then = Paid()
        case Sealed(held=True) if room_of(state, _pair(terms)) >= price and not _unproven(state, terms):
            before = _book(state, terms)
            out += advance(state, _pair(terms), CLIENT, DealPaid(terms.deal_id, price), env)
            then = Paid(_paid_by(terms, before, _book(state, terms)))
        case Resulted():
            _ask_again(state, terms.provider)
        case Checking(audit=None):
            then = audits.wanted(state, terms)
        case Settled() | Abandoned() if _lost(new):
            # It gets no further deal of the channel, so what is left there comes home.
            out += advance(state, _pair(terms), CLIENT, CloseWanted(), env)
        case _:
            pass
    return [*out, *runs.follow(state, new, env)], then


def _ask_again(state: NodeState, provider: PeerId) -> None:
    """Client: of the searches that this provider has told to come later, the first comes now: with a result here, one more deal
    of the channel may be made ready."""
    for search in state.searches.values():
        if provider in search.resting and not search.open:
            del search.resting[provider]
            state.timers.set(f"search:{search.name.hex()}", 0)
            return


def _unproven(state: NodeState, terms: DealTerms) -> bool:
    """Client: whether its provider owes a key that was paid for, or never gave one: one price is what a client risks."""
    live = map(state.durable.deals.__getitem__, state.durable.live)
    owes = any(
        isinstance(half.state, Unsealing) and half.role == CLIENT and half.state.terms.provider == terms.provider
        for half in live
    )
    return owes or robbed(state, terms.provider)


def waiting(state: NodeState, pair: bytes) -> list[DealState]:
    """Client: the deals of a pair that are held and not paid."""
    live = [state.durable.deals[deal_id].state for deal_id in state.durable.live]
    held = [deal for deal in live if isinstance(deal, Delivered | Sealed) and in_channel(deal.terms)]
    return [deal for deal in held if _pair(deal.terms) == pair]


def freed(state: NodeState, before: DealState | None, new: DealState) -> list[DealState]:
    """Client: which deals may be paid now that a key is no longer awaited."""
    ended = isinstance(before, Unsealing) and not isinstance(new, Unsealing)
    return waiting(state, _pair(new.terms)) if ended else []


def _book(state: NodeState, terms: DealTerms) -> Book | None:
    half = state.durable.channels.get(_pair(terms))
    return book_of(half.state) if half else None


def _paid_by(terms: DealTerms, before: Book | None, after: Book | None) -> PaidBy | None:
    """The voucher of a sealed result is kept with the deal: its provider still owes the key for it."""
    if before is None or after is None or after.signature is None:
        return None
    return PaidBy(VoucherNotice(terms.deal_id, after.voucher, after.signature), before.deals)


def _provider_follows(state: NodeState, new: DealState, env: Env) -> list[Effect]:
    terms, deal = new.terms, new.terms.deal
    match new:
        case Signed():
            taken = DealTaken(deal.client, deal.provider, terms.client, terms.deal_id, deal.price)
            return advance(state, _pair(terms), PROVIDER, taken, env)
        case Abandoned(code=code) if code not in UNPAID:
            return advance(state, _pair(terms), PROVIDER, DealDropped(terms.deal_id), env)
        case _:
            return []


def _short(state: NodeState, terms: DealTerms) -> bool:
    """Whether the client must fund: there is no channel, or too little is left in it."""
    half = state.durable.channels.get(_pair(terms))
    match half.state if half else None:
        case Opening() | ToppingUp() | Closing():
            return False
        case Open(book=book):
            return book.room < terms.deal.price
        case _:
            return True


def funding(state: NodeState, terms: DealTerms, env: Env) -> Tokens:
    """What to lock: some prices' worth, within the run's budget and what the escrow held when last asked."""
    price, run = terms.deal.price, state.durable.runs.get(terms.run_id)
    account = state.accounts.get(env.signer.address)
    prices = (run.market.channel_prices if run else 0) or env.params.channel_prices
    most = [price * prices]
    if run is not None:
        most.append(run.market.budget)
    if account is not None:
        most.append(account.free)
    return Tokens(max(min(most), price))


def room_of(state: NodeState, pair: bytes) -> Tokens:
    """What the pair's channel still covers; zero without one."""
    half = state.durable.channels.get(pair)
    book = book_of(half.state) if half and not isinstance(half.state, Closed) else None
    return book.room if book else Tokens(0)


def may_start(state: NodeState, deal: Ready) -> bool:
    """Provider: the chain shows that this deal is covered, and it is the one that is owed."""
    half = state.durable.channels.get(_pair(deal.terms))
    if half is None or half.role != PROVIDER or not isinstance(half.state, Open):
        return False
    book = half.state.book
    owed = book.owing is not None and book.owing.deal_id == deal.terms.deal_id
    return owed and book.room >= deal.terms.deal.price


def mode_for(
    state: NodeState, market: MarketTerms, level: str, provider: PeerId, price: Tokens, env: Env
) -> SettlementMode:
    """Client: how would a deal with this provider be paid? ``price`` is what its offer asks."""
    if level == "replicate":
        return SettlementMode.COMMIT  # what disagrees must not be paid for
    if market.settlement != "auto":
        return SettlementMode.CHANNEL if market.settlement == "channel" else SettlementMode.COMMIT
    if price > env.params.channel_max_price or _busy(state, CLIENT, provider) or robbed(state, provider):
        return SettlementMode.COMMIT
    half = state.durable.channels.get(pair_of(env.signer.address, address_of_peer(provider)))
    match half.state if half else None:
        case Open(book=book) if half is not None and half.role == CLIENT:
            worth = book.room >= price
        case Closed() | None:
            worth = _settled_with(state, CLIENT, address_of_peer(provider)) >= env.params.channel_history
        case _:
            worth = False
    return SettlementMode.CHANNEL if worth else SettlementMode.COMMIT


def _busy(state: NodeState, role: str, peer: PeerId) -> bool:
    """Whether a deal of the pair's channel is under way."""
    live = map(state.durable.deals.__getitem__, state.durable.live)
    return any(
        half.role == role
        and in_channel(half.state.terms)
        and peer in (half.state.terms.client, half.state.terms.provider)
        for half in live
    )


def barred(state: NodeState, env: Env) -> frozenset[PeerId]:
    """Client: providers with whom no deal in a channel may begin: for good, who has robbed this client; for now, a stranger
    with a deal under way. Until its key is here nobody knows what that deal was worth, so there is no second one beside it."""
    deals = state.durable.deals
    mine = [half.state for half in deals.values() if half.role == CLIENT]
    live = [deals[deal_id] for deal_id in state.durable.live]
    busy = {half.state.terms.provider for half in live if half.role == CLIENT and in_channel(half.state.terms)}
    trust = env.params.channel_trust
    strangers = {one for one in busy if _settled_with(state, CLIENT, address_of_peer(one)) < trust}
    return frozenset(strangers.union(deal.terms.provider for deal in mine if _lost(deal)))


def stranded(state: NodeState, new: DealState) -> DealId | None:
    """Provider: the deal that waits behind one which has just ended unpaid, and so would wait in vain."""
    if not isinstance(new, Abandoned) or new.code not in UNPAID:
        return None
    book = _book(state, new.terms)
    if book is None or book.owing is None or not book.ahead or book.owing.deal_id != new.terms.deal_id:
        return None
    return book.ahead.deal_id


def _makes_room(state: NodeState, book: Book, price: Tokens, env: Env) -> bool:
    """Provider: whether one more deal at ``price`` may be made ready behind the one owed for: when none waits yet, the channel
    covers both, and the first's time is over before the commitBy of one that is signed now."""
    if book.owing is None:
        return True
    half = state.durable.deals.get(book.owing.deal_id)
    match half.state if half else None:
        case Running(commitment=Commitment(at=at), terms=terms) | Resulted(at=at, terms=terms):
            soon = at + terms.deal.exec_seconds <= state.chain_now + env.params.commit_within
        case _:
            soon = False
    return soon and not book.ahead and book.room >= book.owing.price + price


def objection(state: NodeState, client: PeerId, enforcement: int, price: Tokens, env: Env) -> tuple[str, str] | None:
    """Provider: why this client's next deal is not paid by a channel, as (code, sentence); None when it may be."""
    pair = pair_of(address_of_peer(client), env.signer.address)
    half = state.durable.channels.get(pair)
    if enforcement != 0:
        return "settlement", "a deal in a channel is never on chain, so no panel can judge it"
    if half is None and len(state.durable.channels) >= MAX_CHANNELS:
        return "settlement", "this node has all the channels it keeps"
    match half.state if half else None:
        case Closing():
            return "settlement", "your channel with this node is closing; commit, or open it again when it is closed"
        case Opening(owing=owing) if owing is not None:
            return "busy", "a deal of your channel waits for its money"
        case Open(book=Book(owing=Owing(deal_id=deal_id))) if deal_id not in state.durable.live:
            return (
                "settlement",
                f"deal {deal_id.hex()[:12]} of your channel is unpaid; commit, or have its voucher signed first",
            )
        case Open(book=book) if not _makes_room(state, book, price, env):
            return "busy", "a deal of your channel is under way or unpaid; its voucher comes first"
        case Closed(book=book) if book.owing is not None:
            return (
                "settlement",
                "a deal of your last channel is unpaid; commit, or open it again and sign its voucher first",
            )
        case _:
            pass
    return None


def seals(state: NodeState, terms: DealTerms, env: Env) -> bool:
    """Provider: whether this deal's client gets the key of its result against the voucher, as strangers do."""
    return _settled_with(state, PROVIDER, terms.deal.client) < env.params.channel_trust


def robbed(state: NodeState, provider: PeerId) -> bool:
    """Client: whether this provider has kept a key that was paid for, or was caught with a wrong result in a channel."""
    return any(
        half.role == CLIENT and half.state.terms.provider == provider and _lost(half.state)
        for half in state.durable.deals.values()
    )


_LOST: Final = frozenset({KEYLESS, WRONG})


def _lost(deal: DealState) -> bool:
    """Client: whether a channel's deal has ended so that there is to be no other with its provider in one."""
    if isinstance(deal, Settled):
        return deal.how in _LOST
    return isinstance(deal, Abandoned) and isinstance(deal.disowned, ResultNotice)


def _settled_with(state: NodeState, role: str, other: Address) -> int:
    """Deals of the pair that were paid, in whatever way, and brought a result."""
    return sum(
        half.role == role
        and isinstance(half.state, Settled)
        and half.state.how not in _LOST
        and other in (half.state.terms.deal.client, half.state.terms.deal.provider)
        for half in state.durable.deals.values()
    )

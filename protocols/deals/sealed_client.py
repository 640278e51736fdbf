"""What does a client do with a sealed result? It pulls the sealed bytes, pays, opens them with the key, and looks whether
they are what was committed to.

The rest of such a deal is `protocols.deals.channel_client`. What can be lost is one price: to a provider that takes the
voucher and releases no key, or seals something else. The deal then ends as `keyless`, with all that the provider has signed.
"""

from typing import Final

import msgspec

from protocols.deals.in_channel import HOW, Paid, drawn, end, settled, work_began
from protocols.deals.inputs import (
    Ctx,
    Fetched,
    FetchFailed,
    Handler,
    KeyArrived,
    Opened,
    SealedArrived,
    Step,
    TimePassed,
    outcome_name,
    say,
)
from protocols.deals.salting import salted_root
from protocols.deals.sealing import KEYLESS, key_hash
from protocols.deals.states import Checking, Proposed, Sealed, Settled, Signed, Unsealing
from protocols.effects import FetchBlobs, Unseal
from protocols.errors import RemoteProtocolError
from protocols.messages.deal import KeyRelease, ResultNotice
from protocols.messages.negotiation import InputRoot

__all__ = ["SEAL_BYTES", "TABLE"]

SEAL_BYTES: Final = 64 << 20
"""What a seal may add to twice a result: a block that occurs twice is sent twice, and 100,000 files without a byte have some
30 MB of names and folders."""


def _told(state: Proposed | Signed, event: SealedArrived, ctx: Ctx) -> Step:
    terms, notice = state.terms, event.message
    fetch = FetchBlobs(
        key=f"fetch:{terms.deal_id.hex()}:result",
        deal_id=terms.deal_id,
        purpose="result",
        peer=terms.provider,
        roots=(InputRoot(root=notice.root, size=min(notice.size, 2 * terms.room_for(notice.size) + SEAL_BYTES)),),
    )
    outcome, code = outcome_name(notice.commit.outcome), str(notice.commit.exit_code)
    note = say(terms, "deal.resulted", outcome=outcome, exit_code=code, sealed="yes")
    return Sealed(terms, work_began(ctx.now), notice, ctx.now), (fetch, note)


def _held(state: Sealed, event: Fetched, ctx: Ctx) -> Step:
    """All sealed bytes are here: it is paid as soon as the channel holds enough."""
    held = Sealed(state.terms, state.commitment, state.notice, state.at, held=True)
    return held, (say(state.terms, "deal.delivered", sealed="yes"),)


def _paid(state: Sealed, event: Paid, ctx: Ctx) -> Step:
    """The voucher is signed; from now on the provider owes the key."""
    by = event.by or msgspec.UNSET
    return Unsealing(state.terms, state.commitment, state.notice, ctx.now, paid_by=by), (say(state.terms, "deal.paid"),)


def _key(state: Unsealing, event: KeyArrived, ctx: Ctx) -> Step:
    """Raises ``RemoteProtocolError`` for another key than the promised one: the right one is still owed."""
    if state.release is not None:
        return state, ()
    return _open(state, event.message)


def _key_late(state: Settled, event: KeyArrived, ctx: Ctx) -> Step:
    """It was given up; what was paid for is taken even so."""
    late = state.how == KEYLESS and isinstance(state.seal, Unsealing) and state.seal.release is None
    return _open(state.seal, event.message) if late and isinstance(state.seal, Unsealing) else (state, ())


def _open(state: Unsealing, release: KeyRelease) -> Step:
    terms, notice = state.terms, state.notice
    if key_hash(release.key) != notice.key_hash:
        raise RemoteProtocolError("another key than the one that was promised", code="wrong_key", penalty=50)
    unseal = Unseal(
        key=f"unseal:{terms.deal_id.hex()}",
        deal_id=terms.deal_id,
        root=notice.root,
        size=notice.size,
        secret=release.key,
    )
    return Unsealing(terms, state.commitment, notice, state.at, release, state.paid_by), (unseal,)


def _opened(state: Unsealing, event: Opened, ctx: Ctx) -> Step:
    terms, notice, release = state.terms, state.notice, state.release
    if release is None:
        return state, ()
    try:
        same = salted_root(release.salt, event.root) == notice.commit.salted_root
    except RemoteProtocolError:
        same = False
    if not same:
        return _keyless(state, "the sealed bytes hold another result than was committed to")
    result = ResultNotice(notice.commit, notice.signature, event.root, release.salt, event.size)
    if drawn(terms, notice.commit.outcome, ctx):
        # Paid or not: what is found decides about the next deal with this provider, and whether this run has its result.
        return Checking(terms, state.commitment, result, ctx.now, None, None, seal=state), ()
    return settled(terms, state.commitment, result, "bytes"), (
        *end(terms, forget=False),
        say(terms, "deal.accepted", checked="bytes"),
        say(terms, "deal.settled", paid=str(terms.deal.price), how=HOW),
    )


def _keyless(state: Unsealing, detail: str) -> Step:
    terms = state.terms
    lost = settled(terms, state.commitment, None, "", KEYLESS, state, detail)
    return lost, (*end(terms, forget=False), say(terms, "deal.keyless", paid=str(terms.deal.price), detail=detail))


def _not_opened(state: Unsealing, event: FetchFailed, ctx: Ctx) -> Step:
    return _keyless(state, event.detail)


def _no_key(state: Unsealing, event: TimePassed, ctx: Ctx) -> Step:
    return _keyless(state, "the provider took the voucher and released no key")


TABLE: Final[dict[tuple[type, type], Handler]] = {
    (Proposed, SealedArrived): _told,
    (Signed, SealedArrived): _told,
    (Sealed, Fetched): _held,
    (Sealed, Paid): _paid,
    (Unsealing, KeyArrived): _key,
    (Unsealing, Opened): _opened,
    (Unsealing, FetchFailed): _not_opened,
    (Unsealing, TimePassed): _no_key,
    (Settled, KeyArrived): _key_late,
}

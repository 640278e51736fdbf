"""What must a node do now in a dispute that it is part of? Calls of the panel, each with the last moment for it.

Pure: from the record of the chain's logs and from what the node has of its own. The same record gives the same calls, so a
node that was restarted goes on where it stood; a call that has been made is not called for again, because its log is
in the record.
"""

from typing import Literal

import msgspec

from protocols.contracts import panel
from protocols.deals.eip712 import ResultCommit
from protocols.disputes.record import Place, Record
from protocols.disputes.states import Outcome, Phase, Reason, Side, Stage
from protocols.units import WEI_PER_TOKEN, Address, Hash32, Seconds, Signature, Tokens, UnixSeconds

__all__ = [
    "AppealPolicy",
    "Appeals",
    "Duty",
    "ProviderHas",
    "SeatHas",
    "client_duties",
    "poke_due",
    "provider_duties",
    "seat_duties",
]


class Duty(msgspec.Struct, frozen=True):
    """One call of the panel. ``name`` tells it from every other call of this node in this dispute."""

    name: str
    data: bytes
    by: UnixSeconds
    """The last block time at which it succeeds."""


class Appeals(msgspec.Struct, frozen=True):
    """For what this party puts up seven fees."""

    verdict: bool = False
    """A verdict against it."""
    split: bool = False
    """A panel that has found nothing."""
    answer: bool = False
    """The other side's deposit: who does not answer it has lost."""


class AppealPolicy(msgspec.Struct, frozen=True):
    """What the owner of a node lets it do about appeals.

    ``never``: no deposit, also not to defend a verdict, which is then lost when the other side deposits. ``when_sure``: to
    defend one, and after a split as a client that has two re-executions behind it. ``always``: against every verdict and
    after every split too. ``most``: for one appeal; a dearer one is as ``never``.
    """

    when: Literal["never", "when_sure", "always"] = "when_sure"
    most: Tokens = Tokens(100 * WEI_PER_TOKEN)

    def allows(self, deposit: Tokens, *, sure: bool = False) -> Appeals:
        """For what a party of a dispute whose appeal costs ``deposit`` puts it up."""
        if self.when == "never" or deposit > self.most:
            return Appeals()
        every = self.when == "always"
        return Appeals(verdict=every, split=every or sure, answer=True)


class ProviderHas(msgspec.Struct, frozen=True):
    """What the provider keeps of a disputed deal."""

    secret: Hash32
    result: ResultCommit
    salt: Hash32
    root: Hash32
    """The digest of its result's root."""
    mask: int | None = None
    """Which seats it matches; None until it has compared."""
    receipt: Signature | None = None
    """The client's signature of the DeliveryReceipt, if it has signed one."""
    appeals: Appeals = Appeals()


class SeatHas(msgspec.Struct, frozen=True):
    """What a mediator has for one place. Everything is None until it is known."""

    missing: bool = False
    """Nobody has served the job's inputs, and the time for it is running out."""
    commitment: Hash32 | None = None
    fingerprint: Hash32 | None = None
    salt: Hash32 | None = None
    served: bool | None = None
    """The provider has served all bytes, or has not within the time for it."""
    mask: int | None = None


def provider_duties(record: Record, has: ProviderHas) -> tuple[Duty, ...]:
    """Secret, opening, masks, the client's receipt, and what its policy says about appeals."""
    deal_id, found = record.deal_id, []
    if record.phase is Phase.DISPUTED:
        found.append(_duty(record, "secret", panel.show_secret(deal_id, has.secret)))
    if record.phase is Phase.OPENING:
        found.append(_duty(record, f"open:{record.round}", panel.open_(has.result, has.salt, has.root)))
    published = record.sittings and record.sittings[-1].provider_mask is not None
    if record.phase is Phase.MATCHING and has.mask is not None and not published:
        found.append(_duty(record, f"match:{record.round}", panel.publish_provider(deal_id, has.mask)))
    if record.reason is Reason.WITHHELD and has.receipt and not record.delivered and not record.over:
        found.append(_duty(record, "delivery", panel.show_delivery(deal_id, has.receipt)))
    return (*found, *_appeal(record, Side.PROVIDER, has.appeals))


def client_duties(record: Record, appeals: Appeals) -> tuple[Duty, ...]:
    """Once its secret is shown a client decides nothing but about appeals."""
    return _appeal(record, Side.CLIENT, appeals)


def _appeal(record: Record, side: Side, appeals: Appeals) -> tuple[Duty, ...]:
    winner = _winner(record)
    if record.phase is Phase.VERDICT:
        wanted = appeals.split if winner is None else appeals.verdict and winner is not side
    elif record.phase is Phase.APPEALED:
        wanted = appeals.answer and side not in record.deposits
    else:
        wanted = False
    return (_duty(record, "appeal", panel.deposit(record.deal_id, side)),) if wanted else ()


def _winner(record: Record) -> Side | None:
    match record.finding.outcome if record.finding else Outcome.SPLIT:
        case Outcome.GUILTY | Outcome.NO_OUTPUTS:
            return Side.CLIENT
        case Outcome.ACQUITTED | Outcome.NO_INPUTS:
            return Side.PROVIDER
        case _:
            return None


def seat_duties(record: Record, me: Address, has: dict[int, SeatHas]) -> tuple[Duty, ...]:
    """What each place of this operator owes. ``has``: by position in the panel that sits."""
    found = []
    for position, place in enumerate(record.places):
        if place.operator == me:
            data = _seat_call(record, position, place, has.get(position, SeatHas()))
            if data is not None:
                name = f"{record.phase.name.lower()}:{record.round}:{position}:{place.seat}"
                found.append(_duty(record, name, data))
    return tuple(found)


def _seat_call(record: Record, position: int, place: Place, has: SeatHas) -> bytes | None:
    deal_id = record.deal_id
    match record.phase, place.stage:
        case Phase.DRAWN, Stage.CALLED:
            return panel.accept(deal_id, position)
        case Phase.COMMITTING, Stage.ACCEPTED:
            if has.commitment is not None:
                return panel.commit(deal_id, position, has.commitment)
            return panel.miss_inputs(deal_id, position) if has.missing else None
        case Phase.REVEALING, Stage.COMMITTED:
            if has.fingerprint is None or has.salt is None or has.served is None:
                return None
            return panel.reveal(deal_id, position, has.fingerprint, has.salt, served=has.served)
        case Phase.MATCHING, Stage.REVEALED:
            return None if has.mask is None else panel.publish(deal_id, position, has.mask)
        case _:
            return None


def poke_due(record: Record, now: UnixSeconds, margin: Seconds) -> Duty | None:
    """Anybody may end a phase whose time is over. ``margin``: how long to leave that to others. While the log with the time
    is on its way (the opening's comes first), nothing is overdue."""
    if record.over or not record.until or now <= record.until + margin:
        return None
    return _duty(record, f"poke:{record.phase.name.lower()}:{record.until}", panel.poke(record.deal_id))


def _duty(record: Record, name: str, data: bytes) -> Duty:
    return Duty(name, data, record.until)

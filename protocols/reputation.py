"""How far is a provider to be trusted? Evidence in, score out.

Evidence is what this node has lived through (its own deals, its own audits) and what the chain shows of other people's;
never a score that somebody gossips. It fades, so that a provider can better itself and cannot live on old merits. All in
integers, so that every node comes to the same number. Derivation: docs/protocol/reputation.md.
"""

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Final

import msgspec

from protocols.deals.in_channel import WRONG
from protocols.deals.sealing import KEYLESS
from protocols.deals.states import Abandoned, Claimed, DealState, Disputed, Expired, Rejected, Settled, Slashed, Voided
from protocols.deals.terms import OutcomeCode
from protocols.hashing import keccak256
from protocols.messages.deal import ResultNotice
from protocols.offers.ranking import MIN_RELIABILITY_PPM
from protocols.units import PPM, Address, Hash32, PeerId, UnixSeconds
from protocols.verify.audits import CONTRADICTED
from protocols.verify.levels import NEVER_GROUNDS
from protocols.verify.replicas import SLOW, UNDECIDED

__all__ = [
    "HALF_LIFE_DAYS",
    "MAX_DAYS",
    "MAX_KINDS",
    "MAX_WITNESSED",
    "Day",
    "Evidence",
    "Record",
    "Standing",
    "Standings",
    "Witnessed",
    "evidence_of",
    "lower_bound",
    "shunned",
    "work_kind",
]

HALF_LIFE_DAYS: Final = 30
"""Evidence counts half after a month: hardware, drivers and owners change about as fast."""
MAX_DAYS: Final = 12 * HALF_LIFE_DAYS
"""Older evidence counts less than a four-thousandth and is dropped."""
MAX_KINDS: Final = 64
"""Kinds of work per provider whose passed audits are counted; beyond, the least audited one starts again at none."""
MAX_WITNESSED: Final = 64
"""Outcomes of other people's deals kept per provider, the newest: 2 KB, and as much is written for each new one."""

_DAY_SECONDS: Final = 86_400
_WITNESS_WEIGHT: Final = PPM // 2
"""What others lived through counts half: the two may be one."""
_ONE_COUNTERPARTY: Final = 10
"""One counterparty supplies at most a tenth of what is known: making up a reputation takes ten of them, and their fees."""
_ENOUGH: Final = PPM // 4
"""Less than a quarter of a deal is no evidence: the provider counts as new."""
_SLOW_DEALS: Final = 2
"""So many that ended without a result for want of time, memory or disk count as one that was broken: three of them and nothing
else are enough to be shunned, one among several that were kept moves little."""
_DOUBT: Final = PPM // 4
"""What is left of half a broken deal after a month."""
_DOUBT_SHARE: Final = 10
_Z: Final = 1_645
"""Thousandths: 5 % in one tail of the normal distribution."""

_FADING: Final = (
    1_000_000, 977_160, 954_842, 933_033, 911_722, 890_899, 870_551, 850_667, 831_238, 812_252,
    793_701, 775_573, 757_858, 740_549, 723_635, 707_107, 690_956, 675_175, 659_754, 644_685,
    629_961, 615_572, 601_512, 587_774, 574_349, 561_231, 548_412, 535_887, 523_647, 511_687,
)  # fmt: skip
"""2^(-day/30) in ppm, for the days of one half-life."""


class Evidence(msgspec.Struct, frozen=True):
    """What one deal says about its provider, at the time it was committed."""

    at: UnixSeconds
    kept: bool
    passed: Hash32 | None = None
    """The kind of work (`work_kind`) whose re-execution agreed."""
    slow: bool = False
    """Not kept, in a way that an honest machine may come to: counts half."""

    @property
    def sort(self) -> str:
        """``kept``, ``broken`` or ``slow``."""
        return "kept" if self.kept else "slow" if self.slow else "broken"


class Day(msgspec.Struct, frozen=True):
    """Deals of one UTC day."""

    day: int
    kept: int
    broken: int
    slow: int = 0


class Witnessed(msgspec.Struct, frozen=True):
    """What the chain shows of a deal between this provider and somebody else."""

    day: int
    counterparty: Address
    """The owner of the client: operators are free to make."""
    kept: bool


class Record(msgspec.Struct, frozen=True):
    """Everything known about one provider. Adding and taking back (a reorganisation) are exact opposites."""

    days: tuple[Day, ...] = ()
    """Own deals, oldest day first."""
    kinds: tuple[tuple[Hash32, int], ...] = ()
    """Audits passed, by kind of work, in order of the kind."""
    seen: tuple[Witnessed, ...] = ()

    def plus(self, evidence: Evidence | None) -> "Record":
        """With this deal."""
        return self if evidence is None else self._changed(evidence, 1)

    def minus(self, evidence: Evidence | None) -> "Record":
        """Without this deal, which was in it."""
        return self if evidence is None else self._changed(evidence, -1)

    def witness(self, at: UnixSeconds, counterparty: Address, *, kept: bool) -> "Record":
        """With the final outcome of somebody else's deal: settled or finalized (kept), expired or slashed (not)."""
        seen = (*self.seen, Witnessed(at // _DAY_SECONDS, counterparty, kept))[-MAX_WITNESSED:]
        return msgspec.structs.replace(self, seen=seen)

    def audited(self, kind: Hash32) -> int:
        """Audits passed at this kind of work: what lowers the rate of further ones."""
        return dict(self.kinds).get(kind, 0)

    def doubted(self, now: UnixSeconds) -> bool:
        """Whether more of its results are to be looked at than of others': of this node's own deals more than one in eleven
        is broken, and it is no month ago that the half of one was."""
        kept, broken = _mass(msgspec.structs.replace(self, seen=()), now)
        return broken >= _DOUBT and broken * _DOUBT_SHARE > kept

    def _changed(self, evidence: Evidence, by: int) -> "Record":
        day = evidence.at // _DAY_SECONDS
        found = {one.day: one for one in self.days}
        old = found.get(day, Day(day, 0, 0))
        kept, broken, slow = (by * (sort == evidence.sort) for sort in ("kept", "broken", "slow"))
        found[day] = Day(day, max(old.kept + kept, 0), max(old.broken + broken, 0), max(old.slow + slow, 0))
        oldest = max(found) - MAX_DAYS
        days = tuple(one for d, one in sorted(found.items()) if d >= oldest and (one.kept or one.broken or one.slow))
        kinds = dict(self.kinds)
        if evidence.passed is not None:
            kinds[evidence.passed] = max(kinds.get(evidence.passed, 0) + by, 0)
            if len(kinds) > MAX_KINDS:
                del kinds[min(kinds, key=lambda kind: (kinds[kind], kind))]
        return Record(days, tuple(sorted((kind, count) for kind, count in kinds.items() if count)), self.seen)


def work_kind(image: Hash32, numeric_class: Hash32) -> Hash32:
    """The same program on the same class of machine: what a passed audit says something about."""
    return keccak256(image, numeric_class)


def evidence_of(deal: DealState | None) -> Evidence | None:
    """What a deal, where it stands, says about its provider to its client; None while it says nothing, and where results
    of several differ without a majority.

    Broken: a result that was paid for and never opened, or claimed and never handed over, one that the client of a channel
    has found wrong, no claim in time, a result that the client refused (also when its claim was paid), a conviction, and a
    refund: a provider that asks for nothing back has given up. Kept: the client signed off, or a panel has acquitted it.
    A result that can be said without having worked (`NEVER_GROUNDS`): `_said`.
    """
    if isinstance(deal, Disputed):
        return evidence_of(deal.was)
    if isinstance(deal, Voided):
        return _void(deal)
    if isinstance(deal, Settled) and deal.how == "acquitted":
        return Evidence(_when(deal), kept=True)
    claim = deal.claim if isinstance(deal, Settled) else deal if isinstance(deal, Claimed) else None
    refused = deal.detail if isinstance(deal, Rejected) else claim.rejected if claim is not None else ""
    if refused.startswith(UNDECIDED):
        return None
    if deal is not None and refused.startswith(SLOW):
        return Evidence(_when(deal), kept=False, slow=True)
    if isinstance(deal, Expired | Rejected | Slashed) or (deal is not None and claim is not None and claim.rejected):
        return Evidence(_when(deal), kept=False)
    if isinstance(deal, Settled) and deal.how == "finalized" and deal.result is None and deal.late is msgspec.UNSET:
        return Evidence(_when(deal), kept=False)
    if isinstance(deal, Settled) and deal.how in (KEYLESS, WRONG):
        return Evidence(_when(deal), kept=False)
    if isinstance(deal, Abandoned) and isinstance(deal.disowned, ResultNotice):
        return Evidence(_when(deal), kept=False)
    if isinstance(deal, Settled) and deal.how == "cancelled":
        return Evidence(_when(deal), kept=False) if deal.paid == 0 else None
    if isinstance(deal, Settled) and (deal.sign_off is not None or deal.how == "voucher"):
        if deal.result is not None and deal.result.commit.outcome in NEVER_GROUNDS and deal.checked != "audited":
            return _said(deal)
        terms = deal.terms.deal
        kind = work_kind(terms.image, terms.numeric_class) if deal.checked == "audited" else None
        return Evidence(_when(deal), kept=True, passed=kind)
    return None


def _void(deal: Voided) -> Evidence | None:
    """Nobody was to blame, but the panel had found otherwise than a provider that met a limit: it has paid for half of the seats.
    Where the panel had found nothing, nothing is known."""
    outcome = deal.result.commit.outcome if deal.result is not None else OutcomeCode.TIMEOUT
    if deal.returned >= deal.terms.deal.collateral or outcome not in NEVER_GROUNDS:
        return None
    return Evidence(_when(deal), kept=False, slow=outcome is OutcomeCode.TIMEOUT)


def _said(deal: Settled) -> Evidence:
    """A job that ran out of time, memory or disk is paid, and never makes a good name: whoever begins nothing can say so.

    Where the limit was ample here, the deal was broken. Else it counts half, also where the time was up here too: who buys
    computing may well have the slowest machine of all. To this client a provider that is too slow for its jobs is worth as
    little as one that idles, and where all are, all are shunned alike, so all are asked.
    """
    return Evidence(_when(deal), kept=False, slow=deal.checked != CONTRADICTED)


def _when(deal: DealState) -> UnixSeconds:
    """Of the commitment, on the chain's clock: the same before and after a restart."""
    commitment = getattr(deal, "commitment", None)
    return commitment.at if commitment else deal.terms.deal.commit_by


class Standing(msgspec.Struct, frozen=True):
    """What a record comes to on one day."""

    bound: int | None
    """One-sided 5 % lower bound of the share of kept deals, in ppm; None for a newcomer."""
    shunned: bool


class Standings:
    """Everybody's standing, computed again only where the record or the day is another: a search looks at all of them, and
    1,600 scores take longer than a node may think. As large as the records that it is asked about."""

    def __init__(self) -> None:
        self._known: dict[PeerId, tuple[Record, int, Standing]] = {}

    def bounds(self, records: Mapping[PeerId, Record], now: UnixSeconds) -> dict[PeerId, int]:
        """The lower bounds in ppm. Newcomers are not in it."""
        return {peer: found.bound for peer, found in self._all(records, now) if found.bound is not None}

    def shunned(self, records: Mapping[PeerId, Record], now: UnixSeconds) -> frozenset[PeerId]:
        """Those who have failed too often to be asked while anybody else fits."""
        return frozenset(peer for peer, found in self._all(records, now) if found.shunned)

    def _all(self, records: Mapping[PeerId, Record], now: UnixSeconds) -> Iterator[tuple[PeerId, Standing]]:
        today = now // _DAY_SECONDS
        for peer, record in records.items():
            known = self._known.get(peer)
            if known is None or known[0] is not record or known[1] != today:
                found = _standing(record, now)
                known = self._known[peer] = (record, today, found)
            yield peer, known[2]


def lower_bound(record: Record, now: UnixSeconds) -> int | None:
    """One-sided 5 % lower bound of the share of kept deals, in ppm, at ``now``; None for a newcomer."""
    return _standing(record, now).bound


def shunned(record: Record, now: UnixSeconds) -> bool:
    """Whether even the 5 % upper bound lies below what a newcomer is credited with, by all that is known or by this node's
    own deals alone: ten owners that deal with themselves make a good name for gas, and it must not outweigh what was lived.

    Two broken deals and no kept one are enough. It ends by itself as the evidence fades: after two broken deals in 24
    days, after ten in about three months.
    """
    return _standing(record, now).shunned


def _standing(record: Record, now: UnixSeconds) -> Standing:
    kept, broken = _mass(record, now)
    if kept + broken < _ENOUGH:
        return Standing(None, False)
    low, high = _wilson(kept, broken)
    lived = _mass(msgspec.structs.replace(record, seen=()), now) if record.seen else (kept, broken)
    if sum(lived) >= _ENOUGH:
        high = min(high, _wilson(*lived)[1])
    return Standing(low, high < MIN_RELIABILITY_PPM)


def _mass(record: Record, now: UnixSeconds) -> tuple[int, int]:
    """(kept, broken) in millionths of a deal, faded."""
    today = now // _DAY_SECONDS
    kept = sum(one.kept * _weight(today - one.day) for one in record.days)
    slow = sum(one.slow * _weight(today - one.day) for one in record.days)
    broken = sum(one.broken * _weight(today - one.day) for one in record.days) + slow // _SLOW_DEALS
    by_party: dict[Address, tuple[int, int]] = {}
    for one in record.seen:
        weight = _weight(today - one.day) * _WITNESS_WEIGHT // PPM
        good, bad = by_party.get(one.counterparty, (0, 0))
        by_party[one.counterparty] = (good + weight, bad) if one.kept else (good, bad + weight)
    most = (kept + broken + sum(good + bad for good, bad in by_party.values())) // _ONE_COUNTERPARTY
    for good, bad in by_party.values():
        share = good + bad
        kept += good * min(share, most) // max(share, 1)
        broken += bad * min(share, most) // max(share, 1)
    return kept, broken


def _weight(age_days: int) -> int:
    """2^(-age/30) in ppm. What lies ahead of ``now`` counts whole: two clocks may be a day apart."""
    age = max(age_days, 0)
    return 0 if age > MAX_DAYS else _FADING[age % HALF_LIFE_DAYS] >> (age // HALF_LIFE_DAYS)


def _wilson(kept: int, broken: int) -> tuple[int, int]:
    """Lower and upper end of Wilson's score interval, z = 1.645, in ppm, for masses in millionths of a deal.

    Source: E. B. Wilson, JASA 22 (1927); a Beta prior gives nearly the same numbers and needs no table of its quantiles.
    """
    mass = kept + broken
    p = kept * PPM // mass
    z2 = _Z * _Z  # in ppm
    centre = p + z2 * PPM // (2 * mass)
    spread = _Z * isqrt((p * (PPM - p) + z2 * PPM * PPM // (4 * mass)) * PPM // mass) // 1000
    whole = PPM + z2 * PPM // mass
    return max((centre - spread) * PPM // whole, 0), min((centre + spread) * PPM // whole, PPM)

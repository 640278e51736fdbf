"""How does a client find a provider for one attempt of a run?

Rounds: draw a few at random from all acceptable offers, ask them all at once, close when everybody has answered or the
bid window is over, take the best. The search is volatile: after a restart it starts anew, and old holds lapse.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from protocols.canonical import tagged_digest
from protocols.job.canonical import CanonicalJob
from protocols.limits import MAX_CANDIDATES
from protocols.messages.negotiation import Quote, Refusal, Rfq
from protocols.offers.matching import Reason, Terms, match
from protocols.offers.pricing import price_of
from protocols.offers.ranking import ignores_reliability, score
from protocols.offers.records import ResourceOffer
from protocols.runs import Candidate, Run
from protocols.units import PPM, Address, DealId, Hash32, Millis, PeerId, RunId, Tokens, UnixSeconds

__all__ = ["Asked", "Recheck", "Search", "best_quote", "explain", "round_entropy"]


class Asked(msgspec.Struct, frozen=True):
    """An RFQ under way."""

    provider: PeerId
    rfq: Rfq
    at: Millis


class Recheck(msgspec.Struct, frozen=True):
    """What is special about a search for somebody who computes a result again, or as one of several."""

    name: RunId
    """Its place among the searches: the run may have one of its own."""
    deal_id: DealId | None
    """The deal whose result is checked; None for a further replica, which checks no other."""
    other_than: tuple[Address, ...]
    """Not these: the parties, and who has tried before."""
    numeric_class: Hash32


class Search:
    """One search under way. Volatile, changed in place by the node."""

    def __init__(
        self,
        run: Run,
        job: CanonicalJob,
        *,
        started: Millis,
        quote_only: bool,
        wall: UnixSeconds = UnixSeconds(0),
        recheck: Recheck | None = None,
    ) -> None:
        self.run = run
        self.recheck = recheck
        self.name = recheck.name if recheck else run.run_id
        self.job = job
        self.attempt = 1 + max((one.attempt for one in run.candidates), default=0)
        until, last = wall + run.market.search_s, run.market.deadline
        self.until = UnixSeconds(min(until, last) if last else until)
        """Wall clock after which this search gives up: for people, who want to know how long."""
        self.quote_only = quote_only
        self.started = started
        self.round = 0
        self.asked: dict[Hash32, Asked] = {}
        self.quotes: dict[Hash32, tuple[Quote, Millis]] = {}
        self.resting: dict[PeerId, Millis] = {}
        """Providers not to be asked again before that time."""
        self.commits: set[PeerId] = set()
        """Providers that take no deal of ours in a channel now, and may take a commitment."""
        self.candidates: dict[tuple[PeerId, int], Candidate] = {}
        self.announced = False
        self.unseated = ""
        """Why nobody could judge a deal now; empty when somebody can, or need not."""
        self.explaining = False
        """The last round: those that do not fit are asked too, so that the answer is in their own signed words."""

    @property
    def panel(self) -> bool:
        """Whether a panel is to judge the deal. Whoever only computes again is paid for that, and judged by nobody."""
        return self.run.market.enforcement == "panel" and self.recheck is None

    @property
    def open(self) -> bool:
        """A round is under way."""
        return bool(self.asked)

    @property
    def complete(self) -> bool:
        """Everybody who was asked has answered."""
        return self.open and all(rfq_id in self.quotes for rfq_id in self.asked)

    def note(self, candidate: Candidate) -> None:
        """Remember what came of an offer; the oldest are forgotten first."""
        key = (candidate.provider, candidate.round)
        self.candidates.pop(key, None)
        self.candidates[key] = candidate
        while len(self.candidates) > MAX_CANDIDATES:
            del self.candidates[next(iter(self.candidates))]

    def acceptable(
        self,
        offers: list[ResourceOffer],
        limit: Tokens,
        token: Address,
        reliability: Mapping[PeerId, int],
        now: Millis,
        shunned: Collection[PeerId] = (),
    ) -> list[ResourceOffer]:
        """The offers that fit the job and the client's terms; why the others do not is noted once.

        ``shunned`` are asked only where nobody else fits, busy or not: if everybody has failed, the fault may be ours.
        """
        fitting: list[ResourceOffer] = []
        failing: list[ResourceOffer] = []
        others = False
        market = self.run.market
        newcomer = Terms(
            max_price=limit,
            token=token,
            mode=market.mode,
            target=market.target,
            min_reputation_ppm=market.min_reputation_ppm,
        )
        for offer in offers:
            known = reliability.get(offer.provider)
            if known is None:
                reasons = match(offer, self.job, newcomer, {})
            else:
                terms = msgspec.structs.replace(newcomer, reliability_ppm=known)
                reasons = match(offer, self.job, terms, {"reliability": known})
            if reasons:
                self._unsuitable(offer, reasons)
                continue
            others = others or offer.provider not in shunned
            if self.resting.get(offer.provider, Millis(0)) <= now:
                (failing if offer.provider in shunned else fitting).append(offer)
        if others:
            for offer in failing:
                sentence = "has failed this node too often, and others fit"
                self._unsuitable(offer, [Reason("reputation", "a better record", "failures", sentence)])
        else:
            fitting = failing
        untried = [offer for offer in fitting if offer.provider not in self.run.tried]
        return untried or fitting

    def _unsuitable(self, offer: ResourceOffer, reasons: Sequence[Reason]) -> None:
        if (offer.provider, 0) in self.candidates:
            return
        fits = all(reason.code == "price" for reason in reasons)
        price = price_of(offer, self.job) if fits else None
        detail = "; ".join(reason.sentence for reason in reasons)
        self.note(self.candidate(offer.provider, "unsuitable", price, reasons[0].code, detail, round_number=0))

    def candidate(
        self, provider: PeerId, verdict: str, price: Tokens | None, code: str, detail: str, *, round_number: int
    ) -> Candidate:
        """What came of an offer in this search."""
        return Candidate(
            provider=provider,
            round=round_number,
            verdict=verdict,
            price=price,
            code=code,
            detail=detail,
            attempt=self.attempt,
        )

    def answered(self, message: Quote | Refusal, at: Millis) -> bool:
        """Take in an answer; False when nobody asked for it."""
        asked = self.asked.get(message.rfq_id)
        if asked is None or message.rfq_id in self.quotes:
            return False
        match message:
            case Quote():
                self.quotes[message.rfq_id] = (message, at)
                verdict = "quoted" if message.firm else "indicative"
                self._remember(asked, verdict, message.price, "", message.detail)
            case Refusal():
                del self.asked[message.rfq_id]
                rest = max(message.free_in_s, 1) * 1000 if message.code == "busy" else 10_000
                self.resting[asked.provider] = Millis(at + min(rest, 10_000))
                self.candidates.pop((asked.provider, 0), None)
                if message.code == "settlement" and self.run.market.settlement == "auto" and asked.rfq.SETTLEMENT:
                    self.commits.add(asked.provider)  # it is asked otherwise, and at once
                    del self.resting[asked.provider]
                self._remember(asked, "refused", None, message.code, message.detail)
        return True

    def _remember(self, asked: Asked, verdict: str, price: Tokens | None, code: str, detail: str) -> None:
        self.note(self.candidate(asked.provider, verdict, price, code, detail, round_number=self.round))

    def give_up_silent(self, now: Millis) -> None:
        """The bid window is over: those who did not answer are left out for a while."""
        for rfq_id, asked in list(self.asked.items()):
            if rfq_id not in self.quotes:
                del self.asked[rfq_id]
                self.resting[asked.provider] = Millis(now + 10_000)
                self._remember(asked, "silent", None, "silent", "did not answer within the bid window")


def round_entropy(run: Run, round_number: int) -> Hash32:
    """What decides whom a round asks: the run's own entropy, unknown to everybody else."""
    return tagged_digest("round/1", run.entropy, run.next_index.to_bytes(4, "big"), round_number.to_bytes(4, "big"))


def best_quote(
    search: Search, limit: Tokens, reliability: Mapping[PeerId, int], *, deadline_s: int
) -> tuple[Asked, Quote] | None:
    """The firm quote to sign: the best score, or in fixed mode the lowest price, both at or under ``limit``.

    ``reliability`` is the lower bound in ppm per provider; one who is not in it is a newcomer.
    """
    firm = [
        (search.asked[rfq_id], quote)
        for rfq_id, (quote, _) in search.quotes.items()
        if quote.firm and quote.price <= limit and rfq_id in search.asked
    ]
    if not firm:
        return None
    if search.run.market.mode == "fixed":
        return min(firm, key=lambda pair: (pair[1].price, pair[1].rfq_id))

    blind = ignores_reliability(round_entropy(search.run, search.round), limit)

    def rank(pair: tuple[Asked, Quote]) -> tuple[int, bytes]:
        asked, quote = pair
        finish_s = quote.starts_in_s + quote.exec_seconds
        trust = PPM if blind else reliability.get(asked.provider)
        return score(quote.price, finish_s, deadline_s, trust), quote.rfq_id

    return min(firm, key=rank)


def explain(search: Search) -> str:
    """Why nothing was found, in one sentence: the commonest reasons first."""
    if search.unseated:
        return search.unseated
    if not search.candidates:
        return "no offer on the network has been seen"
    counts: dict[str, int] = {}
    for candidate in search.candidates.values():
        what = candidate.code or candidate.verdict
        counts[what] = counts.get(what, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} x {what}" for what, count in ranked[:4])

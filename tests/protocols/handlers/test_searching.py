"""What does a search tell the owner who waits for it?"""

import msgspec
import pytest

from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, toy_job
from devnet.sim.world import World
from protocols import events as ev
from protocols import views
from protocols.canonical import decode_strict, encode
from protocols.hashing import keccak256
from protocols.messages.negotiation import InputRoot
from protocols.offers.pricing import price_of
from protocols.runs import Candidate, Failed, MarketTerms, Searching
from protocols.units import Hash32, RunId, Tokens, UnixSeconds

PRICE = Tokens(10**12)
QUOTE = RunId(keccak256(b"a quote"))


class Search:
    """A client with a run that no provider takes: it pays too little for one and is too large for the other."""

    def __init__(self, **market: object) -> None:
        self.world = World(1, network=NO_NOISE)
        self.client = self.world.add(free=FUNDS, stake=0)
        providers = [self.world.add(free=0, stake=FUNDS) for _ in range(2)]
        for provider in providers:
            provider.offer = offer_of(self.world, provider)
        self.dear, small = providers
        assert small.offer is not None
        small.offer = msgspec.structs.replace(small.offer, cpus_milli=1)
        for node in (self.client, *providers):
            node.start()
        self.world.run(8_000)
        self.job = toy_job(1)
        self.began = self.client.wall
        terms = MarketTerms(max_price=PRICE, budget=PRICE, search_s=20, **market)  # type: ignore[arg-type]
        self.client.post(
            ev.RunSubmitted(
                at=self.world.now,
                job=self.job.encode(),
                inputs=(InputRoot(self.job.module, self.job.module_size),),
                market=terms,
                run_nonce=1,
                entropy=Hash32(bytes(32)),
                wall=self.began,
            )
        )

    def asks(self, max_price: Tokens) -> list[Candidate]:
        """What the same job would cost."""
        asked = ev.QuoteRequested(
            at=self.world.now,
            quote_id=QUOTE,
            job=self.job.encode(),
            inputs=(InputRoot(self.job.module, self.job.module_size),),
            market=MarketTerms(max_price=max_price, budget=max_price),
            entropy=Hash32(bytes(32)),
        )
        self.client.post(asked)
        self.world.run(self.world.now + 20_000)
        return list(self.client.state.quotes[QUOTE])

    def passes(self, seconds: int) -> views.RunView:
        self.world.run(self.world.now + seconds * 1000)
        (view,) = views.runs(self.client.state)
        return view

    def again(self) -> views.RunView:
        (run,) = self.client.state.durable.runs.values()
        self.client.post(ev.RetryRequested(at=self.world.now, run_id=run.run_id))
        return self.passes(1)


def test_a_search_says_at_once_what_keeps_it_and_until_when():
    search = Search()
    seen = search.passes(1)
    assert seen.status == "searching"
    assert seen.search_until == search.began + 20
    by_code = {one.code: one for one in seen.candidates}
    assert set(by_code) == {"price", "cpus"}
    assert search.dear.offer is not None
    assert by_code["price"].price == price_of(search.dear.offer, search.job)
    assert by_code["cpus"].price is None
    over = search.passes(40)
    assert (over.status, over.search_until) == ("failed", 0)


def test_the_owners_deadline_comes_first():
    search = Search(deadline=UnixSeconds(1))
    assert search.client.wall > 1
    assert isinstance(next(iter(search.client.state.durable.runs.values())).status, Searching | Failed)
    assert all(one.until == 1 for one in search.client.state.searches.values())


def test_a_quote_tells_what_it_costs_signs_nothing_and_keeps_no_slot():
    """A quote is of no run; when one came, the client looked for the run's deals, and ended."""
    search = Search()
    dear = search.dear
    assert dear.offer is not None
    found = {one.provider: one for one in search.asks(Tokens(10**17))}
    assert (found[dear.me].verdict, found[dear.me].price) == ("quoted", price_of(dear.offer, search.job))
    assert {one.verdict for one in found.values()} == {"quoted", "unsuitable"}
    assert search.client.up
    assert dear.state.desk.firm() == 0
    assert not search.client.state.durable.deals


def test_a_retry_does_not_mix_its_rounds_with_those_before():
    search = Search()
    first = search.passes(40).candidates
    assert {one.attempt for one in first} == {1}
    second = search.again().candidates
    assert second[: len(first)] == first
    assert {one.attempt for one in second[len(first) :]} == {2}
    search.passes(40)
    assert {one.attempt for one in search.again().candidates} == {1, 2, 3}


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_candidate_of_an_older_store_is_of_the_first_attempt(attempt):
    one = Candidate(provider=bytes(39), round=1, verdict="silent", price=None, code="", detail="", attempt=attempt)
    data = encode(one)
    assert decode_strict(Candidate, data, max_bytes=1000) == one
    assert (b"attempt" in data) is (attempt > 1)

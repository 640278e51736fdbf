"""What do a provider's deals say about it? Counted once, whatever order they came in, faded, and in integers."""

import random
from math import sqrt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from devnet.sim.samples import NOW, Samples
from protocols import events as ev
from protocols.deals import states
from protocols.deals.eip712 import OutcomeCode
from protocols.deals.search import Asked, Search, best_quote
from protocols.handlers import deals
from protocols.hashing import sha256
from protocols.messages.negotiation import Quote, Rfq
from protocols.offers.ranking import MIN_RELIABILITY_PPM, sample
from protocols.offers.records import Ask, ExecutorOffer, ResourceOffer
from protocols.reputation import (
    HALF_LIFE_DAYS,
    MAX_DAYS,
    MAX_KINDS,
    MAX_WITNESSED,
    Day,
    Evidence,
    Record,
    Standings,
    evidence_of,
    lower_bound,
    shunned,
    work_kind,
)
from protocols.state import CLIENT, PROVIDER, Half, NodeState
from protocols.units import PPM, WEI_PER_TOKEN, Address, Hash32, Millis, PeerId, Tokens, UnixSeconds
from protocols.verify.levels import NEVER_GROUNDS

SAMPLES = Samples()
PEER = SAMPLES.provider.peer_id
AT = SAMPLES.commitment.at
KIND = work_kind(SAMPLES.deal().image, SAMPLES.deal().numeric_class)
DAY = 86_400

KEPT, BROKEN = Evidence(AT, kept=True), Evidence(AT, kept=False)
AUDITED = Evidence(AT, kept=True, passed=KIND)
SLOW_ONE = Evidence(AT, kept=False, slow=True)


def record_of(kept: int, broken: int = 0, at: int = AT) -> Record:
    record = Record()
    for good, count in ((True, kept), (False, broken)):
        for _ in range(count):
            record = record.plus(Evidence(UnixSeconds(at), kept=good))
    return record


def record_after(*path: states.DealState, role: str = CLIENT) -> Record:
    """What a node says when a deal has gone through these states."""
    state, env = NodeState("devnet"), SAMPLES.env(SAMPLES.client)
    for one in path:
        deals.place(state, role, (one, ()), env)
    again = restarted(state)
    assert again == state.records.get(PEER, Record()), "a restart counts the same"
    return again


def restarted(state: NodeState) -> Record:
    fresh, env = NodeState("devnet"), SAMPLES.env(SAMPLES.client)
    for deal_id, half in state.durable.deals.items():
        fresh.durable.put_deal(deal_id, Half(half.role, half.state))
    started = ev.NodeStarted(at=Millis(0), wall=UnixSeconds(0), incarnation=Hash32(bytes(32)))
    deals.started(fresh, started, env)
    return fresh.records.get(PEER, Record())


def settled(**changes: object) -> states.DealState:
    return replace(SAMPLES.states()["Settled"], **changes)


def test_a_kept_deal_counts_once() -> None:
    found = SAMPLES.states()
    assert record_after(found["Committed"], found["Accepted"], settled()) == Record().plus(AUDITED)
    assert record_after(settled(checked="bytes")) == Record().plus(KEPT)
    assert record_after(settled(how="cancelled")) == Record()


def test_a_refund_is_a_failure_and_a_cancellation_that_pays_is_not() -> None:
    assert record_after(settled(how="cancelled", paid=Tokens(0))) == Record().plus(BROKEN)


def test_a_liar_that_is_paid_in_the_end_is_still_a_liar() -> None:
    """Its deal counted as broken when it was rejected, and as kept when its claim was finalized."""
    found = SAMPLES.states()
    claim = replace(SAMPLES.claim(), rejected="another result")
    paid = settled(how="finalized", sign_off=None, claim=claim)
    assert record_after(found["Rejected"], claim, paid) == Record().plus(BROKEN)


def test_an_expired_deal_is_broken_and_a_reorganised_one_is_not() -> None:
    found = SAMPLES.states()
    assert record_after(found["Committed"], found["Expired"]) == Record().plus(BROKEN)
    assert record_after(found["Expired"], found["Committed"]) == Record()
    assert record_after(settled(), found["Accepted"], settled()) == Record().plus(AUDITED)


def test_a_deal_paid_without_a_word_of_its_client_says_nothing() -> None:
    assert record_after(settled(how="finalized", sign_off=None, claim=SAMPLES.claim())) == Record()


def limited(outcome: OutcomeCode, how: str, checked: str) -> states.DealState:
    sample = settled(how=how, checked=checked)
    assert isinstance(sample, states.Settled)
    assert sample.result is not None
    commit = msgspec.structs.replace(sample.result.commit, outcome=outcome)
    result = msgspec.structs.replace(sample.result, commit=commit)
    return msgspec.structs.replace(sample, result=result)


@pytest.mark.parametrize("outcome", sorted(NEVER_GROUNDS))
@pytest.mark.parametrize("how", ["settled", "voucher"])
def test_an_outcome_that_anybody_can_claim_without_working_makes_no_good_name(outcome: OutcomeCode, how: str) -> None:
    """Half of a broken deal while nobody has looked, or the job ends here, but not by far, or not here either."""
    for checked in ("bytes", "unfinished", "slow", "too-long", "replicated"):
        assert record_after(limited(outcome, how, checked)) == Record().plus(SLOW_ONE), checked


@pytest.mark.parametrize("how", ["settled", "voucher"])
def test_what_this_client_has_found_out_about_a_time_that_was_up_counts(how: str) -> None:
    timeout = OutcomeCode.TIMEOUT
    assert record_after(limited(timeout, how, "contradicted")) == Record().plus(BROKEN)
    for outcome in (OutcomeCode.OOM, OutcomeCode.DISK_LIMIT):
        assert record_after(limited(outcome, how, "audited")) == Record().plus(AUDITED), "it was computed again"


def test_a_replica_whose_time_was_up_is_slow_and_no_liar() -> None:
    found = SAMPLES.states()
    refused = replace(found["Rejected"], detail="no result in time: of 3 results, the majority's machines were done")
    assert record_after(found["Committed"], refused) == Record().plus(SLOW_ONE)
    claim = replace(SAMPLES.claim(), rejected="no result in time: of 3 results, the time was up")
    assert record_after(refused, claim, settled(how="finalized", sign_off=None, claim=claim)) == Record().plus(SLOW_ONE)


def test_three_slow_deals_and_nothing_else_are_enough_and_two_are_not() -> None:
    records = [Record()]
    for _ in range(3):
        records.append(records[-1].plus(SLOW_ONE))
    assert [shunned(one, AT) for one in records] == [False, False, False, True]
    mixed = record_of(9)
    for _ in range(3):
        mixed = mixed.plus(SLOW_ONE)
    assert not shunned(mixed, AT)
    ends = next(day for day in range(200) if not shunned(records[3], UnixSeconds(AT + day * DAY)))
    assert ends <= 14


def test_who_has_failed_here_is_looked_at_more_often_until_it_has_made_up_for_it() -> None:
    assert not Record().doubted(AT)
    assert Record().plus(SLOW_ONE).doubted(AT)
    assert record_of(4).plus(SLOW_ONE).doubted(AT)
    assert not record_of(5).plus(SLOW_ONE).doubted(AT)
    assert not record_of(200, 10).doubted(AT)
    assert not record_of(0, 1).doubted(UnixSeconds(AT + 100 * DAY)), "it ends by itself"
    hearsay = Record()
    for number in range(MAX_WITNESSED):
        hearsay = hearsay.witness(AT, owner(number), kept=False)
    assert not hearsay.doubted(AT), "what others have lived through sets no rate: it could be made up"


def test_only_a_client_keeps_records() -> None:
    assert record_after(SAMPLES.states()["Expired"], role=PROVIDER) == Record()


def test_what_has_not_ended_says_nothing() -> None:
    for name, state in SAMPLES.states().items():
        if name not in ("Settled", "Expired", "Rejected", "Disputed", "Slashed"):
            assert evidence_of(state) is None, name
    assert evidence_of(None) is None


# --- the score ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_bounds_are_wilsons(kept: int, broken: int) -> None:
    n = kept + broken
    record = Record((Day(AT // DAY, kept, broken),))
    bound = lower_bound(record, AT)
    if n == 0:
        assert bound is None
        return
    p, z = kept / n, 1.645
    spread = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((p + z * z / (2 * n) + sign * spread) / (1 + z * z / n) * PPM for sign in (-1, 1))
    assert bound is not None
    assert abs(bound - low) <= 5
    if abs(high - MIN_RELIABILITY_PPM) > 5:
        assert shunned(record, AT) == (high < MIN_RELIABILITY_PPM)


@pytest.mark.parametrize("n", [1, 10, 100])
def test_more_of_the_same_is_more_trust(n: int) -> None:
    one, more, worse = (lower_bound(r, AT) for r in (record_of(n), record_of(n + 1), record_of(n, 1)))
    assert one is not None
    assert more is not None
    assert worse is not None
    assert worse < one < more


pieces = st.builds(
    Evidence,
    st.integers(0, 100 * DAY).map(lambda s: UnixSeconds(AT - s)),
    st.booleans(),
    st.none() | st.sampled_from([Hash32(bytes([i]) * 32) for i in range(4)]),
    st.booleans(),
)


@given(st.lists(pieces, max_size=20), st.randoms(use_true_random=False))
def test_the_order_does_not_count_and_taking_back_undoes(found: list[Evidence], dice: random.Random) -> None:
    record, shuffled = Record(), Record()
    for one in found:
        record = record.plus(one)
    other = list(found)
    dice.shuffle(other)
    for one in other:
        shuffled = shuffled.plus(one)
    assert record == shuffled
    for one in found:
        record = record.minus(one)
    assert record == Record()


@given(st.lists(pieces, max_size=20), st.integers(0, 400))
def test_time_alone_moves_a_score_towards_a_newcomers(found: list[Evidence], days: int) -> None:
    record = Record()
    for one in found:
        record = record.plus(one)
    now, later = lower_bound(record, AT), lower_bound(record, UnixSeconds(AT + days * DAY))
    if now is None:
        assert later is None
    elif later is not None:
        assert later <= now + 1_000, "less evidence is never more trust; 1,000 ppm are the floors"
    assert not shunned(record, UnixSeconds(AT + (MAX_DAYS + 1) * DAY))
    assert lower_bound(record, UnixSeconds(AT + (MAX_DAYS + 1) * DAY)) is None, "a newcomer again"


@pytest.mark.parametrize("days", [0, 1, 7, 29, 30, 31, 60, 199])
def test_evidence_halves_in_thirty_days(days: int) -> None:
    """1,000 faded deals give the bound of as many fresh ones as are left."""
    faded = lower_bound(record_of(1_000), UnixSeconds(AT + days * DAY))
    left = round(1_000 * 2 ** (-days / HALF_LIFE_DAYS))
    fresh = lower_bound(record_of(left), AT)
    assert faded is not None
    assert fresh is not None
    assert faded == pytest.approx(fresh, rel=2e-2 if left < 50 else 1e-3)


def test_a_clock_behind_the_evidence_does_not_amplify_it() -> None:
    assert lower_bound(record_of(3), UnixSeconds(AT - 9 * DAY)) == lower_bound(record_of(3), AT)


def test_two_failures_and_nothing_else_are_enough() -> None:
    assert not shunned(record_of(0, 1), AT), "one may be bad luck"
    assert shunned(record_of(0, 2), AT)
    assert not shunned(record_of(2, 2), AT)
    assert not shunned(record_of(20, 4), AT)
    ends = next(day for day in range(200) if not shunned(record_of(0, 2), UnixSeconds(AT + day * DAY)))
    assert ends == 24
    longer = next(day for day in range(200) if not shunned(record_of(0, 10), UnixSeconds(AT + day * DAY)))
    assert 90 <= longer <= 95


def test_standings_are_what_the_functions_say_after_every_change() -> None:
    standings, records = Standings(), {peer(1): record_of(3), peer(2): record_of(0, 2)}
    for now in (AT, AT, UnixSeconds(AT + DAY), UnixSeconds(AT + 30 * DAY)):
        records[peer(1)] = records[peer(1)].plus(Evidence(now, kept=False))
        assert standings.bounds(records, now) == {who: lower_bound(one, now) for who, one in records.items()}
        assert standings.shunned(records, now) == {who for who, one in records.items() if shunned(one, now)}
    records[peer(3)] = Record()
    assert peer(3) not in standings.bounds(records, AT)


# --- what the chain shows of others -------------------------------------------------------------------------------


def owner(number: int) -> Address:
    return Address(number.to_bytes(20))


def test_one_counterparty_makes_no_reputation() -> None:
    lone, many = Record(), Record()
    for number in range(100):
        lone = lone.witness(AT, owner(1), kept=True)
        many = many.witness(AT, owner(number), kept=True)
    alone, together = lower_bound(lone, AT), lower_bound(many, AT)
    assert alone is not None
    assert together is not None
    assert alone < MIN_RELIABILITY_PPM + 100_000 < together


def test_own_experience_outweighs_what_others_had() -> None:
    liar = record_of(0, 4)
    for number in range(8):
        liar = liar.witness(AT, owner(number), kept=True)
    bound = lower_bound(liar, AT)
    assert bound is not None
    assert bound < MIN_RELIABILITY_PPM
    assert record_of(0, 4).witness(AT, owner(1), kept=False).seen[0].counterparty == owner(1)


def test_a_good_name_that_was_made_up_does_not_outweigh_what_was_lived_through() -> None:
    friends = record_of(0, 2)
    for number in range(MAX_WITNESSED):
        friends = friends.witness(AT, owner(number), kept=True)
    assert shunned(friends, AT)
    assert not shunned(Record(seen=friends.seen), AT)
    enemies = record_of(1, 0)
    for number in range(MAX_WITNESSED):
        enemies = enemies.witness(AT, owner(number), kept=False)
    assert shunned(enemies, AT)


# --- bounds -------------------------------------------------------------------------------------------------------


def test_bounds() -> None:
    record = Record()
    for number in range(MAX_WITNESSED + 5):
        record = record.witness(AT, owner(number), kept=True)
    assert len(record.seen) == MAX_WITNESSED
    assert record.seen[0].counterparty == owner(5)
    for number in range(MAX_KINDS + 5):
        record = record.plus(Evidence(AT, kept=True, passed=Hash32(number.to_bytes(32))))
    assert len(record.kinds) == MAX_KINDS
    for day in range(2 * MAX_DAYS):
        record = record.plus(Evidence(UnixSeconds(AT + day * DAY), kept=True))
    assert len(record.days) == MAX_DAYS + 1


def test_audits_count_per_kind_of_work() -> None:
    record = Record().plus(AUDITED).plus(AUDITED).plus(KEPT)
    other = work_kind(Hash32(bytes(32)), SAMPLES.deal().numeric_class)
    assert (record.audited(KIND), record.audited(other)) == (2, 0)


# --- and the ranking ----------------------------------------------------------------------------------------------


def peer(number: int) -> PeerId:
    return PeerId(bytes.fromhex("002508021221") + b"\x02" + number.to_bytes(32, "big"))


def offer(number: int) -> ResourceOffer:
    return ResourceOffer(
        provider=peer(number),
        sequence=1,
        expires=UnixSeconds(NOW + 10**6),
        cpus_milli=64_000,
        memory_mib=1 << 20,
        disk_mib=1 << 20,
        executors=(ExecutorOffer("wasm", 3),),
        ask=Ask(Tokens(1), Tokens(1), Tokens(1), Tokens(1)),
        token=SAMPLES.params.token,
        escrow=SAMPLES.params.escrow,
        max_wall_s=10**6,
        free_slots=9,
    )


def trade(records: dict[PeerId, Record], turn: int, prices: dict[PeerId, int]) -> PeerId:
    """One deal, chosen by the shipped rules: match, draw six, take the best score."""
    run = replace(SAMPLES.runs()["Searching"], entropy=sha256(turn.to_bytes(4)), tried=())
    run = replace(run, market=replace(run.market, max_price=Tokens(WEI_PER_TOKEN), target=None))
    search = Search(run, SAMPLES.job, started=Millis(0), quote_only=False)
    known = {who: bound for who, record in records.items() if (bound := lower_bound(record, AT)) is not None}
    bad = frozenset(who for who, record in records.items() if shunned(record, AT))
    offers = [offer(number) for number in range(len(prices))]
    fit = search.acceptable(offers, Tokens(WEI_PER_TOKEN), SAMPLES.params.token, known, Millis(0), bad)
    for one in sample(run.entropy, fit, 6):
        rfq_id = sha256(turn.to_bytes(4), one.provider)
        rfq: Rfq = replace(SAMPLES.rfq(), rfq_id=rfq_id)
        quote: Quote = replace(SAMPLES.quote(), rfq_id=rfq_id, price=Tokens(prices[one.provider]))
        search.asked[rfq_id] = Asked(one.provider, rfq, Millis(0))
        search.quotes[rfq_id] = (quote, Millis(0))
    best = best_quote(search, Tokens(WEI_PER_TOKEN), known, deadline_s=100)
    assert best is not None
    return best[0].provider


@pytest.mark.parametrize("discount", [0, 50])
def test_two_that_always_fail_stop_getting_work_within_a_few_deals(discount: int) -> None:
    """Ten providers, two of which always fail, at half the others' price if need be: two deals each, and never again."""
    failing = {peer(0), peer(1)}
    prices = {peer(n): 1_000 - 10 * discount * (peer(n) in failing) for n in range(10)}
    records: dict[PeerId, Record] = {}
    lost: list[int] = []
    for turn in range(150):
        winner = trade(records, turn, prices)
        records[winner] = records.get(winner, Record()).plus(Evidence(AT, kept=winner not in failing))
        if winner in failing:
            lost.append(turn)
    assert len(lost) <= 4, lost
    assert not lost or lost[-1] < 60, lost
    if discount:
        assert len(lost) == 4, "the cheapest are tried, and found out"
        assert lost[-1] <= 12, lost


def test_where_everybody_has_failed_everybody_is_asked() -> None:
    """The fault may be ours: a client behind a broken line must not end without providers."""
    records = {peer(n): record_of(0, 5) for n in range(3)}
    assert trade(records, 1, {peer(n): 1_000 for n in range(3)}) in records


def test_newcomers_get_work_beside_veterans() -> None:
    """Eight veterans and a newcomer at their price: one small deal in ten looks at price and time alone."""
    records = {peer(n): record_of(200) for n in range(8)}
    wins = sum(trade(records, turn, {peer(n): 1_000 for n in range(9)}) == peer(8) for turn in range(600))
    assert 1 <= wins <= 20, "6.7 are expected"

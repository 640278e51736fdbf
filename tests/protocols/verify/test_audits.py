"""Is the draw fair and unknowable, and does an audit accuse only what two strangers have found wrong?"""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.sim.samples import Samples
from protocols.canonical import tagged_digest
from protocols.deals.terms import Level, OutcomeCode
from protocols.hashing import sha256
from protocols.units import PPM, Address, DealId, Hash32, Tokens
from protocols.verify import audits
from protocols.verify.audits import (
    AMPLE_FACTOR,
    AMPLE_MS,
    MAX_REEXECUTIONS,
    AuditEvent,
    AuditState,
    AwaitRound,
    Concluded,
    First,
    Reexecuted,
    RoundArrived,
    RunElsewhere,
    RunHere,
    Second,
    Subject,
    Timed,
    TimeUp,
    Unusable,
    Waiting,
    advance,
    drawn,
)

DEAL = Samples().deal()
CLIENT, PROVIDER, A, B, C = (Address(bytes([number]) * 20) for number in range(1, 6))
BUDGET = Tokens(1_000)
ID = DealId(bytes(32))


def subject(executor: str = "oci", budget: int = BUDGET, audit_ppm: int = PPM) -> Subject:
    deal = msgspec.structs.replace(DEAL, audit_ppm=audit_ppm)
    return Subject.of(ID, deal, executor=executor, owners=(CLIENT, PROVIDER), latest=7, budget=Tokens(budget))


def begin(executor: str = "oci", budget: int = BUDGET) -> audits.AuditStep:
    """A drawn audit."""
    waiting, (request,) = audits.start(subject(executor, budget), DEAL, OutcomeCode.EXITED)
    assert request == AwaitRound(10), "three rounds after the latest one"
    return advance(waiting, RoundArrived(10, Hash32(bytes(32))))


def through(state: AuditState, *events: AuditEvent) -> AuditState:
    for event in events:
        state, _ = advance(state, event)
    return state


# --- the draw -----------------------------------------------------------------------------------------------------


def test_the_rate_is_the_share_that_is_drawn() -> None:
    """20,000 deals; 3 standard deviations of a rate of 25 % are 184, of 2 % 60."""
    for rate, expected, slack in ((250_000, 5_000, 184), (20_000, 400, 60), (0, 0, 0), (PPM, 20_000, 0)):
        value = sha256(b"round", rate.to_bytes(4))
        hits = sum(drawn(value, DealId(sha256(i.to_bytes(4))), rate) for i in range(20_000))
        assert abs(hits - expected) <= slack, rate


@given(st.binary(min_size=32, max_size=32), st.integers(0, PPM), st.integers(0, PPM))
def test_a_higher_rate_draws_whatever_a_lower_one_draws(value: bytes, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert drawn(Hash32(value), ID, high) or not drawn(Hash32(value), ID, low)


def test_the_threshold_is_exact() -> None:
    value = Hash32(b"\x01" * 32)
    ticket = int.from_bytes(tagged_digest("audit-draw/1", value, ID))
    rate = ticket * PPM // 2**256
    assert not drawn(value, ID, rate)
    assert drawn(value, ID, rate + 1)


def test_another_round_is_another_draw() -> None:
    draws = [drawn(Hash32(sha256(bytes([i]))), ID, PPM // 2) for i in range(40)]
    assert 5 < sum(draws) < 35


# --- the machine --------------------------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_not_drawn() -> None:
    for level, outcome, rate in (
        (Level.NONE, OutcomeCode.EXITED, PPM),
        (Level.REPLICATE, OutcomeCode.EXITED, PPM),
        (Level.EXACT, OutcomeCode.TIMEOUT, PPM),
        (Level.EXACT, OutcomeCode.OOM, PPM),
        (Level.EXACT, OutcomeCode.EXITED, 0),
    ):
        deal = msgspec.structs.replace(DEAL, level=level)
        state, requests = audits.start(subject(audit_ppm=rate), deal, outcome)
        assert isinstance(state, Concluded)
        assert (state.checked, state.mismatch, requests) == ("bytes", False, ())


@pytest.mark.parametrize("outcome", [OutcomeCode.OOM, OutcomeCode.DISK_LIMIT])
def test_a_limit_that_is_the_same_everywhere_is_compared_without_a_draw(outcome: OutcomeCode) -> None:
    """Nothing is easier to say, and hardly any honest result says it."""
    state, requests = audits.start(subject("wasm", audit_ppm=1), DEAL, outcome)
    assert isinstance(state, First)
    assert requests == (RunHere(),)
    again, asked = advance(state, Reexecuted(CLIENT, matches=False))
    assert isinstance(again, Second), "one mismatch accuses nobody"
    assert isinstance(asked[0], RunElsewhere)
    end = through(again, Reexecuted(A, matches=False, matches_first=True))
    assert isinstance(end, Concluded)
    assert end.confirmed


LIMIT_MS = 30_000


@pytest.mark.parametrize(
    ("took", "limit", "checked"),
    [
        (None, LIMIT_MS, "too-long"),
        (1, LIMIT_MS, "contradicted"),
        (LIMIT_MS // AMPLE_FACTOR, LIMIT_MS, "contradicted"),
        (LIMIT_MS // AMPLE_FACTOR + 1, LIMIT_MS, "slow"),
        (LIMIT_MS - 1, LIMIT_MS, "slow"),
        (1, AMPLE_MS, "slow"),
        (1, AMPLE_MS + 1, "contradicted"),
        (0, 0, "slow"),
    ],
)
def test_a_time_that_was_up_is_measured_and_never_a_mismatch(took: int | None, limit: int, checked: str) -> None:
    waiting, (asked,) = audits.start(subject("wasm"), DEAL, OutcomeCode.TIMEOUT)
    assert isinstance(asked, AwaitRound), "it is drawn like any other"
    drawn_one, (asked,) = advance(waiting, RoundArrived(10, Hash32(bytes(32))))
    assert asked == RunHere()
    assert advance(drawn_one, Reexecuted(CLIENT, matches=False)) == (drawn_one, ()), "nothing is compared"
    end, requests = advance(drawn_one, Timed(took, limit))
    assert isinstance(end, Concluded)
    assert (end.checked, end.mismatch, end.confirmed, requests) == (checked, False, False, ())


@pytest.mark.parametrize("event", [Unusable(CLIENT, "broken"), TimeUp()])
def test_a_time_that_nobody_could_measure_costs_no_money(event: AuditEvent) -> None:
    waiting, _ = audits.start(subject("wasm"), DEAL, OutcomeCode.TIMEOUT)
    end, requests = advance(through(waiting, RoundArrived(10, Hash32(bytes(32)))), event)
    assert isinstance(end, Concluded)
    assert (end.checked, requests) == ("unfinished", ())


def test_only_the_named_round_decides() -> None:
    waiting = Waiting(subject())
    assert advance(waiting, RoundArrived(9, Hash32(bytes(32)))) == (waiting, ())
    assert isinstance(through(waiting, TimeUp()), Concluded)
    unlucky = Waiting(subject(audit_ppm=1))
    state = through(unlucky, RoundArrived(10, Hash32(bytes(32))))
    assert state == Concluded("bytes", "not drawn")


def test_wasm_runs_here_and_everything_else_at_a_stranger() -> None:
    assert begin("wasm")[1] == (RunHere(),)
    assert begin("wasm", budget=0)[1] == (RunHere(),), "one's own time costs no tokens"
    _, (request,) = begin()
    assert request == RunElsewhere(DEAL.numeric_class, (CLIENT, PROVIDER), BUDGET)
    assert begin(budget=0)[0] == Concluded("unfinished", "the budget leaves nothing for a re-execution")


def test_a_match_ends_it() -> None:
    assert through(begin()[0], Reexecuted(A, matches=True)) == Concluded("audited", "a re-execution matches")


def test_a_mismatch_asks_a_third_owner() -> None:
    state, (request,) = advance(begin()[0], Reexecuted(A, matches=False, cost=Tokens(300)))
    assert isinstance(state, Second)
    assert request == RunElsewhere(DEAL.numeric_class, (CLIENT, PROVIDER, A), Tokens(700))


@pytest.mark.parametrize(
    ("second", "mismatch", "confirmed", "outvoted"),
    [
        (Reexecuted(B, matches=False, matches_first=True), True, True, None),
        (Reexecuted(B, matches=True, matches_first=False), False, False, A),
        (Reexecuted(B, matches=True, matches_first=True), False, False, A),  # a tolerance: the provider has the doubt
        (Reexecuted(B, matches=False, matches_first=False), True, False, None),
        (Unusable(None, "nobody fits"), True, False, None),
        (TimeUp(), True, False, None),
    ],
)
def test_what_the_second_decides(second: AuditEvent, mismatch: bool, confirmed: bool, outvoted: Address | None) -> None:
    end = through(begin()[0], Reexecuted(A, matches=False), second)
    assert isinstance(end, Concluded)
    assert (end.checked, end.mismatch, end.confirmed, end.outvoted) == ("audited", mismatch, confirmed, outvoted)


def test_one_owner_is_not_two_witnesses() -> None:
    state = through(begin()[0], Reexecuted(A, matches=False))
    for owner in (A, PROVIDER, CLIENT):
        assert advance(state, Reexecuted(owner, matches=False, matches_first=True)) == (state, ())
    first = begin()[0]
    assert advance(first, Reexecuted(PROVIDER, matches=True)) == (first, ()), "its own word again"


def test_an_audit_without_a_mismatch_blames_nobody() -> None:
    end = through(begin()[0], Unusable(A, "infra_error"), Unusable(B, "timeout"), Unusable(None, "nobody fits"))
    assert end == Concluded("unfinished", "nobody fits")


owners = st.sampled_from([CLIENT, PROVIDER, A, B, C])
costs = st.integers(0, 400).map(Tokens)
happenings = st.one_of(
    st.builds(Reexecuted, owners, st.booleans(), st.none() | st.booleans(), costs),
    st.builds(Unusable, st.none() | owners, st.just("broken"), costs),
    st.builds(RoundArrived, st.integers(9, 11), st.just(Hash32(bytes(32)))),
    st.builds(TimeUp),
)


@settings(max_examples=400)
@given(st.lists(happenings, max_size=14), st.sampled_from(["wasm", "oci"]), st.integers(0, 1_000))
def test_whatever_happens(events: list[AuditEvent], executor: str, budget: int) -> None:
    """It asks for at most MAX_REEXECUTIONS runs, never beyond its budget, and accuses only on two strangers' word."""
    state: AuditState = Waiting(subject(executor, budget))
    asked, spent, differed, backed = 0, 0, set[Address](), set[Address]()
    in_time = False
    for event in events:
        before = state
        state, requests = advance(state, event)
        in_time |= isinstance(event, RoundArrived) and before is not state
        if isinstance(event, Reexecuted | Unusable) and before is not state and not isinstance(before, Waiting):
            spent += event.cost
        if isinstance(event, Reexecuted) and isinstance(before, First | Second) and before is not state:
            (backed if event.matches else differed).add(event.owner)
        for request in requests:
            asked += isinstance(request, RunHere | RunElsewhere)
            if isinstance(request, RunElsewhere):
                assert request.at_most == max(budget - spent, 0) > 0
                assert {CLIENT, PROVIDER} <= set(request.other_than)
    assert asked <= MAX_REEXECUTIONS
    assert PROVIDER not in differed | backed
    if isinstance(state, Concluded):
        assert advance(state, TimeUp()) == (state, ()), "an end is an end"
        assert not state.confirmed or (len(differed) == 2 and state.mismatch)
        assert not state.mismatch or not backed
        assert state.checked == ("audited" if differed | backed else "unfinished" if in_time else "bytes")
    else:
        assert isinstance(through(state, TimeUp()), Concluded), "time ends it from everywhere"

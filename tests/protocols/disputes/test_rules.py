"""Is the draw fair, the verdict what its sentence says, and does every payout add up?"""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Level, OutcomeCode
from protocols.disputes.draw import commitment_of, fill, fingerprint_key, fold_salt, new_round
from protocols.disputes.params import LOCK_PRICES, MAX_VISITS, NEVER_GROUNDS, SPRT_LIMIT, bond_of, fee_of
from protocols.disputes.payouts import payout
from protocols.disputes.states import PROVIDER_BIT, Case, Finding, Outcome, Reason, Round, Row, Stage, Turn, first_bit
from protocols.disputes.tolerance import after_deal, after_failure, takes_all
from protocols.disputes.verdict import judge, majority
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Seconds, Tokens, UnixSeconds

DEAL = DealId(keccak256(b"deal"))


def case(price: int, collateral: int, fee: int) -> Case:
    nobody = Address(bytes(20))
    lock = Lock(DEAL, nobody, nobody, nobody, nobody, 1, 0, Tokens(price), Tokens(collateral), Seconds(1), Seconds(1))
    return Case(
        lock=lock,
        result_hash=ZERO_HASH,
        reason=Reason.WRONG,
        funder=nobody,
        fee=fee_of(fee, price, collateral),
        level=Level.EXACT,
        seat_class=1,
        pool=0,
        exec_seconds=Seconds(1),
        client_secret=ZERO_HASH,
        provider_secret_hash=ZERO_HASH,
        opened_at=UnixSeconds(1),
    )


# --- money -----------------------------------------------------------------------------------------------------------


@given(
    row=some.sampled_from(Row),
    price=some.integers(1, 2**96),
    factor=some.integers(8, 100),
    fee_ppm=some.integers(1_200_000, 3_000_000),
    odd=some.integers(0, 9),
    paid=some.integers(0, 3),
    had_majority=some.booleans(),
)
def test_every_row_sums_to_zero_and_takes_nothing_that_is_not_there(
    row: Row, price: int, factor: int, fee_ppm: int, odd: int, paid: int, had_majority: bool
) -> None:
    one = case(price, factor * price + (odd if factor < 100 else 0), price * fee_ppm // 10**6)
    made = payout(row, one, paid, had_majority=had_majority)
    parts = [getattr(made, name) for name in made.__struct_fields__]
    assert min(parts) >= 0
    assert sum(parts[:5]) == one.lock.price + one.lock.collateral
    held = bond_of(one.fee, price) + made.to_panel
    assert held == made.funder + made.provider_credit + made.seats + made.panel_burned
    assert made.seats in (0, paid * one.fee)


@given(price=some.integers(1, 10**9), paid=some.integers(0, 3))
def test_a_griefing_client_loses_and_a_false_accusation_pays_nobody_but_the_accused(price: int, paid: int) -> None:
    one = case(price, 20 * price, 2 * price)
    for row in (Row.ACQUITTED, Row.UNSERVED):
        made = payout(row, one, paid, had_majority=True)
        assert (made.to_client, made.funder) == (0, 0)


def test_a_bought_panel_brings_less_than_two_locks() -> None:
    made = payout(Row.CONVICTED, case(100, 3_000, 200), 2, had_majority=True)
    assert made.to_client == 300 < 2 * LOCK_PRICES * 100


# --- the draw --------------------------------------------------------------------------------------------------------


def test_every_eligible_seat_has_the_same_chance() -> None:
    times, pool = [0] * 20, 20
    draws = 3_000
    for number in range(draws):
        panel = fill(new_round(keccak256(number.to_bytes(4)), 3), pool, lambda seat: seat % 2 == 0)
        for turn in panel.turns:
            times[turn.seat] += 1
    expected = draws * 3 / 10
    sigma = (draws * 0.3 * 0.7) ** 0.5
    assert all(count == 0 for count in times[1::2])
    assert all(abs(count - expected) < 4.5 * sigma for count in times[::2]), times


def test_one_call_looks_at_a_bounded_number_of_seats_and_the_next_goes_on() -> None:
    panel = new_round(keccak256(b"seed"), 3)
    looks = 0
    while panel.cursor < 200:
        panel = fill(panel, 200, lambda _seat: False)
        looks += 1
        assert panel.cursor == min(200, looks * MAX_VISITS)
    assert {seat for _, seat in panel.swaps} <= set(range(200))


def test_a_shuffle_looks_at_every_seat_once() -> None:
    seen: list[int] = []
    panel = fill(new_round(keccak256(b"x"), 7), 40, lambda seat: bool(seen.append(seat)))  # type: ignore[func-returns-value]
    assert sorted(seen) == list(range(40))
    assert panel.called == ()


def test_the_order_of_reveals_does_not_change_the_second_seed() -> None:
    salts = [keccak256(bytes([i])) for i in range(3)]
    folded = []
    for order in ((0, 1, 2), (2, 0, 1)):
        word = ZERO_HASH
        for position in order:
            word = fold_salt(word, position, salts[position])
        folded.append(word)
    assert folded[0] == folded[1] != ZERO_HASH


def test_no_two_seats_disputes_or_panels_share_a_key() -> None:
    other = DealId(keccak256(b"other"))
    keys = {fingerprint_key(deal, rounds, seat) for deal in (DEAL, other) for rounds in (0, 1) for seat in (0, 1)}
    assert len(keys) == 8
    marks = {commitment_of(DEAL, 0, seat, Hash32(bytes(32)), Hash32(bytes(32))) for seat in range(5)}
    assert len(marks) == 5


# --- the verdict -----------------------------------------------------------------------------------------------------


def panel_of(masks: list[int], provider: int) -> Round:
    turns = tuple(Turn(seat=i, stage=Stage.MATCHED, mask=mask) for i, mask in enumerate(masks))
    return Round(seed=ZERO_HASH, turns=turns, provider_mask=provider, provider_matched=True)


@pytest.mark.parametrize("size", [3, 7])
@given(data=some.data())
def test_the_verdict_is_what_its_sentence_says(size: int, data: some.DataObject) -> None:
    # Written anew from the sentence: by sets and pairs, not by bits.
    masks = data.draw(some.lists(some.integers(0, 0xFF), min_size=size, max_size=size))
    provider = data.draw(some.integers(0, 0x7F))
    matches = {frozenset((i, j)) for i, j in combinations(range(size), 2) if masks[i] >> j & 1 and masks[j] >> i & 1}
    to_provider = {i for i in range(size) if masks[i] & PROVIDER_BIT and provider >> i & 1}
    groups = [
        set(group)
        for n in range(size // 2 + 1, size + 1)
        for group in combinations(range(size), n)
        if all(frozenset(pair) in matches for pair in combinations(group, 2))
    ]
    finding = judge(panel_of(masks, provider))
    if not groups:
        assert finding == Finding(Outcome.SPLIT)
        return
    acquitted = any(group <= to_provider for group in groups)
    assert finding.outcome is (Outcome.ACQUITTED if acquitted else Outcome.GUILTY)
    assert {i for i in range(size) if finding.clique >> i & 1} == set.union(*groups)


def test_who_did_not_publish_is_present_but_matches_nobody() -> None:
    panel = panel_of([0b111, 0b111, 0b111], 0)
    silent = replace(panel, turns=(panel.turns[0], *(replace(turn, stage=Stage.REVEALED) for turn in panel.turns[1:])))
    assert judge(silent) == Finding(Outcome.SPLIT)
    gone = replace(panel, turns=(*panel.turns[:2], replace(panel.turns[2], stage=Stage.LOST)))
    assert judge(gone) == Finding(Outcome.GUILTY, 0b011)


def test_a_seat_of_the_first_panel_stands_with_those_who_all_match_it() -> None:
    first = replace(panel_of([0, 0, 0], 0))
    lost = replace(first, turns=(*first.turns[:2], replace(first.turns[2], stage=Stage.LOST)))
    masks = [0b0001111 | first_bit(0) | first_bit(2)] * 4 + [0] * 3
    masks[3] |= first_bit(1)
    assert judge(panel_of(masks, 0), lost).firsts == 0b001


@pytest.mark.parametrize(("present", "most"), [(0, 2), (1, 2), (2, 2), (3, 2), (4, 3), (6, 4), (7, 4)])
def test_a_majority_is_more_than_half_and_never_one(present: int, most: int) -> None:
    assert majority(present) == most


# --- tolerance -------------------------------------------------------------------------------------------------------


def test_three_failures_in_a_row_take_everything_and_the_score_goes_no_higher() -> None:
    scores = [0]
    for _ in range(5):
        scores.append(after_failure(scores[-1]))
    assert [takes_all(score) for score in scores] == [False, False, False, True, True, True]
    assert scores[-1] == SPRT_LIMIT


@given(some.integers(0, SPRT_LIMIT), some.integers(0, 10**6))
def test_a_settled_deal_takes_off_in_proportion_and_never_below_zero(score: int, audit_ppm: int) -> None:
    assert after_deal(score, audit_ppm) == max(0, score - 673 * audit_ppm // 10**6)


def test_an_honest_provider_at_its_failure_rate_does_not_drift_up() -> None:
    # p0 = 2 %: of 50 audited deals one fails.
    score = 0
    for _ in range(100):
        score = after_failure(score)
        for _ in range(49):
            score = after_deal(score, 10**6)
        assert score == 0


def test_outcomes_that_never_convict_are_those_of_the_machine() -> None:
    assert {OutcomeCode.TIMEOUT, OutcomeCode.DISK_LIMIT, OutcomeCode.OOM} == NEVER_GROUNDS

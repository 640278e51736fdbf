"""Is the draw fair and the same for everybody who looks, and does the score prefer what it should?"""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.hashing import sha256
from protocols.offers.ranking import (
    MIN_RELIABILITY_PPM,
    SMALL_DEAL,
    draw,
    ignores_reliability,
    sample,
    score,
)
from protocols.offers.records import Ask
from protocols.units import PPM, Tokens


def entropy(number):
    return sha256(b"seed 7", number.to_bytes(4, "big"))


def chi_square(counts, cells, total):
    expected = total / cells
    return sum((counts[cell] - expected) ** 2 / expected for cell in range(cells))


def test_every_item_is_drawn_equally_often():
    """20 items, 6 drawn, 4,000 times. 43.8 is the 99.9 % point of chi-square with 19 degrees of freedom."""
    counts = Counter(item for trial in range(4000) for item in draw(entropy(trial), range(20), 6))
    assert sum(counts.values()) == 24_000
    assert chi_square(counts, 20, 24_000) < 43.8


def test_every_order_is_drawn_equally_often():
    """All 24 orders of 4 items in 6,000 draws; 49.7 is the 99.9 % point with 23 degrees of freedom."""
    orders = {order: index for index, order in enumerate(permutations(range(4)))}
    counts = Counter(orders[tuple(draw(entropy(trial), range(4), 4))] for trial in range(6000))
    assert chi_square(counts, 24, 6000) < 49.7


def test_the_first_place_is_as_random_as_the_last():
    for place in range(3):
        counts = Counter(draw(entropy(trial), range(10), 3)[place] for trial in range(4000))
        assert chi_square(counts, 10, 4000) < 27.9, place  # 99.9 % point, 9 degrees of freedom


def test_this_test_can_fail():
    """The same statistic on a draw with a modulo bias of one part in four is far outside."""
    counts = Counter((entropy(trial)[0] % 5) % 4 for trial in range(4000))
    assert chi_square(counts, 4, 4000) > 100


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(0, 40), st.binary(min_size=32, max_size=32))
def test_draws_are_different_items_and_repeatable(items, count, seed):
    drawn = draw(seed, items, count)
    assert drawn == draw(seed, items, count)
    assert len(drawn) == len(set(drawn)) == min(count, len(items))
    assert set(drawn) <= set(items)


def test_a_sample_depends_on_the_offers_not_on_their_order(offer, peer):
    offers = [offer(provider=peer(number)) for number in range(50)]
    first = sample(entropy(1), offers, 6)
    assert first == sample(entropy(1), list(reversed(offers)), 6)
    assert len({one.provider for one in first}) == 6
    assert first != sample(entropy(2), offers, 6)


def test_more_records_buy_no_more_chances(offer, peer):
    crowd = [offer(provider=peer(0), slot=slot) for slot in range(16)]
    offers = crowd + [offer(provider=peer(number)) for number in range(1, 20)]
    counts = Counter(one.provider for trial in range(2000) for one in sample(entropy(trial), offers, 6))
    numbered = Counter({number: counts[peer(number)] for number in range(20)})
    assert chi_square(numbered, 20, 12_000) < 43.8


def test_of_several_offers_the_cheapest_takes_part(offer):
    def ask(cpu, slot):
        return offer(slot=slot, ask=Ask(Tokens(cpu), Tokens(0), Tokens(0), Tokens(0)))

    assert sample(entropy(0), [ask(3, 0), ask(1, 1), ask(2, 2)], 6) == [ask(1, 1)]
    assert sample(entropy(0), [], 6) == []


def test_score_in_known_points():
    price = Tokens(1_000_000)
    assert score(price, 0, 100, PPM) == 1_000_000
    assert score(price, 100, 100, PPM) == 1_300_000
    assert score(price, 50, 100, 800_000) == 1_150_000 * 100 // 64
    assert score(price, 0, 0, PPM) == 1_000_000
    assert score(price, 0, 100, None) == score(price, 0, 100, MIN_RELIABILITY_PPM) == 2_040_816
    assert score(price, 0, 100, 1) == score(price, 0, 100, MIN_RELIABILITY_PPM)


@given(st.integers(0, 2**200), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, PPM), st.integers(0, PPM))
def test_score_prefers_cheaper_sooner_and_more_reliable(price, one, other, r, s):
    early, late = sorted((one, other))
    worse, better = sorted((r, s))
    assert score(Tokens(price), early, 10**6, r) <= score(Tokens(price + 1), early, 10**6, r)
    assert score(Tokens(price), early, 10**6, r) <= score(Tokens(price), late, 10**6, r)
    assert score(Tokens(price), early, 10**6, better) <= score(Tokens(price), early, 10**6, worse)


@given(st.integers(0, 10**24), st.integers(0, 1000), st.integers(1, 1000), st.integers(0, PPM))
def test_score_is_the_formula(price, finish, deadline, r):
    exact = price * (1 + 0.3 * finish / deadline) / max(r / PPM, 0.7) ** 2
    assert score(Tokens(price), finish, deadline, r) == pytest.approx(exact, rel=1e-5, abs=2)  # two floors


def test_one_small_deal_in_ten_ignores_reliability():
    ignored = sum(ignores_reliability(entropy(number), SMALL_DEAL) for number in range(4000))
    assert 340 <= ignored <= 460  # 400 expected, 3 standard deviations are 57
    assert not any(ignores_reliability(entropy(number), Tokens(SMALL_DEAL + 1)) for number in range(200))

"""Do the clock and the entropy keep their promises, and do the deterministic ones repeat?"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.base.clock import Clock, ManualClock, SystemClock, log_time
from mesh.base.entropy import MAX_DRAW_BYTES, Entropy, SeededEntropy, SystemEntropy
from protocols.units import Millis


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(monotonic_ms=5, unix_ms=10_999)
    as_seam: Clock = clock
    assert (as_seam.monotonic_ms(), as_seam.unix_s()) == (5, 10)
    clock.advance(Millis(1))
    assert (clock.monotonic_ms(), clock.unix_s()) == (6, 11)
    clock.skew(Millis(-5_000))
    assert (clock.monotonic_ms(), clock.unix_s()) == (6, 6)
    with pytest.raises(ValueError, match="0 ms or more"):
        clock.advance(Millis(-1))


def test_system_clock_is_monotonic_and_in_this_century() -> None:
    clock: Clock = SystemClock()
    readings = [clock.monotonic_ms() for _ in range(100)]
    assert readings == sorted(readings)
    assert 1_700_000_000 < clock.unix_s() < 4_100_000_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log_time())


@given(seed=st.integers(), sizes=st.lists(st.integers(0, 200), max_size=5))
def test_seeded_entropy_repeats(seed: int, sizes: list[int]) -> None:
    one, two = SeededEntropy(seed), SeededEntropy(seed)
    drawn = [one.bytes(n) for n in sizes]
    assert drawn == [two.bytes(n) for n in sizes]
    assert [len(d) for d in drawn] == sizes


def test_seeds_labels_and_draws_differ() -> None:
    first = SeededEntropy(7)
    draws = {first.bytes(32), first.bytes(32), SeededEntropy(8).bytes(32), SeededEntropy(7, "node 1").bytes(32)}
    assert len(draws) == 4
    golden = "6bb4bf8b9d11ac548a8ba10ed6e525eeb1072ee714b47a51aa0f5f2db30ec4f2"
    assert SeededEntropy(7).bytes(40).hex().startswith(golden)  # a seed of last year replays today


@pytest.mark.parametrize("source", [SystemEntropy(), SeededEntropy(1)])
def test_a_draw_is_bounded(source: Entropy) -> None:
    assert len(source.bytes(MAX_DRAW_BYTES)) == MAX_DRAW_BYTES
    assert source.bytes(0) == b""
    for wrong in (-1, MAX_DRAW_BYTES + 1):
        with pytest.raises(ValueError, match="draw between"):
            source.bytes(wrong)

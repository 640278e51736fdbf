"""Is a numeric comparison reflexive, symmetric, monotone in its tolerance, exact where none is given, and bounded?"""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.units import PPM
from protocols.verify.comparators import MAX_ELEMENTS, Tolerance, numeric
from protocols.verify.comparators.numeric import close

EXACTLY = Tolerance()
numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)
arrays = st.lists(numbers, max_size=12).map(lambda found: np.array(found, dtype=np.float64))
tolerances = st.builds(Tolerance, st.integers(0, 10**13), st.integers(0, 10**13), st.integers(0, PPM))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one length, often nearly the same."""
    one = draw(arrays)
    if draw(st.booleans()):
        return one, np.array(draw(st.lists(numbers, min_size=one.size, max_size=one.size)), dtype=np.float64)
    with np.errstate(all="ignore"):
        return one, one * (1 + draw(st.sampled_from([0.0, 1e-15, 1e-9, 1e-3]))) + draw(
            st.sampled_from([0.0, 1e-12, 1e-6])
        )


@given(arrays, tolerances)
def test_reflexive(one: np.ndarray, tolerance: Tolerance) -> None:
    assert numeric(one, one.copy(), tolerance).same


@given(pairs(), tolerances)
def test_symmetric(pair: tuple[np.ndarray, np.ndarray], tolerance: Tolerance) -> None:
    one, other = pair
    assert numeric(one, other, tolerance).same == numeric(other, one, tolerance).same


@given(pairs(), tolerances, tolerances)
def test_monotone(pair: tuple[np.ndarray, np.ndarray], a: Tolerance, b: Tolerance) -> None:
    tight = Tolerance(min(a.atol_e12, b.atol_e12), min(a.rtol_e12, b.rtol_e12), max(a.fraction_ppm, b.fraction_ppm))
    loose = Tolerance(max(a.atol_e12, b.atol_e12), max(a.rtol_e12, b.rtol_e12), min(a.fraction_ppm, b.fraction_ppm))
    assert numeric(*pair, loose).same or not numeric(*pair, tight).same


@given(pairs())
def test_without_tolerance_it_is_equality(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert numeric(*pair, EXACTLY).same == np.array_equal(*pair, equal_nan=True)


@given(pairs(), st.integers(0, 10**12), st.integers(0, 10**12))
def test_it_is_isclose_with_the_larger_of_the_two(pair: tuple[np.ndarray, np.ndarray], atol: int, rtol: int) -> None:
    one, other = pair
    found = close(one, other, Tolerance(atol, rtol))
    with np.errstate(all="ignore"):
        either = np.isclose(one, other, rtol / 1e12, atol / 1e12, equal_nan=True) | np.isclose(
            other, one, rtol / 1e12, atol / 1e12, equal_nan=True
        )
    assert np.array_equal(found, either)


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "same"),
    [
        ([1.0, np.nan], [1.0, np.nan], EXACTLY, True),
        ([np.nan], [1.0], Tolerance(10**18, 10**18), False),
        ([np.inf], [np.inf], EXACTLY, True),
        ([np.inf], [-np.inf], Tolerance(0, 10**15), False),
        ([np.inf], [1e308], Tolerance(0, 10**15), False),  # inf <= inf would have called it close
        ([1e308], [-1e308], Tolerance(0, 10**12), False),
        ([0.0], [-0.0], EXACTLY, True),
        ([1, 2, 3, 4], [1, 2, 3, 5], Tolerance(fraction_ppm=750_000), True),
        ([1, 2, 3, 4], [1, 2, 3, 5], Tolerance(fraction_ppm=750_001), False),
        ([], [], EXACTLY, True),
    ],
)
def test_cases(one: list[float], other: list[float], tolerance: Tolerance, same: bool) -> None:
    assert numeric(np.array(one), np.array(other), tolerance).same == same


def test_large_integers_are_not_rounded_together() -> None:
    assert not numeric(np.array([2**53]), np.array([2**53 + 1]), EXACTLY).same


def test_shapes_count_and_types_do_not() -> None:
    one = np.arange(6.0)
    assert not numeric(one, one.reshape(2, 3), Tolerance(10**18, 10**18, 0)).same
    assert numeric(one, one.astype(np.int32), EXACTLY).same
    assert numeric(one.reshape(2, 3).T, one.reshape(2, 3).T.copy(), EXACTLY).same


def test_chunks_add_up() -> None:
    one = np.zeros(3_000_001, dtype=np.int8)
    other = one.copy()
    other[[0, 1 << 20, 3_000_000]] = 1
    assert numeric(one, other, EXACTLY).detail == "3 of 3000001 numbers differ"


@pytest.mark.parametrize("kind", [np.complex128, object, "U4", "M8[s]"])
def test_what_holds_no_numbers(kind: object) -> None:
    array = np.zeros(2, dtype=np.dtype(kind))  # type: ignore[call-overload]
    with pytest.raises(RemoteProtocolError, match="holds no real numbers") as caught:
        numeric(array, array, EXACTLY)
    assert (caught.value.code, caught.value.penalty) == ("uncomparable", 0)


def test_the_bound() -> None:
    huge = np.broadcast_to(np.int8(0), (MAX_ELEMENTS + 1,))  # one byte of memory
    with pytest.raises(RemoteProtocolError, match="at most"):
        numeric(huge, huge, EXACTLY)


def test_tolerance_is_what_a_job_states() -> None:
    assert set(msgspec.structs.asdict(EXACTLY)) == {"atol_e12", "rtol_e12", "fraction_ppm"}

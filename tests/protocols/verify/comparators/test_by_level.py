"""Does a deal's level decide what is compared, in both directions alike?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.job.canonical import CanonicalVerify
from protocols.units import Cid
from protocols.verify.comparators import MAX_FILES, Content, Output, compare, compare_replicas

LEVELS = ("none", "exact", "canonical", "numeric", "perceptual", "replicate")


def output(files: dict[str, Content] | None = None, *, root: int = 1, outcome: int = 0, fuel: int = 5) -> Output:
    return Output(outcome, 0, fuel, Cid(bytes([root]) * 36), files or {})


def verify(level: str, **more: object) -> CanonicalVerify:
    return CanonicalVerify(level, **more)  # type: ignore[arg-type]


contents = st.binary(max_size=3) | st.sampled_from([np.zeros((2, 2), np.uint8), np.full((2, 2), 200, np.uint8)])
outputs = st.builds(
    Output,
    st.integers(0, 1),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([Cid(b"a" * 36), Cid(b"b" * 36)]),
    st.dictionaries(st.sampled_from(["stdout", "stderr", "outputs/x", "outputs/y"]), contents, max_size=3),
)


@given(st.sampled_from(LEVELS), outputs, outputs)
def test_reflexive_and_symmetric_at_every_level(level: str, one: Output, other: Output) -> None:
    rules = verify(level, canonicalisers=("round-2",), hamming=4, n=3, agree=2)
    assert compare(rules, one, one).same
    assert compare(rules, one, other).same == compare(rules, other, one).same


@pytest.mark.parametrize("level", LEVELS)
def test_how_it_ended_counts_at_every_level(level: str) -> None:
    assert not compare(verify(level), output(), output(outcome=1)).same


@pytest.mark.parametrize("level", ["none", "exact", "replicate"])
def test_exact_is_content_and_fuel(level: str) -> None:
    assert compare(verify(level), output(), output()).same
    assert not compare(verify(level), output(), output(root=2)).same
    assert not compare(verify(level), output(), output(fuel=6)).same, "metered jobs are paid by it"


def test_canonical_looks_at_every_file_after_its_normal_form() -> None:
    one = output({"stdout": b"at 2026-11-22T14:10:19Z", "outputs/a.json": b'{"b":1,"a":2}'}, root=1)
    other = output({"stdout": b"at 2026-11-22T15:00:00Z", "outputs/a.json": b'{"a": 2, "b": 1}'}, root=2, fuel=6)
    assert compare(verify("canonical", canonicalisers=("strip-timestamps", "sort-json")), one, other).same
    found = compare(verify("canonical", canonicalisers=("strip-timestamps",)), one, other)
    assert (found.same, found.detail) == (False, "outputs/a.json: another normal form")
    assert not compare(verify("canonical"), output({"a": b""}), output({"a": b"", "b": b""})).same


def test_numeric_compares_arrays_by_tolerance_and_the_rest_by_bytes() -> None:
    rules = verify("numeric", atol_e12=10**9)
    one = output({"stdout": b"took 3 s", "outputs/w": np.array([1.0, 2.0]), "outputs/names": b"ab"})
    near = output({"stdout": b"took 4 s", "outputs/w": np.array([1.0005, 2.0]), "outputs/names": b"ab"}, root=2)
    assert compare(rules, one, near).same
    far = output({"outputs/w": np.array([1.1, 2.0]), "outputs/names": b"ab"})
    assert compare(rules, one, far).detail == "outputs/w: 1 of 2 numbers differ"
    renamed = output({"outputs/w": np.array([1.0, 2.0]), "outputs/names": b"xy"})
    assert not compare(rules, one, renamed).same
    raw = output({"outputs/w": b"not an array", "outputs/names": b"ab"})
    assert not compare(rules, one, raw).same
    assert not compare(rules, raw, one).same


def test_what_a_program_says_counts_where_nothing_was_decoded() -> None:
    rules = verify("numeric", atol_e12=10**9)
    assert not compare(rules, output({"stdout": b"3.14"}), output({"stdout": b"3.15"})).same


def test_perceptual_uses_the_jobs_hamming_distance() -> None:
    dark, light = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    assert not compare(verify("perceptual", hamming=64), output({"a": dark}), output({"a": light})).same
    assert compare(verify("perceptual"), output({"a": dark}), output({"a": dark.copy()})).same


def test_replicas() -> None:
    rules = verify("replicate", n=3, agree=2)
    found = compare_replicas(rules, [output(), output(root=2), output()])
    assert (found.winner, found.agreed, found.minority) == (0, (0, 2), (1,))
    with pytest.raises(LocalProtocolError, match="level exact"):
        compare_replicas(verify("exact"), [output()])


def test_the_bound_on_files() -> None:
    many = output(dict.fromkeys(map(str, range(MAX_FILES + 1)), b""))
    with pytest.raises(RemoteProtocolError, match="more than 100000 files"):
        compare(verify("canonical"), many, many)

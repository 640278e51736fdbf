"""Does a fingerprint change with every byte, path and key, and with nothing else? And does it need all of the bytes?"""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.deals.terms import Level, OutcomeCode
from protocols.disputes.draw import fingerprint_key
from protocols.disputes.fingerprint import fingerprint_of
from protocols.disputes.marks import MAX_MARKS, Ending, Entry, ending_at, fingerprints_of, framed
from protocols.errors import LocalProtocolError
from protocols.units import DealId, Hash32

DEAL = DealId(b"\x07" * 32)
EXITED = Ending(OutcomeCode.EXITED, 0, 7)
Files = dict[str, bytes | None]
"""By path; None for a folder."""

paths = st.text("ab/é", min_size=1, max_size=4)
files = st.dictionaries(paths, st.none() | st.binary(max_size=6), max_size=4)


def entries(tree: Files, piece: int) -> Iterator[Entry]:
    for path in sorted(tree, key=str.encode):
        content = tree[path]
        if content is None:
            yield Entry(path, -1)
        else:
            yield Entry(path, len(content), [content[at : at + piece] for at in range(0, len(content), piece)])


def mark(tree: Files, *, rounds: int = 0, seat: int = 3, ending: Ending = EXITED, piece: int = 2) -> Hash32:
    return fingerprint_of(DEAL, rounds, seat, ending, framed(entries(tree, piece)))


@given(files, files)
def test_two_outputs_have_one_fingerprint_only_if_they_are_one(one: Files, other: Files) -> None:
    assert (mark(one) == mark(other)) == (one == other)


@given(files, st.data())
def test_every_changed_byte_changes_it(tree: Files, data: st.DataObject) -> None:
    full = [path for path, content in tree.items() if content]
    assume(full)
    path = data.draw(st.sampled_from(full))
    content = tree[path] or b""
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    changed = content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
    assert mark(tree) != mark({**tree, path: changed})
    assert mark(tree) != mark({**tree, path: content[:at]})
    assert mark(tree) != mark({**tree, path: None})


@given(files, st.integers(1, 9), st.integers(1, 9))
def test_how_the_bytes_come_makes_no_difference(tree: Files, one: int, other: int) -> None:
    assert mark(tree, piece=one) == mark(tree, piece=other)


@given(files)
def test_one_pass_makes_the_fingerprint_of_every_seat_and_no_two_are_alike(tree: Files) -> None:
    places = [(rounds, seat) for rounds in (0, 1) for seat in range(4)]
    keys = [fingerprint_key(DEAL, *place) for place in places]
    found = fingerprints_of(keys, EXITED, framed(entries(tree, 2)))
    assert found == tuple(mark(tree, rounds=rounds, seat=seat) for rounds, seat in places)
    assert len(set(found)) == len(found)
    assert fingerprint_of(DealId(b"\x08" * 32), 0, 3, EXITED, framed(entries(tree, 2))) not in found


@pytest.mark.parametrize(
    "other",
    [Ending(OutcomeCode.FAILED, 0, 7), Ending(OutcomeCode.EXITED, 1, 7), Ending(OutcomeCode.EXITED, 0, 8)],
)
def test_how_it_ended_is_part_of_it(other: Ending) -> None:
    assert mark({"stdout": b"3.14"}) != mark({"stdout": b"3.14"}, ending=other)


def test_fuel_counts_where_results_are_equal_bytes_alone() -> None:
    for level in Level:
        same = ending_at(level, 0, 0, 7).packed == ending_at(level, 0, 0, 8).packed
        assert same == (level is not Level.EXACT)


def test_a_listing_in_another_order_or_of_another_length_is_a_defect_of_ours() -> None:
    for wrong in (
        [Entry("b", 0), Entry("a", 0)],
        [Entry("a", 0), Entry("a", 0)],
        [Entry("a", 2, [b"x"])],
        [Entry("a", 0, [b"x"])],
    ):
        with pytest.raises(LocalProtocolError):
            list(framed(wrong))
    with pytest.raises(LocalProtocolError):
        fingerprints_of([Hash32(bytes(32))] * (MAX_MARKS + 1), EXITED, ())

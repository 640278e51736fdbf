"""Does the locked-in process make the fingerprints that the rules say: of every byte, or of a normal form?"""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import trio

from mesh.exec.comparing import End, Uncomparable, mark_folder
from protocols.deals.terms import Level
from protocols.disputes.marks import Entry, ending_at, fingerprints_of, framed
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalVerify
from protocols.units import Cid, Hash32
from tests.exec.test_comparing import folder, png

ENDED = End(0, 0, 7, Cid(b"one"))
EXACT = CanonicalVerify("exact")
SORTED = CanonicalVerify("canonical", canonicalisers=("sort-json",))
NUMERIC = CanonicalVerify("numeric", rtol_e12=1_000_000)
KEYS = (keccak256(b"one"), keccak256(b"two"))
JSON = {"outputs/out/r.json": b'{"b": 2, "a": 1}\n', "stdout": b"3.14\n"}


def marked(place: Path, verify: CanonicalVerify, end: End = ENDED) -> tuple[Hash32, ...]:
    size = sum(one.stat().st_size for one in place.rglob("*"))
    return trio.run(mark_folder, verify, place, end, KEYS, size)


def made(tmp_path: Path, name: str, files: Mapping[str, bytes]) -> Path:
    return folder(tmp_path / name, files)


def test_it_is_the_hash_that_the_rules_make_of_the_same_files(tmp_path: Path) -> None:
    place = made(tmp_path, "one", JSON)
    (place / "outputs/empty").mkdir()
    files = {str(one.relative_to(place)): one for one in place.rglob("*")}
    wanted = [
        Entry(name, -1) if files[name].is_dir() else Entry(name, files[name].stat().st_size, [files[name].read_bytes()])
        for name in sorted(files, key=str.encode)
    ]
    assert "outputs/empty" in files
    assert marked(place, EXACT) == fingerprints_of(KEYS, ending_at(Level.EXACT, 0, 0, 7), framed(wanted))


@pytest.mark.parametrize("verify", [EXACT, NUMERIC])
def test_every_byte_and_every_name_counts(tmp_path: Path, verify: CanonicalVerify) -> None:
    right = marked(made(tmp_path, "right", JSON), verify)
    assert right == marked(made(tmp_path, "again", JSON), verify)
    others = {
        "byte": {**JSON, "stdout": b"3.15\n"},
        "longer": {**JSON, "stdout": b"3.14\n\n"},
        "more": {**JSON, "outputs/out/s": b""},
        "name": {"outputs/out/R.json": JSON["outputs/out/r.json"], "stdout": JSON["stdout"]},
    }
    found = [marked(made(tmp_path, name, files), verify) for name, files in others.items()]
    assert len({right, *found}) == 1 + len(others)


def test_a_normal_form_is_marked_where_the_level_compares_one(tmp_path: Path) -> None:
    turned = {**JSON, "outputs/out/r.json": b'{"a": 1, "b": 2}'}
    one, other = made(tmp_path, "one", JSON), made(tmp_path, "other", turned)
    assert marked(one, SORTED) == marked(other, SORTED)
    assert marked(one, EXACT) != marked(other, EXACT)
    third = made(tmp_path, "third", {**JSON, "outputs/out/r.json": b'{"a": 1, "b": 3}'})
    assert marked(one, SORTED) != marked(third, SORTED)
    assert marked(one, SORTED, End(0, 0, 8, Cid(b"two"))) == marked(one, SORTED)
    assert marked(one, SORTED, End(0, 1, 7, Cid(b"one"))) != marked(one, SORTED)
    pixels = CanonicalVerify("canonical", canonicalisers=("pixels",))
    soft = np.full((4, 4, 3), 200, np.uint8)
    encoded = [made(tmp_path, f"p{kind}", {"outputs/out/i.png": png(soft, bytes([kind]))}) for kind in (0, 1)]
    assert marked(encoded[0], pixels) == marked(encoded[1], pixels)


def test_what_is_no_image_and_no_json_is_marked_as_it_is(tmp_path: Path) -> None:
    everything = CanonicalVerify("canonical", canonicalisers=("sort-json", "round-3", "pixels"))
    whole = png(np.zeros((4, 4, 3), np.uint8), bytes([0]))
    huge = whole[:16] + struct.pack(">II", 1 << 15, 1 << 15) + whole[24:]
    broken = {"outputs/out/i.png": huge, "outputs/out/r.json": b'{"a": ', "outputs/out/a.npy": b"\x93NUMPY junk"}
    one = marked(made(tmp_path, "one", broken), everything)
    assert one == marked(made(tmp_path, "same", broken), everything)
    assert one != marked(made(tmp_path, "other", {**broken, "outputs/out/r.json": b'{"b": '}), everything)


def test_a_large_file_is_streamed_and_a_root_that_is_a_file_is_no_output(tmp_path: Path) -> None:
    place = made(tmp_path, "large", {"outputs/out/a": b""})
    with (place / "outputs/out/a").open("wb") as out:
        out.truncate(64 << 20)
    first = marked(place, SORTED)
    with (place / "outputs/out/a").open("r+b") as out:
        out.seek(63 << 20)
        out.write(b"x")
    assert marked(place, SORTED) != first
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Uncomparable, match="no folder"):
        marked(tmp_path / "file", EXACT)

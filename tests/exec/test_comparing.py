"""Does the locked-in process find outputs the same, and different, where their bytes are neither wholly equal nor far apart?"""

import io
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import trio

from mesh.exec import comparing
from mesh.exec.comparing import End, Uncomparable, compare_folders
from mesh.exec.decoding import array_in, image_in, numbers_in
from protocols.job.canonical import CanonicalVerify
from protocols.units import Cid
from protocols.verify.comparators import Comparison

ENDED = End(0, 0, 7, Cid(b"one"))
NUMERIC = CanonicalVerify("numeric", rtol_e12=1_000_000)
"""One part in a million."""
SORTED = CanonicalVerify("canonical", canonicalisers=("sort-json",))


def folder(place: Path, files: Mapping[str, bytes]) -> Path:
    everything = {"stdout": b"", "stderr": b"", "exitCode": b"0\n", **files}
    for name, content in everything.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def compared(
    tmp_path: Path, verify: CanonicalVerify, one: Mapping[str, bytes], other: Mapping[str, bytes], end: End = ENDED
) -> Comparison:
    first, second = folder(tmp_path / "one", one), folder(tmp_path / "other", other)
    return trio.run(partial(compare_folders, verify, first, ENDED, second, end))


def npy(array: npt.NDArray[np.float64] | npt.NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def png(pixels: npt.NDArray[np.uint8], filters: bytes) -> bytes:
    """An encoder of its own: each row with the filter that ``filters`` names in turn."""
    height, width, channels = pixels.shape
    raw, above = b"", np.zeros(width * channels, np.int64)
    for number in range(height):
        row = pixels[number].reshape(-1).astype(np.int64)
        left = np.concatenate([np.zeros(channels, np.int64), row[:-channels]])
        corner = np.concatenate([np.zeros(channels, np.int64), above[:-channels]])
        kind = filters[number % len(filters)]
        raw += bytes([kind]) + ((row - _guess(kind, left, above, corner)) % 256).astype(np.uint8).tobytes()
        above = row
    colour = {1: 0, 3: 2, 2: 4, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _guess(
    kind: int, left: npt.NDArray[np.int64], above: npt.NDArray[np.int64], corner: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    if kind in (0, 1, 2):
        return (np.zeros_like(left), left, above)[kind]
    if kind == 3:
        return (left + above) // 2
    guess = left + above - corner
    a, b, c = abs(guess - left), abs(guess - above), abs(guess - corner)
    return np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))


def test_the_numbers_of_a_text_may_differ_a_little_and_its_words_may_not(tmp_path: Path) -> None:
    table = {"outputs/out/fit.json": b'{"slope": 2.0000001, "n": 12}', "stdout": b"took 3 s"}
    near = {"outputs/out/fit.json": b'{"slope": 2.0000002, "n": 12}', "stdout": b"took 4 s"}
    assert compared(tmp_path / "near", NUMERIC, table, near).same
    turned = {"outputs/out/fit.json": b'{"n": 12,\n "slope": 2.0000002}'}
    assert compared(tmp_path / "turned", NUMERIC, table, turned).same
    far = compared(tmp_path / "far", NUMERIC, table, {"outputs/out/fit.json": b'{"slope": 2.01, "n": 12}'})
    assert not far.same
    assert "1 of 2 numbers differ" in far.detail
    renamed = compared(tmp_path / "words", NUMERIC, table, {"outputs/out/fit.json": b'{"slopes": 2.0000001, "n": 12}'})
    assert not renamed.same
    assert "fit.json (text)" in renamed.detail


def test_arrays_are_compared_as_numbers_and_not_as_files(tmp_path: Path) -> None:
    values = np.linspace(1.0, 2.0, 1000)
    mine = {"outputs/out/a.npy": npy(values)}
    assert compared(tmp_path / "near", NUMERIC, mine, {"outputs/out/a.npy": npy(values * (1 + 1e-9))}).same
    assert not compared(tmp_path / "far", NUMERIC, mine, {"outputs/out/a.npy": npy(values * 1.01)}).same
    assert not compared(tmp_path / "shape", NUMERIC, mine, {"outputs/out/a.npy": npy(values[:999])}).same


def test_the_order_of_keys_means_nothing_to_a_normal_form(tmp_path: Path) -> None:
    one, other = {"outputs/out/r.json": b'{"a": 1, "b": 2}'}, {"outputs/out/r.json": b'{"b": 2, "a": 1}\n'}
    assert compared(tmp_path / "sorted", SORTED, one, other).same
    assert not compared(tmp_path / "value", SORTED, one, {"outputs/out/r.json": b'{"a": 1, "b": 3}'}).same
    said = compared(tmp_path / "stdout", SORTED, {**one, "stdout": b"x"}, {**other, "stdout": b"y"})
    assert not said.same
    assert said.detail.startswith("stdout")


def test_another_exit_code_is_another_result_whatever_the_files_are(tmp_path: Path) -> None:
    assert not compared(tmp_path, SORTED, {}, {}, End(0, 1, 7, Cid(b"one"))).same


def test_images_are_compared_by_their_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    soft = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    noisy = np.clip(soft.astype(int) + rng.integers(-1, 2, soft.shape), 0, 255).astype(np.uint8)
    verify = CanonicalVerify("perceptual", hamming=6)
    mine = {"outputs/out/i.png": png(soft, bytes([0]))}
    assert compared(tmp_path / "near", verify, mine, {"outputs/out/i.png": png(noisy, bytes([1, 4]))}).same
    turned = np.ascontiguousarray(soft[::-1].transpose(1, 0, 2))
    assert not compared(tmp_path / "far", verify, mine, {"outputs/out/i.png": png(turned, bytes([0]))}).same
    pixels = CanonicalVerify("canonical", canonicalisers=("pixels",))
    again = {"outputs/out/i.png": png(soft, bytes([2, 3]))}
    assert compared(tmp_path / "encoder", pixels, mine, again).same
    assert not compared(tmp_path / "noise", pixels, mine, {"outputs/out/i.png": png(noisy, bytes([0]))}).same


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", range(5))
def test_every_filter_of_a_png_is_undone(channels: int, kind: int) -> None:
    pixels = np.random.default_rng(kind * 10 + channels).integers(0, 256, (9, 11, channels)).astype(np.uint8)
    found = image_in(png(pixels, bytes([kind])))
    assert found is not None
    assert np.array_equal(found, pixels)


def test_what_lies_about_its_size_is_no_image_and_no_array() -> None:
    whole = png(np.zeros((4, 4, 3), np.uint8), bytes([0]))
    huge = whole[:16] + struct.pack(">II", 1 << 15, 1 << 15) + whole[24:]
    assert image_in(huge) is None
    assert image_in(whole[:40]) is None
    assert image_in(b"P6 4 4 255\n" + bytes(47)) is None
    assert image_in(b"P6 4 4 255\n" + bytes(48)) is not None
    short = npy(np.zeros(8))
    assert array_in(short[:-1]) is None
    assert array_in(short) is not None
    assert array_in(npy(np.zeros(8)).replace(b"(8,)", b"(9,)")) is None


def test_which_numbers_a_text_holds() -> None:
    found = numbers_in(b"loss=0.5, lr 1e-3; v1.2 x10 12345678901234567890 -7\n")
    assert found is not None
    assert found[1].tolist() == [0.5, 1e-3, -7.0]
    assert found[0] == b"loss=#, lr #; v1.2 x10 12345678901234567890 #\n"
    assert numbers_in(b"\xff\xfe1") is None
    assert numbers_in(b"1\x002") is None


def test_a_file_larger_than_what_is_read_is_compared_only_for_equality(tmp_path: Path) -> None:
    """Sparse files: they take no room on the disk."""
    first, second = folder(tmp_path / "one", {"outputs/out/a": b""}), folder(tmp_path / "two", {"outputs/out/a": b""})
    for place in (first, second):
        with (place / "outputs/out/a").open("wb") as out:
            out.truncate((512 << 20) + 8192)
    assert trio.run(compare_folders, SORTED, first, ENDED, second, ENDED).same
    with pytest.raises(Uncomparable, match="at most"):
        trio.run(partial(compare_folders, SORTED, first, ENDED, first, ENDED, whole=True))
    with (second / "outputs/out/a").open("r+b") as out:
        out.write(b"x")
    with pytest.raises(Uncomparable, match="at most"):
        trio.run(compare_folders, SORTED, first, ENDED, second, ENDED)


def test_a_cancelled_comparison_leaves_no_process(tmp_path: Path) -> None:
    """A program in its place that would go on for minutes."""

    async def scenario() -> comparing._Child:
        child = comparing._Child(comparing.COMPARE, (tmp_path, tmp_path), b"", 1)
        child._command = [child._command[0], "-c", "import sys; sys.stdin.read(); import time; time.sleep(600)"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.kill_when_cancelled)
            nursery.start_soon(trio.to_thread.run_sync, child.work)
            with trio.fail_after(60):
                while child._process is None:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        return child

    child = trio.run(scenario)
    assert child._process is not None
    assert child._process.returncode == -9


@pytest.mark.parametrize(
    "header",
    [
        b"(" * 200,
        b"-" * 9000 + b"1",
        b"{[]: 1}",
        b"{1: 2, 'a': 3}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 0)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (4,",
    ],
)
def test_an_array_with_a_broken_header_is_compared_byte_for_byte(header: bytes) -> None:
    """A provider whose output ended the comparison would never be found out."""
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    assert array_in(content) is None

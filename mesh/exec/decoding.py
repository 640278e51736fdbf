"""Which arrays are in a stranger's file? Decoders for the comparators, to be called inside the sandbox and nowhere else.

Each takes a file's bytes and answers arrays, or None where the file is not of its kind: such a file is compared byte for
byte. A file that claims a kind and breaks its rules is no array either. Every size is read before anything of it is made.
"""

import io
import re
import struct
import zlib
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from protocols.verify.comparators.canonical import canonical_form
from protocols.verify.comparators.outputs import MAX_ELEMENTS
from protocols.verify.comparators.perceptual import MAX_SIDE

__all__ = ["MAX_TEXT_BYTES", "array_in", "image_in", "numbers_in"]

Array = npt.NDArray[Any]

MAX_TEXT_BYTES: Final = 16 << 20
"""A longer text is compared byte for byte: finding its numbers takes seconds and a hundred bytes of memory each."""
_NPY: Final = b"\x93NUMPY"
_NO_ARRAY: Final = (ValueError, TypeError, KeyError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What numpy lets through from Python's own parsers, which read the header for it."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}
"""Channels by colour type; a palette (3) is not decoded."""
_PNM: Final = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+?(\d{1,5})\s+(\d{1,5})\s+255\s")
"""Binary greymap and pixmap, 8 bits."""
_NUMBER: Final = re.compile(rb"(?<![\w.+-])[+-]?(?:\d{1,15}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?(?![\w.])")
"""As programs print them. An integer of more digits than float64 holds is text: it would lose some."""


def numbers_in(content: bytes) -> tuple[bytes, Array] | None:
    """A text's numbers in the order they stand, float64, and the text without them; None for what is no text.

    CSV, JSON and plain columns alike: what stands between the numbers has to be the same, the numbers only nearly. JSON
    is read in its normal form, in which the order of keys and white space mean nothing.
    """
    if len(content) > MAX_TEXT_BYTES or b"\0" in content:
        return None
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    content = canonical_form(("sort-json",), content)
    found = _NUMBER.findall(content)
    return _NUMBER.sub(b"#", content), np.array([float(one) for one in found], dtype=np.float64)


def array_in(content: bytes) -> Array | None:
    """The array of a ``.npy`` file: real numbers of any shape. Nothing in it is ever executed."""
    if not content.startswith(_NPY):
        return None
    try:
        header = io.BytesIO(content)
        version = np.lib.format.read_magic(header)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(header)
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if dtype.kind not in "biuf" or min(shape, default=0) < 0 or count > MAX_ELEMENTS:
            return None
        flat = np.frombuffer(content, dtype, count, header.tell())
        return flat.reshape(shape, order="F" if fortran else "C")
    except _NO_ARRAY:  # a broken header, or fewer numbers than it says
        return None


def image_in(content: bytes) -> Array | None:
    """An image as (height, width, channels) uint8: PNG of 8 bits without palette or interlacing, binary PGM and PPM, or
    such an array as ``.npy``."""
    if content.startswith(_NPY):
        found = array_in(content)
        return found if found is not None and found.dtype == np.uint8 and found.ndim in (2, 3) else None
    if content.startswith(_PNG):
        return _png(content)
    return _pnm(content)


def _pnm(content: bytes) -> Array | None:
    head = _PNM.match(content)
    if head is None:
        return None
    width, height, channels = int(head[2]), int(head[3]), 1 if head[1] == b"5" else 3
    if not _fits(width, height, channels) or len(content) - head.end() != width * height * channels:
        return None
    return np.frombuffer(content, np.uint8, offset=head.end()).reshape(height, width, channels)


def _fits(width: int, height: int, channels: int) -> bool:
    return 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height * channels <= MAX_ELEMENTS


def _png(content: bytes) -> Array | None:
    """Decoded as the PNG specification (ISO/IEC 15948) says; checksums are not looked at, the pixels are compared."""
    if len(content) < 33 or content[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    channels = _PNG_CHANNELS.get(colour)
    if channels is None or depth != 8 or interlaced or not _fits(width, height, channels):
        return None
    packed = b"".join(body for kind, body in _chunks(content) if kind == b"IDAT")
    stride = width * channels
    try:
        raw = zlib.decompressobj().decompress(packed, height * (stride + 1) + 1)
    except zlib.error:
        return None
    if len(raw) != height * (stride + 1):
        return None
    rows = np.frombuffer(raw, np.uint8).reshape(height, stride + 1)
    pixels = np.zeros((height + 1, stride), np.uint8)
    for number, row in enumerate(rows):
        if row[0] > 4:
            return None
        pixels[number + 1] = _unfiltered(int(row[0]), row[1:], pixels[number], channels)
    return pixels[1:].reshape(height, width, channels)


def _chunks(content: bytes) -> "list[tuple[bytes, bytes]]":
    found, at = [], len(_PNG)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        found.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _unfiltered(kind: int, row: Array, above: Array, channels: int) -> Array:
    """One row of bytes. Filters 0 to 2 are whole-row arithmetic, 3 and 4 go pixel by pixel."""
    if kind == 0:
        return row
    if kind == 1:
        pixels: Array = np.cumsum(row.reshape(-1, channels), axis=0, dtype=np.uint8).reshape(-1)
        return pixels
    if kind == 2:
        return row + above
    out, up = [0] * channels + row.tolist(), [0] * channels + above.tolist()
    for at in range(channels, len(out)):
        left, over, corner = out[at - channels], up[at], up[at - channels]
        guess = (left + over) // 2 if kind == 3 else _paeth(left, over, corner)
        out[at] = (out[at] + guess) & 255
    return np.array(out[channels:], np.uint8)


def _paeth(left: int, over: int, corner: int) -> int:
    guess = left + over - corner
    a, b, c = abs(guess - left), abs(guess - over), abs(guess - corner)
    if a <= b and a <= c:
        return left
    return over if b <= c else corner

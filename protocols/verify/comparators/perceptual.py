"""Do two images look the same?

Two bounds, because each alone is easy to deceive: a 64-bit perceptual hash sees the composition and misses the detail, a
structural similarity of 8 x 8 blocks sees the detail of every channel. Everything is integers except one IEEE division per
block, so every machine comes to the same answer.

Sources: DCT hash as in the pHash library (32 x 32, low 8 x 8 frequencies against their median); SSIM of Wang et al., IEEE
TIP 13 (2004), with its constants, over blocks instead of a sliding window.
"""

import math
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from protocols.units import PPM
from protocols.verify.comparators.outputs import Array, Comparison, agree, differ, numbers_of, uncomparable

__all__ = ["MAX_SIDE", "MIN_SIMILARITY_PPM", "Likeness", "hash64", "perceptual", "similarity_ppm"]

Ints = npt.NDArray[np.int64]

MIN_SIMILARITY_PPM: Final = 700_000
"""The second bound where a job states none. Noise of +-2 levels leaves 0.97 of a soft picture; two soft pictures of different
scenes may share 0.64 (tests), so this bound alone does not tell them apart: the hash does."""

MAX_SIDE: Final = 1 << 15
"""Pixels of a side: a line of millions of pixels would be padded to eight such lines."""

_SIDE: Final = 32
_LOW: Final = 8
_BLOCK: Final = 8
_BAND_ROWS: Final = 64
"""Rows compared in one go: each temporary stays below 16 MiB for the widest image."""
_LUMA: Final = np.array([299, 587, 114], dtype=np.int64)
"""Rec. 601, in thousandths."""
_COSINES: Final[Ints] = np.array(
    [[round(4096 * math.cos(math.pi * k * (2 * n + 1) / (2 * _SIDE))) for n in range(_SIDE)] for k in range(_LOW)],
    dtype=np.int64,
)
"""DCT-II basis, 12 bits: pixel sums of 2^8 stay below 2^43 after both passes."""
_AREA: Final = _BLOCK * _BLOCK
_C1: Final = 26_634
"""(0.01 * 255)^2 * 64^2, rounded."""
_C2: Final = 239_708
"""(0.03 * 255)^2 * 64^2, rounded."""


class Likeness(msgspec.Struct, frozen=True):
    """How far two images may be apart."""

    hamming: int
    """Bits of the 64-bit hash that may differ."""
    similarity_ppm: int = MIN_SIMILARITY_PPM
    """Least structural similarity of any channel; may be negative, down to -10^6."""


def perceptual(one: Array, other: Array, likeness: Likeness) -> Comparison:
    """Compare two images: uint8 arrays of shape (height, width) or (height, width, 1..4).

    Raises RemoteProtocolError(code="uncomparable") for anything else, or more than MAX_ELEMENTS values.
    """
    a, b = _image(one), _image(other)
    if a.shape != b.shape:
        return differ(f"an image of {_size(a)} and one of {_size(b)}")
    distance = (hash64(a) ^ hash64(b)).bit_count()
    if distance > likeness.hamming:
        return differ(f"{distance} of 64 hash bits differ, {likeness.hamming} may")
    similar = similarity_ppm(a, b)
    said = f"{distance} hash bits differ, similarity {similar} ppm"
    return agree(said) if similar >= likeness.similarity_ppm else differ(f"{said}, at least {likeness.similarity_ppm}")


def hash64(image: Array) -> int:
    """The perceptual hash of an image as `perceptual` takes it."""
    pixels = _image(image)
    small = _shrink(pixels)
    frequencies = _COSINES @ small @ _COSINES.T
    flat = frequencies.reshape(-1)
    rest = np.sort(flat[1:])  # the first is the mean brightness: it says nothing about structure
    median = int(rest[len(rest) // 2])
    return sum(1 << i for i, value in enumerate(flat.tolist()) if value > median)


def similarity_ppm(one: Array, other: Array) -> int:
    """Mean structural similarity over all blocks, of the channel where it is least. 10^6 only for equal images' blocks."""
    a, b = _image(one), _image(other)
    return min(_channel(a[:, :, c], b[:, :, c]) for c in range(a.shape[2]))


def _channel(a: Array, b: Array) -> int:
    total = blocks = 0
    for top in range(0, a.shape[0], _BAND_ROWS):
        found = _blocks_ppm(a[top : top + _BAND_ROWS], b[top : top + _BAND_ROWS])
        total += int(found.sum())
        blocks += found.size
    return total // blocks


def _blocks_ppm(a: Array, b: Array) -> Ints:
    """Per block of one band, floored to ppm."""
    x, y = _in_blocks(a), _in_blocks(b)
    sx, sy = x.sum(axis=1), y.sum(axis=1)
    cross = _AREA * (x * y).sum(axis=1) - sx * sy
    spread = _AREA * ((x * x).sum(axis=1) + (y * y).sum(axis=1)) - sx * sx - sy * sy
    above = (2 * sx * sy + _C1).astype(np.float64) * (2 * cross + _C2).astype(np.float64)
    below = (sx * sx + sy * sy + _C1).astype(np.float64) * (spread + _C2).astype(np.float64)
    found: Ints = np.floor(above / below * PPM).astype(np.int64)
    return found


def _in_blocks(channel: Array) -> Ints:
    """(blocks, 64) of a band; the last rows and columns are repeated to fill their block."""
    rows, columns = (-channel.shape[0]) % _BLOCK, (-channel.shape[1]) % _BLOCK
    padded = np.pad(channel, ((0, rows), (0, columns)), mode="edge").astype(np.int64)
    high, wide = padded.shape[0] // _BLOCK, padded.shape[1] // _BLOCK
    blocks: Ints = padded.reshape(high, _BLOCK, wide, _BLOCK).swapaxes(1, 2).reshape(high * wide, _AREA)
    return blocks


def _shrink(pixels: Array) -> Ints:
    """32 x 32 mean luminances in 1/256 levels; rows or columns of a smaller image are repeated."""
    rows = [_luma_row(pixels, i) for i in range(_SIDE)]
    return np.stack(rows)


def _luma_row(pixels: Array, index: int) -> Ints:
    """Row ``index`` of the shrunken image."""
    height, width = pixels.shape[:2]
    band = pixels[_span(index, height)].astype(np.int64)
    weighted = band[:, :, :3] @ _LUMA if pixels.shape[2] >= 3 else band[:, :, 0] * 1000
    sums = weighted.sum(axis=0)
    cells = [sums[_span(column, width)] for column in range(_SIDE)]
    return np.array([int(cell.sum()) * 256 // (1000 * cell.size * band.shape[0]) for cell in cells], dtype=np.int64)


def _span(index: int, length: int) -> slice:
    """The pixels of cell ``index`` out of 32; never empty."""
    start = index * length // _SIDE
    return slice(start, max(start + 1, (index + 1) * length // _SIDE))


def _image(array: Array) -> Array:
    """With its channels as third axis."""
    image = numbers_of(array)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    if image.dtype != np.uint8 or image.ndim != 3 or not 1 <= image.shape[2] <= 4 or 0 in image.shape:
        raise uncomparable(f"an array of {array.dtype} {array.shape} is no image")
    if max(image.shape) > MAX_SIDE:
        raise uncomparable(f"an image of {_size(image)}, at most {MAX_SIDE} pixels wide and high are compared")
    return image


def _size(image: Array) -> str:
    return f"{image.shape[1]} x {image.shape[0]} x {image.shape[2]}"

"""Do images that look alike match, those that do not differ, and can neither bound be had alone?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.units import PPM
from protocols.verify.comparators import MAX_ELEMENTS, Likeness, hash64, perceptual, similarity_ppm
from protocols.verify.comparators.perceptual import MAX_SIDE

DEFAULT = Likeness(hamming=8)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 4)))
    dice = np.random.default_rng(draw(st.integers(0, 10**6)))
    flat = draw(st.booleans())
    return np.full(shape, 7, np.uint8) if flat else dice.integers(0, 256, shape, dtype=np.uint8)


likenesses = st.builds(Likeness, st.integers(0, 64), st.integers(-PPM, PPM))


def picture(seed: int = 1, side: int = 256) -> np.ndarray:
    """A scene: a few soft shapes of their own colours."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    scene = np.zeros((side, side, 3))
    for _ in range(8):
        cx, cy, size = dice.uniform(0, 1, 3)
        shape = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (0.01 + 0.05 * size))
        scene += shape[:, :, None] * dice.uniform(-120, 160, 3)
    return np.clip(scene + 90, 0, 255).astype(np.uint8)


@given(images(), likenesses)
def test_reflexive(image: np.ndarray, likeness: Likeness) -> None:
    assert similarity_ppm(image, image.copy()) == PPM
    assert perceptual(image, image.copy(), likeness).same


@settings(max_examples=60)
@given(images(), st.integers(0, 255), likenesses)
def test_symmetric(image: np.ndarray, noise: int, likeness: Likeness) -> None:
    other = image ^ np.uint8(noise)
    assert perceptual(image, other, likeness).same == perceptual(other, image, likeness).same
    assert similarity_ppm(image, other) == similarity_ppm(other, image)


@settings(max_examples=60)
@given(images(), st.integers(0, 255), likenesses, likenesses)
def test_monotone(image: np.ndarray, noise: int, a: Likeness, b: Likeness) -> None:
    other = image ^ np.uint8(noise)
    tight = Likeness(min(a.hamming, b.hamming), max(a.similarity_ppm, b.similarity_ppm))
    loose = Likeness(max(a.hamming, b.hamming), min(a.similarity_ppm, b.similarity_ppm))
    assert perceptual(image, other, loose).same or not perceptual(image, other, tight).same


def test_small_noise_is_the_same_picture_and_another_seed_is_not() -> None:
    one = picture()
    dice = np.random.default_rng(7)
    noisy = np.clip(one.astype(int) + dice.integers(-2, 3, one.shape), 0, 255).astype(np.uint8)
    assert perceptual(one, noisy, DEFAULT).same
    found = perceptual(one, picture(2), DEFAULT)
    assert not found.same
    assert "hash bits differ" in found.detail


def test_detail_that_the_hash_does_not_see_is_seen() -> None:
    """Fine stripes average out in 32 x 32: a hash alone would pass them."""
    one = picture()
    striped = one.copy()
    striped[:, ::2] = np.minimum(striped[:, ::2].astype(int) + 20, 255).astype(np.uint8)
    striped[:, 1::2] = np.maximum(striped[:, 1::2].astype(int) - 20, 0).astype(np.uint8)
    assert (hash64(one) ^ hash64(striped)).bit_count() <= DEFAULT.hamming
    assert not perceptual(one, striped, DEFAULT).same


def test_colour_that_brightness_does_not_see_is_seen() -> None:
    one = picture()
    swapped = one.copy()
    swapped[:, :, 0] = 255 - swapped[:, :, 0]
    assert similarity_ppm(one, swapped) < DEFAULT.similarity_ppm


def checked(step: int) -> np.ndarray:
    """A pattern made of integers alone, so that every machine makes the same."""
    y, x = np.mgrid[0:100, 0:130]
    return np.stack([(x * x // step + y * 3) % 256, (x * y // 40) % 256, (y * y // step) % 256], axis=2).astype(
        np.uint8
    )


def test_golden() -> None:
    """Frozen: nodes of different releases must not disagree about a picture."""
    assert hash64(checked(50)) == 0xBCC2BD32A5A856A9
    assert similarity_ppm(checked(50), checked(51)) == 946_274


def test_sizes_and_kinds() -> None:
    one = picture(side=16)
    assert not perceptual(one, picture(side=17), Likeness(64, -PPM)).same
    assert perceptual(one[:, :, 0], one[:, :, :1], DEFAULT).same, "one channel may have no axis"
    for bad in (one.astype(np.float64), one[None], np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4), np.uint8)):
        with pytest.raises(RemoteProtocolError, match="is no image") as caught:
            perceptual(bad, bad, DEFAULT)
        assert caught.value.code == "uncomparable"


def test_bounds() -> None:
    for shape in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        long = np.broadcast_to(np.uint8(0), shape)
        with pytest.raises(RemoteProtocolError, match="pixels wide and high"):
            perceptual(long, long, DEFAULT)
    huge = np.broadcast_to(np.uint8(0), (MAX_SIDE, MAX_ELEMENTS // MAX_SIDE + 1))
    with pytest.raises(RemoteProtocolError, match="at most"):
        perceptual(huge, huge, DEFAULT)
    wide = np.broadcast_to(np.uint8(3), (1, MAX_SIDE))
    assert perceptual(wide, wide, DEFAULT).same

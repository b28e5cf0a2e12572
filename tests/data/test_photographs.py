"""Crops of photographs: which part is shown, and that no more than it is decoded."""

import numpy as np
import pytest
from PIL import Image

from flightnn_jax.data import photographs


def gradient(width, height):
    across = np.linspace(0, 255, width)[None, :, None]
    down = np.linspace(0, 255, height)[:, None, None]
    return np.concatenate(np.broadcast_arrays(across, down, 0 * down), -1).astype(np.uint8)


def test_crops_show_the_part_that_was_chosen():
    image = gradient(160, 120)
    uniform = np.array([0.5, 0.6, 0.3, 0.8, 0.9])
    left, top, right, bottom = photographs.random_box(160, 120, uniform)
    area = (right - left) * (bottom - top) / (160 * 120)
    assert area == pytest.approx(0.08 + 0.92 * 0.5)
    assert (right - left) / (bottom - top) == pytest.approx((4 / 3) ** 0.2)
    assert left == pytest.approx(0.3 * (160 - (right - left)))
    assert top == pytest.approx(0.8 * (120 - (bottom - top)))
    made = photographs.crop(Image.fromarray(image), 50, uniform)
    centers = (np.arange(50) + 0.5) / 50
    across = 255 * (left + centers * (right - left) - 0.5) / 159
    down = 255 * (top + centers * (bottom - top) - 0.5) / 119
    np.testing.assert_allclose(made[25, :, 0], across, atol=2)
    np.testing.assert_allclose(made[:, 25, 1], down, atol=2)
    mirrored = photographs.crop(Image.fromarray(image), 50, uniform * [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(mirrored, made[:, ::-1])


def test_boxes_stay_inside():
    rng = np.random.default_rng(0)
    for _ in range(500):
        width, height = rng.integers(1, 500, 2)
        left, top, right, bottom = photographs.random_box(int(width), int(height), rng.random(5))
        assert 0 <= left < right <= width + 1e-9
        assert 0 <= top < bottom <= height + 1e-9


def test_a_large_jpeg_is_decoded_small(tmp_path):
    image = gradient(800, 600)
    Image.fromarray(image).save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as opened:
        made = photographs.crop(opened, 50, None)
        assert opened.size == (100, 75)  # an eighth
    left, top, right, bottom = photographs.middle_box(800, 600)
    centers = (np.arange(50) + 0.5) / 50
    np.testing.assert_allclose(
        made[25, :, 0], 255 * (left + centers * (right - left)) / 799, atol=4
    )
    np.testing.assert_allclose(made[:, 25, 1], 255 * (top + centers * (bottom - top)) / 599, atol=4)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_photographs_of_other_kinds(mode):
    image = Image.fromarray(gradient(60, 50)).convert(mode)
    assert photographs.crop(image, 20, None).shape == (20, 20, 3)

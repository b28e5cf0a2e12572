"""Augmentation on the device, against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flightnn_jax import data
from tests.support import prepared


def candidates(image, pad):
    """All that pad-and-crop can make of an image, by (down, right)."""
    height, width, _ = image.shape
    padded = np.pad(image, [(pad, pad), (pad, pad), (0, 0)])
    return {
        (down, right): padded[down : down + height, right : right + width]
        for down in range(2 * pad + 1)
        for right in range(2 * pad + 1)
    }


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("pad", "flip", "shape"),
    [
        (4, True, (12, 12, 3)),
        (4, False, (12, 12, 3)),
        (2, False, (7, 12, 1)),
        (0, True, (12, 5, 2)),
    ],
)
def test_against_numpy(pad, flip, shape):
    images = np.random.default_rng(0).integers(0, 256, (300, *shape), np.uint8)
    made = np.asarray(data.augment(jax.random.key(1), jnp.asarray(images), pad=pad, flip=flip))
    assert made.dtype == np.uint8
    places, mirrored = [], 0
    for image, result in zip(images, made, strict=True):
        straight = [p for p, c in candidates(image, pad).items() if np.array_equal(c, result)]
        turned = [
            p for p, c in candidates(image[:, ::-1], pad).items() if np.array_equal(c, result)
        ]
        assert len(straight) + len(turned) == 1
        places += straight + turned
        mirrored += len(turned)
    assert set(places) <= {(y, x) for y in range(2 * pad + 1) for x in range(2 * pad + 1)}
    if pad:
        rows, columns = np.array(places).T
        for offsets in (rows, columns):  # each about as often; 6 standard deviations
            counts = np.bincount(offsets, minlength=2 * pad + 1)
            expected = 300 / (2 * pad + 1)
            assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)
        assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.35
    assert (100 < mirrored < 200) if flip else mirrored == 0


def test_the_same_offsets_by_the_same_key():
    # The oracle draws the numbers itself, and does the rest by hand.
    images, key = prepared.random_images(20), jax.random.key(7)
    shift_key, flip_key = jax.random.split(key)
    shifts = np.asarray(jax.random.randint(shift_key, (20, 2), -4, 5))
    flips = np.asarray(jax.random.bernoulli(flip_key, 0.5, (20,)))
    expected = [
        candidates(image[:, ::-1], 4)[4 + down, 4 + right][:, :]
        if flip
        else candidates(image, 4)[4 + down, 4 + right]
        for image, (down, right), flip in zip(images, _mirrored(shifts, flips), flips, strict=True)
    ]
    made = data.augment(key, jnp.asarray(images), pad=4, flip=True)
    np.testing.assert_array_equal(made, np.stack(expected))


def _mirrored(shifts, flips):
    """A shift of the image that is mirrored after it, as one of the mirrored image."""
    return np.where(flips[:, None], shifts * [1, -1], shifts)


def test_compiles_once_for_all_keys():
    images = jnp.asarray(prepared.random_images(6, size=8))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key):
        return data.augment(key, images, pad=4, flip=True)

    made = [step(jax.random.key(seed)) for seed in range(3)]
    chex.assert_trees_all_equal(
        made[2], data.augment(jax.random.key(2), images, pad=4, flip=True), strict=True
    )
    assert np.any(made[1] != made[2])


def test_nothing_to_do_is_nothing_done():
    images = jnp.asarray(prepared.random_images(3))
    made = data.augment(jax.random.key(0), images, pad=0, flip=False)
    np.testing.assert_array_equal(made, images)


@pytest.mark.quick(0)
def test_does_not_depend_on_the_number_of_devices():
    images, key = prepared.random_images(64), jax.random.key(2)
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    assert len(jax.devices()) == 8
    alone = data.augment(key, jax.device_put(images, jax.devices()[0]), pad=4, flip=True)
    placed = jax.device_put(images, spread)
    together = data.augment(key, placed, pad=4, flip=True)
    assert together.sharding.is_equivalent_to(spread, 4)
    np.testing.assert_array_equal(alone, together)
    compiled = jax.jit(lambda k, x: data.augment(k, x, pad=4, flip=True)).lower(key, placed)
    text = compiled.compile().as_text()
    assert "all-gather" not in text
    assert "all-reduce" not in text


def test_center_is_exact():
    every = jnp.arange(256, dtype=jnp.uint8)
    centered = data.center(every)
    assert centered.dtype == jnp.int8
    np.testing.assert_array_equal(centered.astype(jnp.int32), np.arange(256) - 128)


def test_bad_input():
    images = jnp.zeros((2, 8, 8, 3), jnp.uint8)
    with pytest.raises(ValueError, match="pad=-1: images move by 0 pixels or more"):
        data.augment(jax.random.key(0), images, pad=-1, flip=True)
    with pytest.raises(TypeError, match="images of type float32: pixels are uint8"):
        data.center(images.astype(jnp.float32))

"""Codebooks: levels, what follows of weights, gradients, bytes, and their form in integers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import Codebook, CodebookCodes, storage_bits
from flightnn_jax.integer import LoweringError

KINDS = ("uniform", "laplace", "kmeans")
W = jnp.asarray(np.random.default_rng(0).laplace(0.02, 0.1, (40, 8)), jnp.float32)


def nearest(levels, w):
    """By Python's floats, the lower of two levels."""
    return np.array([min(levels, key=lambda level: (abs(level - x), level)) for x in w.ravel()])


@pytest.mark.quick(0)
@pytest.mark.whole(2)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_become_the_nearest_levels(kind):
    fmt = Codebook(5, kind).start(W)
    levels = np.asarray(fmt.levels, np.float64)
    unit = 2.0 ** (np.floor(np.log2(np.abs(levels).max())) - 6)
    assert_array_equal(levels / unit, np.round(levels / unit))
    assert np.abs(levels / unit).max() <= 127
    q = np.asarray(fmt.quantize(W), np.float64)
    assert_array_equal(q.ravel(), nearest(levels.tolist(), np.asarray(W, np.float64)))
    assert_array_equal(Codebook(5, kind).quantize(W), q)
    between = jnp.float32((levels[1] + levels[2]) / 2)
    ties = fmt.quantize(jnp.array([[between, jnp.nextafter(between, 1)]]))
    assert_array_equal(ties[0], np.float32(levels[1:3]))


@pytest.mark.quick(0)
def test_kinds_are_what_they_are_called():
    distances = np.diff(Codebook(8, "uniform").start(W).levels)
    assert np.ptp(distances) <= distances.mean() / 20
    levels = np.asarray(Codebook(9, "laplace").start(W).levels, np.float64)
    ideal = -np.log(1 - 2 * np.arange(1, 5) / 9)
    assert (
        np.abs((levels[5:] - levels[4]) / (levels[8] - levels[4]) - ideal / ideal[-1]).max() < 0.02
    )
    assert abs(levels[4] - W.mean()) < levels[8] / 100
    fmt = Codebook(9, "kmeans").start(W)
    for _ in range(20):
        fmt = fmt.follow(W)
    q, unit = np.asarray(fmt.quantize(W)), np.abs(fmt.levels).max() / 64
    means = [np.asarray(W)[q == level].mean() for level in np.asarray(fmt.levels)]
    assert np.abs(means - np.asarray(fmt.levels)).max() <= unit


@pytest.mark.quick(0)
def test_errors_are_those_of_the_literature():
    normal = np.random.default_rng(1).standard_normal((400, 50)).astype(np.float32)
    errors = {}
    for kind in KINDS:
        off = np.asarray(Codebook(5, kind).quantize(jnp.asarray(normal))) - normal
        errors[kind] = np.sqrt((off**2).mean() / (normal**2).mean())
    assert abs(errors["uniform"] - 0.288) < 0.01
    assert abs(errors["laplace"] - 0.306) < 0.01
    assert abs(errors["kmeans"] - 0.284) < 0.01


@pytest.mark.quick(0)
def test_levels_follow_the_weights_and_get_no_gradient():
    fmt = Codebook(5, "kmeans").start(W)
    moved = fmt.follow(2 * W)
    assert float(moved.levels[-1]) > float(fmt.levels[-1])
    cotangent = jnp.arange(W.size, dtype=jnp.float32).reshape(W.shape)
    of_fmt, of_w = jax.jit(lambda f, w: jax.vjp(lambda f, w: f.quantize(w), f, w)[1](cotangent))(
        fmt, W
    )
    assert_array_equal(of_w, cotangent)
    assert_array_equal(of_fmt.levels, np.zeros(5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_shows(bad):
    fmt = Codebook(5).start(W)
    assert np.isnan(jax.jit(fmt.quantize)(W.at[1, 1].set(bad))).all()


def test_equal_weights_have_a_level():
    for value in (0.0, 0.75):
        w = jnp.full((3, 4), value)
        fmt = Codebook(4, "kmeans").start(w)
        assert_array_equal(fmt.quantize(w), w)
        weights, exponent = fmt.encode(w).to_weights()
        assert_array_equal(weights.integers() * 2.0**exponent, w)


@pytest.mark.quick(0)
@pytest.mark.whole(2)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_codes_are_the_quantized_weights(dtype):
    w = W.astype(dtype)
    fmt = Codebook(10, "kmeans").start(w)
    codes = fmt.encode(w)
    codes.check()
    assert codes.decode().dtype == dtype
    assert_array_equal(codes.decode(), fmt.quantize(w))
    data = codes.to_bytes()
    read = CodebookCodes.from_bytes(data)
    assert_array_equal(read.index, codes.index)
    assert_array_equal(read.levels, codes.levels)
    assert len(data) == 14 + 4 + 3 + 2 * 8 + 4 + 10 + 320 * 4 // 8
    assert storage_bits(w, fmt).quantized == 320 * 4 + 80
    weights, exponent = codes.to_weights()
    assert_array_equal(weights.integers() * 2.0 ** int(exponent), np.asarray(codes.decode(), float))


def test_equal_levels_are_stored_once():
    fmt = Codebook(5, "kmeans", levels=np.array([-1.0, -1.0, 0.0, 0.5, 0.5], np.float32))
    w = jnp.linspace(-1.5, 1, 40).reshape(10, 4)
    codes = fmt.encode(w)
    codes.check()
    assert_array_equal(codes.decode(), fmt.quantize(w))
    assert_array_equal(codes.levels * 2.0 ** int(codes.exponent), [-1, 0, 0.5])
    assert storage_bits(w, fmt).quantized == 40 * 2 + 3 * 8
    weights, _ = codes.to_weights()
    assert weights.bits == 2


def test_what_is_wrong_is_refused():
    for wrong, message in (
        ({"count": 1}, "count=1: a codebook has 2 to 256 levels"),
        ({"kind": "other"}, "kind='other' is unknown: choose one of uniform, laplace, kmeans"),
    ):
        with pytest.raises(ValueError, match=message):
            Codebook(**wrong)
    with pytest.raises(TypeError, match=r"filter_axis=0\.5: an axis is a whole number"):
        Codebook(filter_axis=0.5)
    fmt = Codebook(4, levels=jnp.zeros(3))
    assert "with count=4 they must be (4,)" in fmt.problem_with((2, 2), "float32")
    codes = Codebook(5).encode(W)
    for changes, message in (
        ({"levels": codes.levels[::-1]}, "none is smaller than the one before"),
        ({"levels": codes.levels[:2]}, "numbers of 2 levels"),
        ({"levels": codes.levels.astype(np.int32)}, "levels are int32"),
        ({"exponent": np.int32(-300)}, "exponent -300: for float32"),
        ({"filter_axis": 2}, "filter_axis=2 of codes with 2 axes"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(codes, **changes).check()
    with pytest.raises(LoweringError, match="filter_axis=0 of 2 axes: filters are the last axis"):
        Codebook(filter_axis=0).encode(W).to_weights()

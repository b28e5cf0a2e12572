"""Weights of one bit: signs, their gradient, their bytes, and their form in integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import Binary, BinaryCodes, storage_bits
from flightnn_jax.formats import packing
from flightnn_jax.integer import LoweringError

W = jnp.array([[0.7, -0.33, 0.0], [-0.0, -1e-35, 3.0], [-2.0, 1e30, -1e-30]])
SIGNS = np.array([[1, -1, 1], [1, -1, 1], [-1, 1, -1]], np.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_signs_and_zero_is_positive(dtype):
    w = jnp.where(jnp.abs(W) < 1e-40, W, jnp.clip(W, -3, 3)).astype(dtype)
    expected = np.where(np.asarray(w, np.float64) < 0, -1, 1)
    q = Binary().quantize(w)
    assert q.dtype == dtype
    assert_array_equal(np.asarray(q, np.float64), expected)


def test_the_gradient_passes_straight_through():
    cotangent = jnp.arange(9.0).reshape(3, 3)
    (got,) = jax.jit(lambda w: jax.vjp(Binary().quantize, w)[1](cotangent))(W)
    assert_array_equal(got, cotangent)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_shows(bad):
    assert np.isnan(jax.jit(Binary().quantize)(W.at[1, 1].set(bad))).all()


def test_one_bit_is_stored_of_a_weight():
    codes = Binary().encode(W)
    codes.check()
    assert_array_equal(codes.decode(), SIGNS)
    assert storage_bits(W, Binary()).quantized == 9
    body = packing.unframe(3, codes.to_bytes())
    assert body[-2:] == bytes([0b01010010, 0b1])  # 9 bits, the first one lowest
    assert len(body) == 3 + 2 * 8 + 2  # behind type, axes and shape
    read = BinaryCodes.from_bytes(codes.to_bytes())
    assert_array_equal(read.negative, codes.negative)
    assert (read.filter_axis, read.dtype) == (1, "float32")


def test_wrong_codes_are_refused():
    with pytest.raises(ValueError, match="negative of type int32: it must be bool"):
        BinaryCodes(np.ones((2, 2), np.int32), 1, "float32").check()
    with pytest.raises(ValueError, match="filter_axis=2 of codes with 2 axes"):
        BinaryCodes(np.ones((2, 2), bool), 2, "float32").check()
    data = Binary().encode(W).to_bytes()
    body = bytearray(packing.unframe(3, data))
    body[-1] |= 2
    with pytest.raises(ValueError, match="end in the byte 3, of which 1 bits are used"):
        BinaryCodes.from_bytes(packing.frame(3, bytes(body)))
    with pytest.raises(TypeError, match=r"filter_axis=0\.5: an axis is a whole number"):
        Binary(filter_axis=0.5)


def test_integers_are_the_signs():
    weights, exponent = Binary().encode(W).to_weights()
    assert exponent == 0
    assert_array_equal(weights.integers(), SIGNS)
    with pytest.raises(LoweringError, match="filter_axis=0 of 2 axes: filters are the last axis"):
        Binary(filter_axis=0).encode(W).to_weights()

"""Packed codes, by hand; tests/integer/test_files.py has those of whole files."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import IntegerNetworkError, IntegerWeights, ShiftWeights


def taking(tensors):
    return lambda part, dtype, shape: tensors[part]


def test_integers_of_four_bits_stand_filter_by_filter():
    weights = IntegerWeights(np.array([[[[1, -8]]], [[[7, -1]]], [[[-2, 0]]]], np.int8))
    data = weights.tensors()["codes"]
    assert data.tolist() == [0x71, 0x8E, 0x0F]  # 1 7 -2 | -8 -1 0
    read = IntegerWeights.read("conv1", taking({"codes": data}), weights.shape)
    assert_array_equal(read.value, weights.value)


def test_a_last_half_byte_is_zero():
    weights = ShiftWeights(
        np.ones((1, 3, 1), np.int8), np.zeros((1, 3, 1), np.uint8), np.ones(1, np.uint8)
    )
    data = weights.tensors()["codes"]
    assert data.tolist() == [0, 0]
    changed = taking({"k": weights.k, "codes": np.array([0, 16], np.uint8)})
    with pytest.raises(IntegerNetworkError, match="conv1: codes: the last byte is 0x10"):
        ShiftWeights.read("conv1", changed, weights.shape)

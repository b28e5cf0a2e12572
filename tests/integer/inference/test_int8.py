"""The fast path against brute force, in each of its ways to sum."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import (
    IMAGE,
    Affine,
    Convolution,
    IntegerWeights,
    ShiftWeights,
    certificate,
    inference,
)
from flightnn_jax.integer.inference import int8, operations
from flightnn_jax.integer.inference.int8_columns import Columns
from tests.integer.inference.test_shifts import check_every_layer, extreme_images
from tests.support import brute_force
from tests.support.networks_at_random import random_images, random_network

pytestmark = pytest.mark.optimized


@pytest.mark.parametrize("kind", ["vgg", "resnet"])
def test_equals_brute_force(kind):
    network = random_network(3, kind, "shift3", extreme=True)
    check_every_layer(network, inference.make_layer_outputs(network), extreme_images(network))


@pytest.mark.whole(1)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_more_networks(seed):
    weights = ("shift1", "shift2", "shift3", "integer")[seed]
    network = random_network(seed, ("resnet", "vgg")[seed % 2], weights, width=16, size=16)
    images = random_images(network, 5)
    want = brute_force.layer_outputs(network, images)[network.layers[-1].name]
    infer = inference.make_inference(network)
    for count in (1, 5):
        assert_array_equal(infer(images[:count]), want[:count])


# size of the window, stride, inputs, filters, width: all ways to sum, at even and odd widths
WINDOWS = [
    (3, 1, 3, 16, 6),
    (3, 1, 16, 16, 6),
    (5, 1, 16, 16, 4),
    (7, 1, 3, 4, 8),
    (7, 1, 12, 12, 4),
    (3, 1, 16, 32, 5),
    (3, 2, 16, 32, 7),
    (3, 2, 4, 4, 6),
    (3, 1, 4, 4, 5),
    (1, 2, 8, 4, 5),
    (1, 1, 3, 4, 4),
    (7, 2, 3, 8, 10),
]


@pytest.mark.parametrize(
    ("platform", "convolves"), [("cpu", True), ("cpu", False), ("cuda", True), ("tpu", True)]
)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_sums_of_windows(window, platform, convolves, monkeypatch):
    size, stride, inputs, filters, width = window
    monkeypatch.setattr(int8, "_convolutions_are_fast", lambda: convolves)
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, (size, size, inputs, filters)).astype(np.int8)
    x = rng.integers(-128, 128, (2, 5, width, inputs)).astype(np.int8)
    sums = int8._sums_of_windows(weights, stride, x.shape[1:], platform)
    want = brute_force.convolve(x.astype(np.int64), weights.astype(np.int64), stride)
    assert_array_equal(jax.jit(sums)(x), want)


def test_the_flag_of_training_is_seen(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert int8._convolutions_are_fast()
    flag = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
    monkeypatch.setenv("XLA_FLAGS", flag)
    assert not int8._convolutions_are_fast()


@pytest.mark.parametrize("most", [127, 128, 192, 255, 384])
def test_columns_add_up(most):
    rng = np.random.default_rng(most)
    weights = rng.integers(-9, 10, (3, 3, 8, 40))
    beyond = rng.random(weights.shape) < 0.03
    weights = np.where(beyond, rng.choice([-most, most], weights.shape), weights)
    columns = Columns.of(weights)
    total = columns.own.astype(np.int64)
    for row in columns.adds:
        total[..., row >= 0] += columns.shared[..., row[row >= 0]]
    assert_array_equal(total, weights)
    assert columns.own.dtype == columns.shared.dtype == np.int8
    if most == 127:
        assert columns.shared.shape[-1] == 0
    if most == 192:  # 40 filters share a few columns
        assert 0 < columns.shared.shape[-1] <= 15


def test_one_column_serves_filters_that_agree():
    weights = np.array([[128, 130, 0], [5, -7, 0], [0, 0, -129], [-128, 0, 1]])
    columns = Columns.of(weights)
    assert columns.shared.tolist() == [[3], [0], [-1], [0]]  # 130 - 127, and -129 + 128
    assert columns.adds.tolist() == [[0, 0, 0]]


def one_convolution(weights, multiplier, low, high):
    """What the fast path and brute force make of it on one pixel for each input."""
    filters = weights.shape[-1]
    numbers = (np.asarray(part, np.int32) for part in (multiplier, [7] * filters, low, high))
    affine = Affine(*numbers)
    shift = np.full(filters, 4, np.uint8)
    none = np.zeros((filters, 10), np.int32)
    layer = Convolution("conv1", IMAGE, 1, weights, 0, affine, shift, 0, none)
    x = np.random.default_rng(0).integers(-128, 128, (4, 2, 2, weights.shape[2]))
    made = int8.convolution(layer, x.shape[1:], certificate.accumulators(weights), "cpu")

    @jax.jit
    def outputs(x):
        acc = made.sums(x)
        return made.finish(acc, 3), made.finish(made.pool(acc), 3)

    actual, actual_pooled = outputs(jnp.asarray(x, jnp.int8))
    want = brute_force.convolve(x, brute_force.integers(weights), 1)
    v = np.clip(want, affine.low, affine.high) * affine.multiplier.astype(np.int64) + 7
    activations = brute_force.activate(v, shift, 3)
    assert_array_equal(actual, activations)
    pooled = activations.reshape(4, 1, 2, 1, 2, filters).max(axis=(2, 4))
    assert_array_equal(actual_pooled, pooled)
    return made


def test_negated_filters():
    value = np.array([[[[1, -1, 7, -8, 3, 3]]]], np.int8)
    weights = IntegerWeights(value)
    made = one_convolution(weights, [3, -3, 0, -9, 1, 1], [-1024] * 6, [1024] * 6)
    assert made.affine.multiplier.min() >= 0  # each multiplier can be made positive
    assert not made.clips


def test_negated_filters_beyond_int8():
    sign = np.array([[[[[1, 1, -1, -1]]]]], np.int8)
    shift = np.full(sign.shape, 7, np.uint8)
    weights = ShiftWeights(sign, shift, np.ones(4, np.uint8))  # 128, 128, -128, -128
    made = one_convolution(weights, [3, -3, 3, -3], [-(1 << 14), -50, -(1 << 14), -50], [99] * 4)
    assert made.affine.multiplier.tolist() == [-3, 3, 3, -3]
    assert made.clips


def test_clips_beyond_all_sums():
    least, most = -(1 << 31), (1 << 31) - 1
    value = np.array([[[[1, 7, -8, 2]]]], np.int8)
    one_convolution(
        IntegerWeights(value), [0, -1, 2, 0], [least, 5000, -9, most], [least, 6000, -9, most]
    )


def test_a_clip_is_left_out_where_the_layers_before_do_not_reach_it():
    network = random_network()
    layer = next(layer for layer in network.layers if layer.name == "conv2")
    low, high = certificate.bounds(network)["conv2"].accumulators
    affine = dataclasses.replace(layer.affine, low=low.astype(np.int32), high=high.astype(np.int32))
    layer = dataclasses.replace(layer, affine=affine)
    assert int8.turned(layer).clips
    assert not int8.turned(layer, certificate.Range(low, high)).clips


def test_certificates_are_not_needed():
    network = random_network(weights="shift1")
    layers = [
        dataclasses.replace(layer, certificate=np.zeros_like(layer.certificate))
        if isinstance(layer, Convolution)
        else layer
        for layer in network.layers
    ]
    bare = dataclasses.replace(network, layers=tuple(layers))
    assert certificate.certified(bare).layers[0].certificate.any()
    images = random_images(network, 2)
    want = brute_force.layer_outputs(network, images)
    outputs = jax.jit(int8.build(bare, "cpu"))(images)
    assert_array_equal(outputs["average"], want["average"])
    assert_array_equal(operations.max_pool(outputs["conv1"]), outputs["pool1"])

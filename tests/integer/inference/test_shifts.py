"""The reference against brute force: every layer, every integer."""

import collections
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import Convolution, inference
from flightnn_jax.integer.inference import operations, shifts
from flightnn_jax.integer.powers import signed_powers
from tests.support import brute_force
from tests.support.networks_at_random import output_of, random_images, random_network

CHOSEN = [
    {"kind": "vgg", "weights": "shift2", "seed": 1},
    {"kind": "resnet", "weights": "integer", "seed": 2},
]
EXTREME = [
    {"kind": "vgg", "weights": "shift3", "extreme": True, "affine_terms": 2},
    {"kind": "resnet", "weights": "shift1", "extreme": True, "slope": 1},
]


def extreme_images(network):
    """All -128, all 127, a checkerboard of both, one bright value, noise."""
    shape = network.input_shape
    images = np.zeros((6, *shape), np.uint8)
    images[1] = 255
    images[2, ::2, ::2] = images[2, 1::2, 1::2] = 255
    images[3] = 128
    images[3, 2, 3, 1] = 255
    images[4:] = random_images(network, 2, seed=7)[:1]
    images[5] = ~images[4]
    return images


def check_every_layer(network, outputs, images):
    want = brute_force.layer_outputs(network, images)
    actual = outputs(images)
    assert list(want) == [layer.name for layer in network.layers]
    assert set(actual) == set(want)
    for name, values in want.items():
        assert_array_equal(actual[name], values, err_msg=name)
        assert (actual[name].shape[1:], actual[name].dtype) == output_of(network, name)


@pytest.mark.quick(0)
@pytest.mark.parametrize("arguments", CHOSEN, ids=str)
def test_equals_brute_force(arguments):
    network = random_network(**arguments)
    outputs = inference.make_layer_outputs(network, "shifts")
    check_every_layer(network, outputs, extreme_images(network))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", EXTREME, ids=str)
def test_extreme_networks_equal_brute_force(arguments):
    network = random_network(**arguments)
    outputs = inference.make_layer_outputs(network, "shifts")
    check_every_layer(network, outputs, extreme_images(network))


def test_weights_are_shifts_and_nothing_multiplies_arrays():
    network = random_network(weights="shift2")
    images = jax.ShapeDtypeStruct((2, *network.input_shape), jnp.uint8)
    operations = str(jax.make_jaxpr(lambda x: shifts.layer_outputs(network, x))(images))
    assert "shift_left" in operations
    assert "dot_general" not in operations
    assert "conv_general" not in operations
    assert "f32" not in operations
    layers = [layer for layer in network.layers if hasattr(layer, "weights")]
    assert operations.count(" mul ") == len(layers)  # the affine maps


MULTIPLIES = ("multiply", "dot", "dot_general", "convolution", "divide", "power", "custom_call")


@pytest.mark.whole(4)
@pytest.mark.parametrize("terms", [None, 1, 2, 3])
@pytest.mark.parametrize("kind", ["vgg", "resnet"])
@pytest.mark.quick(2)
def test_with_powers_of_two_nothing_is_multiplied(kind, terms):
    """What is handed to the compiler, counted by operation."""
    network = random_network(3, kind, "shift2", terms)
    images = jax.ShapeDtypeStruct((2, *network.input_shape), jnp.uint8)
    outputs = jax.jit(lambda x: shifts.layer_outputs(network, x))
    counts = collections.Counter(re.findall(r"stablehlo\.(\w+)", outputs.lower(images).as_text()))
    multiplies = {name: counts[name] for name in MULTIPLIES if counts[name]}
    convolutions = sum(isinstance(layer, Convolution) for layer in network.layers)
    assert multiplies == ({"multiply": convolutions} if terms is None else {})
    assert counts["shift_left"] > convolutions
    assert counts["add"] > convolutions


def test_integers_are_the_fewest_signed_powers_of_two():
    values = np.concatenate([np.arange(-300, 301), [1 << 15, -(1 << 15), 21845, 32767, -32767]])
    powers = signed_powers(values)
    assert_array_equal(sum(sign * 2**exponent for sign, exponent in powers), values)
    used = sum(np.abs(sign) for sign, _ in powers)
    reached = {0: 0}  # by breadth first: how many powers an integer takes
    for count in range(1, 6):
        for value in list(reached):
            for step in (sign * 2**n for sign in (-1, 1) for n in range(10)):
                reached.setdefault(value + step, count)
    for value, count in zip(values[:601], used[:601], strict=True):
        assert count == reached[int(value)]


def test_rounds_half_to_even():
    rng = np.random.default_rng(0)
    v = np.concatenate([rng.integers(-(1 << 30), 1 << 30, 500), np.arange(-40, 40)])
    v = np.concatenate([v, [-(1 << 30), (1 << 30) - 1]]).astype(np.int32)
    n = np.arange(31, dtype=np.int32)[:, None]
    rounded = jax.jit(operations.even)(v[None], n)
    assert_array_equal(rounded, brute_force.even(v[None], n))
    want = [[round(int(x) / 4) for x in range(-40, 40)]]  # Python rounds half to even, too
    assert_array_equal(operations.even(jnp.arange(-40, 40)[None], jnp.array([[2]])), want)


@pytest.mark.parametrize("jit", [jax.jit, lambda f: f], ids=["jit", "no jit"])
@pytest.mark.parametrize("shift", [-3, 0, 1, 7, None])
def test_average(shift, jit):
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 4, 2))
    total = x.sum(axis=(1, 2))
    want = total if shift is None else np.clip(brute_force.even(total, shift), -128, 127)
    mean = jit(lambda x: operations.average(x, shift))(jnp.asarray(x, jnp.int8))
    assert_array_equal(mean, want)
    chex.assert_type(mean, jnp.int32 if shift is None else jnp.int8)


def test_image_activations():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert_array_equal(operations.image_activations(image), image.astype(int) - 128)


def test_wrong_input_is_told():
    network = random_network()
    with pytest.raises(ValueError, match=r"path='best' is unknown: choose of fast, native, shifts"):
        inference.make_inference(network, "best")
    infer = inference.make_inference(network)
    with pytest.raises(ValueError, match=r"images of float32 .* takes uint8 of shape"):
        infer(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(1, 8, 9, 3\)"):
        infer(np.zeros((1, 8, 9, 3), np.uint8))

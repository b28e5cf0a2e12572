"""Sums of signs by XOR and popcount are those of products, whatever is 0."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import integer
from flightnn_jax.integer import certificate, verify
from flightnn_jax.integer.inference import popcount
from tests.support import brute_force
from tests.support.networks_at_random import random_images, random_network, with_layer


@pytest.mark.quick(0)
def test_sums_of_bits_are_sums_of_products():
    rng = np.random.default_rng(0)
    for inputs in (1, 32, 70):
        x = rng.integers(-1, 2, (9, inputs), np.int8)
        negative = rng.integers(0, 2, (5, inputs), np.uint8)
        found = popcount.sums(popcount.signs(x), popcount.packed(negative != 0))
        assert_array_equal(found, x.astype(int) @ (1 - 2 * negative.astype(int)).T)


def three_values(network, name, most):
    """The network with a layer that hands on -1, 0 and 1: its sums, clipped to `most`, in 1.4."""
    filters = next(x for x in network.layers if x.name == name).weights.shape[-1]
    numbers = ((14 << 13) // (10 * most), 0, -most, most)
    affine = integer.Affine(*(np.full(filters, x, np.int32) for x in numbers))
    return with_layer(network, name, affine=affine, shift=np.full(filters, 13, np.uint8))


@pytest.mark.quick(0)
def test_layers_of_signs_are_computed_by_popcounts_and_others_too():
    network = random_network(3, weights="binary", width=20, slope=1)  # conv3: more than a word
    network = three_values(three_values(network, "conv1", 90), "conv2", 20)
    network = certificate.certified(network)
    assert popcount.layers(network).keys() == {"conv2", "conv3"}
    images = random_images(network, 3)
    wanted = brute_force.layer_outputs(network, images)
    for name in ("conv1", "conv2"):
        assert set(np.unique(wanted[name])) == {-1, 0, 1}
    found = integer.inference.make_layer_outputs(network, "popcount")(images)
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert_array_equal(found[name], wanted[name], err_msg=name)
    assert "popcount" in verify.runners(network)
    assert "popcount" not in verify.runners(random_network(weights="binary"))

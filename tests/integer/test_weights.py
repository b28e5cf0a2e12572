"""A kind of weights is one class: what is asked of it, and that nothing else knows the kinds."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import integer
from flightnn_jax.integer import limits, verify, weights
from tests.support import brute_force, integer_files
from tests.support.networks_at_random import WEIGHTS, random_images, random_network, with_layer


@dataclasses.dataclass(frozen=True)
class SignWeights(integer.Weights):
    """Weights of -1 and 1, eight a byte."""

    value: np.ndarray
    kind: ClassVar[str] = "sign"
    max_size: ClassVar[int] = 1

    @property
    def shape(self):
        return self.value.shape

    @property
    def passes(self):
        return np.ones(self.shape[-1], np.uint8)

    def integers(self):
        return self.value.astype(np.int32)

    def summands(self):
        filters = self.shape[-1]
        negative = self.value.reshape(-1, filters) < 0
        return [weights.Summand(np.arange(filters), (negative,))]

    @staticmethod
    def product(x, *operands):
        negative = operands[0].astype(np.int32)
        return (x ^ -negative) + negative

    def codes(self):
        return (self.value.reshape(-1, self.shape[-1]).T < 0).astype(np.uint8)

    def tensors(self):
        return {"codes": np.packbits(self.codes())}

    @classmethod
    def read(cls, where, take, shape):
        del where
        count = int(np.prod(shape))
        bits = np.unpackbits(take("codes", np.uint8, (-(-count // 8),)))[:count]
        value = (1 - 2 * bits.astype(np.int8)).reshape(shape[-1], -1)
        return cls(np.ascontiguousarray(value.T).reshape(shape))

    def check(self, where, rank):
        limits.check_axes(where, np.shape(self.value), rank)
        limits.check_array(where, "weights", self.value, np.int8, self.shape)
        limits.require(np.all(np.abs(self.value) == 1), where, "weights", "each is -1 or 1")


def network_of_signs():
    network = random_network(2, "resnet", "shift1", width=2)
    rng = np.random.default_rng(0)
    for layer in network.weighted:
        signs = SignWeights(rng.choice(np.array([-1, 1], np.int8), layer.weights.shape))
        network = with_layer(network, layer.name, weights=signs)
    return integer.certified(network)


def check_paths(paths):
    network = network_of_signs()
    integer.check(network)
    images = random_images(network, 3)
    runners = {name: verify.PATHS[name].runner(network) for name in paths}
    right = {"brute force": lambda x: brute_force.layer_outputs(network, x)}
    assert verify.compare(network, right | runners, [(images, None)]).mismatches == 0


def test_a_new_kind_is_one_class(monkeypatch):
    network = network_of_signs()
    check_paths([path for path in ("onnx",) if path not in verify.unavailable()])
    monkeypatch.setitem(weights.KINDS, "sign", SignWeights)
    integer_files.assert_same(integer.from_bytes(integer.to_bytes(network)), network)
    wrong = SignWeights(np.zeros_like(network.layers[0].weights.value))
    with pytest.raises(integer.IntegerNetworkError, match="conv1: weights: each is -1 or 1"):
        integer.check(with_layer(network, "conv1", weights=wrong))


@pytest.mark.slow
def test_every_path_runs_a_new_kind():
    missing = {"independent", *verify.unavailable()}  # the checker knows version 1 alone
    network, images = network_of_signs(), random_images(network_of_signs(), 3)
    check_paths([path for path in verify.PATHS if path not in missing])
    outputs = integer.inference.make_layer_outputs(network, "shifts")(images)
    for name, values in brute_force.layer_outputs(network, images).items():
        assert_array_equal(outputs[name], values)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_what_a_kind_says_of_itself_fits_together(kind):
    layer = random_network(1, "vgg", kind).layers[2]
    own, taps = layer.weights, int(np.prod(layer.weights.shape[:-1]))
    x = np.arange(-3, taps - 3, dtype=np.int32)[:, None]
    total = np.zeros(own.shape[-1], np.int64)
    for summand in own.summands():
        assert np.unique(summand.filters).size == summand.filters.size
        total[summand.filters] += own.product(x, *summand.operands).sum(axis=0)
    matrix = brute_force.integers(own).reshape(taps, -1)
    assert_array_equal(total, (x * matrix).sum(axis=0))
    assert_array_equal(own.integers().reshape(taps, -1), matrix)
    assert own.codes().shape == (own.passes.sum(), taps)
    if kind != "integer":
        sizes = (np.abs(own.sign.astype(int)) << own.shift).sum(axis=0)
        least = [min(own.shift[:k, ..., o].flat, default=0) for o, k in enumerate(own.k)]
        assert_array_equal(own.shift_range()[0], least)
    else:
        sizes = np.abs(matrix).reshape(own.shape)
    assert_array_equal(own.sizes(), sizes)

"""The float32 form of integer networks against sums in NumPy's int64, layer by layer."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import (
    IMAGE,
    Affine,
    Average,
    Convolution,
    Dense,
    IntegerNetwork,
    IntegerNetworkError,
    IntegerWeights,
    ShiftWeights,
    certificate,
)
from flightnn_jax.integer.inference import float32
from tests.integer.inference.test_shifts import extreme_images
from tests.support import brute_force
from tests.support.networks_at_random import (
    random_images,
    random_network,
    random_networks,
    with_layer,
)

pytestmark = pytest.mark.optimized

NETWORKS = dict(random_networks())


def compare(network, images, platform=None):
    outputs = float32.function_of(network, platform=platform)(images)
    wanted = brute_force.layer_outputs(network, images)
    assert set(outputs) == {layer.name for layer in network.layers}
    for name, output in outputs.items():
        assert_array_equal(output, wanted[name], err_msg=name)
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_document(name):
    network = NETWORKS[name]
    outputs = compare(network, random_images(network, 5))
    assert outputs["conv1"].dtype == np.int8
    assert outputs[network.layers[-1].name].dtype == np.int32


def test_matrix_units_get_operands_that_bfloat16_holds():
    """Layers with a weight of 9 bits stay with float32; the integers are the same."""
    network = random_network(3, "vgg", "shift3", extreme=True)
    weights = next(layer.weights for layer in network.layers if layer.name == "conv2")
    sign, shift, k = weights.sign.copy(), weights.shift.copy(), weights.k.copy()
    sign[:, 0, 0, 0, 0], shift[:, 0, 0, 0, 0], k[0] = 1, (7, 7, 0), 3
    network = with_layer(network, "conv2", weights=ShiftWeights(sign, shift, k))
    program, _ = float32.form_of(network, platform="tpu")
    narrow = {layer.name: n for layer, n in zip(network.layers, program.narrow, strict=True)}
    assert [layer.name for layer in network.weighted if not narrow[layer.name]] == ["conv2"]
    assert not any(float32.form_of(network)[0].narrow)
    compare(network, extreme_images(network), "tpu")


def test_activations_of_tests_at_random_are_spread():
    for kind in ("vgg", "resnet"):
        network = random_network(1, kind, "shift2", size=16, width=8)
        outputs = brute_force.layer_outputs(network, random_images(network, 8))
        values = np.unique(outputs["conv2" if kind == "vgg" else "block1"])
        assert values.size > 40


@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 9])
def test_averages_round_half_to_even(shift):
    layers = (
        Average("average", IMAGE, shift, 0),
        Dense(
            "dense",
            "average",
            IntegerWeights(np.eye(1, dtype=np.int8)),
            0,
            np.zeros(1, np.int32),
            np.zeros((1, 10), np.int32),
        ),
    )
    network = IntegerNetwork("mean", (2, 2, 1), layers, 3, None, 0, ("a",), {}, None)
    network = certificate.certified(network)
    images = np.full((41, 2, 2, 1), 128, np.uint8)
    images[:, 0, 0, 0] = np.arange(108, 149)
    compare(network, images)


def wide(weights, classes=1):
    dense = Dense(
        "dense",
        "average",
        weights,
        -8,
        np.arange(classes, dtype=np.int32),
        np.zeros((classes, 10), np.int32),
    )
    layers = (Average("average", IMAGE, 0, -7), dense)
    labels = tuple(f"{i}" for i in range(classes))
    inputs = weights.shape[0]
    return IntegerNetwork("wide", (1, 1, inputs), layers, 3, None, -15, labels, {}, None)


def test_sums_that_float32_cannot_hold_are_split():
    rng = np.random.default_rng(0)
    inputs = 2500
    sign = rng.choice(np.array([-1, 1], np.int8), (2, inputs, 3))
    weights = ShiftWeights(
        sign, rng.integers(6, 8, sign.shape).astype(np.uint8), np.full(3, 2, np.uint8)
    )
    weights.shift[0, :, 0] = 7
    weights.sign[0, :, 0] = 1  # one side, so that the sum itself is large
    network = certificate.certified(wide(weights, 3))
    assert network.layers[1].certificate[:, 7].tolist() == [0, 0, 0]
    parts = float32.exact_slices("dense", weights)
    assert len(parts) > 1
    joined = [i for part in parts for i in range(inputs)[part]]
    assert joined == list(range(inputs))
    for part in parts:
        one = ShiftWeights(weights.sign[:, part], weights.shift[:, part], weights.k)
        assert certificate.partial_sums(one).max() < 1 << 24
    images = rng.integers(0, 256, (4, 1, 1, inputs), np.uint8)
    images[0] = 255
    outputs = compare(network, images)
    assert np.abs(outputs["dense"]).max() > 1 << 24


def test_one_channel_that_float32_cannot_hold_is_refused():
    weights = IntegerWeights(np.full((129, 129, 1, 1), -8, np.int8))
    with pytest.raises(
        IntegerNetworkError, match="conv1: the sums over input channel 0 alone reach 17"
    ):
        float32.exact_slices("conv1", weights)


def test_exponents_that_float32_cannot_hold_are_refused():
    network = random_network()
    with pytest.raises(IntegerNetworkError, match=r"conv2: steps of 2\*\*-100 and weights of"):
        float32.function_of(with_layer(network, "conv1", exponent=-100))


def test_the_trained_weights_are_what_is_run():
    """A network that was lowered wrongly differs from its float form."""
    network = random_network()
    kernels = {
        layer.name: np.ldexp(layer.weights.integers().astype(np.float32), layer.weight_exponent)
        for layer in network.layers
        if isinstance(layer, Convolution)
    }
    images = random_images(network, 2)
    same, own = (float32.function_of(network, k)(images) for k in (kernels, None))
    for name, output in own.items():
        assert_array_equal(same[name], output)
    kernels["conv2"] = kernels["conv2"] * 2
    other = float32.function_of(network, kernels)(images)
    assert_array_equal(other["pool1"], own["pool1"])
    assert (np.asarray(other["conv2"]) != np.asarray(own["conv2"])).any()


def test_a_clip_is_part_of_the_layer():
    network = random_network()
    layer = network.layers[0]
    narrow = Affine(
        layer.affine.multiplier,
        layer.affine.bias,
        np.full_like(layer.affine.low, -3),
        np.full_like(layer.affine.high, 5),
    )
    changed = dataclasses.replace(
        network, layers=(dataclasses.replace(layer, affine=narrow), *network.layers[1:])
    )
    compare(certificate.certified(changed), random_images(network, 3))

"""QONNX gives the same integers in the package qonnx, where float32 can."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import Convolution, verify
from flightnn_jax.integer.export import qonnx, thresholds
from tests.support import brute_force
from tests.support.networks_at_random import (
    of_linear,
    random_chain,
    random_images,
    random_network,
    random_networks,
)

onnx = pytest.importorskip("onnx", reason="it comes with the extra onnx")
pytest.importorskip("qonnx", reason="it comes with the extra qonnx")
NETWORKS = dict(random_networks()) | {f"chain{seed}": random_chain(seed) for seed in range(12)}
NETWORKS |= {"vector": random_chain(99, (7,)), "binary": random_network(7, "resnet", "binary")}
NETWORKS["mobile"] = of_linear(random_network(2, "mobile", "shift2", width=2))
QUICK = ("vgg-shift3-2-extreme", "resnet-shift2-1", "vector", "binary", "mobile")
QUICK += ("resnet-shift1-None-extreme",)


def behind(network, names):
    """These layers, and all that read them."""
    reached = set(names)
    for layer in network.layers:
        reached |= {layer.name} if reached & set(layer.inputs) else set()
    return reached


@pytest.mark.quick(0)
@pytest.mark.whole(14)
@pytest.mark.parametrize("name", sorted(NETWORKS, key=lambda name: name not in QUICK))
def test_equals_brute_force_where_float32_holds_the_numbers(name):
    network = NETWORKS[name]
    images = random_images(network, 4)
    want = brute_force.layer_outputs(network, images)
    for style in qonnx.STYLES:
        model = qonnx.to_qonnx(network, style=style, batch=4, every_layer=True)
        outputs = qonnx.run_qonnx(model)(images)
        assert outputs.keys() == want.keys()
        for layer in want.keys() - behind(network, qonnx.inexact(network, style)):
            assert_array_equal(outputs[layer], want[layer], layer)


def test_thresholds_are_exact_whatever_the_multipliers():
    for name, network in NETWORKS.items():
        unsure = qonnx.inexact(network)
        convolutions = (x for x in network.layers if isinstance(x, Convolution))
        assert not {x.name for x in convolutions if x.shift is not None} & set(unsure), name
    assert "block1" in qonnx.inexact(NETWORKS["resnet-shift1-None-extreme"])
    assert qonnx.inexact(NETWORKS["vgg-shift3-2-extreme"], "quant") == ("conv1", "conv2", "conv3")


def activation(layer, slope, acc):
    affine = layer.affine
    v = np.clip(acc, affine.low, affine.high) * affine.multiplier.astype(np.int64) + affine.bias
    return brute_force.activate(v, layer.shift, slope)


@pytest.mark.parametrize("name", ["vgg-shift1-None", "vgg-shift1-None-extreme", "vgg-integer-3"])
def test_thresholds_count_the_activation_of_every_sum(name):
    network = NETWORKS[name]
    layer = network.layers[3]  # of 1x1, whose sums are few
    sign, steps = thresholds.thresholds(layer, network.slope)
    table = layer.certificate
    acc = np.arange(table[:, 0].min(), table[:, 1].max() + 1)[:, None]
    counted = np.stack(
        [np.searchsorted(s, x, "right") for s, x in zip(steps, (acc * sign).T, strict=True)], 1
    )
    there = (table[:, 0] <= acc) & (acc <= table[:, 1])
    want = activation(layer, network.slope, acc)
    assert_array_equal(np.where(there, counted - 128, 0), np.where(there, want, 0))
    assert np.all(np.diff(steps, axis=1) >= 0)


def nodes(weights, style="thresholds"):
    """The nodes of a small model, as ONNX reads them, and its constants by name."""
    model = onnx.load_from_string(qonnx.to_qonnx(random_network(1, "vgg", weights), style=style))
    constants = {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}
    return list(model.graph.node), constants


def test_weights_take_the_bits_that_they_need():
    found, constants = nodes("integer")
    widths = [int(constants[x.input[3]]) for x in found if x.op_type == "Quant"]
    assert set(widths) == {4, 5, 8}  # a filter that falls has the other sign, and -8 becomes 8
    assert {x.domain for x in found} == {"", qonnx.DOMAIN}
    kinds = {style: [x.op_type for x in nodes("binary", style)[0]] for style in qonnx.STYLES}
    assert kinds["thresholds"].count("MultiThreshold") == 3
    assert "MultiThreshold" not in kinds["quant"]
    assert all(operators.count("BipolarQuant") == 3 for operators in kinds.values())


def test_a_style_that_is_none_is_told():
    with pytest.raises(ValueError, match="style='relu' is unknown: choose of thresholds, quant"):
        qonnx.to_qonnx(random_network(), style="relu")
    sums = random_network(0, "resnet").layers[3]
    with pytest.raises(ValueError, match="block1_second gives sums"):
        thresholds.thresholds(sums, 3)


def test_verify_runs_it():
    network = dataclasses.replace(random_network(4, "vgg", "shift2"), name="v")
    runner = verify.ON_REQUEST["qonnx"].runner(network)
    images = random_images(network, 3)
    right = {"right": lambda x: brute_force.layer_outputs(network, x), "qonnx": runner}
    assert verify.compare(network, right, [(images, None), (images[:2], None)]).mismatches == 0

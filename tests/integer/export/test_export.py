"""Other runtimes give the same integers."""

import numpy as np
import pytest
from jax import export
from numpy.testing import assert_array_equal

from flightnn_jax.integer import Convolution, inference
from flightnn_jax.integer.export import onnx as onnx_export
from flightnn_jax.integer.export import stablehlo
from tests.integer.inference.test_shifts import check_every_layer, extreme_images
from tests.support import brute_force
from tests.support.networks_at_random import (
    random_images,
    random_network,
    random_networks,
    random_windows,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
NETWORKS = dict(random_networks())


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_equals_brute_force(name):
    network = NETWORKS[name]
    images = extreme_images(network)
    run = onnx_export.run_onnx(onnx_export.to_onnx(network, every_layer=True), threads=1)
    check_every_layer(network, run, images)
    assert_array_equal(run(images[:1])["conv1"], run(images)["conv1"][:1])


def test_logits_alone_and_int8_weights():
    network = random_network(5, "resnet", "shift3")
    images = random_images(network, 3)
    want = brute_force.layer_outputs(network, images)
    outputs = onnx_export.run_onnx(onnx_export.to_onnx(network))(images)
    assert list(outputs) == ["dense"]
    assert_array_equal(outputs["dense"], want["dense"])
    # int8 saturates on processors without VNNI, so only the model is looked at
    model = onnx.load_from_string(onnx_export.to_onnx(network, weights="int8"))
    kinds = {constant.data_type for constant in model.graph.initializer}
    assert onnx.TensorProto.INT8 in kinds


def test_only_standard_operators():
    network = random_network(0, "resnet", "shift2", extreme=True)
    model = onnx.load_from_string(onnx_export.to_onnx(network, every_layer=True))
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [
        ("", onnx_export.OPSET)
    ]
    assert {node.domain for node in model.graph.node} == {""}


def test_rounds_in_float64_where_float32_would_not_do():
    network = random_network(0, "vgg", "shift2", extreme=True)
    model = onnx.load_from_string(onnx_export.to_onnx(network))
    kinds = {constant.data_type for constant in model.graph.initializer}
    assert onnx.TensorProto.DOUBLE in kinds


def test_wrong_weights_are_told():
    with pytest.raises(ValueError, match="weights='int4': choose uint8 or int8"):
        onnx_export.to_onnx(random_network(), weights="int4")


def integer_convolutions(network, *platforms):
    """How many convolutions there are in the fast path that is exported for these platforms."""
    data = stablehlo.to_stablehlo(network, path="fast", platforms=platforms)
    module = export.deserialize(bytearray(data))
    assert set(module.platforms) == {"cuda" if name == "gpu" else name for name in platforms}
    text = module.mlir_module()
    assert ("stablehlo.dot_general" in text) == (platforms != ("tpu",))
    return text.count("stablehlo.convolution")


@pytest.mark.slow
def test_the_fast_path_is_exported_as_the_platform_needs_it():
    """XLA compiles convolutions of int8 on a CPU and a TPU, and none for CUDA."""
    network = random_network(1, "vgg", "shift2", width=32)
    on_cpu = integer_convolutions(network, "cpu")
    assert on_cpu > 0
    assert integer_convolutions(network, "cuda") == integer_convolutions(network, "gpu") == 0
    assert integer_convolutions(network, "tpu") == sum(
        isinstance(layer, Convolution) for layer in network.layers
    )
    assert integer_convolutions(network, "cpu", "cuda") >= on_cpu  # one program for each


def test_wrong_platforms_are_told():
    network = random_network()
    with pytest.raises(ValueError, match="platform 'npu' is unknown: choose one of cpu, cuda, "):
        stablehlo.to_stablehlo(network, platforms=("npu",))
    with pytest.raises(ValueError, match="name one at least"):
        stablehlo.to_stablehlo(network, platforms=())
    with pytest.raises(ValueError, match="platform 'npu' is unknown"):
        inference.make_layer_outputs(network, platform="npu")


@pytest.mark.whole(3)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "platforms", "kind"),
    [
        ("shifts", ("cpu",), "vgg"),
        ("fast", ("cpu",), "vgg"),
        ("fast", ("tpu", "cuda", "cpu"), "vgg"),
        ("fast", ("cpu",), "mobile"),
    ],
)
def test_stablehlo_runs_from_its_bytes(path, platforms, kind):
    network = random_network(1, kind, "shift2")
    images = random_images(network, 5)
    want = brute_force.layer_outputs(network, images)[network.layers[-1].name]
    data = stablehlo.to_stablehlo(network, path=path, platforms=platforms)
    infer = stablehlo.from_stablehlo(data)
    for count in (1, 5):
        assert_array_equal(infer(images[:count]), want[:count])
    assert np.asarray(infer(images)).dtype == np.int32


@pytest.mark.parametrize("path", ["shifts", "fast"])
@pytest.mark.quick(0)
def test_stablehlo_of_groups_and_any_windows(path):
    network = random_windows(3)
    images = random_images(network, 3)
    infer = stablehlo.from_stablehlo(stablehlo.to_stablehlo(network, path=path))
    assert_array_equal(infer(images), brute_force.layer_outputs(network, images)["dense"])

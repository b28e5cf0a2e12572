"""A network of another library becomes a run, from which others start."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from configs import imported, own
from flightnn_jax.networks import Conv, Dense, GlobalAverage, MaxPool, from_onnx
from flightnn_jax.training import importing, runs, state
from tests.support import commands

onnx = pytest.importorskip("onnx", reason="it comes with the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="it comes with the extra onnx")
pytestmark = pytest.mark.slow


def model(selu=False):
    """A convolution, a pool, an average of 12 positions and a matrix, for images of configs/own."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(6, 1, 3, 3)),
        "scale": rng.uniform(0.5, 2, 6),
        "bias": rng.normal(size=6),
        "mean": rng.normal(size=6),
        "var": rng.uniform(0.5, 2, 6),
        "m": 3 * rng.normal(size=(10, 6)),
        "b": rng.normal(size=10),
    }
    node = onnx.helper.make_node
    act = node("Selu", ["n"], ["a"]) if selu else node("LeakyRelu", ["n"], ["a"], alpha=0.25)
    nodes = [
        node("Conv", ["image", "w"], ["c"], pads=[1] * 4),
        node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        act,
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "m", "b"], ["logits"], transB=1),
    ]
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    constants = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    ends = [value("image", kind, ["n", 1, 8, 6])], [value("logits", kind, ["n", 10])]
    graph = onnx.helper.make_graph(nodes, "g", *ends, constants)
    opset = [onnx.helper.make_opsetid("", 13)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("import")
    own.write_digits(str(directory / "own.npz"))
    (directory / "small.onnx").write_bytes(model())
    (directory / "selu.onnx").write_bytes(model(selu=True))
    return directory


def accuracy(data, images, labels):
    real = ((images.astype(np.float32) - 128) / 128)[:, None]
    [logits] = onnxruntime.InferenceSession(data).run(None, {"image": real})
    return np.mean(logits.argmax(axis=1) == labels)


@pytest.fixture(scope="module")
def result(place):
    """How good the imported network is; its workdir is place/run."""
    made = from_onnx.from_onnx(model(), "small")
    return importing.write(made, f"npz:{place}/own.npz", place / "run")


def test_the_weights_come_over(place, result):
    arrays = np.load(place / "own.npz", allow_pickle=False)
    assert result.top1 == pytest.approx(accuracy(model(), arrays["x_test"], arrays["y_test"]))
    config = imported.get_config(f"{place}/run")
    assert (config.scheme, config.start_from) == ("flightnn", f"{place}/run")
    assert config.network.layers == (Conv(6), MaxPool(), GlobalAverage(), Dense(10))
    assert config.network.slope_exponent == -2
    with pytest.raises(ValueError, match="is not empty: name a new one"):
        importing.write(from_onnx.from_onnx(model()), f"npz:{place}/own.npz", place / "run")


def test_training_starts_from_them(place, result):
    del result
    config = imported.get_config(f"{place}/run,lightnn2")
    run = runs.prepare(dataclasses.replace(config, epochs=1), place / "trained")
    start = state.carry_over(run.origin().last_state(), run.initial_state())
    made = from_onnx.from_onnx(model())
    chex.assert_trees_all_equal(jax.device_get(start.params), made.params)
    chex.assert_trees_all_equal(jax.device_get(start.batch_stats), made.batch_stats)


def test_wrong_input_is_told_in_one_line(place):
    given = f"--dataset=npz:{place}/own.npz"
    for end, message in zip(
        commands.run(
            [
                ["import", f"--onnx={place}/selu.onnx", given, f"--workdir={place}/selu"],
                ["import", f"--onnx={place}/none.onnx", given, f"--workdir={place}/none"],
            ]
        ),
        (
            "Selu 'a': a LeakyRelu, Relu or Clip",
            "it is no regular file of less than 2 GB",
        ),
        strict=True,
    ):
        assert end.code == 2
        [line] = end.errors.splitlines()
        assert message in line


def test_a_config_without_a_directory():
    with pytest.raises(ValueError, match=r"say which network: configs/imported.py:DIRECTORY"):
        imported.get_config()

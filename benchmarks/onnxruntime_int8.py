"""A network of the paper's shapes as onnxruntime's own int8 operators, the rival in speed.

Static quantization as onnxruntime makes it: uint8 activations, int8 weights (on a CPU the fastest
combination by far), QLinearConv, and its QLinearLeakyRelu, QLinearAdd and QLinearGlobalAveragePool.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it has no stubs
from onnx import helper, numpy_helper

from flightnn_jax import networks

_CONTRIBUTED = "com.microsoft"


class _Graph:
    """Nodes and constants of random values; every activation has one scale."""

    def __init__(self, slope: float) -> None:
        self.rng = np.random.default_rng(0)
        self.slope = slope
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.quantized = [
            self.constant("scale", np.float32(1 / 16)),
            self.constant("zero", np.uint8(128)),
        ]

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        domain = "" if operator in ("QLinearConv", "QLinearMatMul", "MaxPool") else _CONTRIBUTED
        domain = "" if operator == "Flatten" else domain
        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def weights(self, step: networks.Step) -> list[str]:
        assert step.kernel_shape is not None
        order = (3, 2, 0, 1) if len(step.kernel_shape) == 4 else (0, 1)
        values = self.rng.integers(-127, 128, step.kernel_shape).astype(np.int8).transpose(order)
        filters = step.kernel_shape[-1]
        scale = np.float32(1 / (40 * np.sqrt(np.prod(step.kernel_shape[:-1]))))
        return [
            self.constant(f"{step.name}.weights", values),
            self.constant(f"{step.name}.scale", np.full(filters, scale)),
            self.constant(f"{step.name}.zero", np.zeros(filters, np.int8)),
        ]

    def convolution(self, step: networks.Step, x: str) -> str:
        assert isinstance(step.layer, networks.Conv)
        size, stride = step.layer.size, step.layer.stride
        values = self.rng.integers(-99, 99, step.layer.filters).astype(np.int32)
        inputs = [x, *self.quantized, *self.weights(step), *self.quantized]
        return self.node(
            "QLinearConv",
            [*inputs, self.constant(f"{step.name}.bias", values)],
            f"{step.name}.sums",
            pads=[size // 2] * 4,
            strides=[stride, stride],
            kernel_shape=[size, size],
        )

    def leaky(self, x: str, output: str) -> str:
        inputs = [x, *self.quantized, *self.quantized]
        return self.node("QLinearLeakyRelu", inputs, output, alpha=self.slope)

    def residual(self, step: networks.Step, x: str) -> str:
        first, second, *shortcut = step.inside
        inner = self.leaky(self.convolution(first, x), first.name)
        around = self.convolution(shortcut[0], x) if shortcut else x
        parts = [self.convolution(second, inner), *self.quantized, around, *self.quantized]
        total = self.node("QLinearAdd", [*parts, *self.quantized], f"{step.name}.sums")
        return self.leaky(total, step.name)

    def step(self, step: networks.Step, x: str) -> str:
        if isinstance(step.layer, networks.Conv):
            return self.leaky(self.convolution(step, x), step.name)
        if isinstance(step.layer, networks.Residual):
            return self.residual(step, x)
        if isinstance(step.layer, networks.MaxPool):
            return self.node("MaxPool", [x], step.name, kernel_shape=[2, 2], strides=[2, 2])
        if isinstance(step.layer, networks.GlobalAverage):
            inputs = [x, *self.quantized, *self.quantized]
            pooled = self.node("QLinearGlobalAveragePool", inputs, "pooled", channels_last=0)
            return self.node("Flatten", [pooled], step.name)
        inputs = [x, *self.quantized, *self.weights(step), *self.quantized]
        return self.node("QLinearMatMul", inputs, step.name)


def quantized_model(network: networks.Network) -> bytes:
    """The ONNX model; it takes [batch, channels, height, width] uint8, which suits it best."""
    graph = _Graph(2.0**network.slope_exponent)
    x = "images"
    for step in networks.walk(network):
        x = graph.step(step, x)
    height, width, channels = network.input_shape
    kind = onnx.TensorProto.UINT8
    images = helper.make_tensor_value_info("images", kind, ["batch", channels, height, width])
    logits = helper.make_tensor_value_info(x, kind, ["batch", network.classes])
    made = helper.make_graph(graph.nodes, network.name, [images], [logits], graph.constants)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(_CONTRIBUTED, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def runner(model: bytes, images: np.ndarray, threads: int) -> Callable[[], None]:
    """Runs a model with one input on these images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = np.ascontiguousarray(images)
    return lambda: session.run(None, {"images": images})

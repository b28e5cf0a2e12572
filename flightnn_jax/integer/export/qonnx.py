"""The integer network as QONNX, which FINN, hls4ml and the package `qonnx` read.

All values are integers in float32. Weights are `Quant` nodes of as many bits as they need, since
QONNX has no type for sums of powers of two. What is behind a convolution is either thresholds of
its sums, which is exact, or batch norm, a leaky ReLU and a `Quant` node. Float32 holds 24 bits:
`inexact` names the layers where that may not do. Needs the extra `onnx`; the package `qonnx` runs
a model, and is needed for nothing else.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.certificate import FLOAT_INTEGERS
from flightnn_jax.integer.export.graph import Graph, ordered, pool_attributes
from flightnn_jax.integer.export.thresholds import activations, thresholds
from flightnn_jax.integer.limits import IMAGE, MAX_ACTIVATION, MIN_ACTIVATION
from flightnn_jax.integer.network import (
    Add,
    Average,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.weights import Weights

DOMAIN = "qonnx.custom_op.general"
STYLES = ("thresholds", "quant")
_OPSET, _DOMAIN_OPSET = 11, 1  # those that the package qonnx prefers
_IR_VERSION = 8
_ACTIVATION_BITS = 8


def to_qonnx(
    network: IntegerNetwork,
    *,
    style: str = "thresholds",
    batch: int = 1,
    every_layer: bool = False,
) -> bytes:
    """The bytes of a QONNX model.

    Its input is `images`, [batch, channels, height, width] float32, bytes from 0 to 255. Outputs
    are named output.LAYER, channels behind the batch, too; they are the network's integers.

    Args:
      network: a valid one, with its certificates.
      style: what makes activations of a convolution's sums: "thresholds" (`MultiThreshold`, FINN's
        form), or "quant" (`BatchNormalization`, `LeakyRelu` and `Quant`, hls4ml's form).
      batch: images at once; the tools ask for a fixed number.
      every_layer: whether all layers are outputs, and not the logits alone.

    Raises:
      ValueError: if there is no such style.
      ModuleNotFoundError: if `onnx` is not installed.
    """
    if style not in STYLES:
        raise ValueError(f"style={style!r} is unknown: choose of {', '.join(STYLES)}")
    from onnx import TensorProto, helper

    known = shapes.outputs(network)
    graph = _Graph(slope=network.slope, by_thresholds=style == "thresholds", known=known)

    def tensor(name: str, output: shapes.Output) -> Any:
        shape = [batch, *output.shape[-1:], *output.shape[:-1]]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph.quant(graph.node("Add", ["images", graph.constant(MIN_ACTIVATION, np.float32)]), IMAGE)
    outputs = []
    for layer in network.layers:
        _NODES[type(layer)](graph, layer)
        if every_layer or layer is network.layers[-1]:
            name = graph.node("Identity", [layer.name], f"output.{layer.name}")
            outputs.append(tensor(name, known[layer.name]))
    inputs = [tensor("images", known[IMAGE])]
    made = helper.make_graph(graph.nodes, network.name, inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(DOMAIN, _DOMAIN_OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=_IR_VERSION)
    return model.SerializeToString()


def inexact(network: IntegerNetwork, style: str = "thresholds") -> tuple[str, ...]:
    """The layers in which a number has more than the 24 bits that float32 holds.

    There a tool that computes in float32 may round another way than the network, and one that
    computes in fixed point does not. In all others the integers are equal for every image.
    """
    known = shapes.outputs(network)
    return tuple(
        layer.name
        for layer in network.layers
        if _largest(layer, known, style == "thresholds") > FLOAT_INTEGERS
    )


def _largest(layer: Layer, known: dict[str, shapes.Output], by_thresholds: bool) -> int:
    """A bound of all numbers that the nodes of a layer compute."""
    if isinstance(layer, MaxPool | Flatten):
        return 0
    if isinstance(layer, Average):
        return math.prod(known[layer.input].shape[:2]) << 7
    table = np.abs(layer.certificate.astype(np.int64))
    if isinstance(layer, Add):
        return int(table[:, :2].max()) + sum(
            0 if x is None else 128 << int(x.max()) for x in layer.lift
        )
    sums = int(table[:, 2].max())  # of products in any order
    if isinstance(layer, Dense):
        return max(sums, int(table[:, 4:6].max()))
    if by_thresholds and layer.shift is not None:
        return sums
    numbers = layer.affine
    acc = np.clip(layer.certificate[:, :2].astype(np.int64), *_columns(numbers.low, numbers.high))
    product = np.abs(acc * numbers.multiplier[:, None].astype(np.int64))
    return max(sums, int(product.max()), int(table[:, 4:6].max()))


def _columns(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.int64)[:, None] for array in arrays]


@dataclasses.dataclass(kw_only=True)
class _Graph(Graph):
    """The graph of a network. Values are named by their layers.

    Attributes:
      slope: of the network.
      by_thresholds: whether convolutions become activations by `MultiThreshold`.
      known: what the layers give.
    """

    slope: int
    by_thresholds: bool
    known: dict[str, shapes.Output]

    def quant(self, x: str, output: str = "", bits: int = _ACTIVATION_BITS) -> str:
        """The value as a signed integer of so many bits: rounded half to even, saturated."""
        numbers = [self.constant(value, np.float32) for value in (1, 0, bits)]
        how = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
        return self.node("Quant", [x, *numbers], output, domain=DOMAIN, **how)

    def weights(self, weights: Weights, sign: np.ndarray) -> str:
        """Those of a layer times the signs of its filters, [filters, inputs, size, size]."""
        w = weights.integers() * sign
        array = self.constant(ordered(w), np.float32)
        if np.all(np.abs(w) == 1):
            scale = self.constant(1, np.float32)
            return self.node("BipolarQuant", [array, scale], domain=DOMAIN)
        largest = max(int(w.max()), -int(w.min()) - 1, 1)
        return self.quant(array, bits=largest.bit_length() + 1)

    def channels(self, values: np.ndarray, rank: int) -> str:
        return self.constant(values, np.float32, rank)

    def convolution(self, layer: Convolution) -> None:
        sign = np.ones(layer.weights.shape[-1], np.int64)
        steps = sign[:, None]
        by_thresholds = self.by_thresholds and layer.shift is not None
        if by_thresholds:
            sign, steps = thresholds(layer, self.slope)
        size, stride = layer.weights.shape[0], layer.stride
        acc = self.node(
            "Conv",
            [layer.input, self.weights(layer.weights, sign)],
            pads=[layer.around] * 4,
            strides=[stride, stride],
            kernel_shape=[size, size],
            dilations=[1, 1],  # hls4ml wants what ONNX may leave out
            group=layer.groups,
        )
        if by_thresholds:
            how = {"out_dtype": "INT8", "out_scale": 1.0, "out_bias": float(MIN_ACTIVATION)}
            inputs = [acc, self.constant(steps, np.float32)]
            self.node(
                "MultiThreshold", inputs, layer.name, domain=DOMAIN, data_layout="NCHW", **how
            )
            return
        numbers = layer.affine
        for operator, bound, matters in zip(
            ("Max", "Min"), (numbers.low, numbers.high), self.clips(layer), strict=True
        ):
            if matters:
                acc = self.node(operator, [acc, self.channels(bound, 4)])
        unit = 1.0 if layer.shift is None else np.exp2(-layer.shift.astype(np.float64))
        scale, offset = numbers.multiplier * unit, numbers.bias * unit
        statistics = (np.zeros_like(offset), np.ones_like(offset))
        arrays = [self.constant(x, np.float32) for x in (scale, offset, *statistics)]
        last = layer.name if layer.shift is None else ""
        y = self.node("BatchNormalization", [acc, *arrays], last, epsilon=0.0)
        if layer.shift is not None:
            self.activation(y, layer.name, layer.linear)

    def clips(self, layer: Convolution) -> list[bool]:
        """Whether the clips from below and from above change what the layer gives."""
        numbers, acc = layer.affine, layer.certificate[:, :2]
        beyond = [numbers.low > acc[:, 0], numbers.high < acc[:, 1]]
        if layer.shift is not None:  # what is saturated at a clip is so beyond it
            ends = np.stack([numbers.low, numbers.high], axis=1)
            outputs = activations(layer, self.slope)(ends.astype(np.int64))
            saturated = (outputs == MIN_ACTIVATION) | (outputs == MAX_ACTIVATION)
            beyond = [there & ~ends for there, ends in zip(beyond, saturated.T, strict=True)]
        return [bool(there.any()) for there in beyond]

    def activation(self, y: str, name: str, linear: bool = False) -> None:
        y = y if linear else self.node("LeakyRelu", [y], alpha=2.0**-self.slope)
        self.quant(y, name)

    def add(self, layer: Add) -> None:
        rank = len(self.known[layer.name].shape) + 1
        parts = [
            name
            if lift is None
            else self.node("Mul", [name, self.channels(np.exp2(lift.astype(np.float64)), rank)])
            for name, lift in zip(layer.inputs, layer.lift, strict=True)
        ]
        unit = np.exp2(-layer.shift.astype(np.float64))
        y = self.node("Mul", [self.node("Add", parts), self.channels(unit, rank)])
        self.activation(y, layer.name)

    def max_pool(self, layer: MaxPool) -> None:
        self.node("MaxPool", [layer.input], layer.name, **pool_attributes(layer))

    def flatten(self, layer: Flatten) -> None:
        rows = self.node("Transpose", [layer.input], perm=[0, 2, 3, 1])
        shape = self.constant([0, -1, *[1] * (layer.axes - 1)], np.int64)
        self.node("Reshape", [rows, shape], layer.name)

    def average(self, layer: Average) -> None:
        positions = math.prod(self.known[layer.input].shape[:2])
        factor = 1.0 if layer.shift is None else 2.0**-layer.shift
        if self.by_thresholds or positions & (positions - 1):
            y = self.node("ReduceSum", [layer.input], axes=[2, 3], keepdims=0)
        else:  # hls4ml has no sum; the mean of a power of two of integers is exact
            mean = self.node("GlobalAveragePool", [layer.input])
            y, factor = self.node("Flatten", [mean], axis=1), factor * positions
        last = layer.name if layer.shift is None else ""
        y = self.node("Mul", [y, self.constant(factor, np.float32)], last)
        if layer.shift is not None:
            self.quant(y, layer.name)

    def dense(self, layer: Dense) -> None:
        sign = np.ones(layer.weights.shape[-1], np.int64)
        y = self.node("MatMul", [layer.input, self.weights(layer.weights, sign)])
        self.node("Add", [y, self.channels(layer.bias, 2)], layer.name)


_NODES: dict[type, Callable[[_Graph, Any], None]] = {
    Convolution: _Graph.convolution,
    Dense: _Graph.dense,
    Add: _Graph.add,
    MaxPool: _Graph.max_pool,
    Average: _Graph.average,
    Flatten: _Graph.flatten,
}


def run_qonnx(model: bytes) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A model as a function that returns {layer: output}, by the package `qonnx`: slow.

    Args:
      model: of `to_qonnx`. The function takes as many images as its batch, [batch, height, width,
        channels] or [batch, channels] uint8.

    Returns:
      The function; outputs are int64, with channels last.

    Raises:
      ModuleNotFoundError: if `qonnx` is not installed.
    """
    import onnx
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    whole = ModelWrapper(onnx.load_from_string(model)).transform(InferShapes())

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        values = execute_onnx(whole, {"images": np.moveaxis(images, -1, 1).astype(np.float32)})
        return {
            name.removeprefix("output."): np.moveaxis(value, 1, -1).astype(np.int64)
            for name, value in values.items()
        }

    return run

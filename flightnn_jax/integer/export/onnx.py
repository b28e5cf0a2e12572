"""The integer network as ONNX, of standard operators only, for other runtimes.

Activations are uint8 there, 128 more than here, and 128 is their zero point: the image's bytes go
in as they are. Sums come from ConvInteger and MatMulInteger, the affine maps are int32, and the
one rounding is Round (half to even) of a product with a power of two in float32 or, where v has
more than 24 bits, in float64: both are exact. Needs the extra `onnx`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.export.graph import Graph, ordered, pool_attributes
from flightnn_jax.integer.inference.int8_columns import Columns
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import (
    Add,
    Average,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    MaxPool,
)

OPSET = 17
_IR_VERSION = 8  # that of opset 17's time, which old runtimes read too
_ZERO = 128  # of activations
_FLOAT_BITS = 24


def to_onnx(network: IntegerNetwork, *, every_layer: bool = False, weights: str = "uint8") -> bytes:
    """The bytes of an ONNX model with the same logits, integer for integer.

    Its input is `images`, [batch, height, width, channels] uint8; its outputs are named
    output.LAYER.

    Args:
      network: a valid one.
      every_layer: whether all layers are outputs, and not the logits alone.
      weights: "uint8", with the zero point 128, or "int8". On x86 processors without VNNI
        onnxruntime multiplies uint8 by int8 with sums that saturate at 16 bits, so int8 is exact
        only on others. Which is faster depends on the processor.

    Raises:
      ValueError: if `weights` is neither.
      ModuleNotFoundError: if `onnx` is not installed.
    """
    if weights not in ("uint8", "int8"):
        raise ValueError(f"weights={weights!r}: choose uint8 or int8")
    from onnx import TensorProto, helper

    graph = _Graph(slope=network.slope, weights=np.dtype(weights))
    axes = [0, 3, 1, 2] if len(network.input_shape) == 3 else [0, 1]
    graph.node("Transpose", ["images"], IMAGE, perm=axes)
    known = shapes.outputs(network)
    outputs = []
    for layer in network.layers:
        _NODES[type(layer)](graph, layer)
        output = known[layer.name]
        if every_layer or layer is network.layers[-1]:
            kind = TensorProto.INT32 if output.sums else TensorProto.INT8
            shape: list[str | int | None] = ["batch", *output.shape]
            name = graph.readable(layer.name, output)
            outputs.append(helper.make_tensor_value_info(name, kind, shape))
    images = helper.make_tensor_value_info(
        "images", TensorProto.UINT8, ["batch", *network.input_shape]
    )
    made = helper.make_graph(graph.nodes, network.name, [images], outputs, graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(made, opset_imports=[opset], ir_version=_IR_VERSION)
    return model.SerializeToString()


@dataclasses.dataclass(kw_only=True)
class _Graph(Graph):
    """The graph of a network. Values are named by their layers.

    Attributes:
      slope: of the network.
      weights: the type of weights.
    """

    slope: int
    weights: np.dtype

    def convolution(self, layer: Convolution) -> None:
        v = self.affine(self.sums(layer), layer)
        if layer.shift is None:
            self.node("Identity", [v], layer.name)
        else:
            bounds, slope = layer.certificate[:, 4:6], layer.slope_of(self.slope)
            self.activation(v, layer.shift, bounds, layer.name, slope)

    def dense(self, layer: Dense) -> None:
        self.node("Add", [self.sums(layer), self.constant(layer.bias, np.int32, 2)], layer.name)

    def add(self, layer: Add) -> None:
        parts = [self.lifted(*part) for part in zip(layer.inputs, layer.lift, strict=True)]
        v = self.node("Add", parts)
        self.activation(v, layer.shift, layer.certificate[:, :2], layer.name, self.slope)

    def max_pool(self, layer: MaxPool) -> None:
        if layer.is_plain:
            self.node("MaxPool", [layer.input], layer.name, kernel_shape=[2, 2], strides=[2, 2])
        else:
            self.node("MaxPool", [layer.input], layer.name, **pool_attributes(layer))

    def flatten(self, layer: Flatten) -> None:
        rows = self.node("Transpose", [layer.input], perm=[0, 2, 3, 1])
        shape = self.constant([0, -1, *[1] * (layer.axes - 1)], np.int64)
        self.node("Reshape", [rows, shape], layer.name)

    def grouped(self, layer: Convolution) -> str:
        """Int32 accumulators of a convolution in groups: sums of products with int8 parts."""
        zero, rest = _ZERO if self.weights == np.uint8 else 0, layer.weights.integers()
        size, total = rest.shape[0], ""
        while not total or rest.any():
            part = np.clip(rest, -128, 127)
            rest = rest - part
            inputs = [
                layer.input,
                self.constant(ordered(part.astype(np.int16) + zero), self.weights),
                self.constant(_ZERO, np.uint8),
                self.constant(zero, self.weights),
            ]
            products = self.node(
                "ConvInteger",
                inputs,
                pads=[layer.around] * 4,
                strides=[layer.stride] * 2,
                kernel_shape=[size, size],
                group=layer.groups,
            )
            total = self.node("Add", [total, products]) if total else products
        return total

    def sums(self, layer: Convolution | Dense) -> str:
        """Int32 accumulators of a product, filters on axis 1."""
        if isinstance(layer, Convolution) and layer.groups > 1:
            return self.grouped(layer)
        columns = Columns.of(layer.weights.integers())
        nothing = np.zeros((*columns.own.shape[:-1], 1), np.int8)
        parts = [columns.own, *([columns.shared, nothing] if columns.shared.size else [])]
        w = np.concatenate(parts, axis=-1)
        zero = _ZERO if self.weights == np.uint8 else 0
        inputs = [
            layer.input,
            self.constant(ordered(w.astype(np.int16) + zero), self.weights),
            self.constant(_ZERO, np.uint8),
            self.constant(zero, self.weights),
        ]
        if isinstance(layer, Dense):
            products = self.node("MatMulInteger", inputs)
        else:
            around, stride = layer.around, layer.stride
            products = self.node(
                "ConvInteger",
                inputs,
                pads=[around] * 4,
                strides=[stride, stride],
                kernel_shape=list(w.shape[:2]),
            )
        filters, last = columns.own.shape[-1], w.shape[-1] - 1
        if not columns.shared.size:
            return products
        which = [np.arange(filters), *np.where(columns.adds < 0, last, filters + columns.adds)]
        gathered = [
            self.node("Gather", [products, self.constant(rows, np.int64)], axis=1) for rows in which
        ]
        total = gathered[0]
        for part in gathered[1:]:
            total = self.node("Add", [total, part])
        return total

    def affine(self, acc: str, layer: Convolution) -> str:
        numbers, table = layer.affine, layer.certificate
        if np.any(numbers.low > table[:, 0]):
            acc = self.node("Max", [acc, self.constant(numbers.low, np.int32, 4)])
        if np.any(numbers.high < table[:, 1]):
            acc = self.node("Min", [acc, self.constant(numbers.high, np.int32, 4)])
        product = self.node("Mul", [acc, self.constant(numbers.multiplier, np.int32, 4)])
        return self.node("Add", [product, self.constant(numbers.bias, np.int32, 4)])

    def lifted(self, name: str, lift: np.ndarray | None) -> str:
        if lift is None:
            return name
        factor = self.constant(np.int64(1) << lift.astype(np.int64), np.int32, 4)
        return self.node("Mul", [self.activations(name), factor])

    def activations(self, name: str) -> str:
        """As int32, without the zero point."""
        from onnx import TensorProto

        wide = self.node("Cast", [name], to=TensorProto.INT32)
        return self.node("Sub", [wide, self.constant(_ZERO, np.int32)])

    def activation(
        self, v: str, shift: np.ndarray, bounds: np.ndarray, name: str, slope: int
    ) -> None:
        powers = [np.exp2(-shift.astype(np.float64) - more) for more in (0, slope)]
        exact = bounds.min() > -(1 << _FLOAT_BITS) and bounds.max() < 1 << _FLOAT_BITS
        dtype = np.float32 if exact else np.float64
        up, down = (self.constant(power, dtype, 4) for power in powers)
        factor = up
        if slope:
            negative = self.node("Less", [v, self.constant(0, np.int32)])
            factor = self.node("Where", [negative, down, up])
        self.rounded(v, factor, dtype, name)

    def rounded(self, v: str, factor: str, dtype: Any, name: str) -> None:
        """The activation of v times a power of two: rounded half to even, saturated."""
        from onnx import TensorProto, helper

        real = self.node("Cast", [v], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        scaled = self.node("Round", [self.node("Mul", [real, factor])])
        ends = [self.constant(end, dtype) for end in (0, 255)]
        moved = self.node("Add", [scaled, self.constant(_ZERO, dtype)])
        self.node("Cast", [self.node("Clip", [moved, *ends])], name, to=TensorProto.UINT8)

    def average(self, layer: Average) -> None:
        axes = self.constant([2, 3], np.int64)
        wide = self.activations(layer.input)
        summed = layer.name if layer.shift is None else ""
        total = self.node("ReduceSum", [wide, axes], summed, keepdims=0)
        if layer.shift is not None:
            factor = self.constant(2.0**-layer.shift, np.float64)
            self.rounded(total, factor, np.float64, layer.name)

    def readable(self, name: str, output: shapes.Output) -> str:
        """The output of a layer in the order and type of docs/integers.md, as a further value."""
        from onnx import TensorProto

        value = name
        if not output.sums:
            value = self.node("Cast", [self.activations(name)], to=TensorProto.INT8)
        if len(output.shape) == 3:
            value = self.node("Transpose", [value], perm=[0, 2, 3, 1])
        return self.node("Identity", [value], f"output.{name}")


_NODES: dict[type, Callable[[_Graph, Any], None]] = {
    Convolution: _Graph.convolution,
    Dense: _Graph.dense,
    Add: _Graph.add,
    MaxPool: _Graph.max_pool,
    Average: _Graph.average,
    Flatten: _Graph.flatten,
}


def run_onnx(model: bytes, threads: int | None = None) -> Any:
    """The model as a function of images that returns {layer: output}, by onnxruntime on the CPU.

    Args:
      model: of `to_onnx`.
      threads: to compute with; all by default.

    Raises:
      ModuleNotFoundError: if `onnxruntime` is not installed.
    """
    import onnxruntime  # type: ignore[import-untyped]  # it has no stubs

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Any) -> dict[str, np.ndarray]:
        values = session.run(names, {"images": np.ascontiguousarray(images)})
        return {
            name.removeprefix("output."): value for name, value in zip(names, values, strict=True)
        }

    return run

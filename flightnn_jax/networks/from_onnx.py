"""A float network of another library, as ONNX, becomes a record and weights to start from.

Needs the extra `onnx`. What a record cannot say is an error that names the node and the nearest
form that there is.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.networks.layers import (
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    Layer,
    MaxPool,
    Residual,
    Shape,
    output_shape,
)
from flightnn_jax.networks.onnx_graph import (
    SUPPORTED,
    Graph,
    OnnxImportError,
    attributes,
    load,
    refusal,
)
from flightnn_jax.networks.records import Network, walk_weights

__all__ = ["Imported", "OnnxImportError", "from_onnx"]

_EPSILON = 1e-5  # of batch norm in the models that are trained here
_STATISTICS = ("mean", "variance")
_FLAT = ("Flatten", "Reshape", "Squeeze")
_MATRICES = ("Gemm", "MatMul")
_AVERAGES = ("GlobalAveragePool", "ReduceMean", "AveragePool")
_ACTIVATIONS = ("LeakyRelu", "Relu", "Clip")
_BEHIND_NONE = ("Conv", "MaxPool", *_AVERAGES, *_FLAT, *_MATRICES)

Arrays = dict[str, np.ndarray]


class Imported(NamedTuple):
    """What became of a model.

    Attributes:
      network: its record.
      params: by the layer's name `kernel`, and `scale` and `bias` of batch norm, or a `bias`.
      batch_stats: by the convolution's name `mean` and `variance`, where it has batch norm.
      notes: what is not as in the model, a line each.
    """

    network: Network
    params: dict[str, Arrays]
    batch_stats: dict[str, Arrays]
    notes: tuple[str, ...]


def from_onnx(data: bytes, name: str = "imported", *, relu: bool = False) -> Imported:
    """The network of a model for inference, of opset 7 or newer.

    Args:
      data: of a file that PyTorch or another library exported, for images [batch, channels, height,
        width] on the scale (byte - 128) / 128.
      name: of the network.
      relu: whether every ReLU becomes a leaky one of 1/8, with a note. Behind an Add there is no
        other, so that it is an error otherwise.

    Raises:
      OnnxImportError: if the bytes are no model, or there is a node that no record can say.
      ModuleNotFoundError: if `onnx` is not installed.
    """
    reader = _Reader(Graph(load(data)), relu)
    layers, classes = reader.network()
    exponents = sorted(reader.exponents)
    if len(exponents) > 1:
        raise OnnxImportError(f"LeakyRelu of 2 to the powers {exponents}: a network has one slope")
    network = Network(name, reader.graph.shape, classes, tuple(layers), *exponents)
    params: dict[str, Arrays] = {}
    stats: dict[str, Arrays] = {}
    for step, arrays in zip(walk_weights(network), reader.arrays, strict=True):
        params[step.name] = {k: x for k, x in arrays.items() if k not in _STATISTICS}
        if isinstance(step.layer, Conv) and step.layer.norm:
            stats[step.name] = {key: arrays[key] for key in _STATISTICS}
    return Imported(network, params, stats, tuple(dict.fromkeys(reader.notes)))


@dataclasses.dataclass
class _Reader:
    """The graph on the way to layers: reads nodes from the image to the logits.

    Attributes:
      graph: what is read.
      relu: as in `from_onnx`.
      exponents: of the slopes of leaky ReLUs.
      arrays: of each layer with weights.
      notes: as in `Imported`.
      pending: what the average's sums lack, for the dense layer.
      places: [inputs] in which order the next layer's weights have a flat tensor's values: ONNX
        has them channel by channel, a record pixel by pixel; None where there is none.
    """

    graph: Graph
    relu: bool
    exponents: set[int] = dataclasses.field(default_factory=set)
    arrays: list[Arrays] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    pending: float = 1.0
    places: np.ndarray | None = None

    def network(self) -> tuple[list[Layer], int]:
        """The layers, and how many classes they tell apart."""
        value, shape, layers = self.graph.image, self.graph.shape, list[Layer]()
        while not self.graph.is_end(value):
            layer, value = self.layer(value, shape)
            shape = _shape_behind(layer, shape)
            layers.append(layer)
        if self.pending != 1.0:
            raise OnnxImportError(
                "an average gives the logits, over positions whose number is no power of two: a "
                "Gemm is needed behind it"
            )
        return layers, shape[-1]

    def layer(self, value: str, shape: Shape) -> tuple[Layer, str]:
        """The layer that reads a value, and what it gives."""
        nodes = self.graph.after(value)
        if len(nodes) == 2:
            return self.residual(value, nodes)
        if len(nodes) != 1:
            raise OnnxImportError(f"{value!r} is read {len(nodes)} times: one or two nodes read it")
        (node,) = nodes
        kind, is_map = node.op_type, len(shape) == 3
        if kind == "Conv" and is_map and self.places is None:
            return self.active(*self.convolution(node))
        if kind == "MaxPool" and is_map:
            return self.pool(node)
        if kind in _AVERAGES and is_map:
            return self.average(node, shape[:2])
        if kind in _FLAT and is_map and self.places is None:
            return self.flatten(node, shape)
        if kind in _MATRICES and (not is_map or self.places is not None):
            return self.dense(node)
        raise refusal(node, "there is no such layer at this place")

    def convolution(self, node: Any) -> tuple[Conv, str]:
        """A convolution and its batch norm, or its bias."""
        given, w = attributes(node), self.graph.constant(node, 1)
        if w.ndim != 4 or w.shape[2] != w.shape[3] or w.shape[2] % 2 == 0:
            raise refusal(node, f"weights of shape {w.shape}")
        size, strides = w.shape[2], given.get("strides", [1, 1])
        wanted = {"dilations": [1, 1], "auto_pad": b"NOTSET", "strides": [strides[0]] * 2}
        for key, value in wanted.items():
            has = given.get(key, value)
            if (list(has) if isinstance(value, list) else has) != value:
                raise refusal(node, f"{key}={has}, and there is {value} alone")
        padding = _padding(node, given, size)
        filters = w.shape[0]
        bias = self.graph.constant(node, 2) if len(node.input) > 2 else np.zeros(filters)
        kernel = np.ascontiguousarray(w.transpose(2, 3, 1, 0))
        norm, value = self.normalized(kernel, bias, str(node.output[0]))
        around = None if padding == size // 2 else padding
        groups = int(given.get("group", 1))
        conv = Conv(filters, size, int(strides[0]), norm=norm, padding=around, groups=groups)
        return conv, value

    def normalized(self, kernel: np.ndarray, bias: np.ndarray, value: str) -> tuple[bool, str]:
        """Keeps the arrays of a layer: whether there is batch norm, and what is behind it."""
        norm = self.graph.one(value, "BatchNormalization")
        arrays = {"kernel": kernel, "bias": bias}
        if norm is not None:
            scale, shift, mean, variance = (self.graph.constant(norm, i) for i in range(1, 5))
            epsilon = attributes(norm).get("epsilon", _EPSILON)
            scale = scale * np.sqrt((variance + _EPSILON) / (variance + epsilon))
            arrays |= {"scale": scale, "bias": shift, "mean": mean - bias, "variance": variance}
            value = str(norm.output[0])
        self.arrays.append({key: x.astype(np.float32) for key, x in arrays.items()})
        return norm is not None, value

    def active(self, conv: Conv, value: str) -> tuple[Conv, str]:
        """A convolution with its activation, and what is behind it."""
        name, behind = self.activation(value)
        return dataclasses.replace(conv, activation=name), behind

    def activation(self, value: str, after_add: bool = False) -> tuple[str, str]:
        """The activation that follows, none before another layer, and what is behind it."""
        node = self.graph.one(value, *_ACTIVATIONS)
        if node is None:
            nodes = self.graph.after(value)
            if not nodes:
                raise OnnxImportError(f"{value!r} are logits of a convolution: {SUPPORTED}")
            if not after_add and nodes[0].op_type in _BEHIND_NONE:
                return "none", value
            raise refusal(
                nodes[0],
                "a LeakyRelu, Relu or Clip is needed behind an Add, and one of them or a layer "
                "behind a layer",
            )
        behind = str(node.output[0])
        if node.op_type == "LeakyRelu":
            self.exponents.add(_slope(node))
            return "leaky", behind
        if node.op_type == "Relu" and self.relu:
            self.notes.append("ReLU became LeakyRelu(1/8): train on")
            self.exponents.add(-3)
            return "leaky", behind
        if after_add:
            raise refusal(
                node, "behind an Add there are leaky ones alone, LeakyRelu(1/8) is the nearest"
            )
        if node.op_type == "Relu":
            return "relu", behind
        ends = self.ends(node)
        if ends != (0.0, 6.0):
            raise refusal(node, f"it is from {ends[0]:g} to {ends[1]:g}, and there is 0 to 6 alone")
        return "relu6", behind

    def ends(self, node: Any) -> tuple[float, float]:
        """Of a Clip: attributes in opset 6, inputs since then."""
        given, found = attributes(node), []
        for i, (key, none) in enumerate((("min", -np.inf), ("max", np.inf)), 1):
            there = len(node.input) > i and node.input[i]
            found.append(float(self.graph.constant(node, i) if there else given.get(key, none)))
        return found[0], found[1]

    def residual(self, value: str, nodes: list[Any]) -> tuple[Residual, str]:
        """Two convolutions and a shortcut around them, which meet in an Add."""
        convolutions = [node for node in nodes if node.op_type == "Conv"]
        first = [n for n in convolutions if self._is_first(n)]
        if len(first) != 1:
            raise refusal(nodes[0], f"{value!r} is read twice, but no residual block begins there")
        conv, inner = self.active(*self.convolution(first[0]))
        second = self.graph.one(inner, "Conv")
        if second is None:
            raise refusal(first[0], "a second convolution is needed in a residual block")
        other, end = self.convolution(second)
        add, shortcut, around = self.graph.one(end, "Add"), None, value
        beside = [node for node in nodes if node is not first[0]]
        if add is not None and beside[0].op_type == "Conv":
            shortcut, around = self.convolution(beside[0])
            beside = self.graph.after(around)
        if add is None or beside != [add]:
            raise refusal(beside[0], "the two ways of a residual block do not meet in an Add")
        _, behind = self.activation(str(add.output[0]), after_add=True)
        return Residual(conv, other, shortcut), behind

    def _is_first(self, node: Any) -> bool:
        norm = self.graph.one(node.output[0], "BatchNormalization")
        value = node.output[0] if norm is None else norm.output[0]
        return self.graph.one(value, *_ACTIVATIONS) is not None

    def pool(self, node: Any) -> tuple[MaxPool | AveragePool, str]:
        """A pool of square windows."""
        given = attributes(node)
        sizes, strides = given["kernel_shape"], given.get("strides", [1, 1])
        odd = given.get("ceil_mode", 0) or given.get("auto_pad", b"NOTSET") != b"NOTSET"
        if len(set(sizes)) > 1 or len(set(strides)) > 1 or len(sizes) != 2 or odd:
            raise refusal(
                node,
                f"kernel_shape={sizes} and strides={strides}: windows are squares, steps alike in "
                "both directions, with neither ceil_mode nor auto_pad",
            )
        if any(n != 1 for n in given.get("dilations", [1, 1])):
            raise refusal(node, "a pool has no dilations")
        padding = _padding(node, given, sizes[0])
        window = (int(sizes[0]), int(strides[0]), padding)
        if node.op_type == "MaxPool":
            return MaxPool(*window), str(node.output[0])
        if sizes[0] not in (1, 2, 4) or (padding and not given.get("count_include_pad", 0)):
            raise refusal(
                node,
                "an average is over all positions, or over windows of 2x2 or 4x4 in which padding "
                "counts",
            )
        return AveragePool(*window), str(node.output[0])

    def average(self, node: Any, size: Shape) -> tuple[Layer, str]:
        """The average over all positions, whose divisor becomes a power of two, or over windows."""
        given = attributes(node)
        axes = list(given.get("axes", []))
        if node.op_type == "ReduceMean" and len(node.input) > 1:
            axes = self.graph.constant(node, 1).astype(int).tolist()
        whole = (
            node.op_type == "GlobalAveragePool"
            or (node.op_type == "ReduceMean" and sorted(axis % 4 for axis in axes) == [2, 3])
            or (given.get("kernel_shape") == list(size) and not any(given.get("pads", [0])))
        )
        if node.op_type == "AveragePool" and not whole:
            return self.pool(node)
        if not whole:
            raise refusal(node, "an average is over all positions")
        positions = math.prod(size)
        self.pending = (1 << (positions - 1).bit_length()) / positions
        value = str(node.output[0])
        while (flat := self.graph.one(value, *_FLAT)) is not None:
            value = str(flat.output[0])
        return GlobalAverage(), value

    def flatten(self, node: Any, shape: Shape) -> tuple[Flatten, str]:
        """All values in a row."""
        height, width, channels = shape
        count = math.prod(shape)
        if node.op_type == "Reshape":
            axes = self.graph.constant(node, 1).astype(int).tolist()
            if len(axes) != 2 or axes[1] not in (-1, count):
                raise refusal(node, f"the shape {axes}: of a map there are all values in a row")
        elif node.op_type != "Flatten" or attributes(node).get("axis", 1) != 1:
            raise refusal(node, "of a map there are all values in a row")
        order = np.arange(count).reshape(channels, height, width)
        self.places = order.transpose(1, 2, 0).ravel()
        return Flatten(), str(node.output[0])

    def dense(self, node: Any) -> tuple[Dense | Conv, str]:
        """A matrix and a bias: the logits, or a 1x1 convolution of a flat tensor."""
        given, w = attributes(node), self.graph.constant(node, 1)
        if node.op_type == "Gemm":
            if (
                given.get("alpha", 1.0) != 1.0
                or given.get("beta", 1.0) != 1.0
                or given.get("transA")
            ):
                raise refusal(node, "alpha and beta are 1, and the input is not transposed")
            w = w.T if given.get("transB") else w
        value, bias = str(node.output[0]), np.zeros(w.shape[1], np.float32)
        if node.op_type == "Gemm" and len(node.input) > 2:
            bias = np.broadcast_to(self.graph.constant(node, 2), bias.shape)
        elif (add := self.graph.one(value, "Add")) is not None:
            which = 1 if add.input[0] == value else 0
            bias = np.broadcast_to(self.graph.constant(add, which), bias.shape)
            value = str(add.output[0])
        kernel = np.ascontiguousarray(w * np.float32(self.pending))
        if self.places is not None:
            kernel = kernel[self.places]
        is_flat, self.pending = self.places is not None, 1.0
        if self.graph.is_end(value) or not is_flat:
            self.arrays.append({"kernel": kernel, "bias": np.array(bias)})
            return Dense(w.shape[1]), value
        self.places = np.arange(w.shape[1])
        norm, behind = self.normalized(kernel[None, None], bias, value)
        return self.active(Conv(w.shape[1], 1, norm=norm), behind)


def _padding(node: Any, given: dict[str, Any], size: int) -> int:
    """Places on each side."""
    pads = list(given.get("pads", [0] * 4))
    if len(set(pads)) > 1 or len(pads) != 4 or not 0 <= pads[0] < size:
        raise refusal(
            node,
            f"pads={pads}: there are as many on each side, from 0 to {size - 1}, one less "
            "than the window",
        )
    return int(pads[0])


def _slope(node: Any) -> int:
    """The exponent of a leaky ReLU's slope."""
    alpha = attributes(node).get("alpha", 0.01)
    mantissa, exponent = math.frexp(alpha)
    if mantissa != 0.5 or not -7 <= exponent - 1 <= -1:
        raise refusal(node, f"alpha={alpha:g}, which is no power of two from 1/128 to 1/2")
    return exponent - 1


def _shape_behind(layer: Layer, shape: Shape) -> Shape:
    """As `walk` has it, which then checks it."""
    if isinstance(layer, Residual):
        return output_shape("", layer.second, output_shape("", layer.first, shape))
    return output_shape("", layer, shape)

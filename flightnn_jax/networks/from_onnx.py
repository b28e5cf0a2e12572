"""A float network of another library, as ONNX, becomes a record and weights to start from.

Needs the extra `onnx`. What a record cannot say is an error that names the node and the nearest
form that there is.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.networks.layers import (
    Conv,
    Dense,
    GlobalAverage,
    Layer,
    MaxPool,
    Residual,
    Shape,
    output_shape,
)
from flightnn_jax.networks.records import Network, walk_weights

_EPSILON = 1e-5  # of batch norm in the models that are trained here
_STATISTICS = ("mean", "variance")
_SAME = ("Identity", "Dropout")  # they pass on what they read
_FLAT = ("Flatten", "Reshape", "Squeeze")
_SUPPORTED = (
    "Conv (odd size, padding of size // 2, one group) with BatchNormalization, LeakyRelu of a "
    "power of two, 2x2 MaxPool, Add around two convolutions, GlobalAveragePool, Flatten and Gemm "
    "at the end"
)

Arrays = dict[str, np.ndarray]


class OnnxImportError(ValueError):
    """A model that is no network of this library: the node, and what there is instead."""


class Imported(NamedTuple):
    """What became of a model.

    Attributes:
      network: its record.
      params: by the layer's name `kernel`, and `scale` and `bias`, or `bias` of a dense layer.
      batch_stats: by the convolution's name `mean` and `variance`.
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
      relu: whether a ReLU may become a leaky one of 1/8; it is a note then, and an error otherwise.

    Raises:
      OnnxImportError: if the bytes are no model, or there is a node that no record can say.
      ModuleNotFoundError: if `onnx` is not installed.
    """
    reader = _Reader(_model(data).graph, relu)
    layers, classes = reader.network()
    exponents = sorted(reader.exponents)
    if len(exponents) > 1:
        raise OnnxImportError(f"LeakyRelu of 2 to the powers {exponents}: a network has one slope")
    network = Network(name, reader.shape, classes, tuple(layers), *exponents)
    params: dict[str, Arrays] = {}
    stats: dict[str, Arrays] = {}
    for step, arrays in zip(walk_weights(network), reader.arrays, strict=True):
        params[step.name] = {k: x for k, x in arrays.items() if k not in _STATISTICS}
        if isinstance(step.layer, Conv):
            stats[step.name] = {key: arrays[key] for key in _STATISTICS}
    return Imported(network, params, stats, tuple(dict.fromkeys(reader.notes)))


def _model(data: bytes) -> Any:
    import onnx

    try:
        onnx.checker.check_model(data)
    except onnx.checker.ValidationError as error:
        raise OnnxImportError(f"no ONNX model: {str(error).splitlines()[0]:.200}") from error
    return onnx.load_from_string(data)


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


@dataclasses.dataclass
class _Reader:
    """The graph on the way to layers: reads nodes from the image to the logits."""

    graph: Any
    relu: bool

    def __post_init__(self) -> None:
        """Sorts what the graph holds by name."""
        from onnx import numpy_helper

        self.constants = {x.name: numpy_helper.to_array(x) for x in self.graph.initializer}
        nodes = []
        for node in self.graph.node:
            if node.op_type == "Constant" and (value := _attributes(node).get("value")) is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                nodes.append(node)
        self.readers: dict[str, list[Any]] = {}
        for node in nodes:
            for source in set(node.input):
                self.readers.setdefault(source, []).append(node)
        self.exponents: set[int] = set()
        self.arrays: list[Arrays] = []
        self.notes: list[str] = []
        self.pending: float = 1.0  # what the average's sums lack, for the dense layer
        images = [x for x in self.graph.input if x.name not in self.constants]
        if len(images) != 1 or len(self.graph.output) != 1:
            raise OnnxImportError(
                f"{len(images)} inputs and {len(self.graph.output)} outputs: one of each is read"
            )
        self.image, self.logits = images[0].name, self.graph.output[0].name
        _, *axes = (axis.dim_value for axis in images[0].type.tensor_type.shape.dim)
        if len(axes) != 3 or not all(axes):
            raise OnnxImportError(
                f"an image of shape {axes}: channels, height and width are numbers: export the "
                "model with an example of its images"
            )
        self.shape: Shape = (axes[1], axes[2], axes[0])

    def after(self, name: str) -> list[Any]:
        """The nodes that read a value, past those that pass it on."""
        nodes = []
        for node in self.readers.get(name, []):
            nodes += self.after(node.output[0]) if node.op_type in _SAME else [node]
        return nodes

    def one(self, name: str, *operators: str) -> Any:
        """The only node that reads a value, if it is one of these; or None."""
        nodes = self.after(name)
        return nodes[0] if len(nodes) == 1 and nodes[0].op_type in operators else None

    def is_end(self, name: str) -> bool:
        """Whether a value is the logits."""
        passes = [n for n in self.readers.get(name, []) if n.op_type in _SAME]
        return name == self.logits or any(self.is_end(node.output[0]) for node in passes)

    def refuse(self, node: Any, why: str) -> OnnxImportError:
        label = f"{node.op_type} {node.name or node.output[0]!r}"
        return OnnxImportError(f"{label}: {why}; a network is of {_SUPPORTED}")

    def network(self) -> tuple[list[Layer], int]:
        """The layers, and how many classes they tell apart."""
        value, shape, layers = self.image, self.shape, list[Layer]()
        while not self.is_end(value):
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
        nodes = self.after(value)
        if len(nodes) == 2:
            return self.residual(value, nodes)
        if len(nodes) != 1:
            raise OnnxImportError(f"{value!r} is read {len(nodes)} times: one or two nodes read it")
        (node,) = nodes
        kind = node.op_type
        if kind == "Conv":
            conv, inner = self.convolution(node)
            return conv, self.leaky(inner)
        if kind == "MaxPool":
            return self.pool(node)
        if kind in ("GlobalAveragePool", "ReduceMean", "AveragePool") and len(shape) == 3:
            return self.average(node, shape[:2])
        if kind in ("Gemm", "MatMul") and len(shape) == 1:
            return self.dense(node)
        raise self.refuse(node, "there is no such layer at this place")

    def constant(self, node: Any, which: int) -> np.ndarray:
        """A node's input that is an array, as float32."""
        name = node.input[which]
        if name not in self.constants:
            raise self.refuse(node, f"its input {name!r} is no constant")
        return np.asarray(self.constants[name], np.float32)

    def convolution(self, node: Any) -> tuple[Conv, str]:
        """A convolution and its batch norm."""
        given, w = _attributes(node), self.constant(node, 1)
        if w.ndim != 4 or w.shape[2] != w.shape[3] or w.shape[2] % 2 == 0:
            raise self.refuse(node, f"weights of shape {w.shape}")
        size, strides = w.shape[2], given.get("strides", [1, 1])
        wanted = {"pads": [size // 2] * 4, "group": 1, "dilations": [1, 1], "auto_pad": b"NOTSET"}
        wanted["strides"] = [strides[0]] * 2
        defaults = {"pads": [0] * 4, "strides": [1, 1]}
        for key, value in wanted.items():
            has = given.get(key, defaults.get(key, value))
            if (list(has) if isinstance(value, list) else has) != value:
                raise self.refuse(node, f"{key}={has}, and there is {value} alone")
        filters = w.shape[0]
        bias = self.constant(node, 2) if len(node.input) > 2 else np.zeros(filters, np.float32)
        arrays = {"kernel": np.ascontiguousarray(w.transpose(2, 3, 1, 0))}
        value = node.output[0]
        norm = self.one(value, "BatchNormalization")
        if norm is None:
            self.notes.append("a convolution without batch norm gets one that changes nothing")
            scale, shift, mean, variance = (
                np.ones(filters),
                bias,
                np.zeros(filters),
                np.ones(filters),
            )
            epsilon = 0.0
        else:
            scale, shift, mean, variance = (self.constant(norm, i) for i in range(1, 5))
            mean, epsilon = mean - bias, _attributes(norm).get("epsilon", _EPSILON)
            value = norm.output[0]
        scale = scale * np.sqrt((variance + _EPSILON) / (variance + epsilon))
        for key, array in zip(
            ("scale", "bias", "mean", "variance"), (scale, shift, mean, variance), strict=True
        ):
            arrays[key] = array.astype(np.float32)
        self.arrays.append(arrays)
        return Conv(filters, size, int(strides[0])), value

    def leaky(self, value: str) -> str:
        """What is behind the leaky ReLU that must follow."""
        node = self.one(value, "LeakyRelu", "Relu")
        if node is None:
            nodes = self.after(value)
            if not nodes:
                raise OnnxImportError(f"{value!r} are logits of a convolution: {_SUPPORTED}")
            raise self.refuse(nodes[0], "a LeakyRelu is needed behind this convolution or Add")
        if node.op_type == "Relu":
            if not self.relu:
                raise self.refuse(
                    node, "a ReLU is none of the layers, LeakyRelu(1/8) is the nearest"
                )
            self.notes.append("ReLU became LeakyRelu(1/8): train on")
            self.exponents.add(-3)
            return str(node.output[0])
        alpha = _attributes(node).get("alpha", 0.01)
        mantissa, exponent = math.frexp(alpha)
        if mantissa != 0.5 or not -7 <= exponent - 1 <= -1:
            raise self.refuse(node, f"alpha={alpha:g}, which is no power of two from 1/128 to 1/2")
        self.exponents.add(exponent - 1)
        return str(node.output[0])

    def residual(self, value: str, nodes: list[Any]) -> tuple[Residual, str]:
        """Two convolutions and a shortcut around them, which meet in an Add."""
        convolutions = [node for node in nodes if node.op_type == "Conv"]
        first = [n for n in convolutions if self._is_first(n)]
        if len(first) != 1:
            raise self.refuse(
                nodes[0], f"{value!r} is read twice, but no residual block begins there"
            )
        conv, inner = self.convolution(first[0])
        second = self.one(self.leaky(inner), "Conv")
        if second is None:
            raise self.refuse(first[0], "a second convolution is needed in a residual block")
        other, end = self.convolution(second)
        add, shortcut, around = self.one(end, "Add"), None, value
        beside = [node for node in nodes if node is not first[0]]
        if add is not None and beside[0].op_type == "Conv":
            shortcut, around = self.convolution(beside[0])
            beside = self.after(around)
        if add is None or beside != [add]:
            raise self.refuse(beside[0], "the two ways of a residual block do not meet in an Add")
        return Residual(conv, other, shortcut), self.leaky(add.output[0])

    def _is_first(self, node: Any) -> bool:
        norm = self.one(node.output[0], "BatchNormalization")
        value = node.output[0] if norm is None else norm.output[0]
        return self.one(value, "LeakyRelu", "Relu") is not None

    def pool(self, node: Any) -> tuple[MaxPool, str]:
        given = _attributes(node)
        two = given.get("kernel_shape") == [2, 2] and given.get("strides") == [2, 2]
        if not two or any(given.get("pads", [0])) or given.get("dilations", [1, 1]) != [1, 1]:
            raise self.refuse(node, "a pool is 2x2, with a stride of 2 and without padding")
        return MaxPool(), str(node.output[0])

    def average(self, node: Any, size: Shape) -> tuple[GlobalAverage, str]:
        """The average over all positions, whose divisor becomes a power of two."""
        given = _attributes(node)
        axes = list(given.get("axes", []))
        if node.op_type == "ReduceMean" and len(node.input) > 1:
            axes = self.constant(node, 1).astype(int).tolist()
        whole = (
            node.op_type == "GlobalAveragePool"
            or (node.op_type == "ReduceMean" and sorted(axis % 4 for axis in axes) == [2, 3])
            or (given.get("kernel_shape") == list(size) and not any(given.get("pads", [0])))
        )
        if not whole:
            raise self.refuse(node, "an average is over all positions")
        positions = math.prod(size)
        self.pending = (1 << (positions - 1).bit_length()) / positions
        value = str(node.output[0])
        while (flat := self.one(value, *_FLAT)) is not None:
            value = str(flat.output[0])
        return GlobalAverage(), value

    def dense(self, node: Any) -> tuple[Dense, str]:
        """A matrix and a bias."""
        given, w = _attributes(node), self.constant(node, 1)
        if node.op_type == "Gemm":
            if (
                given.get("alpha", 1.0) != 1.0
                or given.get("beta", 1.0) != 1.0
                or given.get("transA")
            ):
                raise self.refuse(node, "alpha and beta are 1, and the input is not transposed")
            w = w.T if given.get("transB") else w
        value, bias = str(node.output[0]), np.zeros(w.shape[1], np.float32)
        if node.op_type == "Gemm" and len(node.input) > 2:
            bias = np.broadcast_to(self.constant(node, 2), bias.shape)
        elif (add := self.one(value, "Add")) is not None:
            which = 1 if add.input[0] == value else 0
            bias, value = np.broadcast_to(self.constant(add, which), bias.shape), add.output[0]
        kernel = np.ascontiguousarray(w * np.float32(self.pending))
        self.pending = 1.0
        self.arrays.append({"kernel": kernel, "bias": np.array(bias)})
        return Dense(w.shape[1]), str(value)


def _shape_behind(layer: Layer, shape: Shape) -> Shape:
    """As `walk` has it, which then checks it."""
    if isinstance(layer, Residual):
        return output_shape("", layer.second, output_shape("", layer.first, shape))
    return output_shape("", layer, shape)

"""The graph of an ONNX model that is to become a network: who reads what, and constants.

Needs the extra `onnx`.
"""

import dataclasses
from typing import Any

import numpy as np

from flightnn_jax.networks.layers import Shape

SUPPORTED = (
    "Conv (odd size, groups, padding alike on all sides), with BatchNormalization or without, "
    "LeakyRelu of a power of two, Relu, Clip from 0 to 6, MaxPool, Add around two convolutions, "
    "GlobalAveragePool, AveragePool of 2x2 or 4x4, Flatten and Gemm"
)
_SAME = ("Identity", "Dropout")  # they pass on what they read


class OnnxImportError(ValueError):
    """A model that is no network of this library: the node, and what there is instead."""


def load(data: bytes) -> Any:
    """The graph of a model that ONNX's checker takes.

    Raises:
      OnnxImportError: if the bytes are none.
    """
    import onnx

    try:
        onnx.checker.check_model(data)
    except onnx.checker.ValidationError as error:
        raise OnnxImportError(f"no ONNX model: {str(error).splitlines()[0]:.200}") from error
    return onnx.load_from_string(data).graph


def attributes(node: Any) -> dict[str, Any]:
    """A node's, by name."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def refusal(node: Any, why: str) -> OnnxImportError:
    """What to raise for a node that no record can say."""
    label = f"{node.op_type} {node.name or node.output[0]!r}"
    return OnnxImportError(f"{label}: {why}; a network is of {SUPPORTED}")


@dataclasses.dataclass
class Graph:
    """What the nodes read and write.

    Attributes:
      graph: as ONNX has it.
      constants: arrays by name.
      readers: by the name of a value the nodes that read it.
      image: the name of the input.
      logits: that of the output.
      shape: (height, width, channels) of an image.
    """

    graph: Any

    def __post_init__(self) -> None:
        """Sorts what the graph holds by name."""
        from onnx import numpy_helper

        self.constants = {x.name: numpy_helper.to_array(x) for x in self.graph.initializer}
        nodes = []
        for node in self.graph.node:
            if node.op_type == "Constant" and (value := attributes(node).get("value")) is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                nodes.append(node)
        self.readers: dict[str, list[Any]] = {}
        for node in nodes:
            for source in set(node.input):
                self.readers.setdefault(source, []).append(node)
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

    def constant(self, node: Any, which: int) -> np.ndarray:
        """A node's input that is an array, as float32."""
        name = node.input[which]
        if name not in self.constants:
            raise refusal(node, f"its input {name!r} is no constant")
        return np.asarray(self.constants[name], np.float32)

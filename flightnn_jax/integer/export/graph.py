"""An ONNX graph on the way to a model. Needs the extra `onnx`."""

import dataclasses
from typing import Any

import numpy as np

from flightnn_jax.integer.network import MaxPool


@dataclasses.dataclass(kw_only=True)
class Graph:
    """Nodes and constants, in the order in which they are computed."""

    nodes: list[Any] = dataclasses.field(default_factory=list)
    constants: list[Any] = dataclasses.field(default_factory=list)

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Appends a node, and returns the name of its output, which is made up by default."""
        from onnx import helper

        output = output or f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: Any, rank: int = 0) -> str:
        """A tensor; with a rank, [channels] as one that broadcasts over [batch, channels, ...]."""
        from onnx import numpy_helper

        array = np.asarray(values).astype(dtype)
        if rank:
            array = array.reshape(1, -1, *[1] * (rank - 2))
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def pool_attributes(layer: MaxPool) -> dict[str, list[int]]:
    """The window of a pool."""
    return {
        "kernel_shape": [layer.size] * 2,
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
    }


def ordered(w: np.ndarray) -> np.ndarray:
    """[filters, inputs, size, size] of a convolution's weights; a matrix stays."""
    return w.transpose(3, 2, 0, 1) if w.ndim == 4 else w

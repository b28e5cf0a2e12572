"""What every layer of an integer network gives: shape, and activations or sums. No JAX."""

from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.limits import IMAGE, IntegerNetworkError, Shape
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


class Output(NamedTuple):
    """A tensor of one image.

    Attributes:
      shape: (height, width, channels), or (channels,).
      sums: whether it is int32 sums; int8 activations otherwise.
    """

    shape: Shape
    sums: bool


def outputs(network: IntegerNetwork) -> dict[str, Output]:
    """What the image and every layer are, by name, in the order of computation.

    Raises:
      IntegerNetworkError: if a layer reads what is not there, or what it cannot read.

    Example:
      >>> from flightnn_jax.integer import MaxPool
      >>> pools = (MaxPool("pool1", "image"), Average("average", "pool1", None, -7))
      >>> labels = ("cat", "dog", "owl")
      >>> network = IntegerNetwork("net1", (4, 4, 3), pools, 3, None, -9, labels, {}, None)
      >>> [(name, output.shape, output.sums) for name, output in outputs(network).items()]
      [('image', (4, 4, 3), False), ('pool1', (2, 2, 3), False), ('average', (3,), True)]
    """
    known = {IMAGE: Output(tuple(network.input_shape), False)}
    for layer in network.layers:
        for name in layer.inputs:
            if name not in known:
                raise IntegerNetworkError(
                    f"{layer.name}: it reads {name!r:.80}, which is no layer before it: a "
                    f"layer reads {IMAGE!r} or earlier layers"
                )
        if layer.name in known:
            raise IntegerNetworkError(
                f"{layer.name}: an earlier layer has this name: give each layer its own"
            )
        known[layer.name] = _output(layer, [known[name] for name in layer.inputs])
    return known


def golden(network: IntegerNetwork, count: int) -> dict[str, tuple[np.dtype, Shape]]:
    """Type and shape of so many golden images and of their outputs, by name."""
    types = {
        name: (np.dtype(np.int32 if output.sums else np.int8), (count, *output.shape))
        for name, output in outputs(network).items()
    }
    # An image is bytes, though what layers read of it are activations.
    return types | {IMAGE: (np.dtype(np.uint8), (count, *network.input_shape))}


def _output(layer: Layer, read: list[Output]) -> Output:
    if isinstance(layer, Add):
        first, second = read
        if first.shape != second.shape:
            raise IntegerNetworkError(
                f"{layer.name}: its inputs have the shapes {first.shape} and {second.shape}: what "
                "is added has one shape"
            )
        return Output(first.shape, False)
    (given,) = read
    if given.sums:
        raise IntegerNetworkError(
            f"{layer.name}: it reads sums: only an add does, so let {layer.input} give activations"
        )
    rank = 1 if isinstance(layer, Dense) else 3
    if len(given.shape) != rank:
        raise IntegerNetworkError(
            f"{layer.name}: its input has the shape {given.shape}, and must have {rank} axes"
        )
    if isinstance(layer, Convolution | Dense):
        return _weighted(layer, given.shape)
    height, width, channels = given.shape
    if isinstance(layer, Average):
        return Output((channels,), layer.shift is None)
    if isinstance(layer, Flatten):
        return Output((1,) * (layer.axes - 1) + (height * width * channels,), False)
    if layer.is_plain and (height % 2 or width % 2):
        raise IntegerNetworkError(
            f"{layer.name}: a 2x2 pool on {height}x{width}: height and width must be even"
        )
    return Output((*_windows(layer, (height, width), layer.size, layer.padding), channels), False)


def _windows(layer: Convolution | MaxPool, shape: Shape, size: int, around: int) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    if size > min(shape) + 2 * around:
        raise IntegerNetworkError(
            f"{layer.name}: a window of {size}x{size} on {shape[0]}x{shape[1]} with {around} "
            "around: it must lie inside of them"
        )
    return tuple((length + 2 * around - size) // layer.stride + 1 for length in shape)


def _weighted(layer: Convolution | Dense, shape: Shape) -> Output:
    groups = layer.groups if isinstance(layer, Convolution) else 1
    if layer.weights.shape[-2] * groups != shape[-1]:
        raise IntegerNetworkError(
            f"{layer.name}: weights of shape {layer.weights.shape} on {shape[-1]} channels: the "
            "last axis but one counts the input's channels, or those of a group"
        )
    filters = layer.weights.shape[-1]
    if isinstance(layer, Dense):
        return Output((filters,), True)
    size = layer.weights.shape[0]
    windows = _windows(layer, shape[:2], size, layer.around)
    return Output((*windows, filters), layer.shift is None)
